"""Sets of pixels as runs along rows: as small as their boundary is long, wherever they lie.

A run is its first pixel and the one after its last. Pixels are numbered row * 2**32 + column, so
that no run reaches from one row into the next, and two sets are compared by merging their sorted
ends, without drawing them.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from napari_sam.segment.objects import MaskLike
from napari_sam.tiles.regions import Region

__all__ = ["NOTHING", "Runs", "runs_by_value"]

_BITS = 32
_COLUMN = (1 << _BITS) - 1


@dataclass(frozen=True, eq=False)
class Runs:
    """A set of pixels. It is itself a mask in the sense of `MaskLike`.

    Parameters
    ----------
    edges : (2 n,) ndarray
        int64, strictly ascending: where each run begins and where it ends.

    Examples
    --------
    >>> one = Runs.of_mask(np.ones((2, 3), bool), row=4, col=1)
    >>> other = Runs.of_mask(np.ones((1, 1), bool), row=5, col=2)
    >>> one.area, (one - other).area, (one & other).box
    (6, 5, Region(row0=5, col0=2, row1=6, col1=3))
    >>> (one - other).mask.astype(int)
    array([[1, 1, 1],
           [1, 0, 1]])
    """

    edges: np.ndarray

    @classmethod
    def of_mask(cls, mask: np.ndarray, row: int = 0, col: int = 0) -> Runs:
        """Return the pixels of a bool array whose first pixel lies at a place."""
        padded = np.zeros((mask.shape[0], mask.shape[1] + 2), bool)
        padded[:, 1:-1] = mask
        rows, cols = np.nonzero(padded[:, 1:] != padded[:, :-1])
        return cls(((rows.astype(np.int64) + row) << _BITS) + cols + col)

    @classmethod
    def of(cls, mask: MaskLike) -> Runs:
        """Return the pixels of any mask."""
        if isinstance(mask, Runs):
            return mask
        return cls.of_mask(np.asarray(mask.mask, bool), int(mask.row), int(mask.col))

    @classmethod
    def of_ends(cls, starts: np.ndarray, stops: np.ndarray) -> Runs:
        """Join runs that are sorted by where they begin; they may touch or overlap."""
        if not len(starts):
            return NOTHING
        reach = np.maximum.accumulate(stops)
        apart = starts[1:] > reach[:-1]
        edges = np.empty((1 + np.count_nonzero(apart), 2), np.int64)
        edges[:, 0] = starts[np.append(True, apart)]
        edges[:, 1] = reach[np.append(apart, True)]
        return cls(edges.reshape(-1))

    def __bool__(self) -> bool:
        return bool(self.edges.size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Runs) and np.array_equal(self.edges, other.edges)

    def __hash__(self) -> int:
        return hash(self.edges.tobytes())

    @cached_property
    def area(self) -> int:
        """Number of pixels."""
        return int((self.edges[1::2] - self.edges[::2]).sum())

    @cached_property
    def box(self) -> Region:
        """The smallest rectangle around it; of no pixels for an empty set."""
        if not self:
            return Region(0, 0, 0, 0)
        return Region(
            int(self.edges[0] >> _BITS),
            int((self.edges[::2] & _COLUMN).min()),
            int(self.edges[-1] >> _BITS) + 1,
            int((self.edges[1::2] & _COLUMN).max()),
        )

    @property
    def row(self) -> int:
        """First row."""
        return self.box.row0

    @property
    def col(self) -> int:
        """First column."""
        return self.box.col0

    @property
    def mask(self) -> np.ndarray:
        """Bool (row, col), within `box`."""
        return self.within(self.box)

    @property
    def centroid(self) -> tuple[float, float]:
        """(row, col), the mean position."""
        rows, starts, stops = self.parts()
        lengths = stops - starts
        middles = (starts + stops - 1) / 2
        return float((rows @ lengths) / self.area), float((middles @ lengths) / self.area)

    def parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return row, first column and column after the last of each run."""
        starts, stops = self.edges[::2], self.edges[1::2]
        return starts >> _BITS, starts & _COLUMN, stops & _COLUMN

    def within(self, region: Region) -> np.ndarray:
        """Draw what lies in a rectangle: bool, of its shape."""
        drawn = np.zeros(region.shape, bool)
        self.clip(region).paint(drawn, region, True)
        return drawn

    def paint(self, image: np.ndarray, region: Region, value: int) -> None:
        """Write a value to all its pixels in a contiguous image of a rectangle that holds them."""
        rows, starts, stops = self.parts()
        lengths = stops - starts
        first = (rows - region.row0) * region.shape[1] + starts - region.col0
        before = np.cumsum(lengths) - lengths
        image.reshape(-1)[np.repeat(first - before, lengths) + np.arange(lengths.sum())] = value

    def holds(self, row: int, col: int) -> bool:
        """Tell whether a pixel belongs to it."""
        return bool(np.searchsorted(self.edges, (row << _BITS) + col, "right") % 2)

    def in_rows(self, row0: int, row1: int) -> np.ndarray:
        """Return the edges of the runs in some rows, the last one exclusive."""
        first, last = np.searchsorted(self.edges, [row0 << _BITS, row1 << _BITS])
        return self.edges[first:last]

    def clip(self, region: Region) -> Runs:
        """Return what lies in a rectangle."""
        if self.box in region:
            return self
        part = self.in_rows(region.row0, region.row1)
        rows = part[::2] >> _BITS << _BITS
        starts = np.maximum(part[::2], rows + region.col0)
        stops = np.minimum(part[1::2], rows + region.col1)
        some = starts < stops
        return Runs(np.stack([starts[some], stops[some]], axis=1).reshape(-1))

    def scaled(self, level: int) -> Runs:
        """Return the pixels of level 0 that those of a coarser level cover."""
        if not level:
            return self
        rows, starts, stops = self.parts()
        step = 1 << level
        order = np.lexsort((np.tile(starts, step), down := _each(rows, step)))
        begin = down[order] << _BITS
        starts, stops = (np.tile(ends << level, step)[order] for ends in (starts, stops))
        return Runs.of_ends(begin + starts, begin + stops)

    def grown(self) -> Runs:
        """Return it with all pixels that touch it, corners too."""
        rows, starts, stops = self.parts()
        found = NOTHING
        for shift in (-1, 0, 1):
            some = rows + shift >= 0
            begin = (rows[some] + shift) << _BITS
            found |= Runs.of_ends(begin + np.maximum(starts[some] - 1, 0), begin + stops[some] + 1)
        return found

    def components(self) -> list[Runs]:
        """Return the parts that are connected by sides, the largest first."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        starts, stops = self.edges[::2], self.edges[1::2]
        below = 1 << _BITS
        first = np.searchsorted(stops, starts + below, "right")
        counts = np.maximum(np.searchsorted(starts, stops + below, "left") - first, 0)
        one = np.repeat(np.arange(len(starts)), counts)
        other = np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        pairs = coo_array((np.ones(len(one), bool), (one, other)), shape=(len(starts),) * 2)
        number, parts = connected_components(pairs, directed=False)
        order = np.argsort(parts, kind="stable")
        ends = np.cumsum(np.bincount(parts, minlength=number))[:-1]
        found = [
            Runs(np.stack([starts[chosen], stops[chosen]], axis=1).reshape(-1))
            for chosen in np.split(order, ends)
        ]
        return sorted(found, key=lambda part: (-part.area, int(part.edges[0])))

    def __or__(self, other: Runs) -> Runs:
        if not self or not other:
            return self or other
        return self._changed(other, np.array([False, True, True, True]))

    def __sub__(self, other: Runs) -> Runs:
        if not self or not other:
            return self
        return self._changed(other, np.array([False, True, False, False]))

    def __and__(self, other: Runs) -> Runs:
        if not self or not other or not (self.box & other.box).area:
            return NOTHING
        ours = self.in_rows(other.box.row0, other.box.row1)
        return Runs(_merge(ours, other.edges, np.array([False, False, False, True])))

    def to_json(self) -> dict[str, Any]:
        """Return it as docs/session.md describes a mask."""
        box = self.box
        rows, starts, stops = self.parts()
        ends = np.stack([starts, stops], axis=1) - box.col0
        ends += ((rows - box.row0) * box.shape[1])[:, None]
        counts = np.diff(ends.reshape(-1), prepend=0).astype("<i8")
        packed = base64.b64encode(zlib.compress(counts.tobytes(), 1)).decode()
        return {"at": [box.row0, box.col0], "size": list(box.shape), "counts": packed}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Runs:
        """Read what `to_json` gave.

        Raises
        ------
        ValueError, KeyError, TypeError
            If it is something else.
        """
        row, col = saved["at"]
        width = max(1, saved["size"][1])
        packed = base64.b64decode(saved["counts"], validate=True)
        try:
            counts = np.frombuffer(zlib.decompress(packed), "<i8").astype(np.int64)
        except zlib.error as error:
            raise ValueError(f"a mask is damaged ({error})") from error
        starts, lengths = np.cumsum(counts)[::2], counts[1::2]
        if len(starts) != len(lengths):
            raise ValueError("a mask ends within a run")
        begin = ((starts // width + row) << _BITS) + starts % width + col
        return cls(np.stack([begin, begin + lengths], axis=1).reshape(-1))

    def _changed(self, other: Runs, wanted: np.ndarray) -> Runs:
        """Merge with another set where that has rows; all else stays."""
        rows = [other.box.row0 << _BITS, other.box.row1 << _BITS]
        first, last = np.searchsorted(self.edges, rows)
        merged = _merge(self.edges[first:last], other.edges, wanted)
        return Runs(np.concatenate([self.edges[:first], merged, self.edges[last:]]))


def _each(rows: np.ndarray, step: int) -> np.ndarray:
    """Return the rows of level 0 of each row: the first of all, then the second of all, ..."""
    return np.add.outer(np.arange(step), rows * step).reshape(-1)


NOTHING = Runs(np.zeros(0, np.int64))


def _merge(one: np.ndarray, other: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the ends of the runs of a combination.

    `wanted` says what belongs to it: that in neither, in one, in the other, in both.
    """
    keys = np.concatenate([one, other])
    toggles = np.repeat(np.array([1, 2], np.uint8), [len(one), len(other)])
    order = np.argsort(keys, kind="stable")
    keys, inside = keys[order], np.bitwise_xor.accumulate(toggles[order])
    last = np.append(keys[1:] != keys[:-1], True)
    keys, belongs = keys[last], wanted[inside[last]]
    return keys[belongs != np.append(False, belongs[:-1])]


def runs_by_value(
    block: np.ndarray, row: int, col: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the runs of a block of labels: their values, where they begin and where they end.

    Parameters
    ----------
    block : ndarray
        Integers (row, col); 0 is background.
    row, col : int
        Where its first pixel lies.
    """
    padded = np.zeros((block.shape[0], block.shape[1] + 2), block.dtype)
    padded[:, 1:-1] = block
    rows, cols = np.nonzero(padded[:, 1:] != padded[:, :-1])
    values = padded[rows, cols + 1]
    begins = np.flatnonzero(values)
    keys = ((rows.astype(np.int64) + row) << _BITS) + cols + col
    return values[begins], keys[begins], keys[begins + 1] if begins.size else keys[:0]
