"""The raw candidates of all tiles: what is known of each in memory, the masks read when asked."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.regions import Region

from .raw import RawCandidates

__all__ = ["AllCandidates", "gather"]

_TILES_KEPT = 48
"""Tiles whose masks are in memory at once."""


@dataclass(frozen=True, eq=False)
class AllCandidates:
    """The raw candidates of all tiles, ordered by tile; all arrays have one entry for each.

    Parameters
    ----------
    geometry : TileGeometry
        Of the scene.
    tiles : tuple of TileId
        In order.
    starts : (tiles + 1,) ndarray
        Where each tile's candidates begin.
    tile_of : (n,) ndarray
        int32, index into `tiles`.
    levels : (n,) ndarray
        int64.
    boxes : (n, 4) ndarray
        int64, in pixels of level 0; they may reach beyond the scene by part of a coarser pixel.
    firsts : (n, 2) ndarray
        int64, row and column of the first pixel, in pixels of level 0.
    areas : (n,) ndarray
        int64, pixels of level 0.
    centroids : (n, 2) ndarray
        float64, in pixels of level 0.
    predicted_ious, stabilities : (n,) ndarray
        float32.
    cuts : (n,) ndarray
        uint8, as in `RawCandidates`.
    """

    geometry: TileGeometry
    tiles: tuple[TileId, ...]
    starts: np.ndarray
    tile_of: np.ndarray
    levels: np.ndarray
    boxes: np.ndarray
    firsts: np.ndarray
    areas: np.ndarray
    centroids: np.ndarray
    predicted_ious: np.ndarray
    stabilities: np.ndarray
    cuts: np.ndarray
    _read: Callable[[TileId], RawCandidates]
    _kept: OrderedDict[int, list[np.ndarray]]

    def __len__(self) -> int:
        return len(self.areas)

    def of_tile(self, tile: int) -> slice:
        """Return which candidates are those of a tile."""
        return slice(int(self.starts[tile]), int(self.starts[tile + 1]))

    def window(self, tile: int) -> Region:
        """Return what a tile sees, in pixels of level 0; a part of a pixel may lie outside."""
        level = self.tiles[tile].level
        window = self.geometry.window(self.tiles[tile])
        return Region(
            window.row0 << level, window.col0 << level, window.row1 << level, window.col1 << level
        )

    def mask(self, index: int) -> np.ndarray:
        """Return a mask within its box: bool (row, col), in pixels of its level."""
        tile = int(self.tile_of[index])
        return self.masks(tile)[index - int(self.starts[tile])]

    def masks(self, tile: int) -> list[np.ndarray]:
        """Return all masks of a tile; those of the tiles asked for last are kept."""
        if tile not in self._kept:
            raw = self._read(self.tiles[tile])
            self._kept[tile] = [raw.mask(index) for index in range(len(raw))]
            while len(self._kept) > _TILES_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(tile)
        return self._kept[tile]


def gather(
    geometry: TileGeometry,
    tiles: Sequence[TileId],
    found: Sequence[RawCandidates],
    read: Callable[[TileId], RawCandidates],
) -> AllCandidates:
    """Put the candidates of tiles together.

    Parameters
    ----------
    geometry : TileGeometry
        Of the scene.
    tiles : sequence of TileId
        In any order: what comes out does not depend on it.
    found : sequence of RawCandidates
        Theirs.
    read : callable
        Gives a tile's candidates again, when masks are asked for.
    """
    order = sorted(range(len(tiles)), key=lambda index: tiles[index])
    ordered = tuple(tiles[index] for index in order)
    parts = [found[index] for index in order]
    counts = [len(part) for part in parts]
    levels = np.repeat(np.array([tile.level for tile in ordered], np.int64), counts)

    def joined(name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        arrays = [np.zeros((0, *shape)), *(getattr(part, name) for part in parts)]
        return np.concatenate([array.astype(dtype) for array in arrays])

    boxes = joined("boxes", (4,), np.int64)
    firsts = np.stack([boxes[:, 0], joined("first_cols", (), np.int64)], axis=1)
    return AllCandidates(
        geometry=geometry,
        tiles=ordered,
        starts=np.cumsum([0, *counts], dtype=np.int64),
        tile_of=np.repeat(np.arange(len(ordered), dtype=np.int32), counts),
        levels=levels,
        boxes=boxes << levels[:, None],
        firsts=firsts << levels[:, None],
        areas=joined("areas", (), np.int64) << (2 * levels),
        centroids=(joined("centroids", (2,), np.float64) + 0.5) * (1 << levels[:, None]) - 0.5,
        predicted_ious=joined("predicted_ious", (), np.float32),
        stabilities=joined("stabilities", (), np.float32),
        cuts=joined("cuts", (), np.uint8),
        _read=read,
        _kept=OrderedDict(),
    )
