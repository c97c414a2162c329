"""Between the world that a viewer shows and the pixels of a scene, whatever a layer's transform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Image, Labels

__all__ = ["axes_of", "scene_position", "world_position"]

_WORDS = {"time": "T", "depth": "Z", "channel": "C", "row": "Y", "column": "X", "col": "X"}


def axes_of(layer: Image | Labels) -> str | None:
    """Return what the axes of a layer's pixels are.

    Parameters
    ----------
    layer : Image or Labels
        Its axis labels count if all are understood: ``t``, ``z``, ``c``, ``y``, ``x`` or words such
        as ``time``. Else the last two are rows and columns, one before them is depth, and one
        before that time.

    Returns
    -------
    str or None
        A letter of ``TZCYXS`` for each axis, S at the end for colour; None for more than four axes
        without labels.
    """
    samples = "S" if getattr(layer, "rgb", False) else ""
    words = [label.strip().lower() for label in layer.axis_labels]
    letters = [_WORDS.get(word, word.upper()) for word in words]
    told = set(letters) <= set("TZCYX") and len(set(letters)) == len(letters)
    if told and {"Y", "X"} <= set(letters):
        return "".join(letters) + samples
    return "TZYX"[-layer.ndim :] + samples if layer.ndim <= 4 else None


def scene_position(
    layer: Image | Labels, world: Sequence[float], units: Sequence[Any] | None = None
) -> tuple[float, float]:
    """Return where in a scene a position of the world is.

    Parameters
    ----------
    layer : Image
        That shows the scene, with any scale, translation, rotation, shear and affine transform.
    world : sequence of float
        Such as the position of a mouse event. Of a world with more axes than the layer, the last
        ones count, as everywhere in napari.
    units : sequence of pint.Unit, optional
        Of `world`, as `viewer.layers.units` gives them; by default those of the layer.

    Returns
    -------
    row, col : float
        Pixels of level 0, whose centres lie at integers. It may be outside of the scene.
    """
    position = np.asarray(world, float)
    factors = _factors(layer, units)
    if factors is not None:
        position = position.copy()
        position[-layer.ndim :] *= factors[-len(position) :]
    data = layer.world_to_data(position)
    rows, cols = rows_and_cols(layer)
    return float(data[rows]), float(data[cols])


def world_position(
    layer: Image | Labels,
    row: float,
    col: float,
    point: Sequence[float] | None = None,
    units: Sequence[Any] | None = None,
) -> tuple[float, ...]:
    """Return where in the world a position of a scene is.

    Parameters
    ----------
    layer : Image
        That shows the scene.
    row, col : float
        Pixels of level 0.
    point : sequence of float, optional
        A position of the world in the plane that is meant, such as `viewer.dims.point`; by default
        the first plane.
    units : sequence of pint.Unit, optional
        Of the world; by default those of the layer.

    Returns
    -------
    tuple of float
        As many as `point` has, else as the layer has axes.
    """
    factors = _factors(layer, units)
    data = np.zeros(layer.ndim)
    front: tuple[float, ...] = ()
    if point is not None:
        given = np.asarray(point, float).copy()
        front = tuple(given[: max(0, len(given) - layer.ndim)])
        if factors is not None:
            given[-layer.ndim :] *= factors[-len(given) :]
        data = np.array(layer.world_to_data(given), float)
    rows, cols = rows_and_cols(layer)
    data[rows], data[cols] = row, col
    world = np.asarray(layer.data_to_world(data), float)
    return front + tuple(world if factors is None else world / factors)


def rows_and_cols(layer: Image | Labels) -> tuple[int, int]:
    """Return which axes of a layer are rows and columns."""
    axes = axes_of(layer)
    if axes is None:
        return layer.ndim - 2, layer.ndim - 1
    return axes.index("Y"), axes.index("X")


def _factors(layer: Image | Labels, units: Sequence[Any] | None) -> np.ndarray | None:
    """Return by what a world in some units is multiplied to be in those of a layer."""
    if units is None or len(units) < layer.ndim:
        return None
    theirs = tuple(units)[-layer.ndim :]
    if theirs == tuple(layer.units):
        return None
    return np.array(
        [
            float((1.0 * unit).to(own).magnitude)
            for unit, own in zip(theirs, layer.units, strict=True)
        ]
    )
