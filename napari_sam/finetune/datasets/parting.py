"""Which groups, pictures or blocks are kept away from training: chosen the same way every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import ndimage

from .blocks import HOLD_OUT, TRAIN, Blocks
from .crops import levels_of

__all__ = ["choose_blocks", "choose_units"]

CROPS = 4
"""Held out at least, where that leaves most for training: fewer hardly tell models apart."""

_MOST = 0.4
"""Of all units or blocks, that are taken to come to `CROPS`; and of objects, to come to a share."""

_WIDE, _LITTLE = 512, 0.05
"""Pixels along a block, and part of the objects that may lie across borders, for blocks to be
spread over the scene: what lies beside a small one is too much like it."""


def choose_units(
    objects: Sequence[int], crops: Sequence[int], share: float, seed: int = 0, least: int = CROPS
) -> list[int]:
    """Choose whole units, which are groups or pictures.

    Parameters
    ----------
    objects : sequence of int
        How many each has.
    crops : sequence of int
        How many each gives.
    share : float
        Of all objects, that is wanted.
    seed : int
        Of the order in which they are looked at.
    least : int
        How many crops there should be, where there are enough.

    Returns
    -------
    list of int
        Which; at least one, and never most.

    Examples
    --------
    >>> choose_units([10] * 12, [1] * 12, 0.25)
    [2, 4, 7, 9]
    """
    count = len(objects)
    total, wanted = sum(objects), min(least, max(1, int(_MOST * sum(crops))))
    most = max(1, int(_MOST * count))
    chosen: list[int] = []
    have = shown = 0
    for unit in np.random.default_rng(seed).permutation(count).tolist():
        if len(chosen) == most or (have >= share * total and shown >= wanted):
            break
        if have + objects[unit] <= max(share, _MOST) * total:
            chosen.append(unit)
            have, shown = have + objects[unit], shown + crops[unit]
    return sorted(chosen) or [int(np.argmin(objects))]


def choose_blocks(
    blocks: Blocks,
    boxes: np.ndarray,
    share: float,
    part: int = HOLD_OUT,
    seed: int = 0,
    least: int = CROPS,
) -> Blocks:
    """Give blocks that are for training to another part.

    They are spread over the scene where blocks are large and few objects lie across their borders;
    else they are one end of it, that at which the fewest do.

    Parameters
    ----------
    blocks : Blocks
        Of one scene.
    boxes : (n, 4) array
        Around its objects.
    share : float
        Of the objects, that is wanted.
    part : int
        What the blocks are to be for.
    seed : int
        Of the choice.
    least : int
        How many blocks there should be, where there are enough.

    Returns
    -------
    Blocks
        The same, if no choice leaves objects in both parts.
    """
    counts = blocks.counts(boxes)
    free = np.argwhere((counts > 0) & (blocks.parts == TRAIN))
    wanted = min(least, max(1, int(_MOST * len(free))))
    total = int(counts[tuple(free.T)].sum())
    levels = levels_of(boxes)
    best, best_cost = blocks, np.inf
    for spread, order in _orders(free, seed):
        parts = blocks.parts.copy()
        taken = _first(counts[tuple(free[order].T)], share * total, wanted)
        parts[tuple(free[order[:taken]].T)] = part
        # Blocks without objects follow the nearest that has some; others stay what they are.
        follow = (blocks.parts == TRAIN) & (_filled(parts, counts > 0) == part)
        tried = blocks.with_parts(np.where(follow, part, blocks.parts))
        kept, own = ~tried.crossing(boxes), tried.parts_of(boxes)
        inside, left = (
            np.count_nonzero(kept & (own == part)),
            np.count_nonzero(kept & (own == TRAIN)),
        )
        if not inside or not left:
            continue
        # Large objects are few and the first to lie across borders: each level counts the same.
        lost = 1 - float(np.mean([kept[levels == level].mean() for level in np.unique(levels)]))
        if spread:
            if lost <= _LITTLE and blocks.side >= _WIDE:
                return tried
            continue
        cost = lost + abs(inside / max(1, total) - share)
        if cost < best_cost:
            best, best_cost = tried, cost
    return best


def _orders(places: np.ndarray, seed: int) -> Iterator[tuple[bool, np.ndarray]]:
    """Give orders in which blocks may be taken: spread over the scene, then from each end."""
    rng = np.random.default_rng(seed)
    yield True, rng.permutation(len(places))
    rows, cols = places.T
    ends = [(cols, rows), (cols, -rows), (rows, cols), (rows, -cols)]
    for end in rng.permutation(len(ends)):
        yield False, np.lexsort(ends[end])


def _first(counts: np.ndarray, wanted: float, least: int) -> int:
    """Return how many blocks to take of some that have so many objects each."""
    have = np.cumsum(counts)
    enough = int(np.searchsorted(have, wanted)) + 1
    most = int(np.searchsorted(have, max(wanted, _MOST * have[-1]), "right")) if len(have) else 0
    return max(1, min(max(enough, least), most, len(counts) - 1))


def _filled(parts: np.ndarray, occupied: np.ndarray) -> np.ndarray:
    """Give each block without objects to the part of the nearest one that has some."""
    _, (rows, cols) = ndimage.distance_transform_edt(~occupied, return_indices=True)
    return parts[rows, cols]
