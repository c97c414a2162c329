"""A picture of all that was found, in which one sees at once where something is missing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.outputs import write_png, written_together
from napari_sam.overlay import draw_overlay
from napari_sam.tiles.geometry import TileGeometry, TileId

from .found import FoundObjects

if TYPE_CHECKING:
    from napari_sam.scene import Scene

__all__ = ["draw_overview", "write_overview"]

_LONGEST = 1024
_STRIPE = 12
_COLOUR = (235, 50, 50)


def draw_overview(
    scene: Scene, objects: FoundObjects, geometry: TileGeometry, failed: Iterable[TileId]
) -> np.ndarray:
    """Draw the objects over the whole scene, and hatch the cores of tiles that failed.

    Parameters
    ----------
    scene : Scene
        What they were found in.
    objects : FoundObjects
        All of them.
    geometry : TileGeometry
        That of the store.
    failed : iterable of TileId
        What to hatch.

    Returns
    -------
    ndarray
        uint8 RGB; the longer side has 512 to 1024 pixels, or a whole multiple of the scene's where
        that is smaller.
    """
    level = 0
    while max(scene.levels[level].shape) > _LONGEST:
        level += 1
    image = scene.read_rgb(level, slice(None), slice(None))
    drawn = draw_overlay(image, _coarse_labels(objects, level, image.shape[:2]))
    diagonal = np.add.outer(np.arange(drawn.shape[0]), np.arange(drawn.shape[1]))
    scale = drawn.shape[0] / image.shape[0] / (1 << level)
    for tile in failed:
        core = geometry.core(tile)
        rows = slice(*(round((at << tile.level) * scale) for at in (core.row0, core.row1)))
        cols = slice(*(round((at << tile.level) * scale) for at in (core.col0, core.col1)))
        stripes = diagonal[rows, cols] % _STRIPE < _STRIPE // 3
        drawn[rows, cols][stripes] = _COLOUR
    return drawn


def write_overview(
    path: str | os.PathLike[str],
    scene: Scene,
    objects: FoundObjects,
    geometry: TileGeometry,
    failed: Iterable[TileId],
) -> None:
    """Write what `draw_overview` draws as a PNG.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    picture = draw_overview(scene, objects, geometry, failed)
    try:
        with written_together(Path(path)) as (partial,):
            write_png(partial, picture)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}).") from error


def _coarse_labels(objects: FoundObjects, level: int, shape: tuple[int, ...]) -> np.ndarray:
    """Paint the objects at a coarse level, by the pixel of level 0 at each coarse one's middle."""
    labels = np.zeros(shape, np.uint32)
    step = 1 << level
    for index in np.lexsort((-objects.ids, -objects.areas)).tolist():
        row0, col0, row1, col1 = objects.boxes[index].tolist()
        own = int(objects.levels[index])
        rows = np.arange(max(0, row0 // step), min(shape[0], -(-row1 // step)))
        cols = np.arange(max(0, col0 // step), min(shape[1], -(-col1 // step)))
        down, across = rows * step + step // 2, cols * step + step // 2
        rows, down = rows[(down >= row0) & (down < row1)], down[(down >= row0) & (down < row1)]
        there = (across >= col0) & (across < col1)
        cols, across = cols[there], across[there]
        if not (len(rows) and len(cols)):
            continue
        mask = objects.mask(index)[np.ix_((down - row0) >> own, (across - col0) >> own)]
        labels[np.ix_(rows, cols)] = np.where(mask, index + 1, labels[np.ix_(rows, cols)])
    return labels
