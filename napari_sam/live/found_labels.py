"""What was found, as a label image of all levels of which only what is looked at is painted."""

from __future__ import annotations

import threading

import numpy as np

from napari_sam.scenes.pyramid import halved
from napari_sam.segment.everything import FoundObjects
from napari_sam.tiles.regions import Region

__all__ = ["FoundLevel", "found_levels", "paint_found"]

_KEPT = 1024
"""A level that is no longer and no wider is painted once, and kept."""


class FoundLevel:
    """One level of a label image.

    Parameters
    ----------
    found : FoundObjects
        What to paint.
    level : int
        Which.
    lock : lock
        Held while masks are read: those of one search belong together.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns.
    """

    def __init__(self, found: FoundObjects, level: int, lock: threading.Lock) -> None:
        self._found, self._level, self._lock = found, level, lock
        self.shape = halved(found.shape, level)
        self._kept: np.ndarray | None = None

    def paint(self, region: Region) -> np.ndarray:
        """Paint a rectangle, in pixels of the level: uint32 ids, 0 where there is no object."""
        if max(self.shape) > _KEPT:
            return self._paint(region)
        if self._kept is None:
            self._kept = self._paint(Region(0, 0, *self.shape))
        return self._kept[region.rows, region.cols]

    def _paint(self, region: Region) -> np.ndarray:
        with self._lock:
            return paint_found(self._found, region, self._level)


def found_levels(found: FoundObjects, lock: threading.Lock) -> list[FoundLevel]:
    """Return all levels, from full resolution to the first that fits into a window; two at least.

    Parameters
    ----------
    found : FoundObjects
        What to paint.
    lock : lock
        Of the search; see `FoundLevel`.
    """
    levels = [FoundLevel(found, 0, lock), FoundLevel(found, 1, lock)]
    while max(levels[-1].shape) > _KEPT:
        levels.append(FoundLevel(found, len(levels), lock))
    return levels


def paint_found(found: FoundObjects, region: Region, level: int = 0) -> np.ndarray:
    """Paint a rectangle of a level; smaller objects lie in front of larger ones.

    Parameters
    ----------
    found : FoundObjects
        All of them.
    region : Region
        In pixels of the level.
    level : int
        A pixel of a coarser one is the upper left of those it covers.

    Returns
    -------
    ndarray
        uint32, of the region's shape: ids, 0 where there is no object.
    """
    labels = np.zeros(region.shape, np.uint32)
    # The pixels of this level that lie in each box: the first, and the one after the last.
    boxes = -(-found.boxes >> level)
    inside = (boxes[:, :2] < (region.row1, region.col1)).all(1)
    inside &= (boxes[:, 2:] > (region.row0, region.col0)).all(1)
    chosen = np.flatnonzero(inside)
    order = chosen[np.lexsort((-chosen, -found.areas[chosen]))]
    corners = (region.row0, region.col0, region.row1, region.col1)
    low = np.maximum(boxes[:, :2], corners[:2])
    high = np.minimum(boxes[:, 2:], corners[2:])
    for index in order.tolist():
        (row0, col0), (row1, col1) = low[index].tolist(), high[index].tolist()
        if row0 >= row1 or col0 >= col1:
            continue
        own, (top, left) = int(found.levels[index]), found.boxes[index, :2].tolist()
        down = ((np.arange(row0, row1) << level) - top) >> own
        across = ((np.arange(col0, col1) << level) - left) >> own
        part = labels[
            row0 - region.row0 : row1 - region.row0, col0 - region.col0 : col1 - region.col0
        ]
        part[found.mask(index)[np.ix_(down, across)]] = index + 1
    return labels
