"""Planes across thick slices, with as many rows as they are high."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.scene import PixelSize, open_scene

if TYPE_CHECKING:
    from napari_sam.scene import Scene

__all__ = ["rows_for_square", "squared"]


def rows_for_square(scene: Scene) -> int:
    """Return how many square pixels high a pixel is, rounded; 1 where nothing tells."""
    size = scene.pixel_size
    return 1 if size is None else max(1, round(size.rows / size.cols))


def squared(scene: Scene, times: int) -> Scene:
    """Return a Scene each of whose rows is there several times.

    Examples
    --------
    >>> thick = open_scene(np.array([[1, 2], [3, 4]], np.uint8))
    >>> squared(thick, 2).read(0, slice(1, 4), slice(0, 2))[..., 0]
    array([[1, 2],
           [3, 4],
           [3, 4]], dtype=uint8)
    """
    size = scene.pixel_size
    return open_scene(
        _Repeated(scene, times),
        axes="YXS",
        pixel_size=None if size is None else PixelSize(size.rows / times, size.cols, size.unit),
        nodata=scene.nodata,
        normalisation=scene.normalisation,
    )


class _Repeated:
    """The pixels of a Scene, (row, col, channel), each row several times."""

    def __init__(self, scene: Scene, times: int) -> None:
        self._scene, self._times = scene, times
        self.shape = (scene.shape[0] * times, scene.shape[1], len(scene.channels))
        self.dtype = scene.dtype

    def __getitem__(self, selection: Any) -> np.ndarray:
        rows, *rest = selection
        wanted = np.arange(self.shape[0])[rows] // self._times
        first, last = int(wanted.min()), int(wanted.max()) + 1
        block = self._scene.read(0, slice(first, last), slice(None))
        return block[(wanted - first, *rest)]
