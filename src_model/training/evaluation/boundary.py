"""How well two outlines agree.

References
----------
.. [1] Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
   Segmentation", 2016, section 4.1: the contour accuracy F of DAVIS.
   https://openaccess.thecvf.com/content_cvpr_2016/html/Perazzi_A_Benchmark_Dataset_CVPR_2016_paper.html
.. [2] https://github.com/davisvideochallenge/davis2017-evaluation, which defines the tolerance:
   0.8 % of the image's diagonal, rounded up.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..pictures import ObjectMask
from .regions import shared_window

__all__ = ["boundary_f", "boundary_tolerance"]


def boundary_tolerance(shape: tuple[int, int]) -> int:
    """Return how far apart two outlines may lie in a picture of this height and width, in pixels.

    Examples
    --------
    >>> boundary_tolerance((256, 256)), boundary_tolerance((480, 854))
    (3, 8)
    """
    return math.ceil(0.008 * math.hypot(*shape))


def boundary_f(
    truth: ObjectMask,
    prediction: ObjectMask,
    shape: tuple[int, int],
    tolerance: int | None = None,
) -> float:
    """Return the F measure of a predicted outline.

    Precision is the part of the predicted outline no further than the tolerance from the true one,
    recall the part of the true one that close to the predicted; F is their harmonic mean. The
    picture's border is no outline.

    Parameters
    ----------
    truth, prediction : ObjectMask
        The truth is not empty; an empty prediction has F 0.
    shape : (int, int)
        Height and width of the picture.
    tolerance : int, optional
        In pixels; that of DAVIS by default.

    Returns
    -------
    float
        0 to 1.

    Examples
    --------
    >>> square, larger = ObjectMask(8, 8, np.ones((9, 9), bool)), np.ones((11, 11), bool)
    >>> boundary_f(square, ObjectMask(7, 7, larger), (30, 30), tolerance=2)
    1.0
    """
    from scipy import ndimage

    if tolerance is None:
        tolerance = boundary_tolerance(shape)
    # One pixel of margin holds every outline; matching needs only distances between them.
    _, masks = shared_window(truth, prediction, margin=1, shape=shape)
    true, predicted = (_outline(mask) for mask in masks)
    if not true.any() or not predicted.any():
        # Only masks that fill the picture have no outline.
        return float(prediction.area > 0 and true.any() == predicted.any())
    precision = np.mean(ndimage.distance_transform_edt(~true)[predicted] <= tolerance)
    recall = np.mean(ndimage.distance_transform_edt(~predicted)[true] <= tolerance)
    if precision + recall == 0:
        return 0.0
    return float(2 * precision * recall / (precision + recall))


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark pixels that differ from the one to the right, below, or both."""
    outline = np.zeros_like(mask)
    outline[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    outline[:-1] |= mask[:-1] != mask[1:]
    outline[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return outline
