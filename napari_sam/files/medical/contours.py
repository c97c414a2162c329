"""Polygons along the edges of pixels, for formats whose contours have no holes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

__all__ = ["outlines"]

_EAST, _SOUTH, _WEST, _NORTH = range(4)


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Return closed polygons that hold exactly the centres of a mask's pixels.

    They run along the edges of pixels. There is one for each part whose pixels are joined by
    their sides. Where a part has holes, a channel without width leads from the outer rim around
    each of them and back, which DICOM calls the keyhole technique [1]_.

    Parameters
    ----------
    mask : ndarray of bool
        Shape (row, col).

    Returns
    -------
    list of ndarray
        float64, shape (n, 2): the corners (row, col) of each, clockwise as seen with rows running
        down, the first not repeated; half numbers, as pixel centres are integers.

    References
    ----------
    .. [1] DICOM PS3.3, C.8.8.6.3 "Representing Inner and Outer Contours"

    Examples
    --------
    >>> outlines(np.array([[1, 1, 0], [0, 1, 0]], bool))[0].tolist()
    [[-0.5, -0.5], [-0.5, 1.5], [1.5, 1.5], [1.5, 0.5], [0.5, 0.5], [0.5, -0.5]]
    """
    parts, _ = ndimage.label(mask)
    found = []
    for number, place in enumerate(ndimage.find_objects(parts), 1):
        corner = np.array([place[0].start, place[1].start])
        found.append(_outline(parts[place] == number) + corner - 0.5)
    return found


def _outline(part: np.ndarray) -> np.ndarray:
    """Trace pixels that are joined by their sides: the corners passed, in rows and columns."""
    inside = np.pad(part, 1)
    width = part.shape[1] + 1  # a corner (row, col) has the number row * width + col
    ways = _ways(inside).ravel()
    left = ways.copy()
    corners: list[int] = []  # of all that was traced; `after` says in which order they follow
    after: list[int] = []
    place_of: dict[int, int] = {}
    # The first corner left, row by row, is the upper left one of the rim, and then of a hole.
    for start in np.flatnonzero(ways).tolist():
        if not left[start]:
            continue
        first = len(corners)
        for corner in _loop(start, left, width):
            place_of.setdefault(corner, len(corners))
            corners.append(corner)
            after.append(len(corners))
        after[-1] = first
        if first:
            rim = place_of[_westward(start, inside, width)]
            # rim -> hole ... -> hole's first corner again -> rim again -> on
            corners += [start, corners[rim]]
            after += [len(corners) - 1, after[rim]]
            after[len(corners) - 3] = len(corners) - 2
            after[rim] = first
    order = [0]
    while after[order[-1]]:
        order.append(after[order[-1]])
    path = np.array([divmod(corners[place], width) for place in order], np.float64)
    steps = np.sign(np.roll(path, -1, axis=0) - path)
    turns = (steps != np.roll(steps, 1, axis=0)).any(axis=1)
    return path[turns]


def _ways(inside: np.ndarray) -> np.ndarray:
    """Return for each corner the directions (bits) of edges with the part on their right."""
    above_left, above, left, here = (
        inside[:-1, :-1],
        inside[:-1, 1:],
        inside[1:, :-1],
        inside[1:, 1:],
    )
    ways = np.zeros(here.shape, np.uint8)
    ways |= (here & ~above).astype(np.uint8) << _EAST
    ways |= (left & ~here).astype(np.uint8) << _SOUTH
    ways |= (above_left & ~left).astype(np.uint8) << _WEST
    ways |= (above & ~above_left).astype(np.uint8) << _NORTH
    return ways


def _loop(start: int, left: np.ndarray, width: int) -> list[int]:
    """Follow edges until they close, taking them out of `left`."""
    moves = (1, width, -1, -width)
    direction = int(left[start]).bit_length() - 1  # a first corner has one way only
    corner, loop = start, []
    while True:
        loop.append(corner)
        left[corner] &= ~(1 << direction) & 15
        corner += moves[direction]
        if corner == start:
            return loop
        # Turning right where two parts touch by their corners keeps them apart.
        ahead = int(left[corner])
        direction = next(
            turned
            for turned in ((direction + 1) % 4, direction, (direction + 3) % 4)
            if ahead >> turned & 1
        )


def _westward(corner: int, inside: np.ndarray, width: int) -> int:
    """Go west between pixels of the part, until one of the next two is none."""
    row, col = divmod(corner, width)
    while inside[row, col] and inside[row + 1, col]:
        col -= 1
    return row * width + col
