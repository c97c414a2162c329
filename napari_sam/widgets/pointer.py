"""Between the world that a viewer shows and the pixels of a scene, whatever a layer's transform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from napari_sam.scenes.turning import looked_along

if TYPE_CHECKING:
    from napari.layers import Image, Labels

__all__ = [
    "along_of",
    "axes_of",
    "axes_shown",
    "layer_position",
    "rows_and_cols",
    "scene_position",
    "world_position",
]

_WORDS = {"time": "T", "depth": "Z", "channel": "C", "row": "Y", "column": "X", "col": "X"}


def along_of(layer: Image | Labels) -> Literal["z", "y", "x"]:
    """Return which axis of its image a layer looks along: z, unless `sides` turned it."""
    side = layer.metadata.get("image_along")
    return side if side in ("y", "x") else "z"


def axes_of(layer: Image | Labels, labels_only: bool = False) -> str | None:
    """Return what the axes of a layer's pixels are.

    Parameters
    ----------
    layer : Image or Labels
        Its axis labels count if all are understood: ``t``, ``z``, ``c``, ``y``, ``x`` or words such
        as ``time``. Else the last two are rows and columns, one before them is depth, and one
        before that time.
    labels_only : bool
        None if the labels do not tell.

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
        side = along_of(layer) if "Z" in letters else "z"
        return looked_along("".join(letters), side, layer.name) + samples
    if labels_only or layer.ndim > 4:
        return None
    return "TZYX"[-layer.ndim :] + samples


def axes_shown(layer: Image | Labels, axes: str | None = None) -> str:
    """Return a letter for each axis of a layer that has a slider or is displayed.

    Parameters
    ----------
    layer : Image or Labels
        Whose axes, as its labels have them.
    axes : str, optional
        Of the scene that it shows all of, or one channel of: its file may know more than a layer
        without labels. An axis of channels that the layer lacks is left out.
    """
    told = axes if along_of(layer) == "z" else None  # a turned one has its axes in another order
    for known in (axes_of(layer, labels_only=True), told, axes_of(layer)):
        letters = (known or "").replace("S", "")
        for candidate in (letters, letters.replace("C", "")):
            if len(candidate) == layer.ndim:
                return candidate
    return "?" * (layer.ndim - 2) + "YX"


def scene_position(
    layer: Image | Labels, world: ArrayLike, units: Sequence[Any] | None = None
) -> tuple[float, float]:
    """Return where in a scene a position of the world is.

    Parameters
    ----------
    layer : Image
        That shows the scene, with any scale, translation, rotation, shear and affine transform.
    world : array-like
        Such as the position of a mouse event. Of a world with more axes than the layer, the last
        ones count, as everywhere in napari.
    units : sequence of pint.Unit, optional
        Of `world`, as `viewer.layers.units` gives them; by default those of the layer.

    Returns
    -------
    row, col : float
        Pixels of level 0, whose centres lie at integers. It may be outside of the scene.
    """
    data = layer_position(layer, world, units)
    rows, cols = rows_and_cols(layer)
    return float(data[rows]), float(data[cols])


def world_position(
    layer: Image | Labels,
    row: float,
    col: float,
    point: ArrayLike | None = None,
    units: Sequence[Any] | None = None,
) -> tuple[float, ...]:
    """Return where in the world a position of a scene is.

    Parameters
    ----------
    layer : Image
        That shows the scene.
    row, col : float
        Pixels of level 0.
    point : array-like, optional
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
        given = np.asarray(point, float)
        front = tuple(map(float, given[: max(0, len(given) - layer.ndim)]))
        data = layer_position(layer, given, units)
    rows, cols = rows_and_cols(layer)
    data[rows], data[cols] = row, col
    world = np.asarray(layer.data_to_world(data), float)
    return front + tuple(map(float, world if factors is None else world / factors))


def layer_position(
    layer: Image | Labels, world: ArrayLike, units: Sequence[Any] | None = None
) -> np.ndarray:
    """Return where in a layer's data, along all its axes, a position of the world is."""
    position, factors = np.asarray(world, float), _factors(layer, units)
    if factors is not None:
        position = position.copy()
        position[-layer.ndim :] *= factors[-len(position) :]
    return np.array(layer.world_to_data(position), float)


def rows_and_cols(layer: Image | Labels) -> tuple[int, int]:
    """Return which axes of a layer are rows and columns."""
    axes = axes_shown(layer)
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
