"""Found objects against true ones: how many are right, without a click.

References
----------
.. [1] Caicedo et al., "Nucleus segmentation across imaging experiments: the 2018 Data Science
   Bowl", 2019. https://doi.org/10.1038/s41592-019-0612-7
.. [2] https://www.kaggle.com/competitions/data-science-bowl-2018/overview/evaluation
.. [3] COCO's evaluation code. https://github.com/cocodataset/cocoapi
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..pictures import ObjectMask

__all__ = [
    "AP_THRESHOLDS",
    "AR_THRESHOLDS",
    "average_precision",
    "coverage",
    "recalled",
]

AP_THRESHOLDS = np.arange(50, 91, 5) / 100
"""0.5, 0.55 … 0.9: those of the mean average precision."""

AR_THRESHOLDS = np.arange(50, 96, 5) / 100
"""0.5, 0.55 … 0.95: those of COCO's average recall."""


def average_precision(
    iou: NDArray[np.float64], thresholds: Sequence[float] | NDArray[np.float64] = AP_THRESHOLDS
) -> NDArray[np.float64]:
    """Return the average precision of one picture as the 2018 Data Science Bowl defines it.

    That is TP / (TP + FP + FN). A pair is right if its IoU is above the threshold, and each object
    is in at most one pair. Objects that do not overlap allow one choice only; for others as many
    pairs are made as there can be.

    Parameters
    ----------
    iou : (n, m) array
        Of n true with m found objects, as from :func:`~.regions.iou_matrix`.
    thresholds : sequence of float
        IoU above which a pair is right.

    Returns
    -------
    (len(thresholds),) array
        1 where there is nothing to find and nothing was found.

    Examples
    --------
    >>> average_precision(np.array([[0.9, 0.0, 0.0], [0.0, 0.6, 0.3]]), (0.5, 0.75))
    array([0.66666667, 0.25      ])
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    result = np.ones(len(thresholds))
    for i, threshold in enumerate(thresholds):
        hits = iou > threshold
        right = 0
        if hits.any():
            pairs = maximum_bipartite_matching(csr_array(hits), perm_type="column")
            right = int(np.count_nonzero(pairs >= 0))
        if sum(iou.shape):
            result[i] = right / (sum(iou.shape) - right)
    return result


def recalled(
    iou: NDArray[np.float64],
    scores: NDArray[np.floating],
    max_found: int,
    thresholds: Sequence[float] | NDArray[np.float64] = AR_THRESHOLDS,
) -> NDArray[np.int64]:
    """Count the true objects that are found, as COCO's evaluation matches them.

    The best scored objects choose first, each the free true object that it overlaps most. COCO's
    average recall is the mean of these counts over thresholds and pictures, divided by the number
    of true objects.

    Parameters
    ----------
    iou : (n, m) array
        Of n true with m found objects.
    scores : (m,) array
        Of the found objects.
    max_found : int
        So many of the best scored count: the k of AR@k.
    thresholds : sequence of float
        IoU from which on a pair is right.

    Returns
    -------
    (len(thresholds),) int64 array

    Examples
    --------
    >>> iou = np.array([[0.9, 0.6], [0.0, 0.7]])
    >>> recalled(iou, np.array([0.5, 0.8]), 100, (0.5, 0.75)).tolist()
    [2, 1]
    >>> recalled(iou, np.array([0.5, 0.8]), 1, (0.5, 0.75)).tolist()
    [1, 0]
    """
    order = np.argsort(-np.asarray(scores), kind="stable")[:max_found]
    counts = np.zeros(len(thresholds), np.int64)
    if not iou.size:
        return counts
    for i, threshold in enumerate(thresholds):
        free = iou[:, order].copy()
        for found in range(len(order)):
            column = free[:, found]
            # Of equals the last, as COCO's loop leaves it.
            best = len(column) - 1 - int(column[::-1].argmax())
            if column[best] >= min(threshold, 1 - 1e-10):
                counts[i] += 1
                free[best] = -1
    return counts


def coverage(
    truth: Sequence[ObjectMask], found: Sequence[ObjectMask], shape: tuple[int, int]
) -> tuple[int, int]:
    """Count the true pixels that are in any found object, and all true pixels.

    Parameters
    ----------
    truth, found : sequence of ObjectMask
        Objects, which may overlap.
    shape : (int, int)
        Height and width of the picture.

    Returns
    -------
    covered, all : int

    Examples
    --------
    >>> row = ObjectMask(0, 0, np.ones((1, 4), bool))
    >>> coverage([row], [ObjectMask(0, 2, np.ones((2, 2), bool))], (2, 4))
    (2, 4)
    """
    areas = []
    for masks in (truth, found):
        area = np.zeros(shape, bool)
        for mask in masks:
            area[mask.window] |= mask.mask
        areas.append(area)
    return int(np.count_nonzero(areas[0] & areas[1])), int(np.count_nonzero(areas[0]))
