"""The thread that encodes: portion after portion, whatever is most urgent by then.

Between two portions it looks what other processes have put into the store. It never changes
anything but the store.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Literal, Protocol

from napari_sam.errors import InputError, first_line
from napari_sam.tiles.encoding import encode_tiles
from napari_sam.tiles.geometry import TileId
from napari_sam.tiles.kept_levels import keep_levels
from napari_sam.tiles.regions import Region
from napari_sam.tiles.store import EmbeddingStore

from .blame import Blame, out_of_memory
from .status import Doing, Status
from .turns import Turns
from .urgency import Wish, ordered
from .watch import TileWatch

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from napari_sam.tiles.encoding import EncodingProgress, Summary
    from src_model import Sam

__all__ = ["EmbedCore", "Workable"]

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

_log = logging.getLogger(__name__)


class Workable(Protocol):
    """What is encoded, as a `Workplace` has it: all three belong together, and change at once.

    That is what makes it safe to read them while another thread goes to another plane.
    """

    @property
    def scene(self) -> Scene:
        """The image, one plane of it."""

    @property
    def sam(self) -> Sam:
        """The network."""

    @property
    def store(self) -> EmbeddingStore:
        """Where embeddings go."""


class EmbedCore:
    """What `Embedder` is built on; see there."""

    def __init__(self, workplace: Workable) -> None:
        self._workplace = workplace
        self._begin_with_store()
        self._changed = threading.Condition()
        self._doing: Literal["stopped", "paused", "going"] = "stopped"
        self._view: Region | None = None
        self._wish: Wish | None = None
        self._again: tuple[TileId, ...] = ()
        self._turns = Turns(self._changed)
        self._running: tuple[TileId, ...] = ()
        self._left = 0
        self._asked, self._answered = 1, 0  # whether `_left` is about what is wanted by now
        self._problem: str | None = None
        self._callbacks: dict[int, Callable[[Status], object]] = {}
        self._number = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="napari-sam-embed")
        # A thread that Python's end finds in the middle of a network would abort the process.
        atexit.register(self._at_exit)
        self._thread.start()

    @property
    def status(self) -> Status:
        """How far it is."""
        with self._changed:
            doing: Doing
            if self._doing != "going":
                doing = self._doing
            elif self._turns.taken:
                doing = "aside"
            else:
                busy = self._running or self._left or self._asked != self._answered
                doing = "encoding" if busy else "waiting"
            seconds = None if self._seconds is None else self._seconds * self._left
            return Status(
                doing, self._watch.counts(), self._left, self._running, seconds, self._problem
            )

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

    def close(self, seconds: float = 2.0) -> bool:
        """End the thread, which still finishes the tile in hand.

        Parameters
        ----------
        seconds : float
            For how long to wait for it.

        Returns
        -------
        bool
            Whether it has ended.
        """
        with self._changed:
            self._closed = True
            self._callbacks.clear()
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _subject(self) -> tuple[Scene, Sam, EmbeddingStore]:
        """Return scene, network and store that belong together."""
        while True:
            place = self._workplace
            found = place.scene, place.sam, place.store
            if place.store is found[2] and place.scene is found[0]:
                return found

    def _begin_with_store(self) -> None:
        scene, self._sam, store = self._subject()
        self._watch, self._scene = TileWatch(store), keep_levels(scene, store)
        self._blame = Blame(store)
        self._seconds: float | None = None  # for a tile
        self._look_at = self._look_again_at = 0.0

    def _at_exit(self) -> None:
        self.close(60.0)

    def _run(self) -> None:
        self._go_on()
        atexit.unregister(self._at_exit)

    def _go_on(self) -> None:
        while not self._closed:
            try:
                self._step()
            except InputError as error:
                self._give_up(str(error))
            except MemoryError:
                self._give_up(out_of_memory("Encoding in the background"))
            except Exception as error:
                if not threading.main_thread().is_alive():  # nothing can be started any more
                    return
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
        began = time.monotonic()
        try:
            summary = encode_tiles(
                self._scene,
                self._sam,
                self._watch.store,
                tiles,
                on_progress=self._settled,
                should_stop=self._should_stop,
            )
        finally:
            with self._changed:
                self._running = ()
                self._turns.end()
        self._measure(summary, time.monotonic() - began)
        try:
            self._blame.judge(summary)
        finally:
            self._refresh(*{tile.level for tile in tiles})
        self._tell()

    def _notice_store(self) -> None:
        """Look whether it is another store by now, and what others have put into it."""
        if self._workplace.store is not self._watch.store:
            with self._changed:
                self._begin_with_store()
                self._problem = None
                self._wish, self._again = None, ()
                self._asked += 1
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
            again, asked = self._again, self._asked
        if wish is None and self._watch.counts().total <= QUIETLY:
            wish = Wish()
        states = {level: self._watch.states(level) for level in store.levels}
        left, tiles = ordered(store.geometry, states, view, wish, again)
        changed = left != self._left or asked != self._answered
        self._left, self._answered = left, asked
        if changed:
            self._tell()
        if not (going and left) or self._must_wait():
            return []
        with self._changed:
            # It may have been told otherwise while it looked.
            if self._doing != "going" or self._must_wait():
                return []
            self._running = tuple(islice(tiles, self._portion()))
            portion = list(self._running)
            if portion:
                self._turns.begin()
        self._tell()
        return portion

    def _must_wait(self) -> bool:
        return (
            self._closed
            or self._turns.must_wait()
            or self._workplace.store is not self._watch.store
        )

    def _should_stop(self) -> bool:
        with self._changed:
            stop = self._doing != "going" or self._must_wait() or self._blame.hopeless
            if stop:
                self._turns.step_back()
        return stop

    def _patience(self) -> float:
        """Return for how long nothing happens by itself."""
        now = time.monotonic()
        until = self._look_at
        if self._doing == "going" and self._left and not self._turns.taken:
            until = min(until, self._turns.rest_until)
        return max(until - now, 0.01)

    def _portion(self) -> int:
        at_once = 8 if self._sam.device.type == "cuda" else 1
        tiles = at_once if self._seconds is None else int(_PORTION / max(self._seconds, 1e-3))
        return min(max(tiles, at_once), _MOST)

    def _settled(self, progress: EncodingProgress) -> None:
        """Take notice of a tile in the middle of a portion."""
        self._blame.notice(progress)
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
        if summary.done:
            new = seconds / summary.done
            self._seconds = new if self._seconds is None else 0.7 * self._seconds + 0.3 * new

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
