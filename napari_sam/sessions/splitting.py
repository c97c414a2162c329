"""Where an object falls into parts: by itself, along a line, or as labels say."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from napari_sam.errors import InputError

from .runs import Runs, runs_by_value

__all__ = ["along_line", "by_labels", "line_pixels"]


def line_pixels(line: ArrayLike) -> Runs:
    """Return the pixels that a line of straight pieces passes, each touching the next.

    Parameters
    ----------
    line : (n, 2) array
        Its vertices, (row, col).

    Raises
    ------
    InputError
        If it has fewer than two, or is no such array.

    Examples
    --------
    >>> line_pixels([[0, 0], [2, 4]]).mask.astype(int)
    array([[1, 1, 0, 0, 0],
           [0, 0, 1, 0, 0],
           [0, 0, 0, 1, 1]])
    """
    vertices = np.asarray(line, np.float64)
    if vertices.ndim != 2 or vertices.shape[1:] != (2,) or len(vertices) < 2:
        raise InputError("A line needs at least two vertices, a row and a column each.")
    if not np.isfinite(vertices).all():
        raise InputError("A line must consist of finite numbers, and one of them is not.")
    places = []
    for (row0, col0), (row1, col1) in pairwise(vertices):
        count = int(max(abs(row1 - row0), abs(col1 - col0))) + 2
        places.append(
            np.stack([np.linspace(row0, row1, count), np.linspace(col0, col1, count)], axis=1)
        )
    pixels = np.rint(np.concatenate(places)).astype(np.int64)
    rows, cols = pixels[(pixels >= 0).all(axis=1)].T
    keys = np.unique((rows << 32) + cols)
    return Runs.of_ends(keys, keys + 1)


def along_line(runs: Runs, line: ArrayLike) -> list[Runs]:
    """Divide pixels along a line.

    The pixels under the line stay with the largest part, and so does what the line does not touch.

    Returns
    -------
    list of Runs
        The largest first.

    Raises
    ------
    InputError
        If the line does not divide them.
    """
    drawn = line_pixels(line) & runs
    near = drawn.grown()
    parts = [part for part in (runs - drawn).components() if part & near] if drawn else []
    if len(parts) < 2:
        raise InputError("The line does not divide the object: draw it from one side to the other.")
    rest = runs
    for part in parts[1:]:
        rest -= part
    return [rest, *parts[1:]]


def by_labels(runs: Runs, labels: np.ndarray, row: int, col: int) -> list[Runs]:
    """Divide pixels as a label image says whose first pixel lies at a place.

    What has no label stays with the largest part.

    Returns
    -------
    list of Runs
        The largest first, of equal ones that with the lower label.

    Raises
    ------
    InputError
        If fewer than two labels lie on them.
    """
    values, starts, stops = runs_by_value(labels, row, col)
    parts = []
    for value in np.unique(values):
        chosen = values == value
        if part := Runs.of_ends(starts[chosen], stops[chosen]) & runs:
            parts.append(part)
    if len(parts) < 2:
        raise InputError("The labels do not divide the object: at least two must lie on it.")
    parts.sort(key=lambda part: -part.area)
    rest = runs
    for part in parts[1:]:
        rest -= part
    return [rest, *parts[1:]]
