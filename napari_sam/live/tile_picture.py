"""A small picture of a level's tiles and what became of them, to be laid over the scene."""

from __future__ import annotations

import numpy as np

from napari_sam.tiles.geometry import TileGeometry, TileId

__all__ = ["EDGE", "picture_shape", "tile_picture"]

EDGE = 8
"""What is added to a state where a tile's border is drawn."""

_LONGEST = 1024
"""Pixels along the longer side of a picture, however large the scene is."""

_FINEST = 2
"""Pixels of a scene along a pixel of the picture, at least."""

_BORDER = 6
"""Width of a border in pixels of the tile's level."""


def picture_shape(geometry: TileGeometry) -> tuple[int, int]:
    """Return rows and columns of a picture: it covers the scene exactly, whatever the level.

    Examples
    --------
    >>> picture_shape(TileGeometry((3000, 5000))), picture_shape(TileGeometry((200_000, 100_000)))
    ((614, 1024), (1024, 512))
    """
    unit = max(_FINEST, max(geometry.shape) / _LONGEST)
    rows, cols = (max(1, round(length / unit)) for length in geometry.shape)
    return rows, cols


def tile_picture(geometry: TileGeometry, level: int, states: np.ndarray) -> np.ndarray:
    """Draw the cores of a level's tiles.

    Parameters
    ----------
    geometry : TileGeometry
        Of the scene.
    level : int
        Which.
    states : ndarray
        uint8, one value below `EDGE` for each tile, as `Embedder.states` gives them.

    Returns
    -------
    ndarray
        uint8, of `picture_shape`: a tile's value plus 1, so that 0 is nothing, and `EDGE` more at
        its border.

    Examples
    --------
    >>> tile_picture(TileGeometry((8, 20), tile=12, halo=2), 0, np.array([[0, 1]], np.uint8))
    array([[ 9,  9,  9,  9,  9, 10, 10, 10, 10, 10],
           [ 9,  9,  9,  9,  9, 10, 10, 10, 10, 10],
           [ 9,  9,  9,  9,  9, 10, 10, 10, 10, 10],
           [ 9,  9,  9,  9,  9, 10, 10, 10, 10, 10]], dtype=uint8)
    """
    shape, (tile_rows, tile_cols) = picture_shape(geometry), geometry.grid(level)
    tops = [geometry.core(TileId(level, row, 0)).row0 << level for row in range(tile_rows)]
    lefts = [geometry.core(TileId(level, 0, col)).col0 << level for col in range(tile_cols)]
    rows, row_edges = _along(tops, geometry.shape[0], shape[0], _BORDER << level)
    cols, col_edges = _along(lefts, geometry.shape[1], shape[1], _BORDER << level)
    # Of each row of tiles only two lines differ, so that all others are copies of whole lines.
    inside = (states.astype(np.uint8) + 1)[:, cols]
    lines = np.stack([inside | np.where(col_edges, EDGE, 0).astype(np.uint8), inside | EDGE], 1)
    return lines.reshape(-1, shape[1])[2 * rows + row_edges]


def _along(starts: list[int], length: int, pixels: int, border: float) -> tuple[np.ndarray, ...]:
    """Return for each pixel along an axis its tile, and whether it lies at a border."""
    unit = length / pixels
    first = np.round(np.array(starts) / unit).astype(int)
    first = np.minimum(first, pixels - 1)
    tiles = np.searchsorted(first, np.arange(pixels), side="right") - 1
    ends = np.append(first[1:], pixels)
    width = max(1, round(border / unit))
    place = np.arange(pixels)
    edges = (place - first[tiles] < width) | (ends[tiles] - place <= width)
    return tiles, edges
