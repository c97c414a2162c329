"""From raw candidates to objects: thresholds, duplicates, pieces; arithmetic on arrays only.

1. Candidates below a threshold, and whole ones of another size, are left out; so are those of a
   coarse level that are shorter than what it is made for: a finer one sees them whole, and better.
2. Of duplicates the best stays: of one tile, or both whole. Whole ones come before those that a
   window cuts, those of a level made for their size before others, then the score decides, then
   the finer level and the place in the scene.
3. Pieces of two tiles that agree are one object: what both tiles could see of it is about the same.
4. Pieces, alone or joined, are dropped where a whole mask agrees with them in the same way. This is
   how an object too large for its tiles is taken from a coarser level.
5. Once more duplicates, with the joined masks; joined ones of another size are left out.
6. If no object may lie in another one, the one with the better score stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from napari_sam.errors import InputError

from .candidates import AllCandidates
from .clicking import RawThresholds
from .grid import Grid
from .joining import best_of_each_other, join
from .overlaps import INSIDE, LEAST_EVIDENCE, LEAST_OVERLAP, Pairs

__all__ = ["Group", "Thresholds", "choose", "rank", "suppress", "too_small"]

Group = tuple[int, ...]
"""The candidates of one object."""

OverlapsOf = Callable[[list[Group], np.ndarray], list[tuple[int, int, float, float]]]
"""Takes groups of several candidates, and single candidates. Returns for those that overlap
(group, group) or (group, groups + single), by place; their IoU; how much of the smaller one lies in
the other."""


@dataclass(frozen=True)
class Thresholds:
    """What makes an object of candidates.

    Parameters
    ----------
    predicted_iou, stability : float
        Least values.
    overlap : float
        Greatest IoU of two objects; cut pieces are compared where both tiles see.
    joining : float
        Least agreement of two pieces of one object: their IoU where the windows of both tiles are.
        0.6 is far above what different objects reach that lie side by side, and below what the
        network gives for one object seen from two tiles.
    smallest, largest : float or None
        Sizes in pixels of level 0: an object's size is the side of the square of the same area.
    nested : bool
        False leaves out parts and groups: of an object and one of which nine tenths lie in it the
        one with the greater predicted IoU stays.
    stitch : bool
        False leaves tiles by themselves: duplicates and pieces of several tiles all stay. For
        comparison only.
    """

    predicted_iou: float
    stability: float
    overlap: float = 0.7
    joining: float = 0.6
    smallest: float | None = None
    largest: float | None = None
    nested: bool = True
    stitch: bool = True

    def check(self, raw: RawThresholds) -> None:
        """Refuse what the raw candidates cannot answer.

        Raises
        ------
        InputError
            If they were kept with stricter thresholds.
        """
        for name, least, kept in (
            ("predicted IoU", self.predicted_iou, raw.predicted_iou),
            ("stability", self.stability, raw.stability),
            ("overlap", self.overlap, LEAST_OVERLAP),
            ("agreement of pieces", self.joining, LEAST_OVERLAP),
        ):
            if not kept <= least <= 1:
                raise InputError(
                    f"A threshold of {least:g} for the {name} cannot be used: candidates are kept "
                    f"from {kept:g} on, choose between that and 1."
                )


def choose(
    candidates: AllCandidates,
    pairs: Pairs,
    ranks: np.ndarray,
    blurred: np.ndarray,
    thresholds: Thresholds,
    joined_area: Callable[[Group], int],
    overlaps_of: OverlapsOf,
) -> list[Group]:
    """Find the objects.

    Parameters
    ----------
    candidates, pairs
        All of them.
    ranks : (n,) ndarray
        As `rank` gives them.
    blurred : (n,) bool ndarray
        As `too_small` gives them.
    thresholds : Thresholds
        What is asked for.
    joined_area : callable
        Returns the area of several candidates together, in pixels of level 0.
    overlaps_of : OverlapsOf
        Measures what `pairs` does not tell.

    Returns
    -------
    list of tuple of int
        For each object its candidates; several for a joined one.
    """
    good = candidates.predicted_ious >= np.float32(thresholds.predicted_iou)
    good &= candidates.stabilities >= np.float32(thresholds.stability)
    good &= ~blurred
    low, high = _areas(thresholds)
    cut = candidates.cuts > 0
    # A piece may be smaller than its object, not larger.
    good &= (candidates.areas <= high) & ((candidates.areas >= low) | cut)
    first, second = pairs.first, pairs.second
    there = good[first] & good[second]
    same_tile = candidates.tile_of[first] == candidates.tile_of[second]
    alike = there & (pairs.iou > thresholds.overlap)
    whole = ~cut[first] & ~cut[second]
    comparable = same_tile | whole if thresholds.stitch else same_tile
    alike &= comparable
    kept = suppress(ranks, first[alike], second[alike], good)
    if not thresholds.stitch:
        if not thresholds.nested:
            inside = same_tile & (pairs.evidence >= INSIDE)
            by_score = _places(np.lexsort((ranks, -candidates.predicted_ious)))
            kept = suppress(by_score, first[inside], second[inside], kept)
        return [(index,) for index in np.flatnonzero(kept).tolist()]
    groups = _groups(candidates, pairs, thresholds, cut, kept)
    gone = _represented(pairs, thresholds, cut, kept)
    groups = _not_represented(groups, candidates.areas, gone, kept)
    kept &= ~gone
    return _without_duplicates(
        candidates, pairs, thresholds, kept, groups, ranks, joined_area, overlaps_of
    )


def suppress(
    ranks: np.ndarray, first: np.ndarray, second: np.ndarray, good: np.ndarray
) -> np.ndarray:
    """Keep the best of duplicates, as if the best chose first, then the next, and so on.

    Parameters
    ----------
    ranks : (n,) ndarray
        All different; less is better.
    first, second : (m,) ndarray
        Pairs of duplicates.
    good : (n,) bool ndarray
        Who takes part.

    Returns
    -------
    (n,) bool ndarray
        Those that are no duplicate of a better one that is kept.

    Examples
    --------
    >>> pairs = np.array([0, 1]), np.array([1, 2])
    >>> suppress(np.array([0, 1, 2]), *pairs, np.ones(3, bool))
    array([ True, False,  True])
    """
    swap = ranks[first] > ranks[second]
    better, worse = np.where(swap, second, first), np.where(swap, first, second)
    both = good[better] & good[worse]
    better, worse = better[both], worse[both]
    kept = good.copy()
    while len(better):
        # Those that no better one threatens are sure; what is worse than a sure one goes, with all
        # that it threatened.
        sure = np.ones(len(ranks), bool)
        sure[worse] = False
        kept[worse[sure[better]]] = False
        open_ = kept[better] & kept[worse] & ~sure[better]
        better, worse = better[open_], worse[open_]
    return kept


def _areas(thresholds: Thresholds) -> tuple[float, float]:
    low = 0.0 if thresholds.smallest is None else thresholds.smallest**2
    high = math.inf if thresholds.largest is None else thresholds.largest**2
    return low, high


def rank(candidates: AllCandidates, grid: Grid) -> np.ndarray:
    """Return each candidate's place in the order of who is preferred.

    It does not depend on thresholds, nor on the order in which tiles were done.
    """
    sizes = np.sqrt(candidates.areas)
    unfit = np.ones(len(candidates), bool)
    for level in grid.levels:
        made_for = (sizes >= level.low) & (sizes <= level.high)
        unfit[(candidates.levels == level.level) & made_for] = False
    order = np.lexsort(
        (
            candidates.boxes[:, 3],
            candidates.boxes[:, 2],
            candidates.firsts[:, 1],
            candidates.firsts[:, 0],
            candidates.levels,
            -candidates.predicted_ious,
            unfit,
            candidates.cuts > 0,
        )
    )
    return _places(order)


def too_small(candidates: AllCandidates, grid: Grid) -> np.ndarray:
    """Tell which whole candidates of coarser levels are shorter than what these are made for.

    The finer level sees what is twice as long whole. If it does not find an object, a coarse
    level's click says little: there it is a few pixels, and its mask moves with the tiles.
    """
    lengths = (candidates.boxes[:, 2:] - candidates.boxes[:, :2]).max(1)
    found = np.zeros(len(candidates), bool)
    for level in grid.levels[1:]:
        found |= (candidates.levels == level.level) & (lengths < level.low)
    return found & (candidates.cuts == 0)


def _represented(
    pairs: Pairs, thresholds: Thresholds, cut: np.ndarray, kept: np.ndarray
) -> np.ndarray:
    """Tell which pieces a whole mask stands for."""
    first, second = pairs.first, pairs.second
    agree = kept[first] & kept[second] & (cut[first] != cut[second])
    agree &= pairs.agreement > min(thresholds.overlap, thresholds.joining)
    agree &= pairs.evidence >= LEAST_EVIDENCE
    gone = np.zeros(len(kept), bool)
    gone[np.where(cut[first], first, second)[agree]] = True
    return gone


def _not_represented(
    groups: list[Group], areas: np.ndarray, gone: np.ndarray, kept: np.ndarray
) -> list[Group]:
    """Return the groups that no whole mask stands for, and take the others' pieces out of `kept`.

    A group counts as a whole: it goes if pieces with more than half of its area do.
    """
    left = []
    for group in groups:
        members = np.array(group)
        if 2 * areas[members[gone[members]]].sum() > areas[members].sum():
            kept[members] = False
        else:
            gone[members] = False
            left.append(group)
    return left


def _groups(
    candidates: AllCandidates,
    pairs: Pairs,
    thresholds: Thresholds,
    cut: np.ndarray,
    kept: np.ndarray,
) -> list[Group]:
    """Return the pieces that belong together, two or more each."""
    first, second = pairs.first, pairs.second
    linked = kept[first] & kept[second] & cut[first] & cut[second]
    linked &= candidates.levels[first] == candidates.levels[second]
    linked &= candidates.tile_of[first] != candidates.tile_of[second]
    linked &= (pairs.agreement >= thresholds.joining) & (pairs.evidence >= LEAST_EVIDENCE)
    chosen = np.flatnonzero(linked)
    best = best_of_each_other(
        first[chosen], second[chosen], pairs.agreement[chosen], candidates.tile_of
    )
    links = chosen[best]
    roots = join(len(candidates), first[links], second[links])
    members: dict[int, list[int]] = {}
    for index in np.unique(np.concatenate([first[links], second[links]])).tolist():
        members.setdefault(int(roots[index]), []).append(index)
    return [tuple(group) for group in members.values()]


def _without_duplicates(
    candidates: AllCandidates,
    pairs: Pairs,
    thresholds: Thresholds,
    kept: np.ndarray,
    groups: list[Group],
    ranks: np.ndarray,
    joined_area: Callable[[Group], int],
    overlaps_of: OverlapsOf,
) -> list[Group]:
    """Remove duplicates among joined objects, whole ones and pieces that stay alone."""
    low, high = _areas(thresholds)
    areas = candidates.areas
    single = kept.copy()
    single[[index for group in groups for index in group]] = False
    groups = [group for group in groups if low <= joined_area(group) <= high]
    single &= (areas >= low) & (areas <= high)
    # Units are the groups, then the single ones.
    alone = np.flatnonzero(single)
    place = np.full(len(candidates), -1, np.int64)
    place[alone] = len(groups) + np.arange(len(alone))
    first, second = pairs.first, pairs.second
    overlap = np.maximum(pairs.iou, np.where(pairs.evidence >= LEAST_EVIDENCE, pairs.agreement, 0))
    alike = single[first] & single[second] & (overlap > thresholds.overlap)
    found = np.array(overlaps_of(groups, alone) if groups else [], np.float64).reshape(-1, 4)
    joined = found[:, :2].astype(np.int64)

    def together(singles: np.ndarray, groups_too: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pairs of units: those of single candidates, and those with groups."""
        rest = joined[groups_too]
        return (
            np.concatenate([place[first[singles]], rest[:, 0]]),
            np.concatenate([place[second[singles]], rest[:, 1]]),
        )

    # Whole ones first, then joined ones, then what stays cut.
    kinds = np.concatenate(
        [np.ones(len(groups), np.int64), np.where(candidates.cuts[alone] > 0, 2, 0)]
    )
    best = np.array([ranks[list(group)].min() for group in groups], np.int64)
    by_rank = np.concatenate([best, ranks[alone]])
    left = suppress(
        _places(np.lexsort((by_rank, kinds))),
        *together(alike, found[:, 2] > thresholds.overlap),
        np.ones(len(kinds), bool),
    )
    if not thresholds.nested:
        ious = candidates.predicted_ious
        means = [np.average(ious[list(group)], weights=areas[list(group)]) for group in groups]
        scores = np.concatenate([np.array(means, np.float32), ious[alone]])
        both = single[first] & single[second] & (pairs.evidence >= INSIDE)
        left = suppress(
            _places(np.lexsort((by_rank, -scores, kinds == 2))),
            *together(both, found[:, 3] >= INSIDE),
            left,
        )
    units = [*groups, *((index,) for index in alone.tolist())]
    return [unit for unit, stays in zip(units, left.tolist(), strict=True) if stays]


def _places(order: np.ndarray) -> np.ndarray:
    """Return the place of each in an order."""
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places
