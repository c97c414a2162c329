"""Scores of what a model finds by itself, where everything is known to be outlined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from src_model.training.pictures import ObjectMask, ObjectMasks, Picture

if TYPE_CHECKING:
    from src_model import Sam
    from src_model.training.evaluation import ScoreKey

__all__ = ["score_automatic"]

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
    from napari_sam.segment.objects import paint_labels
    from src_model.training.evaluation import score_instances

    truth = picture.objects
    counted = [known is None or _mostly_in(item, known) for item in truth.items]
    if not any(counted):
        return {}
    candidates = segment_everything(model, picture.image, on_progress)
    labels, _ = paint_labels(candidates, truth.shape)
    found = ObjectMasks.from_labels(labels).items
    offered = [ObjectMask(each.row, each.col, each.mask) for each in candidates]
    scores = [each.predicted_iou for each in candidates]
    if known is not None:
        found = tuple(
            item
            for item, kept in zip(found, _judged(truth, counted, found, known), strict=True)
            if kept
        )
        kept = _judged(truth, counted, offered, known)
        offered = [item for item, stays in zip(offered, kept, strict=True) if stays]
        scores = [score for score, stays in zip(scores, kept, strict=True) if stays]
        items = tuple(item for item, stays in zip(truth.items, counted, strict=True) if stays)
        truth = replace(truth, items=items)
    return score_instances(truth, found, offered, scores)


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
