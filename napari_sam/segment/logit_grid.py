"""Logits at evenly spaced nodes of a part of a Scene: what masks are before they have pixels.

The network gives four logits for every position of its embedding, one for 4 × 4 pixels of a tile;
everything between is interpolated. Blending and refining therefore work on nodes, which are a
sixteenth of the pixels, and pixels are made once, at the end, and only along boundaries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_sam.tiles.regions import Region

__all__ = ["LogitGrid", "draw"]

_BLOCK = 256
"""Pixels along a side of what is drawn at once."""


@dataclass(frozen=True, eq=False)
class LogitGrid:
    """Logits of one mask at nodes.

    Parameters
    ----------
    level : int
        In whose pixels positions are counted.
    origin : (float, float)
        Row and column of the first node.
    spacing : (float, float)
        From one node to the next.
    values : (rows, cols) ndarray
        float32.

    Examples
    --------
    >>> grid = LogitGrid(0, (1.5, 1.5), (4.0, 4.0), np.float32([[-2, 2], [-2, 6]]))
    >>> grid.sample(np.array([1.5, 3.5]), np.array([0.0, 3.5, 9.0]))
    array([[-2.,  0.,  2.],
           [-2.,  1.,  4.]], dtype=float32)
    """

    level: int
    origin: tuple[float, float]
    spacing: tuple[float, float]
    values: np.ndarray

    def nodes(self, axis: int) -> np.ndarray:
        """Return the positions of the nodes along an axis, float64."""
        return self.origin[axis] + self.spacing[axis] * np.arange(self.values.shape[axis])

    def sample(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Interpolate bilinearly; outside, the nearest node counts.

        Parameters
        ----------
        rows, cols : (n,), (m,) array
            Positions, ascending.

        Returns
        -------
        (n, m) ndarray
            float32.
        """
        (low_r, high_r, part_r), (low_c, high_c, part_c) = (
            self._between(axis, places) for axis, places in enumerate((rows, cols))
        )
        first, last = (int(low_r[0]), int(high_r[-1]) + 1) if len(low_r) else (0, 0)
        band = self.values[first:last]
        if part_c.any():
            band = band[:, low_c] * (1 - part_c) + band[:, high_c] * part_c
        else:
            band = band[:, low_c]
        if not part_r.any():
            return band[low_r - first]
        part_r = part_r[:, None]
        return band[low_r - first] * (1 - part_r) + band[high_r - first] * part_r

    def at(self, level: int, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Interpolate at positions in pixels of another level."""
        scale = 2.0 ** (level - self.level)
        return self.sample((rows + 0.5) * scale - 0.5, (cols + 0.5) * scale - 0.5)

    def closed(self, sides: tuple[bool, bool, bool, bool], value: float) -> LogitGrid:
        """Add nodes of one value beyond some sides, so that a mask does not go on there.

        Parameters
        ----------
        sides : (bool, bool, bool, bool)
            Top, bottom, left, right.
        value : float
            Their logit.
        """
        top, bottom, left, right = map(int, sides)
        values = np.pad(
            self.values, [(top, bottom), (left, right)], constant_values=np.float32(value)
        )
        origin = (
            self.origin[0] - top * self.spacing[0],
            self.origin[1] - left * self.spacing[1],
        )
        return LogitGrid(self.level, origin, self.spacing, values)

    def extent(self, threshold: float) -> tuple[float, float, float, float] | None:
        """Return (row0, col0, row1, col1) of all that can exceed a threshold; None if nothing can.

        In pixels of its level; it may reach out of the scene by the distance of nodes.
        """
        rows = np.flatnonzero((self.values > threshold).any(axis=1))
        cols = np.flatnonzero((self.values > threshold).any(axis=0))
        if not rows.size:
            return None
        (row, col), (high, wide) = self.origin, self.spacing
        return (
            row + (rows[0] - 1) * high,
            col + (cols[0] - 1) * wide,
            row + (rows[-1] + 1) * high,
            col + (cols[-1] + 1) * wide,
        )

    def _between(self, axis: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the nodes before and after each place, and how far it is between them."""
        last = self.values.shape[axis] - 1
        place = np.clip((places - self.origin[axis]) / self.spacing[axis], 0, last)
        # Places that differ from a node by rounding are at the node.
        near = np.rint(place)
        place = np.where(np.abs(place - near) < 1e-6, near, place)
        low = np.minimum(place.astype(np.intp), max(0, last - 1))
        return low, np.minimum(low + 1, last), (place - low).astype(np.float32)


def draw(grid: LogitGrid, threshold: float, shape: tuple[int, int]) -> tuple[Region, np.ndarray]:
    """Draw the pixels of level 0 whose logit exceeds a threshold.

    Only blocks that a boundary crosses are interpolated, so that the time follows the length of
    the boundary; the memory is a byte for each pixel of the window that is returned.

    Parameters
    ----------
    grid : LogitGrid
        Of any level.
    threshold : float
        To be exceeded.
    shape : (int, int)
        Rows and columns of level 0.

    Returns
    -------
    region : Region
        Where it lies; it may be larger than the mask by some pixels.
    mask : ndarray
        bool, of the region's shape.

    Examples
    --------
    >>> grid = LogitGrid(1, (0.0, 0.0), (1.0, 1.0), np.float32([[-1, -1], [-1, 3]]))
    >>> draw(grid, 0.0, (4, 4))[1].astype(int)
    array([[0, 0, 0, 0],
           [0, 0, 0, 0],
           [0, 0, 1, 1],
           [0, 0, 1, 1]])
    """
    extent = grid.extent(threshold)
    if extent is None:
        return Region(0, 0, 0, 0), np.zeros((0, 0), bool)
    scale = 1 << grid.level
    row0, col0, row1, col1 = ((place + 0.5) * scale - 0.5 for place in extent)
    # Beyond the outermost nodes the scene's border may still be some pixels away.
    whole = Region(0, 0, *shape)
    slack = [int(np.ceil(spacing * scale)) for spacing in grid.spacing]
    region = whole & Region(
        max(0, int(row0) - slack[0]),
        max(0, int(col0) - slack[1]),
        int(row1) + slack[0] + 2,
        int(col1) + slack[1] + 2,
    )
    mask = np.zeros(region.shape, bool)
    for top in range(region.row0, region.row1, _BLOCK):
        rows = np.arange(top, min(top + _BLOCK, region.row1))
        for left in range(region.col0, region.col1, _BLOCK):
            cols = np.arange(left, min(left + _BLOCK, region.col1))
            inside = _around(grid, rows, cols) > threshold
            if not inside.any():
                continue
            part = mask[rows[0] - region.row0 : rows[-1] + 1 - region.row0]
            part = part[:, cols[0] - region.col0 : cols[-1] + 1 - region.col0]
            part[:] = True if inside.all() else grid.at(0, rows, cols) > threshold
    return region, mask


def _around(grid: LogitGrid, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Return the values of all nodes that have a part in these pixels of level 0."""
    scale = 1 << grid.level
    spans = []
    for axis, places in enumerate((rows, cols)):
        ends = (places[[0, -1]] + 0.5) / scale - 0.5
        low, high = (ends - grid.origin[axis]) / grid.spacing[axis]
        last = grid.values.shape[axis] - 1
        first = min(last, max(0, int(np.floor(low - 1e-6))))
        spans.append(slice(first, min(last, max(0, int(np.ceil(high + 1e-6)))) + 1))
    return grid.values[spans[0], spans[1]]
