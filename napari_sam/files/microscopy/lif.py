"""LIF, the files of Leica microscopes, through liffile: plane by plane."""

import weakref
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.extras import need
from napari_sam.files.images import damage_told
from napari_sam.files.microscopy.parts import choose_part, existing, unlike
from napari_sam.files.microscopy.stacked import StackedPlanes, whole_planes
from napari_sam.scenes.sources import LazyFile, PixelSize, Source, colour_names

__all__ = ["lif_parts", "open_lif"]

_STACKED = "TCZ"

_UNITS = {"m": 1e6, "mm": 1e3, "µm": 1.0, "um": 1.0}
"""Micrometers of what LIF tells."""


def lif_parts(path: Path | str) -> tuple[str, ...]:
    """Name the images of a LIF file, and the tiles of mosaics in it.

    Raises
    ------
    InputError
        If liffile is missing, or the file is missing or damaged.
    """
    path = existing(path)
    with damage_told(path), _opened(path) as file:
        return tuple(_parts(file))


def open_lif(path: Path | str, part: str | None) -> Source:
    """Open one image of a LIF file.

    Parameters
    ----------
    path : Path
        Of the file.
    part : str or None
        An image, as `lif_parts` names it; None for the only one.

    Raises
    ------
    InputError
        If liffile is missing, the file is damaged, or it holds several images and none is chosen.
    """
    path = existing(path)
    with damage_told(path), _opened(path) as file:
        parts = _parts(file)
        part = choose_part(part, tuple(parts), path, "images")
        image, tile = parts[part]
        array = _array(image, tile, path)
        names = _channel_names(image, array)
        size, depth = _sizes(image)
        notes = tuple(
            f"The image has several planes along the axis {letter}; the first are shown."
            for letter in image.dims
            if letter not in "TCZYXSM" and image.sizes[letter] > 1
        )
        lazy = LazyFile(_open_array, path, part, shape=array.shape, dtype=array.dtype)
        return Source(str(path), (lazy,), array.axes, names, size, depth=depth, notes=notes)


def _opened(path: Path) -> Any:
    return need("liffile", "microscopy").LifFile(path)


def _parts(file: Any) -> dict[str, tuple[Any, int | None]]:
    """Return images and the number of a tile by name; what is no image is left out."""
    found: list[tuple[str, Any, int | None]] = []
    for image in file.images:
        if image.is_flim or not {"Y", "X"} <= set(image.dims):
            continue
        if image.sizes.get("M", 1) > 1:
            tiles = range(image.sizes["M"])
            found += [(f"{image.path} tile {tile}", image, tile) for tile in tiles]
        else:
            found.append((image.path, image, None))
    names = unlike([name for name, _, _ in found])
    return {name: (image, tile) for name, (_, image, tile) in zip(names, found, strict=True)}


def _open_array(path: Path, part: str) -> StackedPlanes:
    file = _opened(path)
    image, tile = _parts(file)[part]
    array = _array(image, tile, path)
    weakref.finalize(array, file.close)
    return array


def _array(image: Any, tile: int | None, path: Path) -> StackedPlanes:
    inner = tuple(image.frames.frame_dims)
    if inner not in (("Y", "X"), ("Y", "X", "S")):
        raise InputError(
            f"{path}: the planes of {image.name} have the axes {', '.join(inner)} and not rows and "
            "columns: save it from LAS X as TIFF."
        )
    sizes = image.sizes
    stacked = [letter for letter in _STACKED if sizes.get(letter, 1) > 1]
    shape = tuple(sizes[letter] for letter in (*stacked, *inner))
    dtype = np.dtype(image.dtype)
    bytes_of_plane = int(np.prod(shape[len(stacked) :], dtype=np.float64)) * dtype.itemsize
    if min(shape) < 1 or bytes_of_plane > image.memory_block.size:
        raise InputError(f"{path} is damaged: {image.name} claims more pixels than are stored.")
    fixed = {} if tile is None else {"M": tile}

    def read(place: tuple[int, ...]) -> np.ndarray:
        where = dict(zip(stacked, place, strict=True))
        plane: np.ndarray = image.frame(**fixed, **where)
        return plane

    return whole_planes("".join((*stacked, *inner)), shape, dtype, read)


def _channel_names(image: Any, array: StackedPlanes) -> tuple[str, ...]:
    """Name channels by their dye, else by their colour table."""
    if array.axes.endswith("S"):
        return colour_names(array.shape[-1])
    names = []
    for channel in image.xml_element.iterfind(
        "./Data/Image/ImageDescription/Channels/ChannelDescription"
    ):
        dyes = [
            told.findtext("Value")
            for told in channel.iterfind("ChannelProperty")
            if told.findtext("Key") == "DyeName"
        ]
        names.append(next((dye for dye in dyes if dye), channel.get("LUTName") or ""))
    return unlike(names) if any(names) else ()


def _sizes(image: Any) -> tuple[PixelSize | None, float | None]:
    """Return the size of a pixel and the distance between planes, in micrometers."""
    letters = {"1": "X", "2": "Y", "3": "Z"}
    steps = {}
    for axis in image.xml_element.iterfind(
        "./Data/Image/ImageDescription/Dimensions/DimensionDescription"
    ):
        letter, scale = letters.get(axis.get("DimID", "")), _UNITS.get(axis.get("Unit", ""))
        count = int(axis.get("NumberOfElements", "0"))
        if letter is None or scale is None or count < 2:
            continue
        # The length is from the centre of the first pixel to that of the last.
        step = abs(float(axis.get("Length", "nan"))) / (count - 1) * scale
        if 0 < step < np.inf:
            steps[letter] = round(step, 9)
    if "X" not in steps or "Y" not in steps:
        return None, None
    return PixelSize(steps["Y"], steps["X"], "micrometer"), steps.get("Z")
