"""Which tiles belong to a region of interest: a box, polygons or a mask of any size.

A tile belongs to it if its core and the region share some area; touching is not enough, so that a
region that ends where a core ends does not reach into the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from napari_sam.errors import InputError

from .geometry import TileGeometry, TileId
from .regions import Region

__all__ = ["Roi", "check_roi", "tiles_in"]

Roi = Region | np.ndarray | tuple[np.ndarray, ...]
"""A box in whole pixels of level 0; a polygon, shape (N, 2), corners (row, col) in pixels of level
0 whose centres are at integers; several such polygons, which together are the borders of areas and
of their holes; or a mask, a bool array (row, col) stretched over the scene."""


def check_roi(roi: Roi, shape: tuple[int, int]) -> None:
    """Refuse what is no region of interest of a scene.

    Parameters
    ----------
    roi : Roi
        As it was given.
    shape : (int, int)
        Rows and columns of level 0.

    Raises
    ------
    InputError
        If it is none of these kinds, or shares no area with the scene.
    """
    if isinstance(roi, tuple) and roi:
        for ring in roi:
            if not isinstance(ring, np.ndarray) or ring.dtype == np.bool_:
                raise _unknown("a tuple of something else than polygons")
            _check_array(ring)
    elif not isinstance(roi, Region):
        _check_array(roi)
    # A single tile that is the whole scene.
    whole = TileGeometry(shape, tile=max(shape), halo=0)
    if not tiles_in(whole, 0, roi).any():
        raise InputError(
            f"The region of interest shares no area with the scene, which has rows 0 to "
            f"{shape[0] - 1} and columns 0 to {shape[1] - 1}: choose one inside."
        )


def _check_array(roi: Any) -> None:
    """Refuse what is neither a polygon nor a mask."""
    if not isinstance(roi, np.ndarray) or roi.ndim != 2 or 0 in roi.shape:
        raise _unknown(f"something of shape {np.shape(roi)}")
    if roi.dtype == np.bool_:
        return
    if roi.shape[1] != 2 or roi.dtype.kind not in "iuf":
        raise _unknown(f"an array of shape {roi.shape} and type {roi.dtype}")
    if len(roi) < 3 or not np.isfinite(roi).all():
        raise InputError(
            f"A region of interest with {len(roi)} corners, of which "
            f"{int(np.isfinite(roi).all(1).sum())} are finite, is no polygon: give three or more "
            f"corners (row, col)."
        )
    if np.linalg.matrix_rank((roi - roi[0]).astype(np.float64)) < 2:
        raise InputError(
            "The corners of the region of interest lie on one line, so that it has no area: give a "
            "polygon that has."
        )


def tiles_in(geometry: TileGeometry, level: int, roi: Roi | None) -> np.ndarray:
    """Tell which tiles of a level belong to a region of interest.

    Parameters
    ----------
    geometry : TileGeometry
        Of the scene.
    level : int
        Of the tiles.
    roi : Roi or None
        One that `check_roi` accepts; None is the whole scene. A polygon that crosses itself, and
        several polygons together, are filled by the even-odd rule.

    Returns
    -------
    ndarray of bool
        Shape (tile rows, tile columns).

    Examples
    --------
    >>> geometry = TileGeometry((100, 300), tile=100, halo=10)
    >>> tiles_in(geometry, 0, Region(0, 95, 50, 180))
    array([[False,  True,  True, False]])
    >>> tiles_in(geometry, 0, np.array([[10, 5], [10, 20], [90, 5]]))
    array([[ True, False, False, False]])
    >>> tiles_in(geometry, 0, np.array([[True, False, True]]))
    array([[ True,  True,  True,  True]])
    """
    rows, cols = _borders(geometry, level)
    if roi is None:
        return np.ones((len(rows) - 1, len(cols) - 1), bool)
    if isinstance(roi, Region):
        along_rows = (rows[:-1] < roi.row1) & (rows[1:] > roi.row0) & (roi.row0 < roi.row1)
        along_cols = (cols[:-1] < roi.col1) & (cols[1:] > roi.col0) & (roi.col0 < roi.col1)
        return np.outer(along_rows, along_cols)
    if isinstance(roi, np.ndarray) and roi.dtype == np.bool_:
        return _in_mask(rows, cols, roi)
    return _in_polygons(rows, cols, (roi,) if isinstance(roi, np.ndarray) else roi)


def _borders(geometry: TileGeometry, level: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where cores begin along both axes, and where the last ends, in pixels of level 0."""
    tile_rows, tile_cols = geometry.grid(level)
    starts_down = [geometry.core(TileId(level, i, 0)).row0 << level for i in range(tile_rows)]
    starts_across = [geometry.core(TileId(level, 0, i)).col0 << level for i in range(tile_cols)]
    return (
        np.array([*starts_down, geometry.shape[0]], np.int64),
        np.array([*starts_across, geometry.shape[1]], np.int64),
    )


def _in_mask(rows: np.ndarray, cols: np.ndarray, mask: np.ndarray) -> np.ndarray:
    down = _stretched(rows, mask.shape[0])
    across = _stretched(cols, mask.shape[1])
    strips = np.stack([mask[start:stop].any(0) for start, stop in down])
    return np.stack([strips[:, start:stop].any(1) for start, stop in across], axis=1)


def _stretched(borders: np.ndarray, size: int) -> Iterator[tuple[int, int]]:
    """Give for each core the samples of a mask that share length with it, in whole numbers."""
    length = int(borders[-1])
    for start, stop in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        yield start * size // length, -(-stop * size // length)


def _in_polygons(rows: np.ndarray, cols: np.ndarray, rings: tuple[np.ndarray, ...]) -> np.ndarray:
    """Tell which rectangles share area with polygons.

    They do if an edge passes through their inside, or if none does and the centre is in the
    polygons: then all of it is.
    """
    # Pixel centres are at integers, so that pixel 0 begins at -0.5.
    row_ends, col_ends = rows - 0.5, cols - 0.5
    row_middles, col_middles = ((ends[:-1] + ends[1:]) / 2 for ends in (row_ends, col_ends))
    crossed = np.zeros((len(rows) - 1, len(cols) - 1), bool)
    inside = np.zeros_like(crossed)
    for start, stop in _edges(rings):
        if (start == stop).all():
            continue
        # Only the rectangles that share length with the edge along both axes ...
        down = _sharing(row_ends, start[0], stop[0])
        across = _sharing(col_ends, start[1], stop[1])
        if down.start < down.stop and across.start < across.stop:
            # ... and of these the ones with corners on both sides of its line.
            side = (stop[1] - start[1]) * (row_ends[down.start : down.stop + 1, None] - start[0])
            side = side - (stop[0] - start[0]) * (
                col_ends[across.start : across.stop + 1] - start[1]
            )
            four = np.stack([side[:-1, :-1], side[1:, :-1], side[:-1, 1:], side[1:, 1:]])
            crossed[down, across] |= (four.min(0) < 0) & (four.max(0) > 0)
        # Even-odd: each edge to the right of a centre turns it over.
        beside = np.nonzero((start[0] <= row_middles) != (stop[0] <= row_middles))[0]
        if len(beside):
            part = (row_middles[beside] - start[0]) / (stop[0] - start[0])
            where = start[1] + part * (stop[1] - start[1])
            inside[beside] ^= col_middles < where[:, None]
    return crossed | inside


def _edges(rings: tuple[np.ndarray, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for ring in rings:
        corners = ring.astype(np.float64)
        yield from zip(corners, np.roll(corners, -1, axis=0), strict=True)


def _sharing(ends: np.ndarray, one: float, other: float) -> slice:
    """Return which intervals hold some of one..other in their inside."""
    low, high = min(one, other), max(one, other)
    first = int(np.searchsorted(ends, low, side="right")) - 1
    last = int(np.searchsorted(ends, high, side="left"))
    if low == high and first >= last:  # on a border, which is in no inside
        return slice(0, 0)
    return slice(max(first, 0), min(last, len(ends) - 1))


def _unknown(what: str) -> InputError:
    return InputError(
        f"A region of interest is a Region, a polygon of shape (N, 2) (or a tuple of them) or a "
        f"bool mask of shape (row, col), and not {what}."
    )
