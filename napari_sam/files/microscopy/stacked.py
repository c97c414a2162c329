"""An array over a file that gives one window of one plane at a time."""

import functools
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from napari_sam.errors import InputError

__all__ = ["StackedPlanes", "whole_planes"]

_KEPT, _KEPT_BYTES = 8, 1 << 28
"""Planes that are kept, as neighbouring windows share them; one at least."""

_MOST = 1 << 36
"""Bytes of one answer: no machine has more, and a damaged file may claim to."""

ReadWindow = Callable[[tuple[int, ...], slice, slice], np.ndarray]
"""Takes the place along the axes in front, rows and columns; gives (row, col) or with samples."""


class StackedPlanes:
    """Planes of a file as one array, indexed with an integer or a slice for each axis.

    Parameters
    ----------
    axes : str
        Any of T, C and Z, then ``YX`` or ``YXS``.
    shape : tuple of int
        For each axis.
    dtype : dtype
        Of a sample.
    read : callable
        Reads a window.

    Examples
    --------
    >>> planes = np.arange(24).reshape(2, 3, 4)
    >>> def read(place, rows, cols):
    ...     return planes[place][rows, cols]
    >>> stack = StackedPlanes("ZYX", (2, 3, 4), planes.dtype, read)
    >>> stack[1, 0:2, 3]
    array([15, 19])
    """

    def __init__(
        self, axes: str, shape: tuple[int, ...], dtype: np.dtype, read: ReadWindow
    ) -> None:
        self.axes, self.shape, self.dtype, self._read = axes, shape, dtype, read

    def __getitem__(self, selection: Any) -> np.ndarray:
        """Read a part.

        Raises
        ------
        InputError
            If the file is damaged there.
        """
        windows: list[slice] = []
        kept: list[slice | int] = []
        for chosen, length in zip(selection, self.shape, strict=True):
            if isinstance(chosen, slice):
                start, stop, step = chosen.indices(length)
                if step != 1:
                    raise IndexError("slices with steps are not read")
                windows.append(slice(start, max(start, stop)))
                kept.append(slice(None))
            else:
                windows.append(slice(int(chosen), int(chosen) + 1))
                kept.append(0)
        lengths = tuple(window.stop - window.start for window in windows)
        if math.prod(lengths) * self.dtype.itemsize > _MOST:
            raise InputError(f"a part of {lengths} pixels is too large to be read at once")
        front = self.axes.index("Y")
        result = np.empty(lengths, self.dtype)
        for index in np.ndindex(*lengths[:front]):
            place = tuple(window.start + one for window, one in zip(windows, index, strict=False))
            pixels = self._read(place, windows[front], windows[front + 1])
            result[index] = pixels[..., windows[-1]] if self.axes.endswith("S") else pixels
        return result[tuple(kept)]


def whole_planes(
    axes: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    read: Callable[[tuple[int, ...]], np.ndarray],
) -> StackedPlanes:
    """Return an array over a file of which only whole planes can be read, one at a time.

    Parameters
    ----------
    axes, shape, dtype
        As for `StackedPlanes`.
    read : callable
        Takes the place along the axes in front; gives (row, col) or with samples.
    """
    plane = math.prod(shape[axes.index("Y") :]) * dtype.itemsize
    kept = functools.lru_cache(max(1, min(_KEPT, _KEPT_BYTES // max(plane, 1))))(read)
    lock = threading.Lock()

    def window(place: tuple[int, ...], rows: slice, cols: slice) -> np.ndarray:
        with lock:
            whole = kept(place)
        return whole[rows, cols]

    return StackedPlanes(axes, shape, dtype, window)
