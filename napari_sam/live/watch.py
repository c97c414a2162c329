"""The states of all tiles of a store, remembered: asked anew now and then, read at any time."""

from __future__ import annotations

import numpy as np

from napari_sam.tiles.geometry import TileId
from napari_sam.tiles.store import EmbeddingStore, Progress, State

__all__ = ["RUNNING", "TileWatch"]

RUNNING = 4
"""Beside the values of `State`: somebody here encodes the tile just now."""


class TileWatch:
    """What became of the tiles of a store, whoever encoded them.

    Asking the store takes long if it has very many tiles or is far away; reading what is remembered
    does not. One thread refreshes, any thread reads.

    Parameters
    ----------
    store : EmbeddingStore
        Which. All tiles are missing until `refresh`.

    Examples
    --------
    >>> from zarr.storage import MemoryStore
    >>> from napari_sam.tiles.geometry import TileGeometry
    >>> from napari_sam.tiles.store import ModelInfo, SceneInfo
    >>> scene = SceneInfo("the array", (100, 300), "YX", ("grey",), "f" * 32,
    ...                   {"kind": "as_is", "low": [0.0], "high": [255.0]})
    >>> model = ModelInfo("0" * 64, {"name": "custom"}, (2, 4, 4))
    >>> geometry = TileGeometry((100, 300), tile=128, halo=16)
    >>> store = EmbeddingStore.create(MemoryStore(), scene, model, geometry)
    >>> watch = TileWatch(store)
    >>> store.mark_empty(TileId(0, 0, 2), "constant")
    >>> watch.states(0), watch.refresh(), watch.states(0)
    (array([[0, 0, 0]], dtype=uint8), True, array([[0, 0, 2]], dtype=uint8))
    >>> watch.counts()
    Progress(missing=5, done=0, empty=1, failed=0)
    """

    def __init__(self, store: EmbeddingStore) -> None:
        self._store = store
        # Arrays are replaced and never changed, so that readers need no lock.
        self._states = {
            level: np.zeros(store.geometry.grid(level), np.uint8) for level in store.levels
        }

    @property
    def store(self) -> EmbeddingStore:
        """What is watched."""
        return self._store

    def refresh(self, *levels: int) -> bool:
        """Ask the store for all levels, or for some, and tell whether anything changed.

        Raises
        ------
        StoreUnusable
            If it cannot be read.
        """
        changed = False
        for level in levels or self._store.levels:
            now = self._store.states(level)
            changed |= not np.array_equal(now, self._states[level])
            self._states[level] = now
        return changed

    def states(self, level: int) -> np.ndarray:
        """Return the states of a level's tiles: uint8, (tile rows, tile columns); only to read."""
        return self._states[level]

    def state(self, tile: TileId) -> State:
        """Return the state of a tile."""
        return State(self._states[tile.level][tile.row, tile.col])

    def counts(self) -> Progress:
        """Count the tiles of all levels by state."""
        counts = [np.bincount(states.ravel(), minlength=4) for states in self._states.values()]
        return Progress(*np.sum(counts, axis=0).tolist())
