"""Large scenes with one object of exactly known shape, computed where they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from napari_sam.segment.scribbles import MaskRegion

Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]


def disc(row: np.ndarray, col: np.ndarray) -> np.ndarray:
    return np.hypot(row, col) < 0.5


def ring(row: np.ndarray, col: np.ndarray) -> np.ndarray:
    radius = np.hypot(row, col)
    return (radius < 0.5) & (radius > 0.25)


def river(row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Two bends, and a branch that joins in the middle."""
    main = np.abs(col - 0.12 * np.sin(7 * row)) < 0.09
    branch = (np.abs(col - 0.8 * row) < 0.08) & (row > 0) & (col > 0)
    return (main | branch) & (np.abs(row) < 0.5) & (np.abs(col) < 0.5)


def building(row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Two wings at a right angle."""
    whole = (np.abs(row) < 0.5) & (np.abs(col) < 0.5)
    return whole & ~((row < 0.1) & (col > -0.1))


SHAPES: dict[str, tuple[Shape, tuple[float, float]]] = {
    "disc": (disc, (0.03, -0.02)),
    "ring": (ring, (0.37, 0.01)),
    "river": (river, (0.02, 0.03)),
    "L-shaped": (building, (0.29, -0.29)),
}
"""Each in a square of side 1 around 0, and a place on it."""


@dataclass(frozen=True)
class MadeScene:
    """A grey picture of one object, as an array that is computed where it is read.

    Parameters
    ----------
    name : str
        One of `SHAPES`.
    side : int
        Rows and columns of the scene.
    size : float
        Of the object in pixels.
    centre : (float, float)
        Of the object, as a share of the side.
    """

    name: str
    side: int
    size: float
    centre: tuple[float, float] = (0.5, 0.5)
    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int]:
        return self.side, self.side

    def truth(self, rows: slice, cols: slice) -> np.ndarray:
        """Return which pixels of a window belong to the object."""
        return SHAPES[self.name][0](*self._places(rows, cols))

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        rows, cols = (slice(*part.indices(self.side)[:2]) for part in window)
        inside = self.truth(rows, cols)
        row, col = self._places(rows, cols)
        # Broad shades that belong to the scene, whatever its scale, and fine grain.
        shade = 12 * np.sin(9 * row + 2) * np.cos(11 * col) + 6 * np.sin(31 * col + 17 * row)
        r, c = (np.arange(part.start, part.stop, dtype=np.uint64) for part in (rows, cols))
        grain = (r[:, None] * np.uint64(2654435761) ^ c[None] * np.uint64(2246822519)) * np.uint64(
            3266489917
        )
        noise = (grain >> np.uint64(13) & np.uint64(15)).astype(float) - 7.5
        return np.clip(np.where(inside, 180, 85) + shade + noise, 0, 255).astype(np.uint8)

    def place(self) -> tuple[float, float]:
        """Return a pixel on the object."""
        spot = SHAPES[self.name][1]
        return tuple(  # type: ignore[return-value]
            self.centre[axis] * self.side - 0.5 + spot[axis] * self.size for axis in (0, 1)
        )

    def box(self) -> tuple[float, float, float, float]:
        """Return the box around the object."""
        low = [self.centre[axis] * self.side - 0.5 - self.size / 2 for axis in (0, 1)]
        return low[0], low[1], low[0] + self.size, low[1] + self.size

    def candidate(self) -> MaskRegion:
        """Return the truth in the object's window."""
        row0, col0, row1, col1 = (int(place) for place in self.box())
        rows, cols = slice(max(0, row0), row1 + 2), slice(max(0, col0), col1 + 2)
        return MaskRegion(rows.start, cols.start, self.truth(rows, cols))

    def iou(self, row: int, col: int, mask: np.ndarray) -> float:
        """Return the IoU of a mask with the object."""
        truth = self.candidate()
        high, wide = truth.mask.shape
        rows = slice(max(row, truth.row), min(row + mask.shape[0], truth.row + high))
        cols = slice(max(col, truth.col), min(col + mask.shape[1], truth.col + wide))
        shared = 0
        if rows.start < rows.stop and cols.start < cols.stop:
            shared = np.count_nonzero(
                mask[rows.start - row : rows.stop - row, cols.start - col : cols.stop - col]
                & truth.mask[
                    rows.start - truth.row : rows.stop - truth.row,
                    cols.start - truth.col : cols.stop - truth.col,
                ]
            )
        return shared / (np.count_nonzero(mask) + np.count_nonzero(truth.mask) - shared)

    def levels(self) -> list[MadeScene]:
        """Return the scene at all resolutions, each drawn and none computed from another."""
        found = [self]
        while found[-1].side > 512:
            last = found[-1]
            found.append(MadeScene(self.name, last.side // 2, last.size / 2, self.centre))
        return found

    def _places(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        row = (np.arange(rows.start, rows.stop) + 0.5 - self.centre[0] * self.side) / self.size
        col = (np.arange(cols.start, cols.stop) + 0.5 - self.centre[1] * self.side) / self.size
        return row[:, None], col[None]
