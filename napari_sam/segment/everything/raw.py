"""The raw candidates of a tile: masks with what is known of them, in bytes that are checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .packing import pack, unpack

__all__ = ["CUT_BOTTOM", "CUT_LEFT", "CUT_RIGHT", "CUT_TOP", "RawCandidates"]

CUT_TOP, CUT_LEFT, CUT_BOTTOM, CUT_RIGHT = 1, 2, 4, 8


@dataclass(frozen=True, eq=False)
class RawCandidates:
    """The masks that were found in a tile; all arrays have one entry for each.

    Pixels are those of the tile's level, counted from the scene's corner.

    Parameters
    ----------
    boxes : (n, 4) ndarray
        int32, (row0, col0, row1, col1), the ends exclusive.
    first_cols : (n,) ndarray
        int32, the column of the first pixel of the first row.
    areas : (n,) ndarray
        int64, pixels.
    centroids : (n, 2) ndarray
        float64, (row, col).
    predicted_ious, stabilities : (n,) ndarray
        float32.
    points : (n, 2) ndarray
        float32, the click, (row, col) in pixels of level 0.
    cuts : (n,) ndarray
        uint8, the sides of the tile's window at which the mask is cut off: a sum of `CUT_TOP`, ...
    counts, starts : ndarray
        uint32 run lengths of all masks, each within its box and column by column as COCO has
        them; int64 of shape (n + 1,), where each mask's begin.

    Examples
    --------
    >>> mask = np.array([[False, True], [True, True]])
    >>> raw = RawCandidates.of([(mask, (10, 20), 0.9, 0.8, (11.0, 21.0), CUT_LEFT)])
    >>> raw.boxes, raw.first_cols, raw.areas
    (array([[10, 20, 12, 22]], dtype=int32), array([21], dtype=int32), array([3]))
    >>> RawCandidates.from_bytes(raw.to_bytes()).mask(0)
    array([[False,  True],
           [ True,  True]])
    """

    boxes: np.ndarray
    first_cols: np.ndarray
    areas: np.ndarray
    centroids: np.ndarray
    predicted_ious: np.ndarray
    stabilities: np.ndarray
    points: np.ndarray
    cuts: np.ndarray
    counts: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.areas)

    @classmethod
    def of(
        cls,
        masks: Sequence[tuple[np.ndarray, tuple[int, int], float, float, tuple[float, float], int]],
    ) -> RawCandidates:
        """Put masks together.

        Parameters
        ----------
        masks : sequence
            For each: bool (row, col), cut to its bounding box; row and column of its corner;
            predicted IoU; stability; the click; the sides at which it is cut off.
        """
        from src_model.rle import mask_to_rle

        runs = [np.array(mask_to_rle(mask)["counts"], np.uint32) for mask, *_ in masks]
        boxes, firsts, centroids = [], [], []
        for mask, (row, col), *_ in masks:
            boxes.append((row, col, row + mask.shape[0], col + mask.shape[1]))
            firsts.append(col + int(mask[0].argmax()))
            down, across = mask.sum(1), mask.sum(0)
            area = down.sum()
            centroids.append(
                (
                    row + float(down @ np.arange(len(down)) / area),
                    col + float(across @ np.arange(len(across)) / area),
                )
            )
        return cls(
            boxes=np.array(boxes, np.int32).reshape(-1, 4),
            first_cols=np.array(firsts, np.int32),
            areas=np.array([np.count_nonzero(mask) for mask, *_ in masks], np.int64),
            centroids=np.array(centroids, np.float64).reshape(-1, 2),
            predicted_ious=np.array([mask[2] for mask in masks], np.float32),
            stabilities=np.array([mask[3] for mask in masks], np.float32),
            points=np.array([mask[4] for mask in masks], np.float32).reshape(-1, 2),
            cuts=np.array([mask[5] for mask in masks], np.uint8),
            counts=np.concatenate([np.zeros(0, np.uint32), *runs]),
            starts=np.cumsum([0, *map(len, runs)], dtype=np.int64),
        )

    def mask(self, index: int) -> np.ndarray:
        """Return a mask within its box: bool (row, col)."""
        counts = self.counts[self.starts[index] : self.starts[index + 1]]
        row0, col0, row1, col1 = self.boxes[index].tolist()
        inside = np.arange(len(counts)) % 2 == 1
        return np.repeat(inside, counts).reshape(col1 - col0, row1 - row0).T

    def to_bytes(self) -> bytes:
        """Return all of it, compressed, with a checksum."""
        return pack(vars(self))

    @classmethod
    def from_bytes(cls, content: bytes) -> RawCandidates:
        """Read what `to_bytes` gave.

        Raises
        ------
        Damaged
            If it is something else.
        """
        return cls(**unpack(content))

    def without_masks(self) -> RawCandidates:
        """Return the same without run lengths, which take the most memory."""
        return replace(self, counts=self.counts[:0].copy(), starts=self.starts[:0].copy())
