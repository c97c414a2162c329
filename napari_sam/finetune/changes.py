"""From the scores of two models on the same objects to differences with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from src_model.training.evaluation.bootstrap import (
    Estimate,
    bootstrap_difference,
    bootstrap_ratio,
)

if TYPE_CHECKING:
    from src_model.training.evaluation import ScoreKey
    from src_model.training.evaluation.prompted import PromptScores

__all__ = [
    "LEAST_PICTURES",
    "Change",
    "Group",
    "Marker",
    "PictureChange",
    "change_between",
    "compare_groups",
    "picture_change",
]

Marker = Literal["better", "worse", "same"]
"""What the interval of a difference says; "same" where it says nothing."""

_Kind = Literal["all", "class", "size"]

LEAST_PICTURES = 4
"""The interval of a difference on fewer pictures says nothing: it lies between their extremes,
which by chance alone often are on the same side of 0."""

SIZES = ("small", "medium", "large")
"""The thirds of the objects by area."""

_LESS_IS_BETTER = {("predicted IoU", "mean error"), ("NoC@85", "clicks"), ("NoC@90", "clicks")}


@dataclass(frozen=True)
class Change:
    """One figure of two models.

    Attributes
    ----------
    before, after : Estimate
        Of the base model and the new one, with intervals as `napari-sam evaluate` gives them.
    difference : Estimate
        After minus before, with a paired interval.
    pictures : int
        On how many it rests.
    less_is_better : bool
        As for the number of clicks needed.
    """

    before: Estimate
    after: Estimate
    difference: Estimate
    pictures: int
    less_is_better: bool = False

    @property
    def marker(self) -> Marker:
        """Whether the whole interval of the difference lies on one side of 0.

        It is "same" on fewer than `LEAST_PICTURES` pictures.
        """
        if self.pictures < LEAST_PICTURES:
            return "same"
        low, high = self.difference.low, self.difference.high
        if self.less_is_better:
            low, high = -high, -low
        return "better" if low > 0 else "worse" if high < 0 else "same"


@dataclass(frozen=True)
class PictureChange:
    """What was measured of one picture.

    Attributes
    ----------
    areas : ndarray
        (n,) pixels of each object prompted for.
    classes : tuple of str
        Class of each of them; empty where it has none.
    objects : mapping of ScoreKey to ndarray
        (2, n): each object's score, before and after.
    whole : mapping of ScoreKey to (float, float, float)
        Of automatic masks: sum before, sum after, count. Empty if they were not scored.
    predicted, measured : ndarray
        (2, m) predicted and measured IoU of the three masks after one click, before and after.
    """

    areas: np.ndarray
    classes: tuple[str, ...]
    objects: Mapping[ScoreKey, np.ndarray]
    whole: Mapping[ScoreKey, tuple[float, float, float]]
    predicted: np.ndarray
    measured: np.ndarray


@dataclass(frozen=True)
class Group:
    """Figures of some of the objects.

    Attributes
    ----------
    name : str
        "all", a class, or a size with its limits, such as "small (up to 120 px)".
    kind : {"all", "class", "size"}
        What its objects have in common.
    pictures, objects : int
        How many pictures have such objects, and how many there are.
    changes : mapping of ScoreKey to Change
        In the order in which they are to be read.
    floors : mapping of ScoreKey to float
        What needs no model: the same before and after.
    """

    name: str
    kind: _Kind
    pictures: int
    objects: int
    changes: Mapping[ScoreKey, Change]
    floors: Mapping[ScoreKey, float]


def picture_change(
    before: PromptScores,
    after: PromptScores,
    areas: Sequence[int],
    classes: Sequence[str],
    automatic: tuple[
        Mapping[ScoreKey, tuple[float, float]], Mapping[ScoreKey, tuple[float, float]]
    ],
) -> PictureChange:
    """Put the scores of two models on the same objects of a picture together.

    Parameters
    ----------
    before, after : PromptScores
        Of the same objects.
    areas, classes : sequence
        Of these objects.
    automatic : pair of mappings of ScoreKey to (sum, count)
        Scores of automatic masks, before and after; empty if there are none.
    """
    objects = {key: np.stack([before.values[key], after.values[key]]) for key in before.values}
    predicted, measured = (
        np.stack([getattr(scores, what) for scores in (before, after)])
        for what in ("predicted", "measured")
    )
    objects["predicted IoU", "mean error"] = np.abs(predicted - measured).mean(axis=2)
    whole = {key: (total, automatic[1][key][0], n) for key, (total, n) in automatic[0].items()}
    return PictureChange(
        np.asarray(areas),
        tuple(classes),
        objects,
        whole,
        predicted.reshape(2, -1),
        measured.reshape(2, -1),
    )


def change_between(
    key: ScoreKey, before: Sequence[float], after: Sequence[float], counts: Sequence[float]
) -> Change:
    """Compare the sums that two models have in each picture.

    Parameters
    ----------
    key : ScoreKey
        What is measured.
    before, after, counts : sequences of float
        One number per picture, as `bootstrap_difference` takes them; each count above 0.

    Examples
    --------
    >>> change = change_between(
    ...     ("1 click", "best predicted"), [2, 3, 1, 2], [4, 6, 3, 4], [5, 6, 4, 5]
    ... )
    >>> change.before.value, change.after.value, change.marker
    (0.4, 0.85, 'better')
    """
    return Change(
        bootstrap_ratio(before, counts),
        bootstrap_ratio(after, counts),
        bootstrap_difference(before, after, counts),
        len(counts),
        key in _LESS_IS_BETTER,
    )


def compare_groups(pictures: Sequence[PictureChange]) -> tuple[Group, ...]:
    """Compare all objects, then those of each class and of each size, if there are several.

    Parameters
    ----------
    pictures : sequence of PictureChange
        At least one, each with at least one object.
    """
    everything = _group("all", "all", pictures, [np.full(len(p.areas), True) for p in pictures])
    groups = [everything]
    divisions: tuple[tuple[_Kind, Iterator[tuple[str, list[np.ndarray]]]], ...] = (
        ("class", _by_class(pictures)),
        ("size", _by_size(pictures)),
    )
    for kind, members in divisions:
        parts = [(name, chosen) for name, chosen in members if any(map(np.any, chosen))]
        if len(parts) > 1:
            for name, chosen in parts:
                groups.append(_group(name, kind, pictures, chosen))
    return tuple(groups)


def _by_class(pictures: Sequence[PictureChange]) -> Iterator[tuple[str, list[np.ndarray]]]:
    names = sorted({name for picture in pictures for name in picture.classes})
    for name in names:
        chosen = [np.array([each == name for each in picture.classes]) for picture in pictures]
        yield name or "no class", chosen


def _by_size(pictures: Sequence[PictureChange]) -> Iterator[tuple[str, list[np.ndarray]]]:
    areas = np.concatenate([picture.areas for picture in pictures])
    first, second = (int(limit) for limit in np.quantile(areas, (1 / 3, 2 / 3), method="lower"))
    ranges = ((0, first), (first, second), (second, math.inf))
    words = f"up to {first} px", f"{first + 1} to {second} px", f"more than {second} px"
    for size, (above, to), limits in zip(SIZES, ranges, words, strict=True):
        chosen = [(picture.areas > above) & (picture.areas <= to) for picture in pictures]
        yield f"{size} ({limits})", chosen


def _group(
    name: str,
    kind: _Kind,
    pictures: Sequence[PictureChange],
    chosen: Sequence[np.ndarray],
) -> Group:
    present = [(p, mask) for p, mask in zip(pictures, chosen, strict=True) if mask.any()]
    sums: dict[ScoreKey, list[tuple[float, float, float]]] = {}
    for picture, mask in present:
        for key, scores in picture.objects.items():
            before, after = scores[:, mask].sum(axis=1).tolist()
            sums.setdefault(key, []).append((before, after, float(mask.sum())))
        if kind == "all":
            for key, three in picture.whole.items():
                sums.setdefault(key, []).append(three)
    changes: dict[ScoreKey, Change] = {}
    floors: dict[ScoreKey, float] = {}
    for key, rows in sums.items():
        first, second, counts = zip(*rows, strict=True)
        if "floor" in key[1]:
            floors[key] = sum(first) / sum(counts)
        else:
            changes[key] = change_between(key, first, second, counts)
    objects = sum(int(mask.sum()) for mask in chosen)
    return Group(name, kind, len(present), objects, changes, floors)
