"""One tile that is ready to be prompted, and the way from the Scene's pixels to its own and back.

Positions are (row, col) in pixels of level 0, and pixel centres at integers. A pixel of level k
covers ``2**k`` of level 0 along each axis, so that its centre lies between theirs: position c of
level 0 is ``(c + 0.5) / 2**k - 0.5`` of level k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .geometry import TileId
from .regions import Region

if TYPE_CHECKING:
    from src_model import SamPredictor

__all__ = ["TilePredictor", "to_level"]


def to_level(positions: ArrayLike, level: int) -> np.ndarray:
    """Turn positions of level 0 into those of another level.

    Parameters
    ----------
    positions : array
        Rows, columns or both, any shape.
    level : int
        Which.

    Returns
    -------
    ndarray
        float64, of the same shape.

    Examples
    --------
    >>> to_level([0, 1, 2, 3], 1)
    array([-0.25,  0.25,  0.75,  1.25])
    """
    return (np.asarray(positions, np.float64) + 0.5) / (1 << level) - 0.5


@dataclass(frozen=True, eq=False)
class TilePredictor:
    """A tile that can be prompted; made by `Embeddings.at`.

    Parameters
    ----------
    tile : TileId
        Which.
    window : Region
        What the tile sees, core and halo, in pixels of its level.
    predictor : SamPredictor
        With the tile's embedding set; it takes (x, y) in pixels of `window`, and its masks have
        the window's shape. It is this tile's own.

    Examples
    --------
    A tile of level 1, whose pixels are two of level 0 wide:

    >>> tile = TilePredictor(TileId(1, 0, 0), Region(10, 20, 14, 26), predictor=None)
    >>> tile.to_xy([[20.5, 42.5]])
    array([[1., 0.]])
    >>> tile.to_box([20.5, 40.5, 26.5, 42.5])
    array([0., 0., 1., 3.])
    >>> mask = np.zeros((4, 6), bool)
    >>> mask[1, 2:5] = True
    >>> tile.place(mask)
    (Region(row0=11, col0=22, row1=12, col1=25), array([[ True,  True,  True]]))
    """

    tile: TileId
    window: Region
    predictor: SamPredictor

    def to_xy(self, points: ArrayLike) -> np.ndarray:
        """Turn points into what `predictor` takes.

        Parameters
        ----------
        points : (..., 2) array
            (row, col) in pixels of level 0. They may lie outside of the window.

        Returns
        -------
        (..., 2) ndarray
            float64, (x, y) in pixels of the window.

        Raises
        ------
        ValueError
            If the last axis is not 2 long.
        """
        positions = to_level(points, self.tile.level)
        if not positions.ndim or positions.shape[-1] != 2:
            raise ValueError(
                f"points must be (row, col) along their last axis, not {positions.shape}."
            )
        return (positions - (self.window.row0, self.window.col0))[..., ::-1]

    def to_box(self, box: ArrayLike) -> np.ndarray:
        """Turn boxes into what `predictor` takes.

        Parameters
        ----------
        box : (..., 4) array
            (row0, col0, row1, col1): positions of two corners, in pixels of level 0.

        Returns
        -------
        (..., 4) ndarray
            float64, (x0, y0, x1, y1) in pixels of the window.

        Raises
        ------
        ValueError
            If the last axis is not 4 long.
        """
        corners = np.asarray(box, np.float64)
        if not corners.ndim or corners.shape[-1] != 4:
            raise ValueError(
                f"a box must be (row0, col0, row1, col1) along the last axis, not {corners.shape}."
            )
        return self.to_xy(corners.reshape(*corners.shape[:-1], 2, 2)).reshape(corners.shape)

    def place(self, mask: np.ndarray) -> tuple[Region, np.ndarray]:
        """Find where a mask of the window lies in its level.

        Parameters
        ----------
        mask : (H, W) bool array
            Of the window's shape, as `predictor` gives it.

        Returns
        -------
        region : Region
            The smallest that holds the mask, in pixels of the tile's level; one without pixels at
            the window's corner if the mask is empty.
        part : ndarray
            The mask in this region: bool, of its shape.

        Raises
        ------
        ValueError
            If the mask has another shape, or is not bool.
        """
        if mask.shape != self.window.shape or mask.dtype != bool:
            raise ValueError(
                f"the mask must be bool and of the shape of the tile's window, "
                f"{self.window.shape}, and not {mask.dtype} {mask.shape}."
            )
        row0, row1 = _extent(mask, 0)
        col0, col1 = _extent(mask, 1)
        row, col = self.window.row0, self.window.col0
        region = Region(row + row0, col + col0, row + row1, col + col1)
        return region, mask[row0:row1, col0:col1]


def _extent(mask: np.ndarray, axis: int) -> tuple[int, int]:
    """Return the first place along an axis that is set and the one after the last; or (0, 0)."""
    places = np.flatnonzero(mask.any(axis=1 - axis))
    return (int(places[0]), int(places[-1]) + 1) if places.size else (0, 0)
