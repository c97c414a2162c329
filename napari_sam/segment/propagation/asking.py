"""The object asked of a model in one plane, in several ways: what is best is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from napari_sam.segment.objects import Candidate, MaskLike
from napari_sam.segment.scribbles import MaskRegion, mask_points

from .shapes import Shape, box, iou, tight

__all__ = ["Answer", "Ask", "PlaneSegmenter", "ask", "learn"]

_POINTS = 4
"""Inside of the expected mask."""


class PlaneSegmenter(Protocol):
    """What answers in one plane, as `Segmenter` does."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the plane."""

    def prompt(
        self,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: MaskLike | None = None,
    ) -> list[Candidate]:
        """Find the object that is meant, the best candidate first."""


@dataclass(frozen=True, eq=False)
class Answer:
    """A mask that a model gave.

    Parameters
    ----------
    mask : Candidate
        Not empty.
    overlap : float
        IoU with the mask that was expected.
    score : float
        Predicted IoU × stability.
    """

    mask: Candidate
    overlap: float
    score: float


@dataclass(frozen=True)
class Ask:
    """How to ask for an object, and what came of it where the object is known.

    Parameters
    ----------
    trust : mapping
        For each way to ask, the IoU of the answer with the known mask.
    score : float
        Of the best of these answers: what the model thinks of its own masks of such an object.
    """

    trust: dict[str, float]
    score: float


def learn(segmenter: PlaneSegmenter, mask: MaskLike) -> Ask:
    """Ask for an object where it is known, in every way."""
    known = tight(mask)
    assert known is not None
    answers = _answers(segmenter, known, tuple(_WAYS), 0.0)
    trust = {way: answer.overlap for way, answer in answers.items()}
    best = max(answers, key=lambda way: trust[way], default="")
    return Ask(trust, answers[best].score if answers else 0.0)


def ask(segmenter: PlaneSegmenter, wanted: MaskRegion, learnt: Ask, margin: float) -> Answer | None:
    """Ask for the object that is expected in a plane.

    Parameters
    ----------
    segmenter : PlaneSegmenter
        Of the plane.
    wanted : MaskRegion
        The expected mask, tight.
    learnt : Ask
        What came of asking where the object is known.
    margin : float
        Pixels around the expected mask in which it may be.

    Returns
    -------
    Answer or None
        The best one; None if all are empty.

    Raises
    ------
    InputError
        If nothing is to be seen there, or the plane cannot be read.
    """
    answers = _answers(segmenter, wanted, tuple(learnt.trust), margin)
    if not answers:
        return None
    best = max(
        answers,
        key=lambda way: (
            learnt.trust[way] * answers[way].overlap * max(answers[way].mask.predicted_iou, 0)
        ),
    )
    return answers[best]


def _answers(
    segmenter: PlaneSegmenter, wanted: MaskRegion, ways: tuple[str, ...], margin: float
) -> dict[str, Answer]:
    found = {}
    for way in ways:
        candidates = segmenter.prompt(**_WAYS[way](wanted, margin, segmenter.shape))
        masks = [one for one in candidates if one.mask.any()]
        if masks:
            best = max(masks, key=lambda one: iou(one, wanted) * max(one.predicted_iou, 0.0))
            found[way] = Answer(
                best, iou(best, wanted), max(best.predicted_iou, 0.0) * best.stability
            )
    return found


def _box(wanted: MaskRegion, margin: float, shape: Shape) -> np.ndarray:
    """Return the box of a mask with a margin, inside of the plane."""
    row0, col0, row1, col1 = box(wanted)
    low = np.maximum([row0 - margin - 0.5, col0 - margin - 0.5], -0.5)
    high = np.minimum([row1 + margin + 0.5, col1 + margin + 0.5], np.array(shape) - 0.5)
    return np.concatenate([low, high])


def _by_box(wanted: MaskRegion, margin: float, shape: Shape) -> dict[str, Any]:
    return {"box": _box(wanted, margin, shape)}


def _by_box_and_points(wanted: MaskRegion, margin: float, shape: Shape) -> dict[str, Any]:
    return {"box": _box(wanted, margin, shape), "points": mask_points(wanted, _POINTS)}


def _by_mask(wanted: MaskRegion, margin: float, shape: Shape) -> dict[str, Any]:
    return {
        "box": _box(wanted, margin, shape),
        "points": mask_points(wanted, _POINTS),
        "mask": wanted,
    }


_WAYS = {"box": _by_box, "box and points": _by_box_and_points, "mask": _by_mask}
