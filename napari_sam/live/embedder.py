"""Encoding in the background: what is looked at first, then the rest; out of the way of prompts.

    look_at(view) ──┐
    embed(wish) ────┤──> the most urgent missing tiles ──> encode_tiles ──> store
    aside() ────────┘         (about a second's work)

Between two such portions it looks what other processes have put into the store. One thread does all
of this; it never changes anything but the store.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Literal, Protocol

from napari_sam.errors import InputError, first_line
from napari_sam.tiles.encoding import encode_tiles
from napari_sam.tiles.geometry import TileId
from napari_sam.tiles.kept_levels import keep_levels
from napari_sam.tiles.planning import Plan, plan
from napari_sam.tiles.regions import Region
from napari_sam.tiles.roi import Roi, check_roi
from napari_sam.tiles.store import (
    EmbeddingStore,
    Failure,
    ModelInfo,
    Progress,
    SceneInfo,
    State,
    StoreMismatch,
)
from napari_sam.tiles.store_errors import called

from .urgency import Wish, ordered, suited_level
from .watch import RUNNING, TileWatch

if TYPE_CHECKING:
    import numpy as np

    from napari_sam.scene import Scene
    from napari_sam.tiles.encoding import EncodingProgress, Summary
    from src_model import Sam

__all__ = ["Doing", "Embedder", "Status", "Workable"]

Doing = Literal["stopped", "paused", "waiting", "encoding", "aside"]
"""Nothing, until it is started; nothing, but it knows what is left; all is done that is wanted, and
it looks what comes; encoding; letting a prompt go first."""

QUIETLY = 200
"""Tiles of a whole scene up to which all are encoded without anybody asking."""

_PORTION = 1.0
"""Seconds of encoding after which it looks again what is most urgent."""

_MOST = 32
"""Tiles of a portion, however quick they are."""

_LOOK = 1.0
"""Seconds after which it looks what others have encoded, where that takes no time."""

_SHARE = 20
"""At least so many times as long as looking takes lies between two looks."""

_REST = 0.5
"""Seconds without a prompt after which it goes on."""

_FINISH = 0.5
"""Seconds in which the tile in hand is written; then only a slow read is left of a portion."""

_IN_A_ROW = 3
"""Tiles that fail one after the other, after which it is not the tiles that are to blame."""

_log = logging.getLogger(__name__)


class Workable(Protocol):
    """What is encoded, as a `Workplace` has it; all three may be replaced at any time."""

    @property
    def scene(self) -> Scene:
        """The image, one plane of it."""

    @property
    def sam(self) -> Sam:
        """The network."""

    @property
    def store(self) -> EmbeddingStore:
        """Where embeddings go."""


@dataclass(frozen=True)
class Status:
    """How far an `Embedder` is.

    Parameters
    ----------
    doing : Doing
        What it does.
    counts : Progress
        All tiles of the store, by state.
    left : int
        Tiles that are missing and wanted: in view, or asked for.
    running : tuple of TileId
        Those in hand.
    seconds_left : float, optional
        About; None before anything was encoded.
    problem : str, optional
        Why it paused by itself, in a sentence.
    """

    doing: Doing = "stopped"
    counts: Progress = Progress(0, 0, 0, 0)  # noqa: RUF009 (it is frozen)
    left: int = 0
    running: tuple[TileId, ...] = ()
    seconds_left: float | None = None
    problem: str | None = None


class Embedder:
    """Encodes the missing tiles of a workplace in a thread, those in view first.

    All methods may be called from any thread and return at once, but for `aside`, `estimate`,
    `retry` and `close`, which say what they wait for.

    Parameters
    ----------
    workplace : Workable
        Whose scene, network and store they are.
    """

    def __init__(self, workplace: Workable) -> None:
        self._workplace = workplace
        self._watch = TileWatch(workplace.store)
        self._checked: EmbeddingStore | None = None
        self._kept: Scene | None = None
        self._changed = threading.Condition()
        self._doing: Literal["stopped", "paused", "going"] = "stopped"
        self._view: Region | None = None
        self._wish: Wish | None = None
        self._again: tuple[TileId, ...] = ()
        self._asides, self._aside_until = 0, 0.0
        self._running: tuple[TileId, ...] = ()
        self._stepped_back: float | None = None  # when the portion in hand was told to stop
        self._left = 0
        self._problem: str | None = None
        self._seconds: float | None = None  # for a tile
        self._look_at = self._look_again_at = 0.0
        self._in_a_row = 0
        self._callbacks: dict[int, Callable[[Status], object]] = {}
        self._number = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="napari-sam-embed")
        self._thread.start()

    # What is to be done

    def look_at(self, view: Region) -> None:
        """Say what is seen, in pixels of level 0: it comes first from now on."""
        with self._changed:
            if view != self._view:
                self._view = view
                self._changed.notify_all()

    def start(self) -> None:
        """Begin, or go on after a pause or a problem.

        What is in view is encoded, wherever that moves; and what was asked for by `embed`, or else
        all of a scene of few tiles.
        """
        with self._changed:
            self._doing, self._problem, self._in_a_row = "going", None, 0
            self._changed.notify_all()
        self._tell()

    def embed(self, levels: tuple[int, ...] | None = None, roi: Roi | None = None) -> None:
        """Start, and encode these tiles as well: all of some levels, of a region, or of the scene.

        Raises
        ------
        InputError
            If the levels are not stored, or the region is not in the scene.
        """
        store = self._workplace.store
        unknown = sorted(set(levels or ()) - set(store.levels))
        if unknown or levels == ():
            raise InputError(
                f"Level {', '.join(map(str, unknown)) or 'none'} cannot be encoded: choose of the "
                f"levels {', '.join(map(str, store.levels))}."
            )
        if roi is not None:
            check_roi(roi, store.geometry.shape)
        with self._changed:
            self._wish = Wish(levels, roi)
        self.start()

    def pause(self) -> None:
        """Stop after the tile in hand; `start` goes on."""
        self._halt("paused")

    def stop(self) -> None:
        """Stop after the tile in hand, and forget what was asked for."""
        with self._changed:
            self._wish, self._again = None, ()
        self._halt("stopped")

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Keep the background run out of the way, as while a prompt is answered.

        Waits for the tile in hand, if there is one, until it is in the store.
        """
        with self._changed:
            self._asides += 1
            self._changed.notify_all()
            while not (self._closed or self._out_of_the_way()):
                self._changed.wait(_FINISH if self._stepped_back is None else 0.05)
        try:
            yield
        finally:
            with self._changed:
                self._asides -= 1
                self._aside_until = time.monotonic() + _REST
                self._changed.notify_all()

    def estimate(self, levels: tuple[int, ...] | None = None, roi: Roi | None = None) -> Plan:
        """Find out what `embed` would do; encodes a tile, if none was encoded yet.

        Raises
        ------
        InputError
            If the levels or the region are not in the scene, or it cannot be read.
        """
        place = self._workplace
        scene, sam, store, known = place.scene, place.sam, place.store, self._seconds
        if known is None:
            with self.aside():
                return plan(scene, store, sam, levels=levels, roi=roi)
        found = plan(scene, store, levels=levels, roi=roi)
        return replace(found, seconds=known * found.to_do)

    def retry(self) -> int:
        """Let all tiles that failed be encoded again, and start; return how many.

        Waits for the store.

        Raises
        ------
        StoreUnusable
            If it cannot be written.
        """
        store = self._workplace.store
        failures = store.failures()
        for failure in failures:
            store.mark_missing(failure.tile, "to be tried again")
        with self._changed:
            self._look_at = 0.0
            self._again = tuple(failure.tile for failure in failures)
        self.start()
        return len(failures)

    def close(self) -> None:
        """End the thread; waits for the tile in hand."""
        with self._changed:
            self._closed = True
            self._callbacks.clear()
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # What is known

    @property
    def status(self) -> Status:
        """How far it is."""
        with self._changed:
            doing: Doing
            if self._doing != "going":
                doing = self._doing
            elif self._asides:
                doing = "aside"
            else:
                doing = "encoding" if self._running or self._left else "waiting"
            seconds = None if self._seconds is None else self._seconds * self._left
            return Status(
                doing, self._watch.counts(), self._left, self._running, seconds, self._problem
            )

    @property
    def view(self) -> Region | None:
        """What is looked at, in pixels of level 0."""
        return self._view

    @property
    def store(self) -> EmbeddingStore:
        """Whose tiles are watched."""
        return self._watch.store

    def level_in_view(self) -> int:
        """Return the stored level that suits what is looked at; the coarsest if nothing is."""
        store, view = self._watch.store, self._view
        if view is None:
            return max(store.levels)
        suited = suited_level(store.geometry, view)
        return min(store.levels, key=lambda level: abs(level - suited))

    def states(self, level: int) -> np.ndarray:
        """Return what became of a level's tiles, as far as it was looked at last.

        Returns
        -------
        ndarray
            uint8, shape (tile rows, tile columns): values of `State`, or `RUNNING`.
        """
        with self._changed:
            states = self._watch.states(level).copy()
            for tile in self._running:
                if tile.level == level and states[tile.row, tile.col] == State.MISSING:
                    states[tile.row, tile.col] = RUNNING
        return states

    def failures(self) -> list[Failure]:
        """Return the tiles that failed, and why; asks the store."""
        return self._watch.store.failures()

    def on_change(self, callback: Callable[[Status], object]) -> Callable[[], None]:
        """Call a function whenever something changed, in the thread that changed it.

        Returns
        -------
        callable
            Ends it.
        """
        with self._changed:
            number, self._number = self._number, self._number + 1
            self._callbacks[number] = callback
        return lambda: self._callbacks.pop(number, None) and None

    # The thread

    def _run(self) -> None:
        while not self._closed:
            try:
                self._step()
            except InputError as error:
                self._give_up(str(error))
            except MemoryError:
                self._give_up(_memory("The background run"))
            except Exception as error:
                _log.exception("encoding in the background")
                self._give_up(
                    f"Encoding in the background ended ({type(error).__name__}: "
                    f"{first_line(error).rstrip('.')}): start it again; the log says more."
                )

    def _step(self) -> None:
        """Look what there is, and encode a portion of it, or wait."""
        self._notice_store()
        tiles = self._next_tiles()
        if not tiles:
            with self._changed:
                if not self._closed:
                    self._changed.wait(self._patience())
            return
        store, scene, sam = self._watch.store, self._kept, self._workplace.sam
        assert scene is not None
        began = time.monotonic()
        try:
            summary = encode_tiles(
                scene, sam, store, tiles, on_progress=self._settled, should_stop=self._should_stop
            )
        finally:
            with self._changed:
                self._running, self._stepped_back = (), None
                self._changed.notify_all()
        self._measure(summary, time.monotonic() - began)
        self._refresh(*{tile.level for tile in tiles})
        self._judge(summary)
        self._tell()

    def _notice_store(self) -> None:
        """Look whether it is another store by now, and what others have put into it."""
        store = self._workplace.store
        if store is not self._watch.store:
            watch = TileWatch(store)
            with self._changed:
                self._watch, self._seconds = watch, None
                self._look_at, self._problem, self._in_a_row = 0.0, None, 0
                self._wish, self._again = None, ()
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK  # also if it cannot be read
            if self._refresh():
                self._tell()
            self._look_at = max(now + _LOOK, self._look_again_at)

    def _next_tiles(self) -> list[TileId]:
        """Return the next portion; nothing if it must wait."""
        store = self._watch.store
        with self._changed:
            view, wish, going = self._view, self._wish, self._doing == "going"
            again = self._again
        if wish is None and self._watch.counts().total <= QUIETLY:
            wish = Wish()
        states = {level: self._watch.states(level) for level in store.levels}
        left, tiles = ordered(store.geometry, states, view, wish, again)
        was, self._left = self._left, left
        if left != was:
            self._tell()
        if not (going and left) or self._must_wait():
            return []
        self._check_store(store)
        with self._changed:
            # It may have been told otherwise while it looked.
            if self._doing != "going" or self._must_wait():
                return []
            self._running = tuple(islice(tiles, self._portion()))
            portion = list(self._running)
        self._tell()
        return portion

    def _check_store(self, store: EmbeddingStore) -> None:
        """Make sure, once, that scene, network and store belong together."""
        if store is self._checked:
            return
        scene, sam = self._workplace.scene, self._workplace.sam
        try:
            store.check(scene=SceneInfo.of(scene), model=ModelInfo.of(sam))
        except StoreMismatch:
            if store is self._workplace.store:
                raise
            return  # they were being replaced; `_must_wait` sees it
        self._kept = keep_levels(scene, store)
        self._checked = store

    def _must_wait(self) -> bool:
        return (
            self._closed
            or self._asides > 0
            or time.monotonic() < self._aside_until
            or self._workplace.store is not self._watch.store
        )

    def _should_stop(self) -> bool:
        with self._changed:
            stop = self._doing != "going" or self._must_wait()
            if stop and self._stepped_back is None:
                self._stepped_back = time.monotonic()
                self._changed.notify_all()
        return stop

    def _out_of_the_way(self) -> bool:
        """Whether nothing is encoded or written; what is read ahead of a portion may go on."""
        if not self._running:
            return True
        stepped = self._stepped_back
        return stepped is not None and time.monotonic() > stepped + _FINISH

    def _patience(self) -> float:
        """Return for how long nothing happens by itself."""
        now = time.monotonic()
        until = self._look_at
        if self._doing == "going" and self._left and not self._asides:
            until = min(until, self._aside_until)
        return max(until - now, 0.01)

    def _portion(self) -> int:
        at_once = 8 if self._workplace.sam.device.type == "cuda" else 1
        tiles = at_once if self._seconds is None else int(_PORTION / max(self._seconds, 1e-3))
        return min(max(tiles, at_once), _MOST)

    def _settled(self, progress: EncodingProgress) -> None:
        """Take notice of a tile in the middle of a portion."""
        if time.monotonic() >= self._look_again_at:
            self._refresh(*{tile.level for tile in self._running})
            self._tell()

    def _refresh(self, *levels: int) -> bool:
        began = time.monotonic()
        changed = self._watch.refresh(*levels)
        ended = time.monotonic()
        self._look_again_at = ended + _SHARE * (ended - began)
        return changed

    def _measure(self, summary: Summary, seconds: float) -> None:
        settled = summary.done + len(summary.failed)
        if settled:
            new = seconds / settled
            self._seconds = new if self._seconds is None else 0.7 * self._seconds + 0.3 * new

    def _judge(self, summary: Summary) -> None:
        """Stop where it is not single tiles that fail: the rest would only fail as well."""
        if summary.done or summary.empty:
            self._in_a_row = 0
        self._in_a_row += len(summary.failed)
        for failure in summary.failed:
            if _is_memory(failure.reason):
                for lost in summary.failed:
                    self._watch.store.mark_missing(lost.tile, "memory ran out")
                self._look_at = 0.0
                raise InputError(_memory(f"Encoding {called(failure.tile)}"))
        if self._in_a_row >= _IN_A_ROW:
            last = summary.failed[-1]
            raise InputError(
                f"{self._in_a_row} tiles failed one after the other, the last one being "
                f"{called(last.tile)} ({last.reason.rstrip('.')}): look whether image and model "
                f"are all right, and start again."
            )

    def _halt(self, doing: Literal["paused", "stopped"]) -> None:
        with self._changed:
            self._doing = doing
            self._changed.notify_all()
        self._tell()

    def _give_up(self, sentence: str) -> None:
        with self._changed:
            again = self._problem == sentence
            self._problem = sentence
            if self._doing == "going":
                self._doing = "paused"
        if not again:
            self._tell()
        with self._changed:
            if not self._closed:  # what cannot be read is not asked for all the time
                self._changed.wait(_LOOK)

    def _tell(self) -> None:
        status = self.status
        for callback in list(self._callbacks.values()):
            callback(status)


def _is_memory(reason: str) -> bool:
    """Tell whether a library says that memory ran out; each says it in its own words."""
    said = reason.lower()
    return "memoryerror" in said or "out of memory" in said or "allocate" in said


def _memory(what: str) -> str:
    return (
        f"{what} needs more memory than there is: close other images or programs, or choose a "
        f"smaller model, and start again."
    )
