"""Another plane of the same image, without opening it again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_sam.scenes.axes import Plane
from napari_sam.scenes.masks import MaskedPlane
from napari_sam.scenes.normalisation import Normalisation

if TYPE_CHECKING:
    from napari_sam.scene import Scene

__all__ = ["at_plane"]


def at_plane(scene: Scene, t: int, z: int, normalisation: Normalisation | None = None) -> Scene:
    """Return the same image at another time and depth; levels kept of this plane are left out.

    Parameters
    ----------
    scene : Scene
        Any plane of it.
    t, z : int
        Which plane; there must be one.
    normalisation : Normalisation, optional
        Its stretch; by default that of `scene`.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_sam.scene import open_scene
    >>> stack = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    >>> other = at_plane(open_scene(stack, axes="ZYX"), 0, 2)
    >>> other.z, other.read(0, slice(0, 1), slice(0, 2))[..., 0]
    (2, array([[8, 9]], dtype=uint8))
    """
    planes = tuple(
        None if plane is None or number in scene._kept else _moved(plane, t, z)
        for number, plane in enumerate(scene._planes)
    )
    stretch = scene.normalisation if normalisation is None else normalisation
    return replace(scene, t=t, z=z, normalisation=stretch, _planes=planes, _kept=frozenset())


def _moved(plane: Plane | MaskedPlane, t: int, z: int) -> Plane | MaskedPlane:
    if isinstance(plane, Plane):
        return replace(plane, t=t, z=z)
    mask = None if plane.mask is None else replace(plane.mask, t=t, z=z)
    return replace(plane, plane=replace(plane.plane, t=t, z=z), mask=mask)
