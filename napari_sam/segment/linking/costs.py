"""How well objects of one frame fit those of a later one."""

from __future__ import annotations

import numpy as np

from .measures import Objects

__all__ = ["common_areas", "link_costs", "radii"]


def radii(objects: Objects) -> np.ndarray:
    """Return the radii of balls or discs as large as the objects, float64 (n,)."""
    if objects.labels.ndim == 3:
        return np.asarray(np.cbrt(objects.areas * 3 / (4 * np.pi)))
    return np.asarray(np.sqrt(objects.areas / np.pi))


def common_areas(before: Objects, after: Objects) -> np.ndarray:
    """Return how many pixels each object of one frame shares with each of another.

    Returns
    -------
    (n, m) ndarray
        float64.
    """
    both = (before.labels != 0) & (after.labels != 0)
    first = np.searchsorted(before.ids, before.labels[both])
    second = np.searchsorted(after.ids, after.labels[both])
    flat = np.bincount(first * len(after) + second, minlength=len(before) * len(after))
    return flat.reshape(len(before), len(after)).astype(np.float64)


def link_costs(
    before: Objects, velocities: np.ndarray, after: Objects, reach: float, steps: int
) -> np.ndarray:
    """Return what it costs to take an object of one frame for one of a later frame.

    Half of it is how far it lies from where it is expected, in comparison with its own radius, or
    how little it overlaps, whichever is less; half of it how much larger or smaller it is.

    Parameters
    ----------
    before, after : Objects
        The frames.
    velocities : (n, d) ndarray
        Of the objects before, in pixels from frame to frame.
    reach : float
        Radii beyond which an object cannot be the same.
    steps : int
        Frames between.

    Returns
    -------
    (n, m) ndarray
        0 fits perfectly, 1 hardly; inf cannot be.

    Examples
    --------
    >>> from .measures import measure
    >>> frames = [measure(np.array([[1, 1, 0, 0, 0, 0, 2, 2]]), 0),
    ...           measure(np.array([[0, 5, 5, 0, 0, 0, 6, 6]]), 1)]
    >>> link_costs(frames[0], np.zeros((2, 2)), frames[1], 3.0, 1).round(2)
    array([[0.17,  inf],
           [ inf, 0.  ]])
    """
    expected = before.centres + velocities * steps
    # Motion may stop: an object is where it was, or where it was going.
    distances = np.minimum(
        *(
            np.linalg.norm(places[:, None] - after.centres[None], axis=2)
            for places in (before.centres, expected)
        )
    )
    radius = np.maximum(radii(before), 1.0)[:, None]
    far = distances / (reach * radius * np.sqrt(steps))
    shared = common_areas(before, after)
    union = before.areas[:, None] + after.areas[None] - shared
    apart = np.minimum(far, 1 - shared / union)
    ratio = np.abs(np.log(after.areas[None] / before.areas[:, None])) / np.log(_MOST_CHANGE)
    costs = (apart + np.minimum(ratio, 1)) / 2
    return np.where((far <= 1) & (ratio <= 1), costs, np.inf)


_MOST_CHANGE = 4.0
"""Ratio of the areas of one object in two frames from which it cannot be the same."""
