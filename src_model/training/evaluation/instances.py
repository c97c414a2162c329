"""Scores of a model that finds objects by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..pictures import ObjectMask, ObjectMasks
from .clicks import first_click
from .floors import best_disc, filled_box
from .matching import AP_THRESHOLDS, AR_THRESHOLDS, average_precision, coverage, recalled
from .prompted import ScoreKey
from .regions import iou_matrix

__all__ = ["score_instances"]

_AP_SHOWN = (0.5, 0.75)
_AR_LIMITS = (100, 1000)


def score_instances(
    truth: ObjectMasks,
    found: Sequence[ObjectMask],
    candidates: Sequence[ObjectMask],
    scores: Sequence[float],
) -> dict[ScoreKey, tuple[float, float]]:
    """Score what was found in one picture.

    Parameters
    ----------
    truth : ObjectMasks
        All objects of the picture.
    found : sequence of ObjectMask
        The result as it is delivered, without overlaps: average precision is taken from it, as the
        2018 Data Science Bowl does, whose submissions may not overlap.
    candidates : sequence of ObjectMask
        All masks the result was made of; they may overlap. Average recall and coverage are taken
        from them.
    scores : sequence of float
        Of the candidates, the best first in average recall.

    Returns
    -------
    dict of ScoreKey to (sum, count)
        ("AP@50", …), ("AP@75", …) and ("mean AP", …), the mean over 0.5, 0.55 … 0.9, are means
        over pictures (count 1); ("AR@100", …), ("AR@1000", …) over objects, as in COCO;
        ("coverage", …) over the pixels of objects. Measures are ``model``, ``floor: disc`` and
        ``floor: box``; the floors know where the objects are, and draw discs or boxes there.
    """
    discs = [best_disc(item, first_click(item), truth.shape) for item in truth.items]
    boxes = [filled_box(truth.box(i), truth.shape) for i in range(len(truth))]
    even = np.ones(len(truth))
    result: dict[ScoreKey, tuple[float, float]] = {}
    for measure, delivered, offered, ranking in (
        ("model", found, candidates, np.asarray(scores, float)),
        ("floor: disc", discs, discs, even),
        ("floor: box", boxes, boxes, even),
    ):
        iou = iou_matrix(truth.items, tuple(delivered))
        for threshold, value in zip(_AP_SHOWN, average_precision(iou, _AP_SHOWN), strict=True):
            result[f"AP@{100 * threshold:.0f}", measure] = (float(value), 1)
        result["mean AP", measure] = (float(average_precision(iou, AP_THRESHOLDS).mean()), 1)
        iou = iou_matrix(truth.items, tuple(offered))
        for limit in _AR_LIMITS:
            right = recalled(iou, ranking, limit, AR_THRESHOLDS).mean()
            result[f"AR@{limit}", measure] = (float(right), len(truth))
        result["coverage", measure] = coverage(truth.items, offered, truth.shape)
    return result
