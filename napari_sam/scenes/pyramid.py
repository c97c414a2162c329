"""Coarser resolutions of an image, computed for the window asked and nothing else."""

from collections.abc import Callable
from typing import Literal

import numpy as np

__all__ = ["Emptiness", "Reader", "coarser", "emptiness", "halved", "is_valid"]

Emptiness = Literal["no data", "constant"]
"""Why nothing is to be seen in a window."""

Reader = Callable[[slice, slice], np.ndarray]
"""Reads a window (rows, cols) of the finer resolution, shape (row, col, channel)."""

_PIXELS_AT_ONCE = 1 << 21
"""Fine pixels that are read before they are averaged: bounds the memory at any distance."""

_SUM_TYPES = {"b1": "u2", "u1": "u2", "i1": "i2", "u2": "u4", "i2": "i4", "u4": "u8", "i4": "i8"}
"""In which four of a kind are added without loss; others in float64."""


def halved(shape: tuple[int, int], times: int) -> tuple[int, int]:
    """Return the shape of a coarser level: halved `times` times, odd sizes upwards.

    Examples
    --------
    >>> halved((501, 1), 1), halved((501, 1), 2)
    ((251, 1), (126, 1))
    """
    return -(-shape[0] >> times), -(-shape[1] >> times)


def is_valid(block: np.ndarray, nodata: float | None) -> np.ndarray:
    """Tell which samples are data.

    Parameters
    ----------
    block : ndarray
        Shape (..., channel).
    nodata : float or None
        A pixel is none where all its channels have this value: a single channel of a bright
        pixel may well be 255.

    Returns
    -------
    ndarray of bool
        The shape of `block`. NaN is never data.

    Examples
    --------
    >>> is_valid(np.array([[0.0, 0.0], [0.0, 1.0], [np.nan, 1.0]]), 0)
    array([[False, False],
           [ True,  True],
           [False,  True]])
    """
    valid = ~np.isnan(block) if block.dtype.kind == "f" else np.ones(block.shape, bool)
    if nodata is not None and not np.isnan(nodata):
        # In the image's own type: float32 files tell nodata with more digits than they store.
        value = block.dtype.type(nodata)
        # Channel by channel: numpy is slow along a short last axis.
        differs = [block[..., channel] != value for channel in range(block.shape[-1])]
        valid &= np.logical_or.reduce(differs)[..., np.newaxis]
    return valid


def emptiness(block: np.ndarray, nodata: float | None) -> Emptiness | None:
    """Tell why nothing is to be seen in a window; None if something is.

    Parameters
    ----------
    block : ndarray
        Shape (row, col, channel).
    nodata : float or None
        See `is_valid`.

    Examples
    --------
    >>> emptiness(np.full((2, 2, 1), 7), None), emptiness(np.zeros((2, 2, 1)), 0)
    ('constant', 'no data')
    >>> emptiness(np.arange(4).reshape(2, 2, 1), 0) is None
    True
    """
    if not is_valid(block, nodata).any():
        return "no data"
    return "constant" if bool((block == block[:1, :1]).all()) else None


def coarser(
    read: Reader,
    shape: tuple[int, int],
    rows: slice,
    cols: slice,
    times: int,
    nodata: float | None,
) -> np.ndarray:
    """Average pixels, four to one, and that as often as asked.

    Each pixel of a level is the mean of the valid ones of the (at most) four that lie below it in
    the next finer level, rounded to their dtype. It depends on nothing else, so that windows fit
    together whatever their borders, and a level that was kept serves as well as the finest one.

    Parameters
    ----------
    read : callable
        Reads fine pixels.
    shape : tuple of int
        Fine rows and columns there are.
    rows, cols : slice
        The window, in coarse pixels.
    times : int
        How many levels coarser, 1 or more.
    nodata : float or None
        See `is_valid`.

    Returns
    -------
    ndarray
        Shape (row, col, channel), in the dtype that `read` gives; integers are rounded to
        nearest, halves to even. Where nothing is valid: `nodata`, NaN if that is None.

    Examples
    --------
    >>> fine = np.array([[1.0, 3.0, 5.0], [1.0, np.nan, 7.0]])[..., None]
    >>> window = slice(0, 1), slice(0, 2)
    >>> coarser(lambda rows, cols: fine[rows, cols], (2, 3), *window, 1, None)[..., 0]
    array([[1.66666667, 6.        ]])
    """
    height, width = rows.stop - rows.start, cols.stop - cols.start
    if (height * width) << 2 * times <= _PIXELS_AT_ONCE:
        block = read(_below(rows, times, shape[0]), _below(cols, times, shape[1]))
        for _ in range(times):
            block = _halve(block, nodata)
        return block
    if height == width == 1:
        finer = halved(shape, times - 1)
        four = _below(rows, 1, finer[0]), _below(cols, 1, finer[1])
        return _halve(coarser(read, shape, *four, times - 1, nodata), nodata)
    axis = 0 if height >= width else 1
    window = (rows, cols)[axis]
    # Powers of two, so that the pieces coincide with the chunks of most files.
    middle = window.start + (1 << (window.stop - window.start - 1).bit_length() - 1)
    halves = slice(window.start, middle), slice(middle, window.stop)
    parts = [
        coarser(read, shape, *((part, cols) if axis == 0 else (rows, part)), times, nodata)
        for part in halves
    ]
    return np.concatenate(parts, axis)


def _below(window: slice, times: int, size: int) -> slice:
    """Return the fine rows or columns, of which there are `size`, below coarse ones."""
    return slice(window.start << times, min(window.stop << times, size))


def _halve(block: np.ndarray, nodata: float | None) -> np.ndarray:
    """Average squares of 2 x 2; an odd last row or column counts twice, which leaves the mean."""
    dtype = block.dtype
    sum_type = np.dtype(_SUM_TYPES.get(f"{dtype.kind}{dtype.itemsize}", "f8"))
    valid = is_valid(block, nodata) if nodata is not None or dtype.kind == "f" else None
    if valid is not None and not valid.all():
        counts = _square_sums(valid, np.dtype(np.uint8))
        sums = _square_sums(np.where(valid, block, dtype.type(0)), sum_type)
        with np.errstate(invalid="ignore", divide="ignore"):  # infinities; squares without data
            means = _as(sums / counts, dtype)
        if nodata is not None:
            means[counts == 0] = dtype.type(nodata)
        return means
    with np.errstate(invalid="ignore"):
        sums = _square_sums(block, sum_type)
    if sum_type.kind == "f":
        return _as(sums / 4, dtype)
    # Halves to even, without the way through floating point, which takes five times as long.
    sums += (sums >> 2 & 1) + sums.dtype.type(1)
    result: np.ndarray = (sums >> 2).astype(dtype)
    return result


def _as(means: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Round means to a type; NaN to 0 if it has none."""
    if dtype.kind == "f":
        return means.astype(dtype)
    means = np.rint(means)
    means[np.isnan(means)] = 0
    if dtype.kind in "iu":
        low, high = float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
        if high > np.iinfo(dtype).max:  # 2**64 - 1 is no float64
            high = float(np.nextafter(high, 0))
        means = np.clip(means, low, high)
    result: np.ndarray = means.astype(dtype)
    return result


def _square_sums(block: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Add up squares of 2 x 2, an odd last row or column twice; shape (row, col, channel)."""
    rows, cols, channels = block.shape
    added = np.empty((-(-rows // 2), cols, channels), dtype)
    np.add(block[0 : rows - 1 : 2], block[1::2], out=added[: rows // 2], dtype=dtype)
    if rows % 2:
        np.add(block[-1:], block[-1:], out=added[-1:], dtype=dtype)
    result = np.empty((added.shape[0], -(-cols // 2), channels), dtype)
    # Channel by channel: numpy is five times slower with an innermost axis of three.
    for channel in range(channels):
        line, out = added[..., channel], result[..., channel]
        np.add(line[:, 0 : cols - 1 : 2], line[:, 1::2], out=out[:, : cols // 2])
        if cols % 2:
            np.add(line[:, -1:], line[:, -1:], out=out[:, -1:])
    return result
