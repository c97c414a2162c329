"""A short name for the pixels of a Scene, to notice when they are no longer the same."""

import json
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from napari_sam.scenes.sampling import spread_windows

if TYPE_CHECKING:
    from napari_sam.scene import Scene

__all__ = ["fingerprint"]

_WINDOWS, _SIDE = 59, 64

_COARSE_WINDOWS = 8
"""Of each coarser level that the file stores: they show the same things, and are many."""


def fingerprint(scene: "Scene") -> str:
    """Hash what the network sees of a Scene, from a sample.

    Shape, dtype, axes, channels, nodata and normalisation count, and the pixels of level 0 in at
    most 64 windows of 64 x 64: four corners, the centre, and 59 spread over the rest. Small scenes
    count whole. A change of a part p of the area is missed with a chance of about (1 - p)**64:
    a tenth of the image, once in 850 times. Of coarser levels that the file stores, which the
    network sees as they are, at most 8 such windows each count; those that are computed, or kept
    elsewhere, follow from level 0.

    Parameters
    ----------
    scene : Scene
        Read in at most 64 windows of level 0, and 8 of each other level of the file.

    Returns
    -------
    str
        32 hexadecimal digits; the same for the same pixels and levels in any file format and byte
        order.

    Examples
    --------
    >>> from napari_sam.scene import open_scene
    >>> image = np.arange(16, dtype=np.uint8).reshape(4, 4)
    >>> fingerprint(open_scene(image)) == fingerprint(open_scene(image.copy()))
    True
    >>> fingerprint(open_scene(image)) == fingerprint(open_scene(image[::-1]))
    False
    """
    described = {
        "shape": scene.shape,
        "dtype": scene.dtype.name,
        "axes": scene.axes,
        "channels": scene.channels,
        "nodata": None if scene.nodata is None else repr(float(scene.nodata)),
        "normalisation": scene.normalisation.to_dict(),
    }
    digest = xxhash.xxh3_128(json.dumps(described, sort_keys=True).encode())
    for number, level in enumerate(scene.levels):
        if not level.stored:
            continue
        digest.update(f"level {number}".encode())
        for window in _windows(number, level.shape):
            pixels = scene.read(number, *window)
            little = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
            digest.update(np.ascontiguousarray(little).tobytes())
    return digest.hexdigest()


def _windows(level: int, shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Return where a level is looked at."""
    if level:
        return spread_windows(shape, _COARSE_WINDOWS, _SIDE)
    spread = spread_windows(shape, _WINDOWS, _SIDE)
    return spread if len(spread) == 1 else [*_landmarks(shape), *spread]


def _landmarks(shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Return the four corners and the centre."""
    ends = [min(_SIDE, size) for size in shape]
    first = [slice(0, end) for end in ends]
    last = [slice(size - end, size) for size, end in zip(shape, ends, strict=True)]
    middle = [
        slice((size - end) // 2, (size - end) // 2 + end)
        for size, end in zip(shape, ends, strict=True)
    ]
    return [
        (first[0], first[1]),
        (first[0], last[1]),
        (last[0], first[1]),
        (last[0], last[1]),
        (middle[0], middle[1]),
    ]
