"""The slices of a volume painted with its objects: parts divided, missing ones put in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from napari_sam.tiles.regions import Region

from .branches import Joined
from .overlaps import Overlaps
from .slices import Kept

__all__ = ["paint_slices"]


def paint_slices(slices: Kept, overlaps: Overlaps, joined: Joined) -> Iterator[np.ndarray]:
    """Give the slices, one after the other.

    What is missing in a slice is put in where nothing else is: halfway between what the object is
    below and above, in the sense of the distance from its border.

    Yields
    ------
    (row, col) ndarray
        uint32, 0 or the object's number + 1.
    """
    firsts = overlaps.firsts
    for number in range(len(slices)):
        labels, first = slices[number].labels, int(firsts[number])
        own = joined.object_of[first : int(firsts[number + 1])]
        painted = np.concatenate([[0], own + 1]).astype(np.uint32)[labels]
        for node in range(first, int(firsts[number + 1])):
            if node in joined.claims:
                _divide(painted, slices, overlaps, joined, node)
        for below, above in joined.missing.get(number, ()):
            _put_in(painted, slices, overlaps, joined, below, above, number)
        yield painted


def _divide(
    painted: np.ndarray, slices: Kept, overlaps: Overlaps, joined: Joined, node: int
) -> None:
    """Give each pixel of an object to whom it is nearest, in slices where they lie apart."""
    whose = int(joined.object_of[node])
    claims = [c for c in joined.claims[node] if joined.chain_objects[c.chain] != whose]
    if not claims:
        return
    part, mask = _mask(slices, overlaps, node)
    distances = [_distance(slices, overlaps, claim.seed, part) for claim in claims]
    seeds = {claim.own for claim in claims if claim.own >= 0}
    # Where nothing tells what the rest was, it is what nobody claims.
    rest = [_distance(slices, overlaps, seed, part) for seed in sorted(seeds)]
    rest = rest or [np.full(part.shape, 1.0)]
    nearest = np.argmin(np.stack([np.min(rest, axis=0), *distances]), axis=0)
    owners = np.array([whose, *(joined.chain_objects[claim.chain] for claim in claims)])
    window = painted[part.rows, part.cols]
    window[mask] = owners[nearest][mask] + 1


def _put_in(
    painted: np.ndarray,
    slices: Kept,
    overlaps: Overlaps,
    joined: Joined,
    below: int,
    above: int,
    number: int,
) -> None:
    """Put in what is missing between two objects, where the slice is free."""
    regions = [_mask(slices, overlaps, node)[0] for node in (below, above)]
    part = Region(
        min(r.row0 for r in regions),
        min(r.col0 for r in regions),
        max(r.row1 for r in regions),
        max(r.col1 for r in regions),
    )
    low, high = int(overlaps.slices[below]), int(overlaps.slices[above])
    share = (number - low) / (high - low)
    depth = (1 - share) * _depth(slices, overlaps, below, part)
    depth += share * _depth(slices, overlaps, above, part)
    window = painted[part.rows, part.cols]
    window[(depth > 0) & (window == 0)] = joined.object_of[below] + 1


def _mask(slices: Kept, overlaps: Overlaps, node: int) -> tuple[Region, np.ndarray]:
    """Return where an object of a slice lies, and its mask there."""
    labels, label = _labels(slices, overlaps, node)
    there = labels == label
    rows, cols = (np.flatnonzero(there.any(axis)) for axis in (1, 0))
    part = Region(int(rows[0]), int(cols[0]), int(rows[-1]) + 1, int(cols[-1]) + 1)
    return part, there[part.rows, part.cols]


def _labels(slices: Kept, overlaps: Overlaps, node: int) -> tuple[np.ndarray, int]:
    number = int(overlaps.slices[node])
    return slices[number].labels, node - int(overlaps.firsts[number]) + 1


def _distance(slices: Kept, overlaps: Overlaps, node: int, part: Region) -> np.ndarray:
    """Return how far each pixel of a part of the slice is from an object of another slice."""
    from scipy.ndimage import distance_transform_edt

    where, mask = _mask(slices, overlaps, node)
    both = Region(
        min(part.row0, where.row0),
        min(part.col0, where.col0),
        max(part.row1, where.row1),
        max(part.col1, where.col1),
    )
    away = np.ones(both.shape, bool)
    inside = where.within(both)
    away[inside.rows, inside.cols] = ~mask
    asked = part.within(both)
    return distance_transform_edt(away)[asked.rows, asked.cols]


def _depth(slices: Kept, overlaps: Overlaps, node: int, part: Region) -> np.ndarray:
    """Return how deep in an object each pixel lies; less than 0 outside."""
    from scipy.ndimage import distance_transform_edt

    labels, label = _labels(slices, overlaps, node)
    mask = np.pad(labels[part.rows, part.cols] == label, 1)
    depth = distance_transform_edt(mask) - distance_transform_edt(~mask)
    return (depth - np.where(mask, 0.5, -0.5))[1:-1, 1:-1]
