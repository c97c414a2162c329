"""Scores of what a model finds by itself, where everything is known to be outlined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from src_model.training.pictures import ObjectMask, ObjectMasks, Picture

if TYPE_CHECKING:
    from napari_sam.segment.objects import Candidate
    from src_model import Sam
    from src_model.training.evaluation import ScoreKey

__all__ = ["average_precision_of", "has_known_objects", "score_automatic", "score_found"]

_SAME = 0.5
"""IoU from which a mask is about an object."""


def score_automatic(
    model: Sam,
    picture: Picture,
    known: np.ndarray | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> dict[ScoreKey, tuple[float, float]]:
    """Score what `napari-sam segment --everything` gives.

    Parameters
    ----------
    model : Sam
        The network.
    picture : Picture
        Image and truth.
    known : ndarray, optional
        (H, W) bool, True where everything is outlined; by default everywhere. Objects that lie
        mostly outside do not count, nor do masks that are about them, or about nothing outlined
        and mostly outside: they may be right.
    on_progress : callable, optional
        Called with the number of clicks done and of all.

    Returns
    -------
    dict of ScoreKey to (sum, count)
        As `src_model.training.evaluation.score_instances`; empty if no object counts.
    """
    from napari_sam.segment.image import segment_everything

    if not has_known_objects(picture, known):
        return {}
    return score_found(segment_everything(model, picture.image, on_progress), picture, known)


def has_known_objects(picture: Picture, known: np.ndarray | None) -> bool:
    """Tell whether any object lies where everything is outlined."""
    return any(known is None or _mostly_in(item, known) for item in picture.objects.items)


def score_found(
    candidates: Sequence[Candidate], picture: Picture, known: np.ndarray | None = None
) -> dict[ScoreKey, tuple[float, float]]:
    """Score what was found without prompts; arguments and result as of `score_automatic`."""
    from src_model.training.evaluation import score_instances

    truth, counted = _known_truth(picture, known)
    found = delivered(candidates, picture, known)
    offered = [ObjectMask(each.row, each.col, each.mask) for each in candidates]
    scores = [each.predicted_iou for each in candidates]
    if known is not None:
        kept = _judged(picture.objects, counted, offered, known)
        offered = [item for item, stays in zip(offered, kept, strict=True) if stays]
        scores = [score for score, stays in zip(scores, kept, strict=True) if stays]
    return score_instances(truth, found, offered, scores)


def average_precision_of(
    candidates: Sequence[Candidate], picture: Picture, known: np.ndarray | None = None
) -> float:
    """Return AP@50 alone, as `score_found` has it, in much less time."""
    from src_model.training.evaluation.matching import average_precision
    from src_model.training.evaluation.regions import iou_matrix

    truth, _ = _known_truth(picture, known)
    iou = iou_matrix(truth.items, tuple(delivered(candidates, picture, known)))
    return float(average_precision(iou, (_SAME,))[0])


def delivered(
    candidates: Sequence[Candidate], picture: Picture, known: np.ndarray | None
) -> Sequence[ObjectMask]:
    """Return the objects of a label image of candidates, without those nobody can judge."""
    from napari_sam.segment.objects import paint_labels

    labels, _ = paint_labels(candidates, picture.objects.shape)
    found = ObjectMasks.from_labels(labels).items
    if known is None:
        return found
    _, counted = _known_truth(picture, known)
    kept = _judged(picture.objects, counted, found, known)
    return [item for item, stays in zip(found, kept, strict=True) if stays]


def _known_truth(picture: Picture, known: np.ndarray | None) -> tuple[ObjectMasks, list[bool]]:
    """Return the objects that count, and which of all these are."""
    truth = picture.objects
    counted = [known is None or _mostly_in(item, known) for item in truth.items]
    items = tuple(item for item, stays in zip(truth.items, counted, strict=True) if stays)
    return replace(truth, items=items), counted


def _judged(
    truth: ObjectMasks, counted: Sequence[bool], found: Sequence[ObjectMask], known: np.ndarray
) -> list[bool]:
    """Say of each mask whether it is right or wrong; else it cannot be known."""
    from src_model.training.evaluation.regions import iou_matrix

    iou = iou_matrix(truth.items, tuple(found))
    return [
        bool(counted[int(column.argmax())]) if column.max() >= _SAME else _mostly_in(mask, known)
        for mask, column in zip(found, iou.T, strict=True)
    ]


def _mostly_in(mask: ObjectMask, known: np.ndarray) -> bool:
    return 2 * int(np.count_nonzero(known[mask.window] & mask.mask)) > mask.area
