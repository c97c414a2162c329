"""Which arrays of a file are the levels of a Scene, and where these have no data."""

import numpy as np

from napari_sam.scenes.axes import LazyArray, Plane
from napari_sam.scenes.masks import MaskedPlane
from napari_sam.scenes.pyramid import halved
from napari_sam.scenes.sources import Source

__all__ = ["find_levels", "has_mask"]


def has_mask(source: Source, axes: str, channels: tuple[int, ...], dtype: np.dtype) -> bool:
    """Tell whether a mask or an alpha channel says where the chosen channels have no data.

    A picture of bits has no value left to say so, and an alpha channel that is looked at itself
    hides nothing.
    """
    return dtype.kind != "b" and (
        any(mask is not None for mask in source.masks)
        or (
            source.alpha is not None
            and axes == source.axes
            and "C" not in axes
            and source.alpha not in channels
        )
    )


def find_levels(
    source: Source,
    axes: str,
    place: tuple[int, int],
    channels: tuple[int, ...],
    hidden: tuple[float, bool] | None,
) -> tuple[Plane | MaskedPlane | None, ...]:
    """Give each level down to a single pixel the array that has its size, if there is one.

    Files halve odd sizes up or down, so that one pixel is forgiven. Levels that are coarser in
    depth too show another plane, and are left out; so are those without a mask of an image with
    masks.

    Parameters
    ----------
    source : Source
        The file.
    axes : str
        Of all its levels.
    place : (int, int)
        Time and depth.
    channels : tuple of int
        Those that are looked at.
    hidden : (float, bool) or None
        For images that `has_mask`: `nodata` and `apart` of `MaskedPlane`.

    Returns
    -------
    tuple
        For each level what it is read from; None: it is computed.
    """
    first, *coarser = source.levels
    sizes = dict(zip(axes, first.shape, strict=True))
    full = sizes["Y"], sizes["X"]
    planes: list[Plane | MaskedPlane | None] = []
    for number in range((max(full) - 1).bit_length() + 1):
        shape = halved(full, number)
        found = None
        for array in coarser if number else [first]:
            if len(array.shape) != len(axes):
                continue
            there = dict(zip(axes, array.shape, strict=True))
            near = abs(there["Y"] - shape[0]) <= 1 and abs(there["X"] - shape[1]) <= 1
            others = all(there[axis] == sizes[axis] for axis in axes if axis not in "YX")
            if near and others and np.dtype(array.dtype) == np.dtype(first.dtype):
                found = array
                break
        if number and found is not None:
            # Each serves once: of the smallest, several are within one pixel.
            coarser = [array for array in coarser if array is not found]
        planes.append(
            None if found is None else _plane(source, found, axes, place, channels, shape, hidden)
        )
    return tuple(planes)


def _plane(
    source: Source,
    array: LazyArray,
    axes: str,
    place: tuple[int, int],
    channels: tuple[int, ...],
    shape: tuple[int, int],
    hidden: tuple[float, bool] | None,
) -> Plane | MaskedPlane | None:
    if hidden is None:
        return Plane(array, axes, *place, channels, shape, source.name)
    if not source.masks:
        assert source.alpha is not None
        with_alpha = Plane(array, axes, *place, (*channels, source.alpha), shape, source.name)
        return MaskedPlane(with_alpha, None, *hidden)
    number = next(n for n, level in enumerate(source.levels) if level is array)
    mask = source.masks[number]
    if mask is None and number:
        return None
    plane = Plane(array, axes, *place, channels, shape, source.name)
    if mask is None:
        return plane
    return MaskedPlane(plane, Plane(mask, "YX", 0, 0, (0,), shape, source.name), *hidden)
