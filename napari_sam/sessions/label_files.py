"""Labels of any size written block by block: a TIFF or an OME-Zarr, by the name's ending."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.outputs import written_together
from napari_sam.scenes.pyramid import halved
from napari_sam.scenes.sources import PixelSize
from napari_sam.tiles.regions import Region

__all__ = ["write_label_file"]

_BLOCK = 1024

_CLASSIC = 1 << 31
"""Bytes of labels from which a TIFF is a BigTIFF."""

Paint = Callable[[Region, int], np.ndarray]


def write_label_file(
    path: Path, shape: tuple[int, int], paint: Paint, pixel_size: PixelSize | None
) -> None:
    """Write uint32 labels; a file of that name is replaced when the new one is whole.

    Parameters
    ----------
    path : Path
        Ends in .tif, .tiff or .zarr; a Zarr must not exist.
    shape : (int, int)
        Rows and columns of level 0.
    paint : callable
        Takes a region of a level and the level, and returns its labels.
    pixel_size : PixelSize, optional
        Of level 0, for OME-Zarr.

    Raises
    ------
    InputError
        If the ending is another one, or it cannot be written.
    """
    ending = path.suffix.lower()
    if ending not in (".tif", ".tiff", ".zarr"):
        raise InputError(f"{path} does not end in .tif or .zarr: choose a name that does.")
    try:
        if ending == ".zarr":
            _write_zarr(path, shape, paint, pixel_size)
        else:
            _write_tiff(path, shape, paint)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}).") from error


def _write_tiff(path: Path, shape: tuple[int, int], paint: Paint) -> None:
    import tifffile

    def tiles() -> Iterator[np.ndarray]:
        for block in _blocks(shape):
            tile = np.zeros((_BLOCK, _BLOCK), np.uint32)
            tile[: block.shape[0], : block.shape[1]] = paint(block, 0)
            yield tile

    with written_together(path) as (partial,):
        tifffile.imwrite(
            partial,
            tiles(),
            shape=shape,
            dtype=np.uint32,
            tile=(_BLOCK, _BLOCK),
            photometric="minisblack",
            compression="zlib",
            bigtiff=4 * shape[0] * shape[1] > _CLASSIC,
            metadata=None,
            software="napari-sam-tiled",
        )


def _write_zarr(
    path: Path, shape: tuple[int, int], paint: Paint, pixel_size: PixelSize | None
) -> None:
    import zarr

    from napari_sam.segment.everything.label_pyramid import _metadata

    if path.exists():
        raise InputError(f"{path} exists already: choose the name of a new folder.")
    partial = path.with_name(f".{path.name}.part")
    shapes = [shape]
    while max(shapes[-1]) > _BLOCK:
        shapes.append(halved(shapes[-1], 1))
    try:
        shutil.rmtree(partial, ignore_errors=True)
        attributes = _metadata(len(shapes), path.stem, pixel_size)
        group = zarr.create_group(partial, attributes=attributes)
        for level, size in enumerate(shapes):
            array = group.create_array(
                str(level),
                shape=size,
                chunks=(min(_BLOCK, size[0]), min(_BLOCK, size[1])),
                dtype=np.uint32,
                fill_value=0,
                dimension_names=("y", "x"),
            )
            for block in _blocks(size):
                labels = paint(block, level)
                if labels.any():
                    array[block.rows, block.cols] = labels
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _blocks(shape: tuple[int, int]) -> Iterator[Region]:
    rows, cols = shape
    for row in range(0, rows, _BLOCK):
        for col in range(0, cols, _BLOCK):
            yield Region(row, col, min(row + _BLOCK, rows), min(col + _BLOCK, cols))
