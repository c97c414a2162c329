"""What is visible of a scene, and how to make something visible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam.tiles.regions import Region

from .pointer import scene_position, world_position
from .window import canvas

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

__all__ = ["move_camera", "visible_region"]

_ROOM = 1.5
"""How much wider than a region that is shown the view is."""

_MOST = 16.0
"""Screen pixels for a pixel of the image, at most."""


def visible_region(viewer: napari.Viewer, layer: Image, shape: tuple[int, int]) -> Region:
    """Return the rectangle of a scene that the canvas shows.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose canvas.
    layer : Image
        The scene's layer.
    shape : (int, int)
        Rows and columns of the scene.

    Returns
    -------
    Region
        In pixels of level 0, without pixels if none is visible. Of a view that is turned against
        the scene, the smallest rectangle around it.
    """
    shown, widget = list(viewer.dims.displayed[-2:]), canvas(viewer)
    centre = np.array(viewer.dims.point, float)
    camera = viewer.scene.camera
    half = np.array([widget.height(), widget.width()]) / (2 * camera.zoom)
    corners = []
    for side in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        world = centre.copy()
        world[shown] = np.array(camera.center[-2:]) + half * side
        corners.append(scene_position(layer, world, viewer.dims.units))
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    first = np.clip(np.floor(low + 0.5), 0, shape).astype(int)
    last = np.clip(np.floor(high + 0.5) + 1, first, np.maximum(first, shape)).astype(int)
    return Region(int(first[0]), int(first[1]), int(last[0]), int(last[1]))


def move_camera(viewer: napari.Viewer, layer: Image, region: Region) -> None:
    """Show a rectangle of a scene: in the middle, and as large as it fits with some room."""
    shown, widget = list(viewer.dims.displayed[-2:]), canvas(viewer)
    point, units = viewer.dims.point, viewer.dims.units
    corners = np.array(
        [
            np.array(world_position(layer, row - 0.5, col - 0.5, point, units))[shown]
            for row in (region.row0, region.row1)
            for col in (region.col0, region.col1)
        ]
    )
    low, high = corners.min(axis=0), corners.max(axis=0)
    centre = list(viewer.scene.camera.center)
    centre[-2:] = (low + high) / 2
    across = np.maximum(high - low, 1e-9)
    fits = np.array([widget.height(), widget.width()]) / (across * _ROOM)
    pixel = float(np.max(across / np.maximum(region.shape, 1)))
    viewer.scene.camera.center = tuple(centre)
    viewer.scene.camera.zoom = min(float(fits.min()), _MOST / pixel)
