"""Arrays that are computed or read when they are indexed."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Lazy"]


@dataclass(frozen=True, eq=False)
class Lazy:
    """An array of which only what is asked for is made.

    Parameters
    ----------
    shape : tuple of int
        The length of each axis.
    dtype : dtype
        Of what `window` gives.
    window : callable
        Takes a slice with start and stop for each axis, and returns that part.

    Examples
    --------
    >>> rows = Lazy((4, 5), np.dtype(int), lambda part: np.mgrid[part][0])
    >>> rows[2], int(rows[-1, 0]), np.asarray(rows)[:, 0]
    (array([2, 2, 2, 2, 2]), 3, array([0, 1, 2, 3]))
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    window: Callable[[tuple[slice, ...]], np.ndarray]

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many values it has."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, selection: Any) -> Any:
        """Make a part: by integers and slices, and an Ellipsis."""
        given = selection if isinstance(selection, tuple) else (selection,)
        if any(part is Ellipsis for part in given):
            place = next(n for n, part in enumerate(given) if part is Ellipsis)
            missing = self.ndim - len(given) + 1
            given = (*given[:place], *(slice(None),) * missing, *given[place + 1 :])
        given = (*given, *(slice(None),) * (self.ndim - len(given)))
        if len(given) != self.ndim:
            raise IndexError(f"{len(given)} indices for an array of {self.ndim} axes")
        parts: list[slice] = []
        after: list[Any] = []
        for part, length in zip(given, self.shape, strict=True):
            if isinstance(part, slice):
                numbers = range(length)[part]
                ends = sorted((numbers[0], numbers[-1])) if numbers else (0, -1)
                parts.append(slice(ends[0], ends[1] + 1))
                after.append(slice(None, None, part.step))
            else:
                number = range(length)[operator.index(part)]
                parts.append(slice(number, number + 1))
                after.append(0)
        if any(part.start == part.stop for part in parts):
            block = np.empty([part.stop - part.start for part in parts], self.dtype)
        else:
            block = self.window(tuple(parts))
        return block[tuple(after)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Make all of it."""
        return np.asarray(self[...], dtype)
