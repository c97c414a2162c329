"""Where a scene lies in the world, as the layers of its prompts need it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError

from .pointer import axes_shown, world_position

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

__all__ = ["placed_like", "scene_affine"]


def scene_affine(viewer: napari.Viewer, layer: Image) -> np.ndarray:
    """Return what takes pixels of a scene to the world, in its last two axes and the layer's units.

    A flat layer with this transform shows (row, col) of the scene where the image shows them, in
    whatever plane of a stack; napari shows it in all of them.

    Raises
    ------
    InputError
        If the rows and columns of the scene do not lie in the last two axes of the world.
    """
    point = viewer.dims.point[-layer.ndim :] if viewer.dims.ndim >= layer.ndim else None
    origin, down, right = (
        np.array(world_position(layer, row, col, point)[-2:])
        for row, col in ((0, 0), (1, 0), (0, 1))
    )
    affine = np.eye(3)
    affine[:2, 0], affine[:2, 1], affine[:2, 2] = down - origin, right - origin, origin
    if abs(np.linalg.det(affine)) < 1e-12 * np.abs(affine[:2, :2]).max() ** 2:
        raise InputError(
            f"The rows and columns of {layer.name} are not its last axes: move them there "
            f"(np.moveaxis) before it is shown."
        )
    return affine


def placed_like(viewer: napari.Viewer, layer: Image) -> dict[str, Any]:
    """Return the options of a flat layer that lies on a scene."""
    axes = axes_shown(layer)
    units = tuple(layer.units[axes.index(axis)] for axis in "YX")
    return {"affine": scene_affine(viewer, layer), "units": units}
