"""The objects of one slice as labels: small, checked, and the same whatever their order was."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from napari_sam.segment.everything.packing import pack, unpack

__all__ = ["Kept", "Slice"]


@dataclass(frozen=True, eq=False)
class Slice:
    """What was found in one slice: objects that do not overlap.

    Parameters
    ----------
    labels : (row, col) ndarray
        uint32, 0 where there is no object, else 1 to n in the order of the objects' first pixels.
    predicted_ious : (n,) ndarray
        float32.

    Examples
    --------
    >>> found = Slice.of(np.array([[0, 9, 9], [4, 4, 9]]), {9: 0.5, 4: 0.75})
    >>> found.labels
    array([[0, 1, 1],
           [2, 2, 1]], dtype=uint32)
    >>> found.predicted_ious
    array([0.5 , 0.75], dtype=float32)
    >>> Slice.of(np.array([[10**9, 0, 5]])).labels
    array([[1, 0, 2]], dtype=uint32)
    """

    labels: np.ndarray
    predicted_ious: np.ndarray

    def __len__(self) -> int:
        return len(self.predicted_ious)

    @classmethod
    def of(cls, labels: np.ndarray, predicted_ious: dict[int, float] | None = None) -> Slice:
        """Make one of a label image; objects are numbered anew, so that numbers do not matter.

        Parameters
        ----------
        labels : (row, col) ndarray
            Whole numbers.
        predicted_ious : dict, optional
            For each number; 1 where nothing is told.
        """
        known = {} if predicted_ious is None else predicted_ious
        flat = labels.ravel()
        most = int(flat.max(initial=0))
        if most > 2 * flat.size:  # far apart: tables would be larger than the slice
            numbers, flat = np.unique(flat, return_inverse=True)
        else:
            numbers = np.arange(most + 1)
        firsts = np.full(len(numbers), flat.size)
        firsts[flat[::-1]] = np.arange(flat.size)[::-1]  # the last one written stays
        there = np.flatnonzero((firsts < flat.size) & (numbers > 0))
        order = there[np.argsort(firsts[there])]
        new = np.zeros(len(numbers), np.uint32)
        new[order] = np.arange(1, len(order) + 1)
        ious = [known.get(number, 1.0) for number in numbers[order].tolist()]
        return cls(new[flat].reshape(labels.shape), np.array(ious, np.float32))

    def areas(self) -> np.ndarray:
        """Return how many pixels each object has: (n,) int64."""
        return np.bincount(self.labels.ravel(), minlength=len(self) + 1)[1:]

    def centroids(self) -> np.ndarray:
        """Return the middle of each object: (n, 2) float64, (row, col)."""
        flat, count, (rows, cols) = self.labels.ravel(), len(self) + 1, self.labels.shape
        down = np.bincount(flat, np.repeat(np.arange(rows), cols), count)
        across = np.bincount(flat, np.tile(np.arange(cols), rows), count)
        return np.stack([down, across], axis=1)[1:] / np.maximum(self.areas(), 1)[:, None]

    def to_bytes(self, about: bytes) -> bytes:
        """Return it compressed; `about` says of what it is."""
        return pack({"labels": self.labels, "predicted_ious": self.predicted_ious}, about)

    @classmethod
    def from_bytes(cls, content: bytes, about: bytes) -> Slice:
        """Read what `to_bytes` gave.

        Raises
        ------
        Damaged
            If it is something else, or of something else.
        """
        return cls(**unpack(content, about))


class Kept:
    """Slices that are read when they are asked for, of which the last few stay in memory.

    Parameters
    ----------
    read : callable
        Takes the number of a slice and returns it.
    count : int
        How many there are.
    most : int
        That stay.
    """

    def __init__(self, read: Callable[[int], Slice], count: int, most: int = 8) -> None:
        self._read, self._count, self._most = read, count, most
        self._there: OrderedDict[int, Slice] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Slice:
        if not 0 <= number < self._count:
            raise IndexError(number)
        if number not in self._there:
            self._there[number] = self._read(number)
            while len(self._there) > self._most:
                self._there.popitem(last=False)
        self._there.move_to_end(number)
        return self._there[number]
