"""How large objects of a volume are: voxels, and the cube of a unit of length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam.errors import InputError
from napari_sam.scenes.sources import PixelSize
from napari_sam.segment.everything.grid import sizes_in_pixels

if TYPE_CHECKING:
    from napari_sam.scene import Scene

__all__ = ["Volumes", "volumes_in_voxels", "voxel_volume"]


@dataclass(frozen=True)
class Volumes:
    """The smallest and the largest volume of objects; None where all count.

    Parameters
    ----------
    smallest, largest : float or None
        Both included.
    unit : str
        ``"voxel"``, or a unit of length of which they are cubes, such as ``"mm"``.
    """

    smallest: float | None = None
    largest: float | None = None
    unit: str = "voxel"


def voxel_volume(scene: Scene, depth: float | None = None) -> float | None:
    """Return the volume of a voxel, in the cube of the unit of the pixel size; None if not known.

    Parameters
    ----------
    scene : Scene
        A plane of the volume.
    depth : float, optional
        From one plane to the next, in that unit; by default what the scene says.
    """
    depth = scene.depth if depth is None else depth
    if scene.pixel_size is None or depth is None:
        return None
    return scene.pixel_size.rows * scene.pixel_size.cols * depth


def volumes_in_voxels(
    volumes: Volumes, scene: Scene, depth: float | None = None
) -> tuple[float | None, float | None]:
    """Turn volumes into voxels.

    Raises
    ------
    InputError
        If they are no volumes, or the scene does not say how large its voxels are.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_sam.scene import open_scene
    >>> stack = np.zeros((5, 8, 8), np.uint8)
    >>> scene = open_scene(stack, axes="ZYX", pixel_size=(0.5, 0.5, "millimeter"))
    >>> volumes_in_voxels(Volumes(1, 2, "cm"), scene, depth=2)
    (2000.0, 4000.0)
    >>> volumes_in_voxels(Volumes(50, None, "mm"), scene)
    Traceback (most recent call last):
        ...
    napari_sam.errors.InputError: the array does not say how far its planes lie apart: give \
volumes in voxels instead of mm3.
    """
    low, high = volumes.smallest, volumes.largest
    if (low is not None and low < 0) or (high is not None and high <= (low or 0)):
        raise InputError(
            f"Objects of {low or 0:g} to {high:g} {volumes.unit} cannot be looked for: give a "
            f"smallest volume of 0 or more, and a larger largest one."
        )
    if volumes.unit == "voxel" or (low is None and high is None):
        return low, high
    size, depth = scene.pixel_size, scene.depth if depth is None else depth
    if size is None or depth is None:
        what = "large its pixels are" if size is None else "far its planes lie apart"
        raise InputError(
            f"{scene.name} does not say how {what}: give volumes in voxels instead of "
            f"{volumes.unit}3."
        )
    # How many units of the pixel size a unit of the volumes is.
    factor = sizes_in_pixels((1.0, None), volumes.unit, PixelSize(1, 1, size.unit))[0] or 1.0
    voxel = size.rows * size.cols * depth
    low, high = (None if asked is None else asked * factor**3 / voxel for asked in (low, high))
    return low, high
