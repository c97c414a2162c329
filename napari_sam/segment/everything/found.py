"""The objects that were found: what is known of each, and its mask when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from napari_sam.tiles.regions import Region

from .overlaps import INSIDE, common_area

__all__ = ["FoundObjects"]


@dataclass(frozen=True, eq=False)
class FoundObjects:
    """Objects of a scene; all arrays have one entry for each, in the order of their ids 1, 2, ...

    Ids follow the row, then the column, of an object's first pixel, and are the same in every run.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of level 0.
    levels : (n,) ndarray
        The level at which each was found.
    boxes : (n, 4) ndarray
        int64, (row0, col0, row1, col1) in pixels of level 0, the ends exclusive; they may reach
        beyond the scene by part of a coarser pixel.
    areas : (n,) ndarray
        int64, pixels of level 0; of coarser levels whole pixels count.
    centroids : (n, 2) ndarray
        float64, (row, col) in pixels of level 0.
    predicted_ious, stabilities : (n,) ndarray
        float32; of joined objects the mean of the pieces by area.
    cuts : (n,) bool ndarray
        Whether a tile's border still cuts the object off.
    pieces : (n,) ndarray
        int64, of how many candidates it was joined.
    """

    shape: tuple[int, int]
    levels: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    centroids: np.ndarray
    predicted_ious: np.ndarray
    stabilities: np.ndarray
    cuts: np.ndarray
    pieces: np.ndarray
    _mask: Callable[[int], np.ndarray]

    def __len__(self) -> int:
        return len(self.areas)

    @property
    def ids(self) -> np.ndarray:
        """The ids 1 to n, int64."""
        return np.arange(1, len(self) + 1)

    def take(self, indices: np.ndarray) -> FoundObjects:
        """Return some of them, in this order, with ids of their own."""
        taken = {
            field.name: getattr(self, field.name)[indices]
            for field in fields(self)
            if field.name not in ("shape", "_mask")
        }
        return FoundObjects(
            shape=self.shape, **taken, _mask=lambda index: self._mask(int(indices[index]))
        )

    @property
    def doubts(self) -> np.ndarray:
        """How little the network is sure of each: 1 - predicted IoU × stability, 0 to 1."""
        doubts = 1 - self.predicted_ious.astype(np.float64) * self.stabilities
        return np.clip(doubts, 0, 1)

    def mask(self, index: int) -> np.ndarray:
        """Return the mask of the object with the id ``index + 1``.

        Returns
        -------
        ndarray
            bool (row, col): its box, in pixels of its level.
        """
        return self._mask(index)

    def region(self, index: int) -> Region:
        """Return where a mask lies, in pixels of its level."""
        return Region(*(self.boxes[index] >> self.levels[index]).tolist())

    def mask_at(self, index: int, part: Region) -> np.ndarray:
        """Return what of a mask lies in a part of the scene.

        Parameters
        ----------
        index : int
            The object's id less one.
        part : Region
            In pixels of level 0.

        Returns
        -------
        ndarray
            bool, of the part's shape.
        """
        level, box = int(self.levels[index]), self.boxes[index]
        result = np.zeros(part.shape, bool)
        shared = Region(*box.tolist()) & part
        if shared.area:
            rows = (np.arange(shared.row0, shared.row1) - int(box[0])) >> level
            cols = (np.arange(shared.col0, shared.col1) - int(box[1])) >> level
            there = shared.within(part)
            result[there.rows, there.cols] = self.mask(index)[np.ix_(rows, cols)]
        return result

    def parents(self) -> np.ndarray:
        """Return the id of the smallest object that each lies in; 0 where there is none.

        An object lies in another one, which is larger, if that covers nine tenths of it.
        """
        found = np.zeros(len(self), np.int64)
        best = np.full(len(self), np.iinfo(np.int64).max)
        # The first row of a nested object lies between those of its parent, or just above.
        order = np.argsort(self.boxes[:, 0], kind="stable")
        tops = self.boxes[order, 0]
        for outer in np.argsort(self.areas, kind="stable").tolist():
            row0, col0, row1, col1 = self.boxes[outer].tolist()
            slack = row1 - row0
            start, stop = np.searchsorted(tops, [row0 - slack, row1])
            inner = order[start:stop]
            boxes = self.boxes[inner]
            shared = np.minimum(boxes[:, 2:], (row1, col1)) - np.maximum(boxes[:, :2], (row0, col0))
            most = shared.clip(min=0).prod(1)
            areas = self.areas[inner]
            may = (areas < self.areas[outer]) & (most >= INSIDE * areas)
            may &= self.areas[outer] < best[inner]
            for index in inner[may].tolist():
                if self._common(index, outer) >= INSIDE * self.areas[index]:
                    found[index], best[index] = outer + 1, self.areas[outer]
        return found

    def _common(self, one: int, other: int) -> int:
        fine, coarse = sorted((one, other), key=lambda index: int(self.levels[index]))
        return common_area(
            self.mask(fine),
            self.boxes[fine],
            int(self.levels[fine]),
            self.mask(coarse),
            self.boxes[coarse],
            int(self.levels[coarse]),
        )
