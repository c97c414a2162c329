"""Crops around objects: at the level where an object is large enough to see, with surroundings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_sam.scenes.pyramid import halved
from napari_sam.tiles.regions import Region

from .blocks import Blocks

__all__ = ["LARGEST", "Planned", "levels_of", "plan_crops", "whole_picture"]

LARGEST = 1024
"""Side of a crop; a picture this large fits into any model's frame."""

_LEAST_CONTEXT = 16
"""Pixels that are shown around objects, where there are any that may be shown."""


@dataclass(frozen=True)
class Planned:
    """A crop to be cut.

    Parameters
    ----------
    part : int
        As `Blocks` numbers them.
    level : int
        Of the scene.
    region : Region
        In pixels of that level.
    objects : tuple of int
        The places of those that it is there for, in the boxes that were given.
    """

    part: int
    level: int
    region: Region
    objects: tuple[int, ...]


def levels_of(boxes: np.ndarray) -> np.ndarray:
    """Return the finest level at which each object is no longer than half a crop.

    Examples
    --------
    >>> levels_of(np.array([[0, 0, 512, 9], [0, 0, 9, 513], [0, 0, 3000, 3000]]))
    array([0, 1, 3])
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
    return np.ceil(np.log2(np.maximum(sides / (LARGEST / 2), 1))).astype(np.int64)


def whole_picture(shape: tuple[int, int], count: int, part: int) -> Planned:
    """Return a small picture as it is, with all its objects."""
    return Planned(part, 0, Region(0, 0, *shape), tuple(range(count)))


def plan_crops(blocks: Blocks, shape: tuple[int, int], boxes: np.ndarray) -> list[Planned]:
    """Choose crops that show each object once, or not at all where it reaches into another part.

    A crop shows a part of a block and the objects whose middle lies there, whole, and what is
    around them; of other blocks only those of its own part.

    Parameters
    ----------
    blocks : Blocks
        With their parts.
    shape : (int, int)
        Rows and columns of level 0.
    boxes : (n, 4) array
        Around the objects of one plane, in pixels of level 0.

    Returns
    -------
    list of Planned
        By level and place.
    """
    some = np.flatnonzero(~blocks.crossing(boxes))
    levels, places = levels_of(boxes[some]), blocks.at(boxes[some])
    planned = []
    for level in np.unique(levels).tolist():
        here = some[levels == level]
        longest = -(-int((boxes[here, 2:] - boxes[here, :2]).max()) >> level)
        side = (LARGEST - longest - 2 * _LEAST_CONTEXT) << level
        cells: dict[tuple[int, ...], list[int]] = {}
        middles = (boxes[here, :2] + boxes[here, 2:] - 1) // 2
        for index, place, middle in zip(here, places[levels == level], middles, strict=True):
            block = blocks.block(*place)
            counts = [-(-length // side) for length in block.shape]
            ends = zip(counts, middle, (block.row0, block.col0), block.shape, strict=True)
            found = [int(min(max(0, (m - s) * n // d), n - 1)) for n, m, s, d in ends]
            cells.setdefault((*map(int, place), *found, *counts), []).append(int(index))
        for (row, col, *cell), objects in sorted(cells.items()):
            core = _cell(blocks.block(row, col), cell)
            region = _region(blocks, int(blocks.parts[row, col]), core, boxes[objects], level)
            at_level = _at_level(region, level, shape)
            if at_level.area:
                part = int(blocks.parts[row, col])
                planned.append(Planned(part, level, at_level, tuple(objects)))
    return planned


def _cell(block: Region, cell: list[int]) -> Region:
    """Return one of the equal parts that a block is cut into: row, column, of so many."""
    row, col, rows, cols = cell
    height, width = block.shape
    return Region(
        block.row0 + row * height // rows,
        block.col0 + col * width // cols,
        block.row0 + (row + 1) * height // rows,
        block.col0 + (col + 1) * width // cols,
    )


def _region(blocks: Blocks, part: int, core: Region, boxes: np.ndarray, level: int) -> Region:
    """Return what a crop shows, in pixels of level 0: never a block of another part."""
    longest = int((boxes[:, 2:] - boxes[:, :2]).max())
    around = Region(*map(int, (*boxes[:, :2].min(0), *boxes[:, 2:].max(0))))
    extent, most = blocks.extent, LARGEST << level
    wanted = max(_LEAST_CONTEXT << level, longest // 2)
    sides = []
    for axis in (0, 1):
        first = min(_ends(core, axis)[0], _ends(around, axis)[0])
        stop = max(_ends(core, axis)[1], _ends(around, axis)[1])
        pad = max(0, min(wanted, (most - (stop - first)) // 2))
        low, high = _ends(extent, axis)
        sides.append((max(low, first - pad), min(high, stop + pad)))
    (row0, row1), (col0, col1) = sides
    region = Region(row0, col0, row1, col1)
    for other in blocks.others(part, region):
        if (other & region).area:
            region = max(_without(region, other), key=lambda one: _worth(one, boxes))
    return region


def _ends(region: Region, axis: int) -> tuple[int, int]:
    return (region.row0, region.row1) if axis == 0 else (region.col0, region.col1)


def _without(region: Region, other: Region) -> list[Region]:
    """Return the four largest rectangles in one that do not meet another."""
    row0, col0, row1, col1 = region.row0, region.col0, region.row1, region.col1
    return [
        Region(row0, col0, max(row0, min(row1, other.row0)), col1),
        Region(min(row1, max(row0, other.row1)), col0, row1, col1),
        Region(row0, col0, row1, max(col0, min(col1, other.col0))),
        Region(row0, min(col1, max(col0, other.col1)), row1, col1),
    ]


def _worth(region: Region, boxes: np.ndarray) -> tuple[int, int]:
    """Say how good a rectangle is: what it shows of the objects, then how large it is."""
    shown = np.minimum(boxes[:, 2:], (region.row1, region.col1)) - np.maximum(
        boxes[:, :2], (region.row0, region.col0)
    )
    return int(np.maximum(shown, 0).prod(1).sum()), region.area


def _at_level(region: Region, level: int, shape: tuple[int, int]) -> Region:
    """Return the pixels of a level that lie wholly in a rectangle; at the scene's end, at all."""
    step, whole = 1 << level, halved(shape, level)
    stop = [
        size if end >= full else end // step
        for end, full, size in zip((region.row1, region.col1), shape, whole, strict=True)
    ]
    row0, col0 = -(-region.row0 // step), -(-region.col0 // step)
    return Region(row0, col0, max(row0, stop[0]), max(col0, stop[1]))
