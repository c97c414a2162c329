"""Outlines of buildings with right angles."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_sam.extras import need

__all__ = ["right_angled"]

_LEAST_IOU = 0.8
"""With the pixels; an outline that would lose more stays as it was."""

_SHORTEST = 4.0
"""Pixels; a shorter wall is taken for noise."""

_NOISE = 1.5
"""Pixels by which an outline may stray from a wall."""

_LEAST_AGREEMENT = 0.25
"""How well directions agree modulo a right angle: 0 around a disc, 1 if all are the same."""


def right_angled(
    shapes: np.ndarray, originals: np.ndarray, metric: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Turn outlines so that all their edges are parallel or at right angles to each other.

    The main direction of an object is that of its outline, modulo a right angle, the long edges
    counting most and the steps of pixels not at all. Each edge is taken for one along it or
    across it; neighbours of the same kind become one wall, and walls of less than 4 pixels vanish
    between those beside them. A wall comes to lie in the middle of the outline that it stands for.
    Holes and parts of less than 16 pixels are left out.

    Where directions do not agree (the object is round), the outcome is no valid polygon, or its
    IoU with the pixels is below 0.8 (it has other angles), the outline stays as it was.

    Each object is treated alone: afterwards neighbours may overlap, or leave a gap.

    Parameters
    ----------
    shapes : (n,) ndarray
        Multipolygons of shapely in pixels: what stays where no right angles are found.
    originals : (n,) ndarray
        The same along the edges of pixels.
    metric : (2, 2) ndarray, optional
        Leads from (x, y) in pixels to directions on the ground, where angles are to be right.

    Returns
    -------
    (shapes, ious) : tuple of ndarray
        Multipolygons in pixels, and their IoU with the pixels; NaN for those that stay as they
        were.

    Examples
    --------
    >>> import shapely
    >>> bent = shapely.MultiPolygon([shapely.Polygon([(0, 0), (20, 1), (20, 10), (0, 9)])])
    >>> found, ious = right_angled(np.array([bent]), np.array([bent]))
    >>> len(found[0].geoms[0].exterior.coords), bool(ious[0] > 0.9)
    (5, True)
    """
    shapely = need("shapely", "geo")
    metric = np.eye(2) if metric is None else metric
    pixel = float(np.sqrt(abs(np.linalg.det(metric))))
    found, ious = np.array(shapes, object), np.full(len(shapes), np.nan)
    for number, original in enumerate(originals):
        straight = _straightened(original, metric, pixel)
        if straight is None or not straight.is_valid:
            continue
        shared = shapely.intersection(straight, original).area
        iou = shared / (straight.area + original.area - shared)
        if iou >= _LEAST_IOU:
            found[number], ious[number] = straight, iou
    return found, ious


def _straightened(original: Any, metric: np.ndarray, pixel: float) -> Any:
    """Return a multipolygon with right angles; None where none are to be seen."""
    shapely = need("shapely", "geo")
    parts = _without_specks(original)
    smooth = [shapely.simplify(part, _NOISE) for part in parts]
    fine = [_rings(part, metric) for part in parts]
    traced = [[_every(ring, pixel / 2) for ring in part] for part in fine]
    angle = _main_direction([ring for part in traced for ring in part[:1]], pixel)
    if angle is None:
        return None
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    back = turn @ np.linalg.inv(metric).T
    made = []
    for part, outlines in zip(smooth, traced, strict=True):
        rings = _rings(part, metric)
        if len(rings) != len(outlines):
            return None
        corners = []
        for ring, outline in zip(rings, outlines, strict=True):
            walls = _walls(ring @ turn.T, _SHORTEST * pixel)
            if walls is None:
                return None
            corners.append(_corners(_settled(*walls, outline @ turn.T), walls[1]) @ back)
        made.append(shapely.Polygon(corners[0], corners[1:]))
    return shapely.MultiPolygon(made)


def _without_specks(shape: Any) -> list[Any]:
    """Return the parts of a multipolygon without tiny ones and without tiny holes."""
    shapely = need("shapely", "geo")
    largest = max(shapely.area(part.exterior.envelope) for part in shape.geoms)
    speck = min(_SHORTEST**2, largest)
    return [
        shapely.Polygon(
            part.exterior,
            [hole for hole in part.interiors if shapely.Polygon(hole).area >= speck],
        )
        for part in shape.geoms
        if shapely.area(part.exterior.envelope) >= speck
    ]


def _rings(part: Any, metric: np.ndarray) -> list[np.ndarray]:
    coordinates = need("shapely", "geo").get_coordinates
    return [coordinates(ring)[:-1] @ metric.T for ring in (part.exterior, *part.interiors)]


def _every(ring: np.ndarray, step: float) -> np.ndarray:
    """Return points on a ring at equal distances."""
    closed = np.concatenate([ring, ring[:1]])
    at = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    places = np.linspace(0, at[-1], max(8, round(at[-1] / step)), endpoint=False)
    return np.stack([np.interp(places, at, closed[:, axis]) for axis in (0, 1)], axis=1)


def _main_direction(outlines: list[np.ndarray], pixel: float) -> float | None:
    """Return the mean direction of outlines modulo a right angle; None where there is none.

    It is that of chords which are long enough not to see the steps of pixels.
    """
    chords = []
    for outline in outlines:
        length = len(outline) * pixel / 2
        span = int(np.clip(length / 16, 4 * pixel, 24 * pixel) * 2 / pixel)
        chords.append(np.roll(outline, -span, axis=0) - outline)
    chord = np.concatenate(chords)
    # Four times the angle is the same for directions that are a right angle apart.
    turning = np.exp(4j * np.arctan2(chord[:, 1], chord[:, 0])) * (chord**2).sum(1)
    total = turning.sum()
    if np.abs(total) < _LEAST_AGREEMENT * np.abs(turning).sum():
        return None
    # Once more without those that reach around corners.
    near = (turning * total.conj()).real > 0.5 * np.abs(turning) * np.abs(total)
    return float(np.angle(turning[near].sum()) / 4)


def _walls(ring: np.ndarray, shortest: float) -> tuple[list[float], bool] | None:
    """Return the walls of a ring whose edges are to be along x or along y, by turns.

    Returns
    -------
    (walls, flat) or None
        Of each wall its y or its x; whether the first is along x, so that it is a y. None where
        they enclose nothing.
    """
    edges = np.roll(ring, -1, axis=0) - ring
    middles = ring + edges / 2
    along_x = np.abs(edges[:, 0]) >= np.abs(edges[:, 1])
    turns = np.flatnonzero(along_x != np.roll(along_x, 1))
    if len(turns) < 4:
        return None
    shift = -int(turns[0])
    along_x, edges, middles = (np.roll(each, shift, axis=0) for each in (along_x, edges, middles))
    group = np.cumsum(along_x != np.roll(along_x, 1)) - 1
    # Its place is the mean of its edges', by their length.
    weights = np.abs(np.where(along_x, edges[:, 0], edges[:, 1])) + 1e-9
    values = np.where(along_x, middles[:, 1], middles[:, 0])
    weight = np.bincount(group, weights)
    walls, sizes = (np.bincount(group, weights * values) / weight).tolist(), weight.tolist()
    flat = bool(along_x[0])
    while len(walls) > 4:
        lengths = [abs(walls[i - 1] - walls[(i + 1) % len(walls)]) for i in range(len(walls))]
        least = int(np.argmin(lengths))
        if lengths[least] >= shortest:
            break
        walls, sizes, flat = _without(walls, sizes, flat, least)
    return walls, flat


def _without(
    walls: list[float], sizes: list[float], flat: bool, index: int
) -> tuple[list[float], list[float], bool]:
    """Leave a wall out, and make one of those beside it."""
    # Begin with the wall after the one after it: then it and its neighbours are the last three.
    begin = (index + 2) % len(walls)
    walls, sizes = walls[begin:] + walls[:begin], sizes[begin:] + sizes[:begin]
    size = sizes[-3] + sizes[-1]
    place = (walls[-3] * sizes[-3] + walls[-1] * sizes[-1]) / size
    return [*walls[:-3], place], [*sizes[:-3], size], flat == (begin % 2 == 0)


def _settled(walls: list[float], flat: bool, outline: np.ndarray) -> list[float]:
    """Move each wall to the mean place of the points of the outline that are nearest to it."""
    corners = _corners(walls, flat)
    following = np.roll(corners, -1, axis=0)
    low, high = np.minimum(corners, following), np.maximum(corners, following)
    away = outline[:, None] - np.clip(outline[:, None], low, high)
    nearest = np.hypot(away[..., 0], away[..., 1]).argmin(1)
    moved = list(walls)
    for index in range(len(walls)):
        axis = 1 if (index % 2 == 0) == flat else 0
        mine = outline[nearest == index]
        along = mine[:, 1 - axis]
        # Not around its ends.
        inset = (high[index, 1 - axis] - low[index, 1 - axis]) / 8
        inner = (along > low[index, 1 - axis] + inset) & (along < high[index, 1 - axis] - inset)
        if inner.any():
            moved[index] = float(mine[inner, axis].mean())
    return moved


def _corners(walls: list[float], flat: bool) -> np.ndarray:
    """Return where each wall begins: (n, 2), (x, y)."""
    corners = []
    for index, here in enumerate(walls):
        before = walls[index - 1]
        corners.append((before, here) if (index % 2 == 0) == flat else (here, before))
    return np.array(corners)
