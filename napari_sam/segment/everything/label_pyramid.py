"""Objects painted into an OME-Zarr pyramid of labels, block by block.

Where objects overlap, the smaller one lies in front, so that a nested object (a nucleus in its
cell) stays visible; of equal ones the one with the lower id. Every mask is whole in the table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from napari_sam.files.rasters import Block, blocks, every_second, ome_image, write_pyramid
from napari_sam.provenance import ABOUT
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
    provenance: Mapping[str, str] | None = None,
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
    provenance : mapping of str to str, optional
        What `napari_sam.provenance.provenance` gives.

    Raises
    ------
    InputError
        If there is something already, or it cannot be written.
    """
    path, parts = Path(path), blocks(objects.shape, _BLOCK)

    def painted() -> Iterator[Block]:
        for number, part in enumerate(parts, 1):
            yield part, paint(objects, part)
            if on_progress is not None:
                on_progress(number, len(parts))

    told = {} if provenance is None else {ABOUT: dict(provenance)}
    write_pyramid(
        path,
        painted(),
        objects.shape,
        np.uint32,
        _BLOCK,
        every_second,
        lambda levels: {**ome_image(path.stem, levels, pixel_size, labels=True), **told},
    )
