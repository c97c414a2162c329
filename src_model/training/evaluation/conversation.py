"""Simulated users who click on objects until they are content.

References
----------
.. [1] Kirillov et al., "Segment Anything", 2023, section 7.1 and appendix A, "Training algorithm".
   https://arxiv.org/abs/2304.02643
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..pictures import ObjectMask
from .clicks import Click, first_click, next_click
from .encoded import EncodedPicture
from .regions import mask_iou

__all__ = ["Answer", "Conversation", "answer_boxes", "answer_clicks"]


@dataclass(frozen=True)
class Answer:
    """What a model offers for one object.

    Parameters
    ----------
    masks : tuple of ObjectMask
        The single mask, then the three for ambiguous prompts.
    predicted, ious : (4,) array
        Their IoU with the truth, as the model predicts it and as it is.
    shown : int
        Which of them a user sees: the one with the highest predicted IoU.
    logits : Tensor
        (low_res, low_res), of the mask shown.
    """

    masks: tuple[ObjectMask, ...]
    predicted: NDArray[np.float64]
    ious: NDArray[np.float64]
    shown: int
    logits: Tensor

    @property
    def mask(self) -> ObjectMask:
        """The mask shown."""
        return self.masks[self.shown]


@dataclass
class Conversation:
    """One object, the clicks on it so far, and the mask shown after each.

    Parameters
    ----------
    truth : ObjectMask
        The object; its first click is made at once.

    Attributes
    ----------
    clicks : list of Click
        All so far; the last is unanswered, unless the conversation has finished.
    masks, ious : list
        The mask shown after each answered click, and its IoU.
    answer : Answer or None
        The last one.
    finished : bool
        Whether the user is content.
    """

    truth: ObjectMask
    clicks: list[Click] = field(default_factory=list)
    masks: list[ObjectMask] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)
    answer: Answer | None = None
    finished: bool = False

    def __post_init__(self) -> None:
        self.clicks.append(first_click(self.truth))

    def listen(self, answer: Answer) -> None:
        """Take an answer, and click into its largest error or be finished."""
        self.answer = answer
        self.masks.append(answer.mask)
        self.ious.append(float(answer.ious[answer.shown]))
        click = next_click(self.truth, answer.mask)
        if click is None:
            self.finished = True
        else:
            self.clicks.append(click)

    def clicks_needed(self, target: float) -> int | None:
        """Return the number of clicks after which the mask shown first had this IoU, if any."""
        reached = (count for count, iou in enumerate(self.ious, 1) if iou >= target)
        return next(reached, None)


def answer_clicks(encoded: EncodedPicture, talks: Sequence[Conversation]) -> None:
    """Let the model answer the last click of each conversation; all have equally many clicks."""
    points = np.array([[(click.x, click.y) for click in talk.clicks] for talk in talks])
    labels = np.array([[int(click.foreground) for click in talk.clicks] for talk in talks])
    previous = [talk.answer.logits for talk in talks if talk.answer is not None]
    masks = torch.stack(previous) if previous else None
    low_res, predicted = encoded.decode(points, labels, masks=masks)
    for talk, logits, scores in zip(talks, low_res, predicted, strict=True):
        talk.listen(_answer(encoded, talk.truth, logits, scores, ambiguous=not previous))


def answer_boxes(
    encoded: EncodedPicture,
    truths: Sequence[ObjectMask],
    boxes: Sequence[tuple[float, float, float, float]],
) -> list[Answer]:
    """Return the model's answer to a box (x0, y0, x1, y1) around each object."""
    low_res, predicted = encoded.decode(boxes=np.array(boxes, float))
    return [
        _answer(encoded, truth, logits, scores, ambiguous=False)
        for truth, logits, scores in zip(truths, low_res, predicted, strict=True)
    ]


def _answer(
    encoded: EncodedPicture,
    truth: ObjectMask,
    low_res: Tensor,
    predicted: NDArray[np.float64],
    ambiguous: bool,
) -> Answer:
    masks = tuple(encoded.mask(logits) for logits in low_res)
    ious = np.array([mask_iou(truth, mask) for mask in masks])
    # One click may mean several things: the mask for unambiguous prompts is not for it.
    shown = int(predicted[1:].argmax()) + 1 if ambiguous else int(predicted.argmax())
    return Answer(masks, predicted, ious, shown, low_res[shown].clone())
