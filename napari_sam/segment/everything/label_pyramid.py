"""Objects painted into an OME-Zarr pyramid of labels, block by block.

Where objects overlap, the smaller one lies in front, so that a nested object (a nucleus in its
cell) stays visible; of equal ones the one with the lower id. Every mask is whole in the table.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

from napari_sam.errors import InputError
from napari_sam.scenes.pyramid import halved
from napari_sam.scenes.sources import PixelSize
from napari_sam.tiles.regions import Region

from .found import FoundObjects

__all__ = ["paint", "write_labels"]

_BLOCK = 1024


def paint(objects: FoundObjects, part: Region) -> np.ndarray:
    """Paint a part of the scene.

    Parameters
    ----------
    objects : FoundObjects
        All of them.
    part : Region
        In pixels of level 0.

    Returns
    -------
    ndarray
        uint32, of the part's shape: ids, 0 where there is no object.
    """
    labels = np.zeros(part.shape, np.uint32)
    boxes = objects.boxes
    inside = (boxes[:, :2] < (part.row1, part.col1)).all(1)
    inside &= (boxes[:, 2:] > (part.row0, part.col0)).all(1)
    chosen = np.flatnonzero(inside)
    for index in chosen[np.lexsort((-chosen, -objects.areas[chosen]))].tolist():
        shared = Region(*boxes[index].tolist()) & part
        there = shared.within(part)
        labels[there.rows, there.cols][objects.mask_at(index, shared)] = index + 1
    return labels


def write_labels(
    objects: FoundObjects,
    path: str | os.PathLike[str],
    pixel_size: PixelSize | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> None:
    """Write an OME-Zarr 0.5 image of ids: no overlaps, each level half as fine as the one before.

    A pixel of a coarser level is the upper left of the four below it: ids cannot be averaged.
    Memory holds one block of 1024 × 1024 pixels.

    Parameters
    ----------
    objects : FoundObjects
        What to paint.
    path : path
        A folder that does not exist. It appears when it is whole.
    pixel_size : PixelSize, optional
        Of level 0.
    on_progress : callable, optional
        Called with the number of blocks of level 0 that are done and of all.

    Raises
    ------
    InputError
        If there is something already, or it cannot be written.

    References
    ----------
    .. [1] https://ngff.openmicroscopy.org/0.5/
    """
    import zarr

    path = Path(path)
    if path.exists():
        raise InputError(f"{path} exists already: choose the name of a new folder.")
    partial = path.with_name(f".{path.name}.part")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        shapes = [objects.shape]
        while max(shapes[-1]) > _BLOCK:
            shapes.append(halved(shapes[-1], 1))
        group = zarr.create_group(partial, attributes=_metadata(len(shapes), path.stem, pixel_size))
        levels = [
            group.create_array(
                str(number),
                shape=shape,
                chunks=(min(_BLOCK, shape[0]), min(_BLOCK, shape[1])),
                dtype=np.uint32,
                fill_value=0,
                dimension_names=("y", "x"),
            )
            for number, shape in enumerate(shapes)
        ]
        blocks = list(_blocks(objects.shape))
        for number, block in enumerate(blocks, 1):
            labels = paint(objects, block)
            if labels.any():
                levels[0][block.rows, block.cols] = labels
            if on_progress is not None:
                on_progress(number, len(blocks))
        for finer, coarser in pairwise(levels):
            for block in _blocks(coarser.shape):
                rows, cols = (slice(2 * s.start, 2 * s.stop) for s in (block.rows, block.cols))
                labels = np.asarray(finer[rows, cols])[::2, ::2]
                if labels.any():
                    coarser[block.rows, block.cols] = labels
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _blocks(shape: tuple[int, ...]) -> list[Region]:
    rows, cols = shape
    return [
        Region(row, col, min(row + _BLOCK, rows), min(col + _BLOCK, cols))
        for row in range(0, rows, _BLOCK)
        for col in range(0, cols, _BLOCK)
    ]


def _metadata(levels: int, name: str, pixel_size: PixelSize | None) -> dict[str, object]:
    """Return what OME-Zarr says of a label image.

    Pixel 0 of a coarser level is pixel 0 of level 0, so that no level is shifted.
    """
    size = (1.0, 1.0) if pixel_size is None else (pixel_size.rows, pixel_size.cols)
    unit = {} if pixel_size is None else {"unit": pixel_size.unit}
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [size[0] * 2**level, size[1] * 2**level]}
            ],
        }
        for level in range(levels)
    ]
    axes = [{"name": axis, "type": "space", **unit} for axis in "yx"]
    return {
        "ome": {
            "version": "0.5",
            "multiscales": [{"name": name, "axes": axes, "datasets": datasets}],
            "image-label": {"version": "0.5"},
        }
    }
