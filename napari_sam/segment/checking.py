"""What a prompt on a Scene must be; everything else is refused in one sentence."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from napari_sam.errors import InputError

from .objects import MaskLike
from .routing import ScenePrompt
from .scribbles import mask_points, scribble_points

__all__ = ["check_scene_prompt"]

_POINTS_IN_MASK = 3
"""Clicks that accompany a mask prompt, which alone is the network's weakest prompt."""


def check_scene_prompt(
    shape: tuple[int, int],
    points: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    box: ArrayLike | None = None,
    mask: MaskLike | None = None,
    scribble: ArrayLike | None = None,
) -> ScenePrompt:
    """Bring all that a person gives to the few things that a network takes.

    A scribble becomes clicks. A mask brings its bounding box, unless there is one, and a few
    clicks inside of it, unless there are any.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the Scene.
    points, labels, box, mask, scribble
        As `Segmenter.prompt` takes them.

    Returns
    -------
    ScenePrompt

    Raises
    ------
    InputError
        If they do not say where an object of this Scene is.

    Examples
    --------
    >>> asked = check_scene_prompt((100, 100), points=[[3, 4]])
    >>> asked.kind, asked.labels
    ('point', array([1]))
    >>> check_scene_prompt((100, 100), points=[[3, 200]])
    Traceback (most recent call last):
        ...
    napari_sam.errors.InputError: The point 3, 200 lies outside of the scene, whose rows go from \
0 to 99 and columns from 0 to 99.
    """
    if points is None and labels is not None:
        raise InputError("There are labels but no points: give the points that they belong to.")
    clicks = _positions(points, "points", "point", shape)
    given = _labels(labels, len(clicks))
    drawn = _positions(scribble, "a scribble", "vertex", shape)
    if scribble is not None and not len(drawn):
        raise InputError("The scribble has no vertices: draw a line on the object.")
    corners = None if box is None else _box(box, shape)
    if mask is not None:
        _check_mask(mask, shape)
    clicked = len(clicks)
    if len(drawn):
        drawn = scribble_points(drawn)
        clicks, given = np.concatenate([clicks, drawn]), np.append(given, np.ones(len(drawn), int))
    if corners is None and mask is None and not given.any():
        raise InputError(
            "Nothing says where the object is: give a foreground point, a box, a mask or a "
            "scribble."
        )
    kind = _kind(clicked, corners is not None, mask is not None, scribble is not None)
    if mask is not None:
        if corners is None:
            corners = _bounding_box(mask)
        if not given.any():
            inside = mask_points(mask, _POINTS_IN_MASK)
            clicks = np.concatenate([clicks, inside])
            given = np.append(given, np.ones(len(inside), int))
    return ScenePrompt(clicks, given, corners, mask, kind)


def _kind(clicked: int, box: bool, mask: bool, scribble: bool) -> str:
    if mask:
        return "mask"
    if box:
        return "box+points" if clicked or scribble else "box"
    if scribble:
        return "scribble"
    return "points" if clicked > 1 else "point"


def _numbers(values: ArrayLike, what: str) -> np.ndarray:
    """Return real, finite numbers."""
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{what} must be numbers: give rows and columns in pixels.") from None
    if not np.isfinite(array).all():
        raise InputError(f"{what} must be finite numbers, and one of them is not.")
    return array


def _positions(values: ArrayLike | None, what: str, one: str, shape: tuple[int, int]) -> np.ndarray:
    """Return positions in the Scene, (n, 2)."""
    if values is None:
        return np.zeros((0, 2))
    places = _numbers(values, what.capitalize())
    if places.size == 0:
        return np.zeros((0, 2))
    if places.ndim != 2 or places.shape[1] != 2:
        raise InputError(
            f"{what.capitalize()} must have the shape (n, 2), a row and a column each, and not "
            f"{places.shape}."
        )
    outside = ~_within(places, shape)
    if outside.any():
        row, col = places[outside][0]
        raise InputError(f"The {one} {row:g}, {col:g} lies outside of {_said(shape)}.")
    return places


def _labels(labels: ArrayLike | None, count: int) -> np.ndarray:
    if labels is None:
        return np.ones(count, int)
    given = _numbers(labels, "Labels")
    if given.shape != (count,):
        raise InputError(
            f"There must be one label for each of the {count} points, and not {given.size}."
        )
    if not np.isin(given, (0, 1)).all():
        raise InputError("Labels must be 1 for the object and 0 for what is not.")
    return given.astype(int)


def _box(box: ArrayLike, shape: tuple[int, int]) -> np.ndarray:
    corners = _numbers(box, "A box")
    if corners.shape != (4,):
        raise InputError(
            f"A box must be (row0, col0, row1, col1), and not of the shape {corners.shape}."
        )
    corners = np.concatenate([corners.reshape(2, 2).min(axis=0), corners.reshape(2, 2).max(axis=0)])
    name = f"The box {', '.join(f'{value:g}' for value in corners)}"
    if not (corners[:2] < corners[2:]).all():
        raise InputError(f"{name} has no area: its corners must differ in row and column.")
    # The end of a box may be given as the pixel after the last one.
    if (corners < -0.5).any() or (corners[2:] > shape).any():
        raise InputError(f"{name} reaches out of {_said(shape)}.")
    return corners


def _check_mask(prompt: MaskLike, shape: tuple[int, int]) -> None:
    mask = prompt.mask
    if not isinstance(mask, np.ndarray) or mask.ndim != 2 or mask.dtype != bool:
        raise InputError("A mask must be a bool array of rows and columns, with its offset.")
    if not mask.any():
        raise InputError("The mask is empty: give one that covers a part of the object.")
    ends = prompt.row + mask.shape[0], prompt.col + mask.shape[1]
    if prompt.row < 0 or prompt.col < 0 or ends[0] > shape[0] or ends[1] > shape[1]:
        raise InputError(
            f"The mask covers rows {prompt.row} to {ends[0] - 1} and columns {prompt.col} to "
            f"{ends[1] - 1}, which reaches out of {_said(shape)}."
        )


def _bounding_box(prompt: MaskLike) -> np.ndarray:
    rows = np.flatnonzero(prompt.mask.any(axis=1)) + prompt.row
    cols = np.flatnonzero(prompt.mask.any(axis=0)) + prompt.col
    return np.array([rows[0], cols[0], rows[-1], cols[-1]], np.float64)


def _within(places: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    inside = (places >= -0.5) & (places <= np.array(shape) - 0.5)
    return inside[:, 0] & inside[:, 1]


def _said(shape: tuple[int, int]) -> str:
    return f"the scene, whose rows go from 0 to {shape[0] - 1} and columns from 0 to {shape[1] - 1}"
