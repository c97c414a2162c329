"""Edges on the disk: a tiled TIFF, or an OME-Zarr, written part by part."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_sam.errors import InputError
from napari_sam.files.outputs import written_together
from napari_sam.scenes.pyramid import halved
from napari_sam.scenes.sources import PixelSize
from napari_sam.tiles.regions import Region

if TYPE_CHECKING:
    from napari_sam.segment.edge_map import EdgeMap, Progress

__all__ = ["check_edge_path", "write_edges"]

_SIDE = 512
"""Rows and columns of what is written at once."""

_BIG = 1 << 32
"""Bytes from which on a TIFF needs wider offsets."""


def check_edge_path(path: str | os.PathLike[str]) -> None:
    """Refuse, before any work is done, a name that `write_edges` would refuse.

    Raises
    ------
    InputError
        If it ends otherwise than in .tif, .tiff or .zarr, its folder is not there or not writable,
        or it is that of a folder, or for .zarr of anything.
    """
    path = Path(path)
    if path.suffix.lower() not in (".tif", ".tiff", ".zarr"):
        raise InputError(f"{path} does not end in .tif or .zarr: choose a name that does.")
    if path.exists() if _is_zarr(path) else path.is_dir():
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
        Of level 0 of the Scene; only OME-Zarr tells it.
    on_progress : callable, optional
        Called with the number of parts that are done, and of all.

    Raises
    ------
    InputError
        If the name has another ending, or it cannot be written.
    """
    path = Path(path)
    check_edge_path(path)
    rows, cols = edges.shape
    places = [(row, col) for row in range(0, rows, _SIDE) for col in range(0, cols, _SIDE)]

    def parts() -> Iterator[tuple[Region, np.ndarray]]:
        for number, (row, col) in enumerate(places, 1):
            region = Region(row, col, min(row + _SIDE, rows), min(col + _SIDE, cols))
            values = edges.read(region, thinned)
            if on_progress is not None:
                on_progress(number, len(places))
            yield region, values

    try:
        if _is_zarr(path):
            _write_zarr(path, edges, parts(), pixel_size)
        else:
            _write_tiff(path, edges.shape, parts())
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}).") from error


def _is_zarr(path: Path) -> bool:
    return path.suffix.lower() == ".zarr"


def _write_tiff(
    path: Path, shape: tuple[int, int], parts: Iterator[tuple[Region, np.ndarray]]
) -> None:
    def tiles() -> Iterator[np.ndarray]:
        for region, values in parts:
            tile = np.zeros((_SIDE, _SIDE), np.float32)
            tile[: region.shape[0], : region.shape[1]] = values
            yield tile

    with written_together(path) as (partial,):
        tifffile.imwrite(
            partial,
            tiles(),
            shape=shape,
            dtype=np.float32,
            tile=(_SIDE, _SIDE),
            compression="zlib",
            photometric="minisblack",
            metadata=None,
            software="napari-sam-tiled",
            bigtiff=4 * shape[0] * shape[1] + (1 << 25) > _BIG,
        )


def _write_zarr(
    path: Path,
    edges: EdgeMap,
    parts: Iterator[tuple[Region, np.ndarray]],
    pixel_size: PixelSize | None,
) -> None:
    import zarr

    shapes = [edges.shape]
    while max(shapes[-1]) > 2 * _SIDE:
        shapes.append(halved(shapes[-1], 1))
    with _whole_or_not(path) as partial:
        about = _metadata(edges.level, len(shapes), path.stem, pixel_size)
        group = zarr.create_group(partial, attributes=about)
        levels = [
            group.create_array(
                str(number),
                shape=shape,
                chunks=(min(_SIDE, shape[0]), min(_SIDE, shape[1])),
                dtype=np.float32,
                fill_value=0,
                dimension_names=("y", "x"),
            )
            for number, shape in enumerate(shapes)
        ]
        for region, values in parts:
            if values.any():
                levels[0][region.rows, region.cols] = values
        for finer, coarser in pairwise(levels):
            _fill_coarser(finer, coarser)


def _fill_coarser(finer: Any, coarser: Any) -> None:
    """Let each pixel of a level be the strongest of the four below it."""
    rows, cols = coarser.shape
    for row in range(0, rows, _SIDE):
        for col in range(0, cols, _SIDE):
            below = np.asarray(finer[2 * row : 2 * (row + _SIDE), 2 * col : 2 * (col + _SIDE)])
            if not below.any():
                continue
            # A last pixel without a neighbour is its own.
            below = np.pad(below, [(0, side % 2) for side in below.shape])
            strongest = np.maximum(below[::2], below[1::2])
            strongest = np.maximum(strongest[:, ::2], strongest[:, 1::2])
            high, wide = strongest.shape
            coarser[row : row + high, col : col + wide] = strongest


@contextmanager
def _whole_or_not(path: Path) -> Iterator[Path]:
    """Lend a name for a folder, and rename it when the block ends well."""
    partial = path.with_name(f".{path.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _metadata(level: int, count: int, name: str, pixel_size: PixelSize | None) -> dict[str, object]:
    """Return what OME-Zarr says of an image: pixel centres lie amid those of the finer level."""
    size = (1.0, 1.0) if pixel_size is None else (pixel_size.rows, pixel_size.cols)
    unit = {} if pixel_size is None else {"unit": pixel_size.unit}
    datasets = []
    for number in range(count):
        step = 2 ** (level + number)
        datasets.append(
            {
                "path": str(number),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [side * step for side in size]},
                    {"type": "translation", "translation": [s * (step - 1) / 2 for s in size]},
                ],
            }
        )
    axes = [{"name": axis, "type": "space", **unit} for axis in "yx"]
    multiscales = [{"name": name, "axes": axes, "datasets": datasets}]
    return {"ome": {"version": "0.5", "multiscales": multiscales}}
