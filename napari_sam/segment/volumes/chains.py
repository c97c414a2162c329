"""Objects of slices linked into chains, each of at most one object of a slice.

Links are made from the surest on, first between neighbouring slices, then across gaps of one slice,
of two and so on, where both ends are still free. A chain is cut where it has a neck: where two
balls touch tip to tip nothing else shows that they are two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter

from .overlaps import Overlaps

__all__ = ["Chains", "link"]

_TREMBLE = 3.0
"""Pixels by which a neck's radius is less at least: borders are found to a pixel or two."""


@dataclass(frozen=True, eq=False)
class Chains:
    """Which objects follow each other.

    Parameters
    ----------
    members : tuple of ndarray
        For each chain its objects, from the lowest slice up; chains in the order of their first.
    chain_of : (n,) ndarray
        int64, for each object its chain.
    """

    members: tuple[np.ndarray, ...]
    chain_of: np.ndarray

    def __len__(self) -> int:
        return len(self.members)


def link(overlaps: Overlaps, least: float, neck: float) -> Chains:
    """Link the objects of slices.

    Parameters
    ----------
    overlaps : Overlaps
        Of all slices.
    least : float
        Pairs with a lower score are not linked.
    neck : float
        A chain is cut where its area is less than this share of what it is on both sides.
    """
    count = len(overlaps)
    after, before = np.full(count, -1), np.full(count, -1)
    good = np.flatnonzero(overlaps.scores >= least)
    order = np.lexsort((good, -overlaps.scores[good], overlaps.steps[good]))
    for pair in good[order].tolist():
        one, other = int(overlaps.below[pair]), int(overlaps.above[pair])
        if after[one] < 0 and before[other] < 0:
            after[one], before[other] = other, one
    members: list[np.ndarray] = []
    for first in np.flatnonzero(before < 0).tolist():
        nodes = [first]
        while (following := int(after[nodes[-1]])) >= 0:
            nodes.append(following)
        members += _without_necks(np.array(nodes), overlaps.areas, neck)
    members.sort(key=lambda chain: int(chain[0]))
    chain_of = np.empty(count, np.int64)
    for number, chain in enumerate(members):
        chain_of[chain] = number
    return Chains(tuple(members), chain_of)


def _without_necks(chain: np.ndarray, areas: np.ndarray, neck: float) -> list[np.ndarray]:
    """Cut a chain at its necks.

    One slice in which a part of the object was missed is no neck: areas are the medians of three.

    Examples
    --------
    >>> areas = 100 * np.array([4, 9, 9, 4, 1, 1, 4, 9, 9, 1, 9, 9])
    >>> [part.tolist() for part in _without_necks(np.arange(12), areas, 0.5)]
    [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10, 11]]
    """
    smooth = median_filter(areas[chain], 3, mode="nearest")
    left = np.maximum.accumulate(smooth)
    right = np.maximum.accumulate(smooth[::-1])[::-1]
    narrow = smooth / np.minimum(left, right)
    radii = np.sqrt(np.minimum(left, right) / np.pi) - np.sqrt(smooth / np.pi)
    narrow[radii < _TREMBLE] = 1.0
    start = int(np.argmin(narrow))
    if narrow[start] >= neck:
        return [chain]
    stop = start
    while smooth[stop + 1] == smooth[start]:
        stop += 1
    cut = (start + stop) // 2 + 1
    return [
        *_without_necks(chain[:cut], areas, neck),
        *_without_necks(chain[cut:], areas, neck),
    ]
