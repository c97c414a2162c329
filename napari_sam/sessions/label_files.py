"""Labels of any size written block by block: a TIFF or an OME-Zarr, by the name's ending."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from napari_sam.files.rasters import (
    blocks,
    every_second,
    ome_image,
    raster_kind,
    write_pyramid,
    write_tiff,
)
from napari_sam.scenes.sources import PixelSize
from napari_sam.tiles.regions import Region

__all__ = ["write_label_file"]

_BLOCK = 1024

_CLASSIC = 1 << 31
"""Bytes of labels from which a TIFF is a BigTIFF."""


def write_label_file(
    path: Path,
    shape: tuple[int, int],
    paint: Callable[[Region], np.ndarray],
    pixel_size: PixelSize | None,
) -> None:
    """Write uint32 labels; a file of that name is replaced when the new one is whole.

    Parameters
    ----------
    path : Path
        Ends in .tif, .tiff or .zarr; a Zarr must not exist.
    shape : (int, int)
        Rows and columns of level 0.
    paint : callable
        Takes a region of level 0 and returns its labels.
    pixel_size : PixelSize, optional
        Of level 0, for OME-Zarr.

    Raises
    ------
    InputError
        If the ending is another one, or it cannot be written.
    """
    parts = ((part, paint(part)) for part in blocks(shape, _BLOCK))
    if raster_kind(path) == "tiff":
        write_tiff(path, parts, shape, np.uint32, _BLOCK, _CLASSIC)
        return
    write_pyramid(
        path,
        parts,
        shape,
        np.uint32,
        _BLOCK,
        every_second,
        lambda levels: ome_image(path.stem, levels, pixel_size, labels=True),
    )
