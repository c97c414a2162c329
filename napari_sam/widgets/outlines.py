"""Between the outline of a region, as shapes have it, and its pixels."""

from __future__ import annotations

import math

import numpy as np

from napari_sam.errors import InputError
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.session import MaskLike

__all__ = ["box_of", "ellipse", "filled", "outline"]

MOST = 1 << 26
"""Pixels of a drawn region."""


def box_of(corners: np.ndarray) -> tuple[float, float, float, float] | None:
    """Return (row0, col0, row1, col1) of an upright rectangle, None if it is turned.

    Examples
    --------
    >>> box_of(np.array([[1, 2], [1, 6], [4, 6], [4, 2]]))
    (1.0, 2.0, 4.0, 6.0)
    >>> box_of(np.array([[0, 1], [1, 2], [2, 1], [1, 0]])) is None
    True
    """
    low, high = corners.min(axis=0), corners.max(axis=0)
    slack = 1e-6 * max(1.0, float(np.abs(corners).max()))
    if len(corners) != 4 or not np.all(
        (np.abs(corners - low) < slack) | (np.abs(corners - high) < slack)
    ):
        return None
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def ellipse(corners: np.ndarray, count: int = 48) -> np.ndarray:
    """Return the vertices of an ellipse in a parallelogram.

    Examples
    --------
    >>> ellipse(np.array([[0, 0], [0, 4], [2, 4], [2, 0]]), 4).round(3) + 0.0
    array([[1., 4.],
           [2., 2.],
           [1., 0.],
           [0., 2.]])
    """
    angles = np.arange(count) * 2 * math.pi / count
    centre = corners.mean(axis=0)
    right, down = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    return centre + np.cos(angles)[:, None] * right + np.sin(angles)[:, None] * down


def filled(vertices: np.ndarray, shape: tuple[int, int]) -> MaskRegion:
    """Return the pixels of a scene whose centres lie in a polygon.

    Raises
    ------
    InputError
        If there are none, or too many.

    Examples
    --------
    >>> region = filled(np.array([[0.5, 0.5], [0.5, 3.5], [2.5, 3.5], [2.5, 0.5]]), (10, 10))
    >>> region.row, region.col, region.mask.shape, bool(region.mask.all())
    (1, 1, (2, 3), True)
    """
    first = np.maximum(np.floor(vertices.min(axis=0)), 0).astype(int)
    last = np.minimum(np.ceil(vertices.max(axis=0)) + 1, shape).astype(int)
    if np.any(last <= first):
        raise InputError("The polygon lies outside of the image: draw it on the image.")
    if np.prod((last - first).astype(float)) > MOST:
        raise InputError(
            "The polygon is too large for a mask prompt: draw a smaller one, or a rectangle."
        )
    from skimage.draw import polygon2mask  # slow to import

    size = last - first
    mask = polygon2mask((int(size[0]), int(size[1])), vertices - first)
    inside = np.argwhere(mask)
    if not len(inside):
        raise InputError("The polygon contains no pixel: draw a larger one.")
    low, high = inside.min(axis=0), inside.max(axis=0) + 1
    first = first + low
    return MaskRegion(int(first[0]), int(first[1]), mask[low[0] : high[0], low[1] : high[1]])


def outline(mask: MaskLike) -> np.ndarray:
    """Return the vertices around the largest part of a mask, (row, col) of the scene.

    Examples
    --------
    >>> outline(MaskRegion(4, 5, np.ones((3, 2), bool))).tolist()[:2]
    [[6.5, 6.0], [6.0, 4.5]]
    """
    from skimage.measure import approximate_polygon, find_contours  # slow to import

    padded = np.pad(mask.mask, 1).astype(float)
    longest = max(find_contours(padded, 0.5), key=len)
    return approximate_polygon(longest, 0.5)[:-1] + np.array([mask.row - 1, mask.col - 1])
