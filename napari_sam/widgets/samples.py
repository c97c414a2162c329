"""Pictures to try the plugin with: File > Open Sample > Segment Anything."""

from __future__ import annotations

from functools import partial
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.scenes.lazy import Lazy

from .opening import image_layers

if TYPE_CHECKING:
    from napari.types import LayerData

__all__ = ["aerial", "made_pyramid", "nuclei", "pyramid"]

_CELL = 256
"""Rows and columns of level 0 that belong to one disc."""


def nuclei() -> list[LayerData]:
    """Return a fluorescence image of nuclei, 520 × 696 pixels."""
    return _bundled("nuclei.png", "nuclei")


def aerial() -> list[LayerData]:
    """Return lakes and fields from above, 320 × 320 pixels: red, green, blue; infrared, hidden."""
    colour, infrared = _bundled("aerial.tif", "lakes and fields")
    infrared[1]["name"] = "lakes and fields, infrared"
    return [colour, infrared]


def pyramid() -> list[LayerData]:
    """Return discs on dark ground, 16,384 × 16,384 pixels in six levels, made when looked at."""
    options = {"name": "discs", "multiscale": True, "contrast_limits": (0, 255)}
    return [(made_pyramid(), options, "image")]


def made_pyramid(side: int = 16_384, smallest: int = 512) -> list[Lazy]:
    """Make an image of any size: in each square of 256 pixels lies a disc.

    Parameters
    ----------
    side : int
        Rows, and columns, of level 0.
    smallest : int
        No level is smaller.

    Returns
    -------
    list of Lazy
        Levels, the finest first, each half as fine as the one before: uint8, shape (row, col). A
        window is always the same, and costs what is in it.

    Examples
    --------
    >>> levels = made_pyramid(2048)
    >>> [level.shape for level in levels]
    [(2048, 2048), (1024, 1024), (512, 512)]
    >>> bool((levels[0][300:310, 40:50] == levels[0][300:400, :50][:10, 40:]).all())
    True
    """
    levels = []
    step = 1
    while True:
        shape = (-(-side // step), -(-side // step))
        levels.append(Lazy(shape, np.dtype(np.uint8), partial(_discs, step)))
        step *= 2
        if side // step < smallest:
            return levels


def _bundled(file: str, name: str) -> list[LayerData]:
    with as_file(files("napari_sam") / "samples" / file) as path:
        # They are small, and the file may be there for a moment only.
        return [
            (np.asarray(data), {**options, "name": name, "metadata": {}}, kind)
            for data, options, kind in image_layers(path)
        ]


def _discs(step: int, window: tuple[slice, ...]) -> np.ndarray:
    """Draw a window of the level whose pixels are `step` pixels of level 0 wide."""
    # Where the middle of each pixel lies in level 0, and in which square.
    rows, cols = (
        np.arange(part.start, part.stop, dtype=np.float32) * step + (step - 1) / 2
        for part in window
    )
    down, across = (np.unique(place // _CELL, return_inverse=True) for place in (rows, cols))
    seed = down[0].astype(np.uint32)[:, None] * np.uint32(73_856_093)
    chance = _scrambled(seed ^ across[0].astype(np.uint32) * np.uint32(19_349_663))
    size, top, left, bright = (
        ((chance >> np.uint32(8 * place)) & np.uint32(255)).astype(np.float32) / 255
        for place in range(4)
    )
    radius = 18 + 90 * size**2
    room = _CELL - 2 * radius - 8  # a disc stays within its square
    middle_row = down[0][:, None] * _CELL + 4 + radius + room * top
    middle_col = across[0] * _CELL + 4 + radius + room * left
    here = np.ix_(down[1], across[1])  # from squares to their pixels
    distance = np.hypot(rows[:, None] - middle_row[here], cols - middle_col[here])
    # An edge is two pixels wide.
    inside = np.clip((radius[here] - distance) / max(2, step) + 0.5, 0, 1)
    grain = rows.astype(np.uint32)[:, None] * np.uint32(83_492_791)
    grain = _scrambled(grain ^ cols.astype(np.uint32) * np.uint32(2_971_215_073))
    noise = (grain & np.uint32(31)).astype(np.float32) - 15.5
    shown = 30 + inside * (70 + 130 * bright)[here] + noise / step  # less of it where it is coarse
    return np.clip(shown, 0, 255).astype(np.uint8)


def _scrambled(numbers: np.ndarray) -> np.ndarray:
    """Turn 32-bit numbers into others without a pattern, always the same ones."""
    numbers = (numbers ^ (numbers >> np.uint32(16))) * np.uint32(0x7FEB352D)
    numbers = (numbers ^ (numbers >> np.uint32(15))) * np.uint32(0x846CA68B)
    return numbers ^ (numbers >> np.uint32(16))
