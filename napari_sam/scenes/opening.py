"""Anything that holds an image -> a Source."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.images import damage_told, is_tiff, read_image
from napari_sam.files.zarr_images import (
    ZarrImage,
    describe_zarr,
    is_zarr,
    open_zarr_image,
    zarr_parts,
)
from napari_sam.scenes.formats import find_format
from napari_sam.scenes.sources import LazyFile, PixelSize, Source, colour_names
from napari_sam.scenes.tiff import open_tiff, size_on_the_ground, tiff_georeference
from napari_sam.scenes.tiff_images import tiff_parts
from napari_sam.scenes.world_files import read_world_file

__all__ = ["from_zarr", "local_path", "open_source", "parts_of"]

_NPY_MAGIC = b"\x93NUMPY"


def open_source(image: Any, part: str | None = None) -> Source:
    """Open a path, a URL of a Zarr, or take an array as it is.

    Parameters
    ----------
    image : path, str, array, sequence of arrays, zarr.Array, zarr.Group or Source
        See `napari_sam.scene.open_scene`; a Source is what was opened before.
    part : str, optional
        Which image of a file that holds several.

    Returns
    -------
    Source
        No pixels are read, but for PNG, JPEG and other pictures that can only be read whole.

    Raises
    ------
    SeveralParts
        If it holds several images, and none is chosen.
    InputError
        If it is missing, damaged, or no image.
    """
    if isinstance(image, Source):
        return image
    if isinstance(image, str | os.PathLike):
        text = os.fspath(image)
        address = _is_address(text)
        known = find_format(text if address else Path(text))
        if known is not None:
            return known.open(text if address else Path(text), part)
        return from_zarr(open_zarr_image(text, part)) if address else _from_path(Path(text), part)
    if type(image).__module__.split(".")[0] == "zarr":
        return from_zarr(describe_zarr(image, str(image.store_path)))
    if _is_array(image):
        return Source("the array", (image,))
    if isinstance(image, Sequence) and image and all(map(_is_array, image)):
        return Source("the array", tuple(image))
    raise InputError(
        f"An image is a path or an array (numpy, dask, zarr), not {type(image).__name__}."
    )


def parts_of(path: Path | str) -> tuple[str, ...]:
    """Name the images in a file that holds several, as `open_scene` takes a part.

    Parameters
    ----------
    path : Path or str
        Of a file or a folder, or an address.

    Returns
    -------
    tuple of str
        Empty where there is one image only.

    Raises
    ------
    InputError
        If it is missing or damaged, or a library for it is missing.
    """
    text = os.fspath(path)
    known = find_format(text if _is_address(text) else Path(text))
    if known is not None:
        parts = known.list_parts(path)
    elif _is_address(text) or is_zarr(Path(text)):
        parts = zarr_parts(text)
    else:
        parts = tiff_parts(text) if Path(text).is_file() and is_tiff(Path(text)) else ()
    return parts if len(parts) > 1 else ()


def local_path(image: Any) -> Path | None:
    """Return where an image lies on this machine; None for arrays and URLs."""
    if not isinstance(image, str | os.PathLike) or _is_address(os.fspath(image)):
        return None
    return Path(image).absolute()


def _is_address(text: str) -> bool:
    """Tell whether an image lies elsewhere: at a URL, or where GDAL's names point to."""
    return "://" in text or text.startswith("/vsi")


def _is_array(image: Any) -> bool:
    return all(hasattr(image, name) for name in ("shape", "dtype", "__getitem__"))


def _from_path(path: Path, part: str | None) -> Source:
    if is_zarr(path):
        return from_zarr(open_zarr_image(path, part))
    if path.is_dir():
        raise InputError(
            f"{path} is a folder, and neither a Zarr nor one of DICOM: give an image file."
        )
    if is_tiff(path):
        source = open_tiff(path, part)
        if source is not None:
            return source
    if part is not None:
        raise InputError(f"{path} holds one image only, and no part {part!r}: leave part out.")
    with path.open("rb") as file:
        magic = file.read(len(_NPY_MAGIC))
    if magic == _NPY_MAGIC:
        with damage_told(path):
            mapped = _map_npy(path)
        lazy = LazyFile(_map_npy, path, shape=mapped.shape, dtype=mapped.dtype)
        return Source(str(path), (lazy,))
    picture = read_image(path)
    axes = "YX" if picture.ndim == 2 else "YXS"
    place = tiff_georeference(path) if is_tiff(path) else read_world_file(path)
    return Source(
        str(path),
        (picture,),
        axes,
        colour_names(*picture.shape[2:]),
        size_on_the_ground(place),
        place,
    )


def from_zarr(image: ZarrImage) -> Source:
    """Return a Zarr image with what its metadata says."""
    axes, size, depth = None, None, None
    if image.axes is not None:
        # Names of other kinds ("lat", "band") leave it to the shape, or to the caller.
        axes = "".join(axis.upper() if len(axis) == 1 else "?" for axis in image.axes)
        axes = None if "?" in axes else axes
    if axes is not None and image.scale is not None and "Y" in axes and "X" in axes:
        row, col = axes.index("Y"), axes.index("X")
        units = image.units[row], image.units[col]
        if units[0] and units[0] == units[1]:
            size = PixelSize(image.scale[row], image.scale[col], units[0])
            if "Z" in axes and image.units[axes.index("Z")] == units[0]:
                depth = image.scale[axes.index("Z")]
    levels = (image.array, *image.coarser)
    return Source(str(image.path), levels, axes, image.channel_names, size, depth=depth)


def _map_npy(path: Path) -> np.ndarray:
    # Pickled objects could run code, and are no image.
    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array
