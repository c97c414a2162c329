"""Where an object is expected in a plane, from where it was in those before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_sam.segment.objects import MaskLike
from napari_sam.segment.scribbles import MaskRegion

from .shapes import Shape, area, centre, moved

__all__ = ["REMEMBERED", "expected"]

REMEMBERED = 4
"""Planes from which motion and growth are measured."""

_DAMPED = 0.75
"""Share of the motion that is believed to go on: masks jitter, and things stop."""

_MOST_GROWTH = 0.15
"""Logarithm of the growth in length from one plane to the next that is believed."""


def expected(known: Sequence[tuple[int, MaskLike]], place: int, shape: Shape) -> MaskRegion | None:
    """Predict the mask in a plane.

    Centre and length of the last few masks are continued along straight lines, the one of the last
    plane carries the shape.

    Parameters
    ----------
    known : sequence of (int, MaskLike)
        Number of the plane and mask, the last one nearest to `place`; at least one.
    place : int
        Number of the plane.
    shape : (int, int)
        Rows and columns of a plane.

    Returns
    -------
    MaskRegion or None
        None if it would lie outside of the plane.

    Examples
    --------
    >>> bar = np.ones((2, 2), bool)
    >>> known = [(z, MaskRegion(10, 10 + 4 * z, bar)) for z in range(3)]
    >>> expected(known, 3, (99, 99)).col
    21
    """
    last, mask = known[-1]
    steps = place - last
    recent = known[-REMEMBERED:]
    if len(recent) == 1:
        return moved(mask, np.zeros(2), 1.0, shape)
    places = np.array([number for number, _ in recent], np.float64)
    centres = np.stack([centre(one) for _, one in recent])
    lengths = np.log([area(one) for _, one in recent]) / 2
    velocity = np.array([_slope(places, centres[:, axis]) for axis in (0, 1)])
    growth = np.clip(_slope(places, lengths), -_MOST_GROWTH, _MOST_GROWTH)
    ahead = _DAMPED * steps
    return moved(mask, ahead * velocity, float(np.exp(ahead * growth)), shape)


def _slope(places: np.ndarray, values: np.ndarray) -> float:
    """Return the slope of the line that fits best."""
    away = places - places.mean()
    return float(away @ (values - values.mean()) / (away @ away))
