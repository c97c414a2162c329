"""Object proposals: everything that may be an object, the surest first.

Unlike objects they may overlap and contradict each other: who asks for k of them wants each true
object to be among the first k.

References
----------
.. [1] Kirillov et al., "Segment Anything", 2023, section 7.3: zero-shot object proposals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_sam.errors import InputError
from napari_sam.tiles.regions import Region
from src_model.training.evaluation.matching import AR_THRESHOLDS, recalled
from src_model.training.evaluation.regions import iou_matrix
from src_model.training.pictures import ObjectMask, ObjectMasks

from .everything import Everything, FoundObjects, Thresholds

__all__ = ["Proposals", "average_recall", "rank_proposals"]

_SUPPRESSED = 0.9
"""Greatest IoU of two proposals: the paper's. More suppression would remove parts and groups."""


@dataclass(frozen=True, eq=False)
class Proposals:
    """Proposals of a scene.

    Parameters
    ----------
    objects : FoundObjects
        All of them, in the order of their ids.
    order : (n,) ndarray
        int64, indices of `objects`: the surest first, of equal ones the one with the lower id.
    confidences : (n,) ndarray
        float64, predicted IoU × stability, in this order.
    """

    objects: FoundObjects
    order: np.ndarray
    confidences: np.ndarray

    def __len__(self) -> int:
        return len(self.order)


def rank_proposals(everything: Everything, most: int | None = None) -> Proposals:
    """Rank all that was found in a scene, without the network.

    Nothing is left out that the raw candidates have, but what is about the same as a better one.
    Pieces of an object that several tiles see are joined, as for objects.

    Parameters
    ----------
    everything : Everything
        What `segment_everything` left in a store.
    most : int, optional
        Only so many, the surest.

    Raises
    ------
    InputError
        If `most` is less than 1.
    """
    if most is not None and most < 1:
        raise InputError(f"{most} proposals cannot be chosen: ask for 1 or more.")
    raw = everything.settings.thresholds
    objects = everything.filter(Thresholds(raw.predicted_iou, raw.stability, overlap=_SUPPRESSED))
    confidences = objects.predicted_ious.astype(np.float64) * objects.stabilities
    order = np.argsort(-confidences, kind="stable")[:most]
    return Proposals(objects, order, confidences[order])


def average_recall(
    truth: ObjectMasks, proposals: Proposals, limits: Sequence[int] = (10, 100, 1000)
) -> dict[int, float]:
    """Return AR@k: how many true objects are among the first k proposals, as COCO counts.

    Parameters
    ----------
    truth : ObjectMasks
        All objects of the scene.
    proposals : Proposals
        Of the scene.
    limits : sequence of int
        The k.

    Returns
    -------
    dict of int to float
        For each k the mean over IoU thresholds 0.5, 0.55 … 0.95; NaN if there are no objects.

    Raises
    ------
    InputError
        If the truth is of another size than the scene.
    """
    objects = proposals.objects
    if truth.shape != objects.shape:
        raise InputError(
            f"The true objects are those of {truth.shape[0]} × {truth.shape[1]} pixels, and the "
            f"scene has {objects.shape[0]} × {objects.shape[1]}: give those of this scene."
        )
    offered = [_at_level_0(objects, index) for index in proposals.order[: max(limits)].tolist()]
    iou = iou_matrix(truth.items, tuple(offered))
    scores = proposals.confidences[: len(offered)]
    count = len(truth)
    return {
        limit: float(recalled(iou, scores, limit, AR_THRESHOLDS).mean() / count)
        if count
        else float("nan")
        for limit in limits
    }


def _at_level_0(objects: FoundObjects, index: int) -> ObjectMask:
    region = Region(*objects.boxes[index].tolist()) & Region(0, 0, *objects.shape)
    return ObjectMask(region.row0, region.col0, objects.mask_at(index, region))
