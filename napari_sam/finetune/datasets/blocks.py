"""A scene cut into blocks, each of which belongs wholly to one part of a dataset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from napari_sam.tiles.regions import Region

__all__ = ["HOLD_OUT", "TRAIN", "VALIDATION", "Blocks", "one_block", "plan_blocks"]

TRAIN, VALIDATION, HOLD_OUT = range(3)
"""What a block is for. Of two neighbours the one with the lower number keeps the gap."""

WANTED = 16
"""Blocks with objects: a quarter of them are four to be held out."""

_LARGE, _WANTED_LARGE = 2048, 64
"""Where blocks are larger, so many: what is held out then comes from more of the scene."""

_SIDES = (64, 128)
"""The smallest blocks, of pictures that are shorter than `_TINY`, and of others."""

_TINY = 512

_MOST = 512
"""Blocks along a side; those of a scene in which few objects lie far apart become no smaller."""

_ROOM = 256
"""Pixels around all objects that may be shown beside them."""

_TRIED = 16
"""Places to either side of an even one where a block might begin instead."""

_GAP, _LEAST_GAP, _MOST_GAP = 16, 2, 64
"""A block's side is so many times the gap between it and blocks of another part; in pixels."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """A grid over the part of a scene where objects are outlined.

    Parameters
    ----------
    rows, cols : (n + 1,) int64 arrays
        Where the blocks begin, in pixels of level 0; the last entry is where the last one ends.
    gap : int
        Pixels that are left out between blocks of different parts.
    parts : (n_rows, n_cols) int8 array
        What each is for.
    """

    rows: np.ndarray
    cols: np.ndarray
    gap: int
    parts: np.ndarray

    @property
    def extent(self) -> Region:
        """What the grid covers."""
        return Region(int(self.rows[0]), int(self.cols[0]), int(self.rows[-1]), int(self.cols[-1]))

    @property
    def side(self) -> float:
        """Pixels along a block, on average along the shorter sides."""
        return float(min(np.diff(self.rows).mean(), np.diff(self.cols).mean()))

    def with_parts(self, parts: np.ndarray) -> Blocks:
        """Return the same blocks for other parts."""
        return replace(self, parts=parts.astype(np.int8))

    def block(self, row: int, col: int) -> Region:
        """Return a block by its place in the grid."""
        rows, cols = self.rows, self.cols
        return Region(int(rows[row]), int(cols[col]), int(rows[row + 1]), int(cols[col + 1]))

    def at(self, boxes: np.ndarray) -> np.ndarray:
        """Return the place in the grid of the middle of each box.

        Parameters
        ----------
        boxes : (n, 4) array
            (row0, col0, row1, col1), the ends exclusive.

        Returns
        -------
        (n, 2) int64 array
        """
        middles = (boxes[:, :2] + boxes[:, 2:] - 1) // 2
        return np.stack(
            [_place(self.rows, middles[:, 0]), _place(self.cols, middles[:, 1])], axis=1
        )

    def counts(self, boxes: np.ndarray) -> np.ndarray:
        """Count the objects whose middle lies in each block."""
        found = np.zeros(self.parts.shape, np.int64)
        np.add.at(found, tuple(self.at(boxes).T), 1)
        return found

    def parts_of(self, boxes: np.ndarray) -> np.ndarray:
        """Return the part in which the middle of each box lies."""
        return self.parts[tuple(self.at(boxes).T)]

    def crossing(self, boxes: np.ndarray) -> np.ndarray:
        """Tell which boxes reach into a block of another part, or into the gap before it.

        Returns
        -------
        (n,) bool array
        """
        own = self.parts_of(boxes)
        found = np.zeros(len(boxes), bool)
        for part in (TRAIN, VALIDATION, HOLD_OUT):
            found |= (own != part) & self._meets(boxes, part, own)
        return found

    def others(self, part: int, region: Region) -> list[Region]:
        """Return blocks of other parts that meet a rectangle, grown where the gap is to be kept."""
        gap = self.gap
        row0, row1 = _place(self.rows, np.array([region.row0 - gap, region.row1 - 1 + gap]))
        col0, col1 = _place(self.cols, np.array([region.col0 - gap, region.col1 - 1 + gap]))
        found = []
        for row in range(row0, row1 + 1):
            for col in range(col0, col1 + 1):
                other = int(self.parts[row, col])
                if other != part:
                    grown = _grown(self.block(row, col), gap if other > part else 0)
                    if (grown & region).area:
                        found.append(grown)
        return found

    def _meets(self, boxes: np.ndarray, part: int, own: np.ndarray) -> np.ndarray:
        """Tell which boxes, with the gap where they keep it, meet blocks of a part."""
        gaps = np.where(own < part, self.gap, 0)
        row0, row1 = (
            _place(self.rows, boxes[:, 0] - gaps),
            _place(self.rows, boxes[:, 2] - 1 + gaps),
        )
        col0, col1 = (
            _place(self.cols, boxes[:, 1] - gaps),
            _place(self.cols, boxes[:, 3] - 1 + gaps),
        )
        sums = self._sums[part]
        inside = sums[row1 + 1, col1 + 1] - sums[row0, col1 + 1]
        return inside - sums[row1 + 1, col0] + sums[row0, col0] > 0

    @cached_property
    def _sums(self) -> list[np.ndarray]:
        """Of each part, how many of its blocks lie above and left of each corner."""
        return [
            np.pad((self.parts == part).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
            for part in (TRAIN, VALIDATION, HOLD_OUT)
        ]


def plan_blocks(shape: tuple[int, int], boxes: np.ndarray, align: int = 1) -> Blocks:
    """Cut a scene into blocks, as large as gives `WANTED` of them with objects, or the most.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of level 0.
    boxes : (n, 4) array
        Around the objects, n >= 1.
    align : int
        A power of two: blocks begin at multiples of it, so that no pixel of a coarser level shows
        two of them.

    Returns
    -------
    Blocks
        All for training.

    Examples
    --------
    >>> corners = np.stack(np.meshgrid(range(0, 250, 20), range(0, 250, 20)), -1).reshape(-1, 2)
    >>> blocks = plan_blocks((256, 256), np.concatenate([corners, corners + 6], axis=1))
    >>> blocks.parts.shape, blocks.gap, blocks.block(0, 3)
    ((4, 4), 4, Region(row0=0, col0=192, row1=70, col1=256))
    """
    low, high = _extent(shape, boxes, align)
    longest = np.sort((boxes[:, 2:] - boxes[:, :2]).max(1))
    smallest = max(_SIDES[max(shape) >= _TINY], align, int(longest[len(longest) // 2]))
    side = 1 << int(np.ceil(np.log2(max(high - low))))
    best, most = None, 0
    while best is None or (side >= smallest and max(high - low) <= side * _MOST):
        gap = min(_MOST_GAP, max(_LEAST_GAP, side // _GAP))
        rows, cols = (
            _edges(int(low[axis]), int(high[axis]), side, align, gap, boxes[:, axis::2])
            for axis in (0, 1)
        )
        blocks = Blocks(rows, cols, gap, np.zeros((len(rows) - 1, len(cols) - 1), np.int8))
        count = int(np.count_nonzero(blocks.counts(boxes)))
        if best is None or count > most:
            best, most = blocks, count
        if most >= (_WANTED_LARGE if side > _LARGE else WANTED):
            break
        side //= 2
    return best


def one_block(shape: tuple[int, int], boxes: np.ndarray, part: int, align: int = 1) -> Blocks:
    """Return a scene that belongs to one part as a whole; arguments are those of `plan_blocks`."""
    low, high = _extent(shape, boxes, align)
    rows, cols = (np.array(ends, np.int64) for ends in zip(low, high, strict=True))
    return Blocks(rows, cols, 0, np.full((1, 1), part, np.int8))


def _extent(shape: tuple[int, int], boxes: np.ndarray, align: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where the objects begin and end, with some room for what is around them."""
    room = max(_ROOM, align)
    low = np.maximum(boxes[:, :2].min(0) - room, 0) // align * align
    return low, np.minimum(boxes[:, 2:].max(0) + room, shape)


def _edges(first: int, stop: int, side: int, align: int, gap: int, ends: np.ndarray) -> np.ndarray:
    """Cut a length into parts about `side` long, where the fewest objects lie across.

    Parameters
    ----------
    first, stop, side, align, gap : int
        As in `plan_blocks` and `Blocks`, along one side.
    ends : (n, 2) array
        Where the objects begin and end along it.
    """
    count = max(1, round((stop - first) / side))
    even = np.linspace(first, stop, count + 1)[1:-1]
    reach = np.linspace(-side / 4, side / 4, 2 * _TRIED + 1)
    reach = reach[np.argsort(np.abs(reach), kind="stable")]  # of equal ones the most even
    places = np.round((even[:, None] + reach) / align).astype(np.int64) * align
    places = np.clip(places, first, stop)
    begun = np.searchsorted(np.sort(ends[:, 0]), places + gap)
    ended = np.searchsorted(np.sort(ends[:, 1]), places - gap, "right")
    best = np.argmin(begun - ended, axis=1)
    inner = places[np.arange(len(places)), best]
    return np.unique(np.concatenate([[first], inner, [stop]]))


def _place(edges: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return in which block along a side a pixel lies; the outer ones reach on without end."""
    return np.clip(np.searchsorted(edges, at, "right") - 1, 0, len(edges) - 2)


def _grown(region: Region, by: int) -> Region:
    return Region(region.row0 - by, region.col0 - by, region.row1 + by, region.col1 + by)
