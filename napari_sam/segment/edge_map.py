"""The edges of a Scene of any size: tile by tile into a folder, from which any part is read.

What lies on the disk is the tiles' edges, blended. Smoothing, scaling and thinning look a few
pixels around and are done when a part is read, so that no part shows where another one ends.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.tiles.encoded_once import ReadyTiles
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.regions import Region
from napari_sam.tiles.store_errors import StoreUnusable, TileEmpty

from .edges import MARGIN, blend_weights, smooth, thin, tile_edges

if TYPE_CHECKING:
    import zarr

__all__ = ["BLOCK", "EdgeMap", "Progress", "blocks", "find_edges"]

BLOCK = 512
"""Rows and columns of a part that is worked on at once."""

Progress = Callable[[int, int], object]
"""Called with how many are done and how many there are."""


@dataclass(frozen=True, eq=False)
class EdgeMap:
    """Edges of one level of a Scene; made by `find_edges`.

    Parameters
    ----------
    level : int
        In whose pixels they are.
    strongest : float
        The greatest strength, which becomes 1; 0 if there is no edge.
    unseen : tuple of (TileId, str)
        Tiles that could not be read, and why: there are no edges in them.
    squares : zarr.Array
        Squares of the blended strengths, float32 (row, col).
    """

    level: int
    strongest: float
    unseen: tuple[tuple[TileId, str], ...]
    squares: zarr.Array[Any]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, cols = self.squares.shape
        return rows, cols

    def read(self, part: Region, thinned: bool = True) -> np.ndarray:
        """Return the edges in a part.

        Parameters
        ----------
        part : Region
            In pixels of `level`, inside of the Scene.
        thinned : bool
            Whether lines are one pixel wide.

        Returns
        -------
        ndarray
            float32, of the part's shape, 0 to 1; the same in whatever parts it is read.
        """
        if not self.strongest:
            return np.zeros(part.shape, np.float32)
        strength, inside = _smoothed(self.squares, part)
        if thinned:
            strength = thin(strength)
        edges: np.ndarray = strength[inside.rows, inside.cols] / np.float32(self.strongest)
        return edges


def find_edges(
    geometry: TileGeometry,
    tiles: ReadyTiles,
    folder: str | os.PathLike[str],
    level: int = 0,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> EdgeMap | None:
    """Find the edges of one level of a Scene.

    Memory holds a tile and what the network needs for it.

    Parameters
    ----------
    geometry : TileGeometry
        Where the tiles lie.
    tiles : ReadyTiles
        Gives them: `Embeddings` of a store, or `EncodedOnce`. Empty ones have no edges.
    folder : path
        An empty one, for what is on the way; the `EdgeMap` reads it.
    level : int
        0 is the finest.
    on_progress : callable, optional
        Called for every tile.
    should_stop : callable, optional
        Asked before every tile.

    Returns
    -------
    EdgeMap or None
        None if it was asked to stop.

    Raises
    ------
    InputError
        If there is no such level, or no tile can be read.
    StoreUnusable
        If the tiles' store cannot be read.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from napari_sam.scene import open_scene
    >>> from napari_sam.tiles.encoded_once import EncodedOnce
    >>> from src_model import Variant, build_sam
    >>> sam = build_sam(Variant(image_size=64, depth=2, embed_dim=32, num_heads=2, out_chans=32,
    ...                         global_attn_indexes=(1,)))
    >>> scene = open_scene(np.arange(60 * 90, dtype=np.uint16).reshape(60, 90))
    >>> geometry = TileGeometry(scene.shape, tile=64, halo=8)
    >>> with TemporaryDirectory() as folder:
    ...     edges = find_edges(geometry, EncodedOnce(scene, geometry, sam), folder)
    ...     part = edges.read(Region(10, 20, 40, 80))
    >>> edges.shape, part.shape, part.dtype
    ((60, 90), (30, 60), dtype('float32'))
    """
    import zarr

    if not 0 <= level < geometry.levels:
        raise InputError(
            f"The scene has the levels 0 to {geometry.levels - 1} and no {level}: choose one of "
            f"them."
        )
    shape = geometry.level_shape(level)
    squares = zarr.create_array(
        os.fspath(folder),
        name="squares",
        shape=shape,
        chunks=(min(BLOCK, shape[0]), min(BLOCK, shape[1])),
        dtype=np.float32,
        fill_value=0,
    )
    unseen = []
    total = math.prod(geometry.grid(level))
    for number, tile in enumerate(geometry.tiles(level), 1):
        if should_stop is not None and should_stop():
            return None
        try:
            edges = tile_edges(tiles.at(tile))
        except StoreUnusable:
            raise
        except TileEmpty:
            pass  # nothing is there, and no edge
        except InputError as error:
            unseen.append((tile, str(error)))
        else:
            rows, cols = blend_weights(geometry, tile)
            window = geometry.window(tile)
            before = np.asarray(squares[window.rows, window.cols])
            squares[window.rows, window.cols] = before + edges**2 * rows[:, None] * cols
        if on_progress is not None:
            on_progress(number, total)
    if len(unseen) == total:
        raise InputError(unseen[0][1])
    strongest = 0.0
    for block in blocks(shape):
        strength, inside = _smoothed(squares, block)
        strongest = max(strongest, float(strength[inside.rows, inside.cols].max()))
    return EdgeMap(level, strongest, tuple(unseen), squares)


def blocks(shape: tuple[int, int], side: int = BLOCK) -> Iterator[Region]:
    """Give the parts of a picture, row by row.

    Examples
    --------
    >>> [block.shape for block in blocks((3, 5), 3)]
    [(3, 3), (3, 2)]
    """
    rows, cols = shape
    for row, col in product(range(0, rows, side), range(0, cols, side)):
        yield Region(row, col, min(row + side, rows), min(col + side, cols))


def _smoothed(squares: zarr.Array[Any], part: Region) -> tuple[np.ndarray, Region]:
    """Return the smoothed strength of a part and of what lies around it, and where in it it is."""
    rows, cols = squares.shape
    around = Region(0, 0, rows, cols) & Region(
        max(0, part.row0 - MARGIN),
        max(0, part.col0 - MARGIN),
        part.row1 + MARGIN,
        part.col1 + MARGIN,
    )
    strength = np.sqrt(np.asarray(squares[around.rows, around.cols]))
    return smooth(strength), part.within(around)
