"""Masks kept as windows: cut, compare, and place them in each other's frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..pictures import ObjectMask, trim

__all__ = ["cut_mask", "intersection_area", "iou_matrix", "mask_iou", "shared_window"]


def cut_mask(mask: NDArray[np.bool_], top: int = 0, left: int = 0) -> ObjectMask:
    """Cut a mask to its window as `trim` does, also an empty one, as a prediction can be.

    Returns
    -------
    ObjectMask
        With a (0, 0) mask if there is no pixel.

    Examples
    --------
    >>> cut = cut_mask(np.array([[0, 0, 0], [0, 1, 1]], bool), top=10)
    >>> cut.top, cut.left, cut.mask.shape
    (11, 1, (1, 2))
    """
    return trim(mask, top, left) or ObjectMask(0, 0, np.zeros((0, 0), bool))


def shared_window(
    *masks: ObjectMask, margin: int = 0, shape: tuple[int, int] | None = None
) -> tuple[tuple[int, int], list[NDArray[np.bool_]]]:
    """Place masks in the smallest window that holds them all.

    Parameters
    ----------
    *masks : ObjectMask
        At least one of them not empty.
    margin : int
        Pixels added on every side.
    shape : (int, int), optional
        Height and width of the picture, beyond which the window does not reach.

    Returns
    -------
    corner : (int, int)
        Row and column of the window's first pixel.
    arrays : list of (h, w) bool arrays
        The masks inside the window.

    Examples
    --------
    >>> pixel = np.ones((1, 1), bool)
    >>> corner, (a, b) = shared_window(ObjectMask(2, 5, pixel), ObjectMask(3, 4, pixel))
    >>> corner, a.astype(int).tolist(), b.astype(int).tolist()
    ((2, 4), [[0, 1], [0, 0]], [[0, 0], [1, 0]])
    """
    filled = [mask.window for mask in masks if mask.mask.size]
    top = min(rows.start for rows, _ in filled) - margin
    left = min(cols.start for _, cols in filled) - margin
    bottom = max(rows.stop for rows, _ in filled) + margin
    right = max(cols.stop for _, cols in filled) + margin
    if shape is not None:
        top, left = max(top, 0), max(left, 0)
        bottom, right = min(bottom, shape[0]), min(right, shape[1])
    rows, cols = slice(top, bottom), slice(left, right)
    return (top, left), [mask.inside(rows, cols) for mask in masks]


def intersection_area(a: ObjectMask, b: ObjectMask) -> int:
    """Count the pixels that two masks share."""
    top, left = max(a.top, b.top), max(a.left, b.left)
    bottom = min(a.top + a.mask.shape[0], b.top + b.mask.shape[0])
    right = min(a.left + a.mask.shape[1], b.left + b.mask.shape[1])
    if top >= bottom or left >= right:
        return 0
    one, other = (m.inside(slice(top, bottom), slice(left, right)) for m in (a, b))
    return int(np.count_nonzero(one & other))


def mask_iou(a: ObjectMask, b: ObjectMask) -> float:
    """Return intersection over union; 0 if both masks are empty.

    Examples
    --------
    >>> row = np.ones((1, 3), bool)
    >>> mask_iou(ObjectMask(0, 0, row), ObjectMask(0, 1, row))
    0.5
    """
    shared = intersection_area(a, b)
    return shared / max(1, a.area + b.area - shared)


def iou_matrix(
    truth: list[ObjectMask] | tuple[ObjectMask, ...],
    predicted: list[ObjectMask] | tuple[ObjectMask, ...],
) -> NDArray[np.float64]:
    """Return the IoU of every pair, (len(truth), len(predicted)).

    Only pairs whose windows overlap are looked at.
    """
    result = np.zeros((len(truth), len(predicted)))
    if not result.size:
        return result
    first, second = (_windows(masks) for masks in (truth, predicted))
    start = np.maximum(first[:, None, :2], second[None, :, :2])
    stop = np.minimum(first[:, None, 2:], second[None, :, 2:])
    areas = [np.array([mask.area for mask in masks]) for masks in (truth, predicted)]
    for i, j in np.argwhere((start < stop).all(axis=2)).tolist():
        shared = intersection_area(truth[i], predicted[j])
        if shared:
            result[i, j] = shared / (areas[0][i] + areas[1][j] - shared)
    return result


def _windows(masks: list[ObjectMask] | tuple[ObjectMask, ...]) -> NDArray[np.int64]:
    """Return (n, 4): first row, first column, row and column past the last."""
    return np.array(
        [(m.top, m.left, m.top + m.mask.shape[0], m.left + m.mask.shape[1]) for m in masks],
        np.int64,
    )
