"""Edges on the disk: a tiled TIFF, or an OME-Zarr, written part by part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.geotiff import at_level, geotiff_tags, ome_size
from napari_sam.files.rasters import (
    Block,
    blocks,
    ome_image,
    raster_kind,
    strongest_of_four,
    write_pyramid,
    write_tiff,
)
from napari_sam.scenes.georeference import Georeference
from napari_sam.scenes.sources import PixelSize

if TYPE_CHECKING:
    from napari_sam.segment.edge_map import EdgeMap, Progress

__all__ = ["check_edge_path", "write_edges"]

_SIDE = 512
"""Rows and columns of what is written at once."""

_CLASSIC = (1 << 32) - (1 << 25)
"""Bytes of edges from which a TIFF is a BigTIFF: those that compression makes longer still fit."""


def check_edge_path(path: str | os.PathLike[str]) -> None:
    """Refuse, before any work is done, a name that `write_edges` would refuse.

    Raises
    ------
    InputError
        If it ends otherwise than in .tif, .tiff or .zarr, its folder is not there or not writable,
        or it is that of a folder, or for .zarr of anything.
    """
    path = Path(path)
    if path.exists() if raster_kind(path) == "zarr" else path.is_dir():
        raise InputError(f"{path} exists already: choose another name.")
    folder = path.absolute().parent
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise InputError(f"{folder} is no folder that can be written to: choose another one.")


def write_edges(
    edges: EdgeMap,
    path: str | os.PathLike[str],
    *,
    thinned: bool = True,
    pixel_size: PixelSize | None = None,
    georeference: Georeference | None = None,
    on_progress: Progress | None = None,
) -> None:
    """Write edges as float32, 0 to 1; memory holds one part of 512 × 512 pixels.

    Parameters
    ----------
    edges : EdgeMap
        What to write.
    path : path
        Ends in .tif (tiles, compressed; a BigTIFF where it may need to be one), which is replaced,
        or in .zarr (OME-Zarr 0.5, a coarser pixel being the strongest of four), which must not
        exist. It appears when it is whole.
    thinned : bool
        As for `EdgeMap.read`.
    pixel_size : PixelSize, optional
        Of level 0 of the Scene. A TIFF tells it as OME-TIFF does, unless it has a georeference.
    georeference : Georeference, optional
        Of level 0 of the Scene; only TIFF tells it, as GeoTIFF does.
    on_progress : callable, optional
        Called with the number of parts that are done, and of all.

    Raises
    ------
    InputError
        If the name has another ending, or it cannot be written.
    """
    path = Path(path)
    check_edge_path(path)
    regions = blocks(edges.shape, _SIDE)

    def parts() -> Iterator[Block]:
        for number, region in enumerate(regions, 1):
            values = edges.read(region, thinned)
            if on_progress is not None:
                on_progress(number, len(regions))
            yield region, values

    if raster_kind(path) == "tiff":
        tags, ome = [], None
        if georeference is not None:
            tags = geotiff_tags(at_level(georeference, edges.level))
        elif pixel_size is not None:
            ome = ome_size(pixel_size, edges.level)
        write_tiff(path, parts(), edges.shape, np.float32, _SIDE, _CLASSIC, tags, ome)
        return
    write_pyramid(
        path,
        parts(),
        edges.shape,
        np.float32,
        _SIDE,
        strongest_of_four,
        lambda levels: ome_image(path.stem, levels, pixel_size, first=edges.level),
    )
