"""The object asked of a model in one plane, in several ways: what is best is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from napari_sam.segment.objects import Candidate, MaskLike
from napari_sam.segment.scribbles import MaskRegion, mask_points

from .shapes import Shape, area, box, iou

__all__ = ["Answer", "Learnt", "PlaneSegmenter", "ask", "learn"]

_POINTS = 4
"""Inside of the expected mask."""

_LEAST_TRUST = 0.3
"""IoU with the known mask below which a model's answers say so little that no more is made of them
by comparison."""


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
    """A mask that a model gave, compared with the one that was expected.

    Parameters
    ----------
    mask : Candidate
        Not empty.
    overlap : float
        IoU with the expected mask.
    growth : float
        Its area divided by that of the expected mask.
    score : float
        Predicted IoU × stability.
    """

    mask: Candidate
    overlap: float
    growth: float
    score: float

    def relative(self, known: Answer) -> Answer:
        """Compare with what the model says where the object is known: what it errs in cancels."""
        return Answer(
            self.mask,
            min(1.0, self.overlap / max(known.overlap, _LEAST_TRUST)),
            self.growth / known.growth,
            self.score / known.score if known.score > 0 else 0.0,
        )


Learnt = Mapping[str, Answer]
"""The answer in each way of asking where the object is known."""


def learn(segmenter: PlaneSegmenter, mask: MaskRegion) -> Learnt:
    """Ask for an object where it is known, in every way; `mask` is tight."""
    return _answers(segmenter, mask, tuple(_WAYS), 0.0)


def ask(
    segmenter: PlaneSegmenter, wanted: MaskRegion, learnt: Learnt, margin: float
) -> tuple[Answer, float] | None:
    """Ask for the object that is expected in a plane.

    Parameters
    ----------
    segmenter : PlaneSegmenter
        Of the plane.
    wanted : MaskRegion
        The expected mask, tight.
    learnt : mapping
        What `learn` gave.
    margin : float
        Pixels around the expected mask in which it may be.

    Returns
    -------
    answer : Answer
        The best one, relative to what was learnt; None if all are empty.
    trust : float
        How well the model drew the object where it is known, asked in this way: an IoU.

    Raises
    ------
    InputError
        If nothing is to be seen there, or the plane cannot be read.
    """
    answers = _answers(segmenter, wanted, tuple(learnt), margin)
    if not answers:
        return None
    best = max(answers, key=lambda way: learnt[way].overlap * answers[way].overlap)
    return answers[best].relative(learnt[best]), learnt[best].overlap


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
                best,
                iou(best, wanted),
                area(best) / area(wanted),
                max(best.predicted_iou, 0.0) * best.stability,
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
