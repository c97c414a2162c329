"""Which tiles are encoded next: those that are looked at, then those that were asked for.

In view come, one after the other: the level that suits the zoom, so that what is seen as a whole
can be clicked; the finest, which a click is asked at first; those between. Of what lies outside of
the view coarse levels come first, as they cover much with few tiles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.regions import Region
from napari_sam.tiles.roi import Roi, tiles_in
from napari_sam.tiles.store import State

__all__ = ["Wish", "ordered", "shown_level", "suited_level", "view_levels"]

IN_VIEW = 48
"""Tiles of a level in view above which the level is too fine for what is looked at."""


@dataclass(frozen=True, eq=False)
class Wish:
    """Tiles that somebody asked for.

    Parameters
    ----------
    levels : tuple of int, optional
        Only these.
    roi : Roi, optional
        Only tiles with a core in it.
    """

    levels: tuple[int, ...] | None = None
    roi: Roi | None = None


def suited_level(geometry: TileGeometry, view: Region) -> int:
    """Return the level at which a view is about as large as a tile.

    Parameters
    ----------
    geometry : TileGeometry
        Of the scene.
    view : Region
        What is seen, in pixels of level 0.

    Examples
    --------
    >>> geometry = TileGeometry((16_384, 16_384))
    >>> [suited_level(geometry, Region(0, 0, side, side)) for side in (300, 1100, 4000, 16_384)]
    [0, 0, 2, 4]
    """
    level = round(math.log2(max(1, *view.shape) / geometry.tile))
    return min(max(level, 0), geometry.levels - 1)


def view_levels(geometry: TileGeometry, levels: Sequence[int], view: Region) -> list[int]:
    """Return the stored levels that are worth having where somebody looks, the most urgent first.

    Examples
    --------
    >>> geometry = TileGeometry((16_384, 16_384))
    >>> view_levels(geometry, range(5), Region(0, 0, 4000, 4000))
    [2, 0, 1]
    >>> view_levels(geometry, range(5), Region(0, 0, 16_384, 16_384))
    [4, 2, 3]
    """
    suited = suited_level(geometry, view)
    coarser = [level for level in levels if level > suited]
    finer = [
        level
        for level in levels
        if level < suited and int(tiles_in(geometry, level, view).sum()) <= IN_VIEW
    ]
    first = [suited] if suited in levels else coarser[:1]
    return [*first, *finer]


def shown_level(geometry: TileGeometry, levels: Sequence[int], view: Region) -> int:
    """Return the finest level of which not too many tiles are in view.

    Examples
    --------
    >>> geometry = TileGeometry((16_384, 16_384))
    >>> [shown_level(geometry, range(5), Region(0, 0, side, side)) for side in (300, 5000, 16_384)]
    [0, 1, 2]
    """
    for level in levels:
        if int(tiles_in(geometry, level, view).sum()) <= IN_VIEW:
            return level
    return max(levels)


def ordered(
    geometry: TileGeometry,
    states: Mapping[int, np.ndarray],
    view: Region | None,
    wish: Wish | None,
    first: Iterable[TileId] = (),
) -> tuple[int, Iterator[TileId]]:
    """Find the missing tiles that are in view or wished for.

    Parameters
    ----------
    geometry : TileGeometry
        Of the scene.
    states : mapping
        Of each stored level's tiles, as `TileStates.states` gives them.
    view : Region, optional
        What is seen, in pixels of level 0.
    wish : Wish, optional
        What else is asked for; its region lies in the scene.
    first : iterable of TileId
        Single tiles that come before all others.

    Returns
    -------
    int
        How many there are.
    iterator of TileId
        They, the most urgent first; within a level those next to the middle of the view.

    Examples
    --------
    >>> geometry = TileGeometry((1100, 3000))
    >>> states = {level: np.zeros(geometry.grid(level), np.uint8) for level in range(3)}
    >>> count, tiles = ordered(geometry, states, Region(0, 1500, 500, 2300), Wish(levels=(2,)))
    >>> count, [(tile.level, tile.row, tile.col) for tile in tiles]
    (3, [(0, 0, 2), (0, 0, 1), (2, 0, 0)])
    """
    levels = sorted(states)
    parts: list[tuple[int, np.ndarray]] = []
    for tile in first:
        single = np.zeros(states[tile.level].shape, bool)
        single[tile.row, tile.col] = True
        parts.append((tile.level, single))
    if view is not None:
        parts += [
            (level, tiles_in(geometry, level, view))
            for level in view_levels(geometry, levels, view)
        ]
    if wish is not None:
        wished = [level for level in levels if wish.levels is None or level in wish.levels]
        parts += [(level, tiles_in(geometry, level, wish.roi)) for level in reversed(wished)]
    open_ = {level: states[level] == State.MISSING for level in states}
    groups = []
    for level, mask in parts:
        groups.append((level, mask & open_[level]))
        open_[level] = open_[level] & ~mask
    return sum(int(mask.sum()) for _, mask in groups), _by_closeness(geometry, groups, view)


def _by_closeness(
    geometry: TileGeometry, groups: Sequence[tuple[int, np.ndarray]], view: Region | None
) -> Iterator[TileId]:
    for level, mask in groups:
        places = np.argwhere(mask)
        if view is not None and len(places):
            middle = np.array([view.row0 + view.row1, view.col0 + view.col1]) / 2 / (1 << level)
            centres = places * geometry.step + geometry.tile / 2
            distances = np.square(centres - middle).sum(1)
            places = places[np.argsort(distances, kind="stable")]
        for row, col in places.tolist():
            yield TileId(level, row, col)
