"""Rasters of any size written block by block: a tiled TIFF, or an OME-Zarr with coarser levels."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from napari_sam.errors import InputError
from napari_sam.files.outputs import written_together
from napari_sam.scenes.pyramid import halved
from napari_sam.scenes.sources import PixelSize
from napari_sam.tiles.regions import Region

__all__ = [
    "Block",
    "blocks",
    "every_second",
    "ome_image",
    "raster_kind",
    "strongest_of_four",
    "told",
    "whole_or_not",
    "write_pyramid",
    "write_tiff",
]

Block = tuple[Region, np.ndarray]
"""A rectangle of level 0, and its pixels."""

_COARSEST = 1024
"""A pyramid ends with the first level that is no longer and no wider."""


def raster_kind(path: Path) -> Literal["tiff", "zarr"]:
    """Tell what a raster is to be, by its name's ending.

    Raises
    ------
    InputError
        If it ends otherwise than in .tif, .tiff or .zarr.

    Examples
    --------
    >>> raster_kind(Path("labels.tif")), raster_kind(Path("labels.ome.zarr"))
    ('tiff', 'zarr')
    """
    ending = path.suffix.lower()
    if ending not in (".tif", ".tiff", ".zarr"):
        raise InputError(f"{path} does not end in .tif or .zarr: choose a name that does.")
    return "zarr" if ending == ".zarr" else "tiff"


def blocks(shape: tuple[int, int], side: int) -> list[Region]:
    """Divide a raster into squares, row by row; the last ones end where it ends.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    side : int
        Of a square.

    Examples
    --------
    >>> [block.shape for block in blocks((5, 7), 4)]
    [(4, 4), (4, 3), (1, 4), (1, 3)]
    """
    rows, cols = shape
    return [
        Region(row, col, min(row + side, rows), min(col + side, cols))
        for row in range(0, rows, side)
        for col in range(0, cols, side)
    ]


def write_tiff(
    path: Path,
    parts: Iterable[Block],
    shape: tuple[int, int],
    dtype: DTypeLike,
    side: int,
    big_from: int,
    tags: Sequence[tuple[int, int, int, Any, bool]] = (),
    ome: dict[str, Any] | None = None,
) -> None:
    """Write a compressed TIFF of square tiles; a file of that name is replaced when it is whole.

    Parameters
    ----------
    path : Path
        Where.
    parts : iterable of Block
        As `blocks` divides the raster; they are asked for one at a time.
    shape : (int, int)
        Rows and columns.
    dtype : dtype
        Of a pixel.
    side : int
        Rows and columns of a tile, a multiple of 16.
    big_from : int
        It is a BigTIFF if it has more bytes before compression.
    tags : sequence
        Further tags, as `geotiff.geotiff_tags` gives them.
    ome : dict, optional
        What OME's description says, as `geotiff.ome_size` gives it; without, there is none.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    import tifffile

    def tiles() -> Iterator[np.ndarray]:
        for region, values in parts:
            tile = np.zeros((side, side), dtype)
            tile[: region.shape[0], : region.shape[1]] = values
            yield tile

    with told(path), written_together(path) as (partial,):
        tifffile.imwrite(
            partial,
            tiles(),
            shape=shape,
            dtype=dtype,
            tile=(side, side),
            photometric="minisblack",
            compression="zlib",
            bigtiff=np.dtype(dtype).itemsize * shape[0] * shape[1] > big_from,
            ome=ome is not None,
            metadata=ome,
            extratags=tags,
            software="napari-sam-tiled",
        )


def write_pyramid(
    path: Path,
    parts: Iterable[Block],
    shape: tuple[int, int],
    dtype: DTypeLike,
    side: int,
    coarser: Callable[[np.ndarray], np.ndarray],
    describe: Callable[[int], dict[str, Any]],
) -> None:
    """Write a Zarr group of levels, each half as fine as the one before.

    Blocks of zeros take no room. It appears when it is whole.

    Parameters
    ----------
    path : Path
        A folder that does not exist.
    parts : iterable of Block
        Of level 0, as `blocks` divides it; they are asked for one at a time.
    shape : (int, int)
        Rows and columns of level 0.
    dtype : dtype
        Of a pixel.
    side : int
        Rows and columns of a chunk.
    coarser : callable
        Takes pixels of a level and returns those of the next: `every_second`, `strongest_of_four`.
    describe : callable
        Takes the number of levels and returns the group's attributes, as `ome_image` does.

    Raises
    ------
    InputError
        If there is something already, or it cannot be written.
    """
    import zarr

    shapes = [shape]
    while max(shapes[-1]) > _COARSEST:
        shapes.append(halved(shapes[-1], 1))
    with told(path), whole_or_not(path) as partial:
        group = zarr.create_group(partial, attributes=describe(len(shapes)))
        levels = [
            group.create_array(
                str(number),
                shape=size,
                chunks=(min(side, size[0]), min(side, size[1])),
                dtype=dtype,
                fill_value=0,
                dimension_names=("y", "x"),
            )
            for number, size in enumerate(shapes)
        ]
        for region, values in parts:
            _put(levels[0], region, values)
        for (finer, level), size in zip(pairwise(levels), shapes[1:], strict=True):
            for region in blocks(size, side):
                rows, cols = (slice(2 * s.start, 2 * s.stop) for s in (region.rows, region.cols))
                _put(level, region, coarser(np.asarray(finer[rows, cols])))


def every_second(finer: np.ndarray) -> np.ndarray:
    """Let a coarser pixel be the upper left of the four below it: ids cannot be averaged."""
    return finer[::2, ::2]


def strongest_of_four(finer: np.ndarray) -> np.ndarray:
    """Let a coarser pixel be the strongest of the four below it, of values from 0 on.

    Examples
    --------
    >>> strongest_of_four(np.arange(6).reshape(2, 3))
    array([[4, 5]])
    """
    # A last pixel without a neighbour is its own.
    finer = np.pad(finer, [(0, side % 2) for side in finer.shape])
    strongest = np.maximum(finer[::2], finer[1::2])
    return np.maximum(strongest[:, ::2], strongest[:, 1::2])


def ome_image(
    name: str,
    levels: int,
    pixel_size: PixelSize | None,
    *,
    first: int = 0,
    labels: bool = False,
) -> dict[str, Any]:
    """Return what OME-Zarr 0.5 says of an image with levels.

    Parameters
    ----------
    name : str
        Of the image.
    levels : int
        How many.
    pixel_size : PixelSize, optional
        Of level 0 of the Scene.
    first : int
        The Scene's level that is the finest here.
    labels : bool
        Whether it is of ids, each coarser pixel lying where the upper left of those it covers is;
        else it lies amid them.

    References
    ----------
    .. [1] https://ngff.openmicroscopy.org/0.5/
    """
    size = (1.0, 1.0) if pixel_size is None else (pixel_size.rows, pixel_size.cols)
    unit = {} if pixel_size is None else {"unit": pixel_size.unit}
    datasets = []
    for number in range(levels):
        step = 2 ** (first + number)
        places: list[dict[str, object]] = [{"type": "scale", "scale": [s * step for s in size]}]
        if not labels:
            shift = [s * (step - 1) / 2 for s in size]
            places.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(number), "coordinateTransformations": places})
    axes = [{"name": axis, "type": "space", **unit} for axis in "yx"]
    multiscales = [{"name": name, "axes": axes, "datasets": datasets}]
    kind = {"image-label": {"version": "0.5"}} if labels else {}
    return {"ome": {"version": "0.5", "multiscales": multiscales, **kind}}


def _put(level: Any, region: Region, values: np.ndarray) -> None:
    if values.any():
        level[region.rows, region.cols] = values


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Say in a sentence what the disk refuses.

    Raises
    ------
    InputError
        In place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}).") from error


@contextmanager
def whole_or_not(path: Path) -> Iterator[Path]:
    """Lend a name for a folder, and rename it when the block ends well.

    Raises
    ------
    InputError
        If there is something already.
    """
    if path.exists():
        raise InputError(f"{path} exists already: choose the name of a new folder.")
    partial = path.with_name(f".{path.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
