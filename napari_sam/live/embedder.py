"""Encoding in the background: what is looked at first, then the rest; out of the way of prompts.

look_at(view) ──┐
embed(wish) ────┤──> the most urgent missing tiles ──> encode_tiles ──> store
aside() ────────┘         (about a second's work)
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_sam.errors import InputError
from napari_sam.tiles.planning import Plan, plan
from napari_sam.tiles.regions import Region
from napari_sam.tiles.roi import Roi, check_roi
from napari_sam.tiles.store import EmbeddingStore, Failure, State

from .embed_core import EmbedCore, Workable
from .status import Doing, Status
from .urgency import Wish, shown_level
from .watch import RUNNING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["RUNNING", "Doing", "Embedder", "Status", "Workable"]


class Embedder(EmbedCore):
    """Encodes the missing tiles of a workplace in a thread, those in view first.

    All methods may be called from any thread and return at once, but for `aside`, `estimate`,
    `retry`, `failures` and `close`, which say what they wait for.

    Parameters
    ----------
    workplace : Workable
        Whose scene, network and store they are.
    """

    def look_at(self, view: Region) -> None:
        """Say what is seen, in pixels of level 0: it comes first from now on."""
        with self._changed:
            if view != self._view:
                self._view, self._asked = view, self._asked + 1
                self._changed.notify_all()

    def start(self) -> None:
        """Begin, or go on after a pause or a problem.

        What is in view is encoded, wherever that moves; and what was asked for by `embed`, or else
        all of a scene of few tiles.
        """
        with self._changed:
            self._doing, self._problem = "going", None
            self._asked += 1
            self._changed.notify_all()
        self._tell()

    def embed(self, levels: tuple[int, ...] | None = None, roi: Roi | None = None) -> None:
        """Start, and encode these tiles as well: all of some levels, of a region, or of the scene.

        Raises
        ------
        InputError
            If the levels are not stored, or the region is not in the scene.
        """
        store = self._subject()[2]
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

    def aside(self) -> AbstractContextManager[None]:
        """Keep the background run out of the way, as while a prompt is answered.

        Entering it waits for the tile in hand, if there is one, until it is in the store.
        """
        return self._turns.first()

    def estimate(self, levels: tuple[int, ...] | None = None, roi: Roi | None = None) -> Plan:
        """Find out what `embed` would do; encodes a tile, if none was encoded yet.

        Raises
        ------
        InputError
            If the levels or the region are not in the scene, or it cannot be read.
        """
        (scene, sam, store), known = self._subject(), self._seconds
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
        store = self._subject()[2]
        failures = store.failures()
        for failure in failures:
            store.mark_missing(failure.tile, "to be tried again")
        with self._changed:
            self._look_at = 0.0
            self._again = tuple(failure.tile for failure in failures)
        self.start()
        return len(failures)

    @property
    def view(self) -> Region | None:
        """What is looked at, in pixels of level 0."""
        return self._view

    @property
    def store(self) -> EmbeddingStore:
        """Whose tiles are watched."""
        return self._watch.store

    def level_in_view(self) -> int:
        """Return the finest level of which not too many tiles are looked at."""
        store, view = self._watch.store, self._view
        whole = Region(0, 0, *store.geometry.shape)
        return shown_level(store.geometry, store.levels, whole if view is None else view)

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
