"""Scores of a model that is prompted: clicks one after the other, and boxes.

The protocol of the paper's interactive evaluation [1]_: the first click is the point of the object
furthest from its boundary, each next one lies in the middle of the largest error of the mask shown,
and that mask's logits go back to the model as a mask prompt. The mask shown is the one with the
highest predicted IoU: of the three for ambiguous prompts after one click, of these and the single
mask later and for boxes, as in training. Measured are

- ``best of three``: the best of the three masks, whichever the model believes in (the paper's
  "oracle");
- ``best predicted``: the mask shown;
- ``single mask``: the mask of the single-mask token (``multimask_output=False``);
- ``boundary F`` of the mask shown;

and beside them the floors that need no model: the best disc around the first click, and the filled
box. An object that is outlined without error needs no further click and keeps its scores.

References
----------
.. [1] Kirillov et al., "Segment Anything", 2023, section 7.1 and appendix D.1.
   https://arxiv.org/abs/2304.02643
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...sam import Sam
from ..pictures import ObjectMask, Picture
from ..prompts import noisy_box
from .boundary import boundary_f
from .clicks import Click
from .conversation import Answer, Conversation, answer_boxes, answer_clicks
from .encoded import EncodedPicture
from .floors import best_disc, filled_box
from .regions import mask_iou

__all__ = [
    "CLICK_COUNTS",
    "MAX_CLICKS",
    "NOC_TARGETS",
    "TRACED_CLICKS",
    "PromptScores",
    "ScoreKey",
    "Trace",
    "choose_objects",
    "score_prompts",
]

CLICK_COUNTS = (1, 2, 3, 5, 8)
"""After how many clicks scores are taken."""

MAX_CLICKS = 20
"""An object that is not outlined well enough after so many clicks counts as this many, as in the
benchmarks of interactive segmentation (https://arxiv.org/abs/2102.06583)."""

NOC_TARGETS = (0.85, 0.9)
"""IoU that is to be reached in as few clicks as possible."""

TRACED_CLICKS = 5
"""Clicks after which the mask of a :class:`Trace` is taken."""

ScoreKey = tuple[str, str]
"""The prompt and what is measured, such as ("3 clicks", "best of three")."""

_Scores = dict[str, NDArray[np.float64]]  # by measure, one number per object


@dataclass(frozen=True)
class Trace:
    """What happened to one object, for people to look at.

    Parameters
    ----------
    index : int
        Which object of the picture.
    clicks : tuple of Click
        The first clicks, :data:`TRACED_CLICKS` at most.
    mask : ObjectMask
        The mask shown after them.
    ious : tuple of float
        IoU of the mask shown after each of these clicks.
    """

    index: int
    clicks: tuple[Click, ...]
    mask: ObjectMask
    ious: tuple[float, ...]


@dataclass(frozen=True)
class PromptScores:
    """Scores of a picture's objects.

    Parameters
    ----------
    values : dict of ScoreKey to (n,) array
        One number per object.
    predicted, measured : (n, 3) array
        Predicted and measured IoU of the three masks after one click, for calibration.
    traces : tuple of Trace
        One per object.
    first_masks : tuple of ObjectMask
        The mask shown after one click, one per object.
    """

    values: dict[ScoreKey, NDArray[np.float64]]
    predicted: NDArray[np.float64]
    measured: NDArray[np.float64]
    traces: tuple[Trace, ...]
    first_masks: tuple[ObjectMask, ...]


def choose_objects(rng: np.random.Generator, count: int, limit: int) -> list[int]:
    """Draw at most ``limit`` of ``count`` objects.

    Examples
    --------
    >>> choose_objects(np.random.default_rng(0), 3, 12)
    [0, 1, 2]
    """
    return sorted(rng.choice(count, min(limit, count), replace=False).tolist())


def score_prompts(
    sam: Sam,
    picture: Picture,
    indices: Sequence[int],
    rng: np.random.Generator,
    max_clicks: int = MAX_CLICKS,
) -> PromptScores:
    """Prompt a model for objects of one picture and score its answers.

    The picture is encoded once; objects are decoded together.

    Parameters
    ----------
    sam : Sam
        The model.
    picture : Picture
        Image and truth.
    indices : sequence of int
        Which objects; at least one.
    rng : numpy.random.Generator
        Draws the noise of boxes: :func:`~src_model.training.prompts.noisy_box`, in pixels of the
        picture.
    max_clicks : int
        When to give up on an object; at least the last of :data:`CLICK_COUNTS`.

    Returns
    -------
    PromptScores
        With keys ("1 click", …) for each of :data:`CLICK_COUNTS`, ("box", …), ("jittered box", …),
        all with ``floor: disc``, ``floor: box`` and these floors' boundary F; and ("NoC@85", …),
        ("NoC@90", …) with ``clicks``, ``reached`` (0 or 1: whether it was reached at all), and
        whether the floors reach it.

    Raises
    ------
    ValueError
        If ``indices`` is empty or ``max_clicks`` too small.
    """
    if not len(indices):
        raise ValueError("choose at least one object to prompt for.")
    if max_clicks < max(CLICK_COUNTS):
        raise ValueError(f"max_clicks must be at least {max(CLICK_COUNTS)}, not {max_clicks}.")
    encoded = EncodedPicture(sam, picture.image)
    truths = [picture.objects.items[i] for i in indices]
    boxes = [picture.objects.box(i) for i in indices]
    talks = [Conversation(truth) for truth in truths]
    discs = [
        best_disc(truth, talk.clicks[0], encoded.shape)
        for truth, talk in zip(truths, talks, strict=True)
    ]
    floors = {
        **_floor("disc", truths, discs, encoded.shape),
        **_floor("box", truths, [filled_box(box, encoded.shape) for box in boxes], encoded.shape),
    }
    first, values = _score_clicks(encoded, talks, floors, max_clicks)
    noisy = [noisy_box(rng, box) for box in boxes]
    for name, drawn in (("box", boxes), ("jittered box", noisy)):
        fills = [filled_box(box, encoded.shape) for box in drawn]
        scores = {
            **_offered(truths, answer_boxes(encoded, truths, drawn), encoded.shape),
            **floors,
            **_floor("box", truths, fills, encoded.shape),
        }
        values |= {(name, measure): score for measure, score in scores.items()}
    values |= _score_clicks_needed(talks, floors, max_clicks)
    return PromptScores(
        values,
        predicted=np.array([answer.predicted[1:] for answer in first]),
        measured=np.array([answer.ious[1:] for answer in first]),
        traces=tuple(_trace(talk, index) for talk, index in zip(talks, indices, strict=True)),
        first_masks=tuple(answer.mask for answer in first),
    )


def _score_clicks(
    encoded: EncodedPicture, talks: Sequence[Conversation], floors: _Scores, max_clicks: int
) -> tuple[list[Answer], dict[ScoreKey, NDArray[np.float64]]]:
    """Click until all are content; return the answers to the first clicks, and scores."""
    first: list[Answer] = []
    values: dict[ScoreKey, NDArray[np.float64]] = {}
    truths = [talk.truth for talk in talks]
    for count in range(1, max_clicks + 1):
        going_on = [talk for talk in talks if not talk.finished]
        if going_on:
            answer_clicks(encoded, going_on)
        answers = [talk.answer for talk in talks if talk.answer is not None]
        first = first or answers
        if count in CLICK_COUNTS:
            name = "1 click" if count == 1 else f"{count} clicks"
            scores = {**_offered(truths, answers, encoded.shape), **floors}
            values |= {(name, measure): score for measure, score in scores.items()}
        if count >= max(CLICK_COUNTS):  # from here on only the targets matter
            for talk in going_on:
                talk.finished |= talk.clicks_needed(max(NOC_TARGETS)) is not None
    return first, values


def _score_clicks_needed(
    talks: Sequence[Conversation], floors: _Scores, max_clicks: int
) -> dict[ScoreKey, NDArray[np.float64]]:
    values = {}
    for target in NOC_TARGETS:
        needed = [talk.clicks_needed(target) for talk in talks]
        for measure, score in {
            "clicks": [max_clicks if count is None else count for count in needed],
            "reached": [count is not None for count in needed],
            "floor: disc reaches": floors["floor: disc"] >= target,
            "floor: box reaches": floors["floor: box"] >= target,
        }.items():
            values[f"NoC@{100 * target:.0f}", measure] = np.array(score, float)
    return values


def _offered(
    truths: Sequence[ObjectMask], answers: Sequence[Answer], shape: tuple[int, int]
) -> _Scores:
    """Score what a model offers for each object."""
    ious = np.array([answer.ious for answer in answers])
    return {
        "best of three": ious[:, 1:].max(axis=1),
        "best predicted": np.array([answer.ious[answer.shown] for answer in answers]),
        "single mask": ious[:, 0],
        "boundary F": np.array(
            [
                boundary_f(truth, answer.mask, shape)
                for truth, answer in zip(truths, answers, strict=True)
            ]
        ),
    }


def _floor(
    name: str, truths: Sequence[ObjectMask], masks: Sequence[ObjectMask], shape: tuple[int, int]
) -> _Scores:
    """Score masks that no model made."""
    pairs = list(zip(truths, masks, strict=True))
    return {
        f"floor: {name}": np.array([mask_iou(truth, mask) for truth, mask in pairs]),
        f"boundary F floor: {name}": np.array([boundary_f(t, mask, shape) for t, mask in pairs]),
    }


def _trace(talk: Conversation, index: int) -> Trace:
    count = min(TRACED_CLICKS, len(talk.masks))
    return Trace(index, tuple(talk.clicks[:count]), talk.masks[count - 1], tuple(talk.ious[:count]))
