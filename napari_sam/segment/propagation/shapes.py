"""Masks as shapes: moved, grown, compared, and what lies between two of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_sam.segment.objects import MaskLike
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.tiles.regions import Region

__all__ = [
    "area",
    "between",
    "blended",
    "box",
    "centre",
    "iou",
    "moved",
    "pasted",
    "signed_distance",
    "tight",
    "without_specks",
]

Shape = tuple[int, int]

_SPECK = 0.05
"""Share of a mask below which a part of it is a speck."""

_THREAD, _BODY = 0.15, 0.8
"""Half the width of a thread, in radii of a disc as large as the mask; and the share of the mask
that must be left without threads."""


def tight(mask: MaskLike) -> MaskRegion | None:
    """Cut a mask to its bounding box; None if it is empty."""
    rows, cols = (np.flatnonzero(mask.mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    part = mask.mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    return MaskRegion(mask.row + int(rows[0]), mask.col + int(cols[0]), part)


def without_specks(mask: MaskLike) -> MaskRegion | None:
    """Cut a mask to the box of its parts of some size and width; None if it is empty.

    A speck far from the object, or a thread that goes there, of which the model's masks have some,
    would make the box that is asked for next many times as large as the object. What is a thread
    all over stays.

    Examples
    --------
    >>> mask = np.zeros((30, 60), bool)
    >>> mask[:20, :20] = mask[10, :50] = mask[29, 59] = True
    >>> without_specks(MaskRegion(3, 0, mask)).mask.shape
    (20, 21)
    """
    from scipy import ndimage

    whole = tight(mask)
    if whole is None:
        return None
    width = _THREAD * np.sqrt(area(whole) / np.pi)
    padded = np.pad(whole.mask, 1)
    deep = ndimage.distance_transform_edt(padded) > width
    body = padded
    if deep.any():
        opened = padded & (ndimage.distance_transform_edt(~deep) < width + 1)
        if np.count_nonzero(opened) >= _BODY * area(whole):
            body = opened
    parts, _ = ndimage.label(body, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel())[1:]
    kept = np.flatnonzero(sizes >= _SPECK * sizes.sum()) + 1
    if not len(kept):  # all of it is specks
        return whole
    return tight(MaskRegion(whole.row - 1, whole.col - 1, np.isin(parts, kept)))


def area(mask: MaskLike) -> int:
    """Return the number of pixels."""
    return int(np.count_nonzero(mask.mask))


def centre(mask: MaskLike) -> np.ndarray:
    """Return the mean (row, col) of the pixels, float64; there must be one."""
    rows, cols = np.nonzero(mask.mask)
    return np.array([rows.mean() + mask.row, cols.mean() + mask.col])


def box(mask: MaskRegion) -> tuple[int, int, int, int]:
    """Return (row0, col0, row1, col1) of a tight mask: its outermost pixels."""
    rows, cols = mask.mask.shape
    return mask.row, mask.col, mask.row + rows - 1, mask.col + cols - 1


def iou(one: MaskLike, other: MaskLike) -> float:
    """Return the IoU of two masks, 0 if both are empty.

    Examples
    --------
    >>> bar = MaskRegion(0, 0, np.ones((1, 3), bool))
    >>> iou(bar, MaskRegion(0, 1, np.ones((1, 3), bool)))
    0.5
    """
    row0, col0 = max(one.row, other.row), max(one.col, other.col)
    row1, col1 = (
        min(
            getattr(one, name) + one.mask.shape[axis], getattr(other, name) + other.mask.shape[axis]
        )
        for axis, name in enumerate(("row", "col"))
    )
    shared = 0
    if row0 < row1 and col0 < col1:
        parts = [
            m.mask[row0 - m.row : row1 - m.row, col0 - m.col : col1 - m.col] for m in (one, other)
        ]
        shared = int(np.count_nonzero(parts[0] & parts[1]))
    either = area(one) + area(other) - shared
    return shared / either if either else 0.0


def moved(mask: MaskLike, shift: np.ndarray, growth: float, shape: Shape) -> MaskRegion | None:
    """Move a mask, and let it grow about its centre.

    Parameters
    ----------
    mask : MaskLike
        With at least one pixel.
    shift : (2,) array
        Rows and columns.
    growth : float
        Of its length, not its area.
    shape : (int, int)
        Rows and columns of the plane; what lies beyond is cut off.

    Returns
    -------
    MaskRegion or None
        None if nothing of it is left in the plane.

    Examples
    --------
    >>> grown = moved(MaskRegion(2, 2, np.ones((2, 2), bool)), np.array([0, 3]), 2, (9, 9))
    >>> grown.row, grown.col, grown.mask.shape
    (1, 4, (4, 4))
    """
    from scipy import ndimage

    middle = centre(mask)
    shift = np.asarray(shift, np.float64)
    first = np.array([mask.row, mask.col]) - 0.5
    last = first + mask.mask.shape
    corners = [middle + shift + (corner - middle) * growth for corner in (first, last)]
    low = np.maximum(np.floor(corners[0]).astype(int), 0)
    high = np.minimum(np.ceil(corners[1]).astype(int) + 1, shape)
    if (low >= high).any():
        return None
    # A pixel of the moved mask comes from `origin + pixel / growth` of the old one.
    origin = middle + (low - middle - shift) / growth - (mask.row, mask.col)
    share = ndimage.affine_transform(
        np.pad(mask.mask, 1).astype(np.float32),
        np.full(2, 1 / growth),
        origin + 1,
        tuple(high - low),
        order=1,
    )
    return tight(MaskRegion(int(low[0]), int(low[1]), share > 0.5 - 1e-6))


def between(before: MaskLike, after: MaskLike, share: float, shape: Shape) -> MaskRegion | None:
    """Return the shape that lies between two, by their signed distances.

    Both are moved to the place between their centres first, so that one that moves by more than
    its size goes along instead of vanishing halfway.

    Parameters
    ----------
    before, after : MaskLike
        With at least one pixel each.
    share : float
        0 is `before`, 1 is `after`.
    shape : (int, int)
        Rows and columns of the plane.

    References
    ----------
    .. [1] Raya and Udupa, "Shape-based interpolation of multidimensional objects", 1990.

    Examples
    --------
    >>> small, large = (
    ...     MaskRegion(9 - n, 9 - n, np.ones((2 * n + 1, 2 * n + 1), bool)) for n in (1, 5)
    ... )
    >>> between(small, large, 0.5, (20, 20)).mask.shape
    (7, 7)
    """
    way = centre(after) - centre(before)
    parts = [
        moved(before, share * way, 1.0, shape),
        moved(after, (share - 1) * way, 1.0, shape),
    ]
    if parts[0] is None or parts[1] is None:
        return parts[0] if parts[1] is None else parts[1]
    return blended([(parts[0], 1 - share), (parts[1], share)])


def blended(parts: Sequence[tuple[MaskLike, float]]) -> MaskRegion | None:
    """Return the shape whose signed distance is the weighted mean of others'; None if it is empty.

    Parameters
    ----------
    parts : sequence of (MaskLike, float)
        Masks with at least one pixel, and their weights.
    """
    low = np.min([(m.row, m.col) for m, _ in parts], axis=0)
    high = np.max([(m.row + m.mask.shape[0], m.col + m.mask.shape[1]) for m, _ in parts], axis=0)
    region = Region(int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    total = np.zeros(region.shape)
    for mask, weight in parts:
        total += weight * signed_distance(pasted(mask, region))
    return tight(MaskRegion(region.row0, region.col0, total > 0))


def pasted(mask: MaskLike, region: Region) -> np.ndarray:
    """Return the pixels of a region that are in a mask, bool; what lies beyond is left out."""
    whole = np.zeros(region.shape, bool)
    high, wide = mask.mask.shape
    row0, col0 = max(mask.row, region.row0), max(mask.col, region.col0)
    row1, col1 = min(mask.row + high, region.row1), min(mask.col + wide, region.col1)
    if row0 < row1 and col0 < col1:
        whole[row0 - region.row0 : row1 - region.row0, col0 - region.col0 : col1 - region.col0] = (
            mask.mask[row0 - mask.row : row1 - mask.row, col0 - mask.col : col1 - mask.col]
        )
    return whole


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """Return how far pixels are inside (positive) or outside of a mask; its rim is half a pixel."""
    from scipy import ndimage

    padded = np.pad(mask, 1)
    inside = ndimage.distance_transform_edt(padded)
    outside = ndimage.distance_transform_edt(~padded)
    distance: np.ndarray = np.where(padded, inside - 0.5, 0.5 - outside)[1:-1, 1:-1]
    return distance
