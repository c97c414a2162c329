"""Whether a new model is better than its base, in one sentence that the figures bear out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_sam.finetune.changes import LEAST_PICTURES

if TYPE_CHECKING:
    from napari_sam.finetune.changes import Change, Group, Marker
    from src_model.training.evaluation import ScoreKey

__all__ = ["HEADLINE", "NOT_WORSE", "Verdict", "forgetting_sentence", "judge"]

HEADLINE: ScoreKey = ("1 click", "best predicted")
"""What decides: the mean IoU of the mask shown after one click."""

NOT_WORSE: dict[ScoreKey, str] = {
    ("5 clicks", "best predicted"): "the mask after five clicks",
    ("box", "best predicted"): "the mask from a box",
    ("AP@50", "model"): "finding everything without a prompt (AP@50)",
}
"""What must not have got worse for a model to be better, and what it is called."""

_WORDS = ("no", "one", "two", "three")


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a new model.

    Attributes
    ----------
    better : bool
        Whether it is better.
    reason : {"better", "worse", "mixed", "too few pictures", "same", "unclear"}
        Why, or why not: "same" for models that answer alike in all that was asked, "unclear" where
        the difference may be chance.
    sentence : str
        The same for people, with figures.
    """

    better: bool
    reason: Literal["better", "worse", "mixed", "too few pictures", "same", "unclear"]
    sentence: str

    @property
    def words(self) -> str:
        """Either "better" or "no better"."""
        return "better" if self.better else "no better"


def judge(group: Group) -> Verdict:
    """Say whether the new model is better on pictures it was not trained on.

    It is better only if the paired interval of the mean IoU after one click lies above 0, nothing
    in `NOT_WORSE` has an interval below 0, and there are `LEAST_PICTURES` pictures.

    Parameters
    ----------
    group : Group
        All objects.
    """
    headline = group.changes[HEADLINE]
    better, worse = _others(group, "better"), _others(group, "worse")
    told = f"the mask after one click {_moves(headline)}"
    basis = f"measured on {group.objects} object{_s(group.objects)} of {group.pictures} pictures"
    if all(_is_nothing(change) for change in group.changes.values()):
        return Verdict(False, "same", "No better: both models answer alike, to the last figure.")
    if group.pictures < LEAST_PICTURES:
        few = f"{_WORDS[group.pictures]} picture{_s(group.pictures)}"
        return Verdict(
            False,
            "too few pictures",
            f"No better as far as can be told: {told}, but {few} cannot show that this is no "
            f"chance; outline objects in {LEAST_PICTURES} or more that are not trained on.",
        )
    if headline.marker == "better" and not worse:
        return Verdict(True, "better", f"Better: {told}, and {_kept(group.changes)}; {basis}.")
    if headline.marker == "same":
        told += ", which may be chance"
    against = worse if headline.marker == "better" else better  # what speaks for the opposite
    more = f", but {_listed(against)}" if against else ""
    if headline.marker == "same" and worse:
        more += f", and {_listed(worse)}"
    if worse or headline.marker == "worse":
        mixed = bool(better) or headline.marker == "better"
        opening = "No better" if mixed or headline.marker == "same" else "No better, but worse"
        reason: Literal["mixed", "worse"] = "mixed" if mixed else "worse"
        return Verdict(False, reason, f"{opening}: {told}{more}; {basis}.")
    return Verdict(False, "unclear", f"No better: {told}{more}; {basis}.")


def forgetting_sentence(group: Group) -> str:
    """Say whether the new model has lost something on pictures of another kind than it learned.

    Parameters
    ----------
    group : Group
        All objects of the default validation pictures.
    """
    headline = group.changes[HEADLINE]
    basis = f"On the {group.pictures} default validation pictures"
    told = f"the mask after one click {_moves(headline)}"
    lost = _others(group, "worse")
    if all(_is_nothing(change) for change in group.changes.values()):
        return f"{basis} nothing is forgotten: both models answer alike, to the last figure."
    if headline.marker == "worse" or lost:
        return f"{basis} something is forgotten: {_listed([told, *lost])}."
    return f"{basis} no forgetting is seen: {told}."


def _others(group: Group, marker: Marker) -> list[str]:
    """Say what of `NOT_WORSE` has become better, or worse, by how much."""
    verb = "gains" if marker == "better" else "loses"
    return [
        f"{name} {verb} {_amount(group.changes[key])}"
        for key, name in NOT_WORSE.items()
        if key in group.changes and group.changes[key].marker == marker
    ]


def _moves(change: Change) -> str:
    """Say how a score has moved, from what to what."""
    value = change.difference.value
    span = f"(mean IoU {change.before.value:.2f} before, {change.after.value:.2f} after)"
    if value == 0:
        return f"stays as it is {span}"
    return f"{'gains' if value > 0 else 'loses'} {_amount(change)} {span}"


def _amount(change: Change) -> str:
    """Set the size of a difference, and its interval in the same direction."""
    difference = change.difference
    sign = 1 if difference.value >= 0 else -1
    ends = sorted((sign * difference.low, sign * difference.high))
    size = f"{abs(difference.value):.3f}"
    return size if math.isnan(ends[0]) else f"{size} [{ends[0]:.3f}, {ends[1]:.3f}]"


def _kept(changes: Mapping[ScoreKey, Change]) -> str:
    names = [name for key, name in NOT_WORSE.items() if key in changes]
    return f"{_listed(names)} {'is' if len(names) == 1 else 'are'} not measurably worse"


def _is_nothing(change: Change) -> bool:
    return change.difference.value == 0 and not change.difference.high > change.difference.low


def _listed(parts: list[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"
