"""Scribbles and masks as prompts: a few points that are well spread, and logits for the network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .objects import MaskLike

__all__ = ["MaskRegion", "mask_logits", "mask_points", "scribble_points", "spread"]

MOST_POINTS = 8
"""Of a scribble."""

SURE = 8.0
"""Logit of what a mask prompt says is inside; its negative is outside."""

_SEEN = 64
"""Nodes along a side on which points are spread."""


@dataclass(frozen=True, eq=False)
class MaskRegion:
    """A region of a labels layer.

    Parameters
    ----------
    row, col : int
        Where the upper left pixel of `mask` lies, in pixels of level 0.
    mask : (rows, cols) ndarray
        bool.
    """

    row: int
    col: int
    mask: np.ndarray


def scribble_points(line: ArrayLike) -> np.ndarray:
    """Turn a scribble into a few points that lie on it at equal distances.

    A hand draws slowly in bends and fast between them, so that the vertices themselves crowd.

    Parameters
    ----------
    line : (n, 2) array
        Its vertices, (row, col).

    Returns
    -------
    (m, 2) ndarray
        float64; `MOST_POINTS`, or one if the line has no length. The ends are left out: they are
        where a hand slips over the boundary.

    Examples
    --------
    >>> scribble_points([[0, 0], [0, 1], [0, 16]])[:, 1]
    array([ 1.,  3.,  5.,  7.,  9., 11., 13., 15.])
    """
    vertices = np.asarray(line, np.float64)
    steps = np.hypot(*np.diff(vertices, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    if along[-1] == 0:
        return vertices[:1].copy()
    places = (np.arange(MOST_POINTS) + 0.5) / MOST_POINTS * along[-1]
    return np.stack([np.interp(places, along, vertices[:, axis]) for axis in (0, 1)], axis=1)


def mask_points(prompt: MaskLike, count: int) -> np.ndarray:
    """Choose points deep inside a mask that are far from each other.

    Parameters
    ----------
    prompt : MaskLike
        With at least one pixel.
    count : int
        At most so many.

    Returns
    -------
    (n, 2) ndarray
        float64, (row, col) in pixels of level 0; each is a pixel of the mask.
    """
    mask = prompt.mask
    step = max(1, -(-max(mask.shape) // (2 * _SEEN)))
    seen = mask[step // 2 :: step, step // 2 :: step]
    if not seen.any():  # all of it lies between
        places = np.argwhere(mask)[:1].astype(np.float64)
    else:
        places = spread(seen, count) * step + step // 2
    return places + np.array([prompt.row, prompt.col])


def spread(inside: np.ndarray, count: int, away: float = 0.0) -> np.ndarray:
    """Choose places far from the boundary and far from each other.

    Parameters
    ----------
    inside : (rows, cols) ndarray
        bool. What lies beyond its ends is no boundary.
    count : int
        At most so many.
    away : float
        Least distance from the boundary.

    Returns
    -------
    (n, 2) ndarray
        float64, indices; the deepest first.

    Examples
    --------
    >>> spread(np.array([[0, 1, 1, 1, 1, 1, 1, 1]], bool), 2)
    array([[0., 7.],
           [0., 3.]])
    """
    from scipy import ndimage

    if not inside.any() or count < 1:
        return np.zeros((0, 2))
    depth = (
        np.full(inside.shape, np.inf) if inside.all() else ndimage.distance_transform_edt(inside)
    )
    rows, cols = np.indices(inside.shape)
    # Where there is no boundary in sight, the middle is as good as any.
    middle = np.hypot(rows - (inside.shape[0] - 1) / 2, cols - (inside.shape[1] - 1) / 2)
    room = np.minimum(depth, 2.0 * sum(inside.shape) - middle)
    chosen: list[tuple[int, int]] = []
    while len(chosen) < count:
        row, col = divmod(int(np.argmax(room)), inside.shape[1])
        if room[row, col] <= 0 or depth[row, col] < away:
            break
        chosen.append((row, col))
        room = np.minimum(room, np.hypot(rows - row, cols - col))
        room[depth < away] = 0
    return np.array(chosen, np.float64).reshape(-1, 2)


def mask_logits(prompt: MaskLike, level: int, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Turn a mask into logits at evenly spaced nodes.

    Parameters
    ----------
    prompt : MaskLike
        In pixels of level 0.
    level : int
        Of the positions.
    rows, cols : (n,), (m,) array
        Positions of the nodes.

    Returns
    -------
    (n, m) ndarray
        float32: `SURE` where all that lies nearer to this node than to others is in the mask, its
        negative where nothing is, and between in proportion.

    Examples
    --------
    >>> mask = MaskRegion(2, 2, np.ones((2, 3), bool))
    >>> mask_logits(mask, 1, np.arange(3.0), np.arange(3.0))
    array([[-8., -8., -8.],
           [-8.,  8.,  0.],
           [-8., -8., -8.]], dtype=float32)
    """
    sums = prompt.mask
    areas = []
    for axis, (places, offset) in enumerate(((rows, prompt.row), (cols, prompt.col))):
        edges = _edges(places, level) - offset
        areas.append(np.maximum(1, np.diff(edges)))
        edges = np.clip(edges, 0, sums.shape[axis])
        sums = _sums(sums, edges, axis)
    share = sums / np.multiply.outer(*areas)
    return (SURE * (2 * np.minimum(share, 1) - 1)).astype(np.float32)


def _edges(places: np.ndarray, level: int) -> np.ndarray:
    """Return the pixels of level 0 at which the nodes' shares begin, and the end."""
    spacing = places[1] - places[0] if len(places) > 1 else 1.0
    borders = np.append(places - spacing / 2, places[-1] + spacing / 2)
    return np.rint((borders + 0.5) * (1 << level)).astype(np.int64)


def _sums(values: np.ndarray, edges: np.ndarray, axis: int) -> np.ndarray:
    """Add up what lies from each edge to the next."""
    filled = np.flatnonzero(np.diff(edges) > 0)
    shape = list(values.shape)
    shape[axis] = len(edges) - 1
    sums = np.zeros(shape, np.int64)
    if filled.size:
        # Between filled shares lie only empty ones, so that each ends where the next begins.
        part = values.take(range(edges[filled[0]], edges[filled[-1] + 1]), axis)
        added = np.add.reduceat(part, edges[filled] - edges[filled[0]], axis=axis, dtype=np.int64)
        index = [slice(None)] * values.ndim
        index[axis] = filled  # type: ignore[call-overload]
        sums[tuple(index)] = added
    return sums
