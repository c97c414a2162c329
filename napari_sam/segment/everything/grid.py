"""Where everything is looked for: at which levels, and on which points of the scene.

The points lie on a lattice of the scene, not of its tiles, and each is clicked in the one tile
whose core holds it: what is found hardly depends on where tiles lie.

An object is looked for where a tile sees it whole. Windows overlap by two halos, so that the tile
in whose core an object's middle lies sees all of it if it is no wider than that: these are the
sizes a level is made for, and larger ones belong to the next coarser level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import InputError
from napari_sam.scenes.lengths import METRES
from napari_sam.tiles.geometry import TileGeometry, TileId

if TYPE_CHECKING:
    from napari_sam.scenes.sources import PixelSize

__all__ = ["Grid", "GridLevel", "plan_grid", "sizes_in_pixels"]

_CLEAR = 32.0
"""Pixels of the encoder's frame that the smallest objects should have: smaller ones blur."""

_CLOSEST = 8.0
"""Pixels of the frame between points at least: the masks' own pixels are four of them wide."""

_PAPER = 32
"""Points along a tile where no size is asked for: the paper's grid."""


@dataclass(frozen=True)
class GridLevel:
    """The points of one level and the objects it is made for.

    Parameters
    ----------
    level : int
        Of the scene.
    spacing : float
        From point to point, in pixels of level 0.
    low, high : float
        Sizes of objects, in pixels of level 0: an object's size is the side of the square of the
        same area. `high` is infinite at the coarsest level.
    """

    level: int
    spacing: float
    low: float
    high: float


@dataclass(frozen=True)
class Grid:
    """The points of all levels.

    Parameters
    ----------
    geometry : TileGeometry
        Of the scene.
    levels : tuple of GridLevel
        From the finest.

    Examples
    --------
    >>> grid = Grid(TileGeometry((100, 300), tile=100, halo=10), (GridLevel(0, 50.0, 0.0, 20.0),))
    >>> grid.points(TileId(0, 0, 0))
    array([[24.5, 24.5],
           [24.5, 74.5],
           [74.5, 24.5],
           [74.5, 74.5]])
    >>> sum(len(grid.points(tile)) for tile in grid.geometry.tiles(0))
    12
    """

    geometry: TileGeometry
    levels: tuple[GridLevel, ...]

    def __getitem__(self, level: int) -> GridLevel:
        return next(found for found in self.levels if found.level == level)

    def points(self, tile: TileId) -> np.ndarray:
        """Return the points that a tile answers for.

        Returns
        -------
        (n, 2) ndarray
            float64, (row, col) in pixels of level 0, row by row.
        """
        core, spacing = self.geometry.core(tile), self[tile.level].spacing
        rows, cols = self.geometry.shape
        down = _along(core.row0 << tile.level, core.row1 << tile.level, rows, spacing)
        across = _along(core.col0 << tile.level, core.col1 << tile.level, cols, spacing)
        return np.stack(np.meshgrid(down, across, indexing="ij"), axis=-1).reshape(-1, 2)


def plan_grid(
    geometry: TileGeometry, frame: int, sizes: tuple[float | None, float | None] = (None, None)
) -> Grid:
    """Choose levels and points for objects of some sizes.

    The finest level is the coarsest in which the smallest objects are still seen clearly, with
    points half of their size apart. Coarser ones follow until the largest objects fit; there
    points are half as far apart as the finer level's largest objects are wide.

    Parameters
    ----------
    geometry : TileGeometry
        Of the scene.
    frame : int
        Side of what the encoder sees, in pixels: a tile is resized to it.
    sizes : (float or None, float or None)
        Smallest and largest, in pixels of level 0; by default all there are, from level 0 with the
        paper's 32 points along a tile.

    Raises
    ------
    InputError
        If these are no sizes.

    Examples
    --------
    >>> for level in plan_grid(TileGeometry((20_000, 20_000)), 1024, (40, 1000)).levels:
    ...     print(level)
    GridLevel(level=0, spacing=20.0, low=40.0, high=256.0)
    GridLevel(level=1, spacing=128.0, low=128.0, high=512.0)
    GridLevel(level=2, spacing=256.0, low=256.0, high=1024.0)
    """
    smallest, largest = sizes
    low = 0.0 if smallest is None else float(smallest)
    high = math.inf if largest is None else float(largest)
    if not (0 <= low < high):
        raise InputError(
            f"Objects of {low:g} to {high:g} pixels cannot be looked for: give a smallest size of "
            f"0 or more, and a larger largest one."
        )
    coarsest = geometry.levels - 1

    def frame_pixels(level: int) -> float:
        """Return how many pixels of the frame lie along one of level 0."""
        side = min(geometry.tile, max(geometry.level_shape(level)))
        return frame / side / (1 << level)

    level = 0
    while level < coarsest and low * frame_pixels(level + 1) >= _CLEAR:
        level += 1
    fits = 2 * max(geometry.halo, geometry.tile // 8)
    wanted = low / 2 if low else frame / _PAPER / frame_pixels(level)
    spacing = max(wanted, _CLOSEST / frame_pixels(level))
    made_for = low
    levels = []
    while True:
        last = level == coarsest
        up_to = math.inf if last else float(fits << level)
        levels.append(GridLevel(level, spacing, made_for, up_to))
        if last or up_to >= high:
            return Grid(geometry, tuple(levels))
        spacing, made_for = up_to / 2, max(low, up_to / 2)
        level += 1


def sizes_in_pixels(
    sizes: tuple[float | None, float | None], unit: str, pixel_size: PixelSize | None
) -> tuple[float | None, float | None]:
    """Turn sizes into pixels of level 0.

    Parameters
    ----------
    sizes : (float or None, float or None)
        Smallest and largest.
    unit : str
        "px", the unit of the scene's pixel size, or one of length such as "µm" or "m".
    pixel_size : PixelSize or None
        Of the scene.

    Raises
    ------
    InputError
        If the scene does not tell how large its pixels are, or in another kind of unit.

    Examples
    --------
    >>> from napari_sam.scene import PixelSize
    >>> sizes_in_pixels((10, None), "µm", PixelSize(0.5, 0.5, "micrometer"))
    (20.0, None)
    """
    if unit == "px":
        return sizes
    if pixel_size is None:
        raise InputError(
            f"The scene does not say how large its pixels are: give sizes in px instead of {unit}, "
            f"or open it with a pixel size."
        )
    own = pixel_size.unit
    if unit == own:
        factor = 1.0
    elif unit in METRES and own in METRES:
        factor = METRES[unit] / METRES[own]
    else:
        raise InputError(
            f"Sizes in {unit} cannot be turned into pixels, which are given in {own}: give sizes "
            f"in {own} or px."
        )
    side = math.sqrt(pixel_size.rows * pixel_size.cols)
    smallest, largest = (None if size is None else size * factor / side for size in sizes)
    return smallest, largest


def _along(start: int, stop: int, length: int, spacing: float) -> np.ndarray:
    """Return the lattice's positions from one border to another, of an axis of that length.

    It is evenly spread over the axis. All is whole numbers, so that each point has one owner.
    """
    count = max(1, round(length / spacing))
    first = max(0, -((length - 2 * start * count) // (2 * length)))
    last = min(count, -((length - 2 * stop * count) // (2 * length)))
    return (2 * np.arange(first, last) + 1) * length / (2 * count) - 0.5
