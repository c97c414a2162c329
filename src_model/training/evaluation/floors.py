"""What needs no model: the filled box, and the best disc around a click.

A score says something only beside these. Round objects are discs, and many objects fill their
boxes: on nuclei both reach a mean IoU of 0.75.
"""

from __future__ import annotations

import math

import numpy as np

from ..pictures import ObjectMask
from .clicks import Click
from .regions import cut_mask

__all__ = ["best_disc", "filled_box"]


def filled_box(box: tuple[float, float, float, float], shape: tuple[int, int]) -> ObjectMask:
    """Return the pixels whose centres lie in a box.

    Parameters
    ----------
    box : (x0, y0, x1, y1)
        The last pixels included.
    shape : (int, int)
        Height and width of the picture; what lies outside of it is left out.

    Returns
    -------
    ObjectMask
        Empty if the box holds no pixel's centre.

    Examples
    --------
    >>> filled = filled_box((1, 0, 2.6, 9), (4, 8))
    >>> filled.left, filled.top, filled.mask.shape
    (1, 0, (4, 2))
    """
    x0, y0 = max(0, math.ceil(box[0])), max(0, math.ceil(box[1]))
    x1, y1 = min(shape[1] - 1, math.floor(box[2])), min(shape[0] - 1, math.floor(box[3]))
    if x1 < x0 or y1 < y0:
        return ObjectMask(0, 0, np.zeros((0, 0), bool))
    return ObjectMask(y0, x0, np.ones((y1 - y0 + 1, x1 - x0 + 1), bool))


def best_disc(truth: ObjectMask, click: Click, shape: tuple[int, int]) -> ObjectMask:
    """Return the disc around a click that overlaps an object best.

    Parameters
    ----------
    truth : ObjectMask
        The object.
    click : Click
        The disc's centre, on the object.
    shape : (int, int)
        Height and width of the picture, which cuts discs off.

    Returns
    -------
    ObjectMask
        Of all radii the one with the greatest IoU, the smaller of two equals.

    Examples
    --------
    >>> disc = best_disc(ObjectMask(4, 4, np.ones((3, 3), bool)), Click(5, 5), (11, 11))
    >>> disc.mask.astype(int)
    array([[1, 1, 1],
           [1, 1, 1],
           [1, 1, 1]])
    """
    rows, cols = np.nonzero(truth.mask)
    squares = (rows + truth.top - click.y) ** 2 + (cols + truth.left - click.x) ** 2
    # Beyond the object's furthest pixel a disc only gets worse.
    reach = math.isqrt(int(squares.max()))
    top, bottom = max(0, click.y - reach), min(shape[0], click.y + reach + 1)
    left, right = max(0, click.x - reach), min(shape[1], click.x + reach + 1)
    grid = (np.arange(top, bottom)[:, None] - click.y) ** 2 + (
        np.arange(left, right)[None] - click.x
    ) ** 2
    length = int(squares.max()) + 1
    inside = np.bincount(squares, minlength=length).cumsum()
    covered = np.bincount(grid[grid < length], minlength=length).cumsum()
    radius = int((inside / (truth.area + covered - inside)).argmax())
    return cut_mask(grid <= radius, top, left)
