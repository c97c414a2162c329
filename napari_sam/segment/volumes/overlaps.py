"""What the objects of neighbouring slices have in common, measured pair of slices by pair."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .slices import Kept

__all__ = ["Overlaps", "measure_overlaps"]


@dataclass(frozen=True, eq=False)
class Overlaps:
    """The objects of all slices, and which of them lie over each other.

    Objects are numbered slice by slice, in each in the order of its labels.

    Parameters
    ----------
    count : int
        How many slices there are.
    slices : (n,) ndarray
        int32, in which slice each object is.
    areas : (n,) ndarray
        int64, pixels.
    centroids : (n, 2) ndarray
        float64, (row, col).
    predicted_ious : (n,) ndarray
        float32.
    below, above : (m,) ndarray
        int64, pairs of objects: `below` in the slice with the lower number.
    common : (m,) ndarray
        int64, pixels that they share when one is laid on the other.
    """

    count: int
    slices: np.ndarray
    areas: np.ndarray
    centroids: np.ndarray
    predicted_ious: np.ndarray
    below: np.ndarray
    above: np.ndarray
    common: np.ndarray

    def __len__(self) -> int:
        return len(self.slices)

    @cached_property
    def firsts(self) -> np.ndarray:
        """The first object of each slice, and after the last one how many there are."""
        return np.searchsorted(self.slices, np.arange(self.count + 1))

    @cached_property
    def steps(self) -> np.ndarray:
        """How many slices each pair lies apart."""
        return self.slices[self.above] - self.slices[self.below]

    @cached_property
    def scores(self) -> np.ndarray:
        """How much each pair is one object, 0 to 1: mean of IoU and of what the smaller one shares.

        The IoU alone would end a ball where it gets narrow fast, as it does in thick slices.
        """
        one, other = self.areas[self.below], self.areas[self.above]
        iou = self.common / (one + other - self.common)
        return (iou + self.common / np.minimum(one, other)) / 2


def measure_overlaps(slices: Kept, gap: int) -> Overlaps:
    """Measure all pairs that are at most ``gap + 1`` slices apart; reads each slice once.

    Examples
    --------
    >>> from napari_sam.segment.volumes.slices import Kept, Slice
    >>> planes = [np.array([[5, 5, 0]]), np.array([[0, 7, 7]])]
    >>> found = measure_overlaps(Kept(lambda z: Slice.of(planes[z]), 2), gap=0)
    >>> found.below, found.above, found.common
    (array([0]), array([1]), array([1]))
    """
    near: list[tuple[np.ndarray, int, int]] = []  # labels, first object, how many
    numbers, areas, centroids, ious = [], [], [], []
    pairs: list[np.ndarray] = []
    first = 0
    for number in range(len(slices)):
        found = slices[number]
        numbers.append(np.full(len(found), number, np.int32))
        areas.append(found.areas())
        centroids.append(found.centroids())
        ious.append(found.predicted_ious)
        for labels, start, count in near:
            if count and len(found):
                pairs.append(_shared(labels, count, found.labels, len(found), start, first))
        near = [*near, (found.labels, first, len(found))][-(gap + 1) :]
        first += len(found)
    below, above, common = np.concatenate([*pairs, np.zeros((0, 3), np.int64)]).T
    order = np.lexsort((above, below))
    return Overlaps(
        len(slices),
        np.concatenate([*numbers, np.zeros(0, np.int32)]),
        np.concatenate([*areas, np.zeros(0, np.int64)]),
        np.concatenate([*centroids, np.zeros((0, 2))]),
        np.concatenate([*ious, np.zeros(0, np.float32)]),
        below[order],
        above[order],
        common[order],
    )


def _shared(
    one: np.ndarray, ones: int, other: np.ndarray, others: int, first: int, second: int
) -> np.ndarray:
    """Count the pixels that the objects of two slices share: (m, 3) of object, object, pixels."""
    both = (one > 0) & (other > 0)
    codes = (one[both].astype(np.int64) - 1) * others + (other[both].astype(np.int64) - 1)
    if ones * others <= 4 * one.size:
        counts = np.bincount(codes, minlength=1)
        found = np.flatnonzero(counts)
        common = counts[found]
    else:
        found, common = np.unique(codes, return_counts=True)
    return np.stack([found // others + first, found % others + second, common], axis=1)
