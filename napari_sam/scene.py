"""A Scene: any image, read lazily, with its levels, axes, scale, place on Earth and one stretch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.images import check_numbers
from napari_sam.scenes.axes import choose_channels, find_axes
from napari_sam.scenes.choices import all_channels, check_index, check_nodata, check_size
from napari_sam.scenes.fingerprint import fingerprint
from napari_sam.scenes.georeference import Georeference
from napari_sam.scenes.levels import find_levels, has_mask
from napari_sam.scenes.masks import value_without_data
from napari_sam.scenes.normalisation import Normalisation, check_fits, measure, of_window
from napari_sam.scenes.opening import local_path, open_source
from napari_sam.scenes.scene import Level, Scene
from napari_sam.scenes.sources import PixelSize, Window
from napari_sam.scenes.turning import looked_along, step_sizes
from napari_sam.scenes.volume_grid import VolumeGrid

__all__ = [
    "Georeference",
    "Level",
    "Normalisation",
    "PixelSize",
    "Scene",
    "VolumeGrid",
    "Window",
    "fingerprint",
    "measure",
    "open_scene",
]


def open_scene(
    path_or_array: Any,
    *,
    axes: str | None = None,
    channels: int | str | Sequence[int | str] | None = None,
    t: int = 0,
    z: int = 0,
    pixel_size: PixelSize | tuple[float, float, str] | None = None,
    nodata: float | None = None,
    normalisation: Normalisation | None = None,
    along: Literal["z", "y", "x"] = "z",
    part: str | None = None,
) -> Scene:
    """Open an image of any size without reading it.

    Parameters
    ----------
    path_or_array : path, str, or array
        A file of any format in `napari_sam.scenes.formats`, a folder that holds an image (Zarr,
        DICOM), or the URL of one; or an array: numpy, memory-mapped, dask, zarr, or anything that
        is indexed like them; or a sequence of such arrays, the resolutions of one image, finest
        first.
    axes : str, optional
        What the axes are, a letter of ``TZCYXS`` (time, depth, channel, row, column, sample of
        colour) for each; by default what the file says, else what the shape leaves no doubt about.
    channels : int, str, or sequence of these, optional
        One channel (grey) or three (red, green, blue), by number or by name. By default the first
        three where there are three or more, else the first: `Scene.channels` says which.
    t, z : int
        Which plane.
    pixel_size : PixelSize or (float, float, str), optional
        Height, width and unit; by default what the file says.
    nodata : float, optional
        The value of pixels without data; by default what the file says.
    normalisation : Normalisation, optional
        One that was saved; by default `measure` finds it. That reads a sample of at most 64
        windows; 8-bit images are taken as they are, and nothing is read.
    along : {"z", "y", "x"}
        Which axis of a volume to look along: its Z, so that planes are its rows and columns, its
        Y, so that they are its Z and columns, or its X. `z` counts along it.
    part : str, optional
        Which image of a file that holds several, such as a series of DICOM or a scene of CZI.

    Returns
    -------
    Scene
        Of the one plane.

    Raises
    ------
    InputError
        If the image is missing, damaged, not made of real numbers, or one of the choices does not
        exist in it.

    Examples
    --------
    >>> stack = np.zeros((3, 100, 80), np.uint8)
    >>> scene = open_scene(stack, axes="ZYX", z=2)
    >>> scene.shape, scene.channels, [level.shape for level in scene.levels[:3]]
    ((100, 80), ('grey',), [(100, 80), (50, 40), (25, 20)])
    >>> across = open_scene(stack, axes="ZYX", along="y", z=7)
    >>> across.shape, across.axes, across.planes
    ((3, 80), 'YZX', 100)
    >>> open_scene(stack)
    Traceback (most recent call last):
        ...
    napari_sam.errors.InputError: the array has shape (3, 100, 80), which does not tell what the \
axes are: give e.g. axes='ZYX' or axes='CYX'.
    """
    source = open_source(path_or_array, part)
    name, array = source.name, source.levels[0]
    try:
        dtype = np.dtype(array.dtype).newbyteorder("=")
    except TypeError:
        raise InputError(
            f"{name} has the unknown type {array.dtype}: give a numpy array."
        ) from None
    check_numbers(dtype, name)
    shape = tuple(array.shape)
    if 0 in shape:
        raise InputError(f"{name} has no pixels (shape {shape}).")
    axes = find_axes(shape, source.axes if axes is None else axes, name)
    axes = looked_along(axes, along, name)
    size, depth = step_sizes(source, axes)
    sizes = dict(zip(axes, shape, strict=True))
    names = all_channels(source, sizes)
    chosen = choose_channels(channels, names, name)
    place = [check_index(index, sizes.get(a, 1), a, name) for a, index in (("T", t), ("Z", z))]
    told = check_nodata(nodata, source.nodata, dtype, name)
    hidden = None
    if has_mask(source, axes, chosen, dtype):
        hidden = (value_without_data(dtype), dtype.kind != "f") if told is None else (told, False)
    scene = Scene(
        name=name,
        axes=axes,
        t=place[0],
        z=place[1],
        dtype=dtype,
        channel_names=names,
        channels=tuple(names[number] for number in chosen),
        pixel_size=size if pixel_size is None else check_size(pixel_size, name),
        georeference=source.georeference,
        nodata=hidden[0] if hidden is not None and hidden[1] else told,
        masked=hidden is not None and told is None,
        times=sizes.get("T", 1),
        planes=sizes.get("Z", 1),
        depth=depth,
        grid=source.grid,
        windows=source.windows,
        part=part,
        notes=source.notes,
        normalisation=Normalisation("as_is", (0.0,) * len(chosen), (0.0,) * len(chosen)),
        _planes=find_levels(source, axes, (place[0], place[1]), chosen, hidden),
        _file=local_path(path_or_array),
    )
    if normalisation is None:
        normalisation = of_window(scene) if scene.windows else measure(scene)
    check_fits(normalisation, scene.channels, name)
    return replace(scene, normalisation=normalisation)
