"""Simulated clicks: where a careful user would click next.

References
----------
.. [1] Kirillov et al., "Segment Anything", 2023, section 7.1 and appendix D.1, "Point sampling":
   the first point is the one furthest from the object's boundary, each next one the furthest from
   the boundary of the error region. https://arxiv.org/abs/2304.02643
.. [2] Sofiiuk et al., "Reviving Iterative Training with Mask Guidance for Interactive
   Segmentation", 2021. https://arxiv.org/abs/2102.06583
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..pictures import ObjectMask
from ..prompts import depth
from .regions import shared_window

__all__ = ["Click", "deepest_point", "first_click", "next_click"]

_EIGHT_NEIGHBOURS = np.ones((3, 3), int)


@dataclass(frozen=True)
class Click:
    """A simulated click.

    Parameters
    ----------
    x, y : int
        Column and row in the picture.
    foreground : bool
        Whether it says "this belongs to the object" or "this does not".
    """

    x: int
    y: int
    foreground: bool = True


def deepest_point(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Find the pixel of a region that is furthest from its boundary.

    Parameters
    ----------
    mask : (h, w) bool array
        With at least one pixel. What lies beyond the array counts as outside the region.

    Returns
    -------
    (int, int)
        Row and column; of equally deep pixels the first.

    Examples
    --------
    >>> deepest_point(np.ones((3, 5), bool))
    (1, 1)
    """
    row, col = divmod(int(depth(mask).argmax()), mask.shape[1])
    return row, col


def first_click(truth: ObjectMask) -> Click:
    """Click on the point of the object that is furthest from its boundary.

    Examples
    --------
    >>> first_click(ObjectMask(10, 20, np.ones((3, 3), bool)))
    Click(x=21, y=11, foreground=True)
    """
    row, col = deepest_point(truth.mask)
    return Click(truth.left + col, truth.top + row)


def next_click(truth: ObjectMask, prediction: ObjectMask) -> Click | None:
    """Click into the middle of the largest error.

    Misses and false alarms fall into 8-connected parts; of the largest by area (a miss, where a
    false alarm is as large) the deepest point is clicked.

    Parameters
    ----------
    truth : ObjectMask
        Not empty.
    prediction : ObjectMask
        May be empty.

    Returns
    -------
    Click or None
        Foreground on a miss, background on a false alarm; None if nothing is wrong.

    Examples
    --------
    >>> truth = ObjectMask(0, 0, np.ones((3, 9), bool))
    >>> next_click(truth, ObjectMask(0, 0, np.ones((3, 4), bool)))
    Click(x=5, y=1, foreground=True)
    >>> next_click(truth, ObjectMask(0, 0, np.ones((6, 9), bool)))
    Click(x=1, y=4, foreground=False)
    """
    from scipy import ndimage

    (top, left), (inside, predicted) = shared_window(truth, prediction)
    largest, size, foreground = None, 0, True
    for kind, errors in ((True, inside & ~predicted), (False, predicted & ~inside)):
        parts, _ = ndimage.label(errors, structure=_EIGHT_NEIGHBOURS)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        if sizes.max() > size:
            largest, size, foreground = parts == sizes.argmax(), sizes.max(), kind
    if largest is None:
        return None
    row, col = deepest_point(largest)
    return Click(left + col, top + row, foreground)
