"""Coarser resolutions of an image, computed for the window asked and nothing else."""

from collections.abc import Callable
from typing import Literal

import numpy as np

__all__ = ["Emptiness", "Reader", "block_means", "emptiness", "halved", "is_valid"]

Emptiness = Literal["no data", "constant"]
"""Why nothing is to be seen in a window."""

Reader = Callable[[slice, slice], np.ndarray]
"""Reads a window (rows, cols) of the finer resolution, shape (row, col, channel)."""

_PIXELS_AT_ONCE = 1 << 21
"""Fine pixels that are read before they are summed: bounds the memory at any factor."""


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


def block_means(
    read: Reader,
    shape: tuple[int, int],
    rows: slice,
    cols: slice,
    factor: int,
    nodata: float | None,
) -> np.ndarray:
    """Average squares of pixels.

    Each result is the mean of the valid samples in a square of `factor` x `factor` fine pixels;
    squares at the bottom and right edge are cut off by it. It depends on nothing but these pixels,
    so windows fit together whatever their borders.

    Parameters
    ----------
    read : callable
        Reads fine pixels.
    shape : tuple of int
        Fine rows and columns there are.
    rows, cols : slice
        The window, in coarse pixels.
    factor : int
        A power of two.
    nodata : float or None
        See `is_valid`.

    Returns
    -------
    ndarray
        Shape (row, col, channel), in the dtype that `read` gives; integers are rounded to
        nearest, halves to even. Where a square holds no valid sample: `nodata`, NaN if that is
        None.

    Examples
    --------
    >>> fine = np.array([[1.0, 3.0, 5.0], [1.0, np.nan, 7.0]])[..., None]
    >>> window = slice(0, 1), slice(0, 2)
    >>> block_means(lambda rows, cols: fine[rows, cols], (2, 3), *window, 2, None)[..., 0]
    array([[1.66666667, 6.        ]])
    """
    with np.errstate(invalid="ignore", divide="ignore"):  # infinite values; squares without data
        sums, counts, dtype = _sums(read, shape, rows, cols, factor, nodata)
        means = sums / counts
    if dtype.kind != "f":
        # uint64 and int64 keep 53 bits; the mean of a constant square may round beyond the type.
        info = np.iinfo(np.uint8) if dtype.kind == "b" else np.iinfo(dtype)
        means = np.rint(means)
        means[np.isnan(means)] = 0
        result: np.ndarray = _clip_to_int(means, info).astype(dtype)
    else:
        result = means.astype(dtype)
    if nodata is not None:
        result[counts == 0] = dtype.type(nodata)
    return result


def _clip_to_int(means: np.ndarray, info: np.iinfo) -> np.ndarray:
    low, high = float(info.min), float(info.max)
    if high > info.max:  # 2**64 - 1 is no float64
        high = float(np.nextafter(high, 0))
    clipped: np.ndarray = np.clip(means, low, high)
    return clipped


def _sums(
    read: Reader,
    shape: tuple[int, int],
    rows: slice,
    cols: slice,
    factor: int,
    nodata: float | None,
) -> tuple[np.ndarray, np.ndarray, np.dtype]:
    """Return the sum (float64) and number of valid samples in each square, and the dtype.

    A window that is too large at once is split; a single square, into its four quarters.
    """
    height, width = rows.stop - rows.start, cols.stop - cols.start
    if height * width * factor**2 > _PIXELS_AT_ONCE and (height > 1 or width > 1):
        axis = 0 if height >= width else 1
        window = (rows, cols)[axis]
        # Powers of two, so that the pieces coincide with the chunks of most files.
        middle = window.start + (1 << (window.stop - window.start - 1).bit_length() - 1)
        halves = slice(window.start, middle), slice(middle, window.stop)
        parts = [
            _sums(read, shape, *((part, cols) if axis == 0 else (rows, part)), factor, nodata)
            for part in halves
        ]
        sums, counts = (np.concatenate([part[i] for part in parts], axis) for i in (0, 1))
        return sums, counts, parts[0][2]
    if factor**2 > _PIXELS_AT_ONCE:
        half = factor // 2
        finer = halved(shape, half.bit_length() - 1)
        quarters = (
            slice(2 * rows.start, min(2 * rows.start + 2, finer[0])),
            slice(2 * cols.start, min(2 * cols.start + 2, finer[1])),
        )
        sums, counts, dtype = _sums(read, shape, *quarters, half, nodata)
        return sums.sum((0, 1), keepdims=True), counts.sum((0, 1), keepdims=True), dtype
    block = read(
        slice(rows.start * factor, min(rows.stop * factor, shape[0])),
        slice(cols.start * factor, min(cols.stop * factor, shape[1])),
    )
    small = block.dtype.itemsize <= 2 and block.dtype.kind in "bui" and factor <= 256
    signed = block.dtype.kind == "i"
    total = np.dtype((np.int32 if signed else np.uint32) if small else np.float64)
    valid = is_valid(block, nodata) if nodata is not None or block.dtype.kind == "f" else None
    if valid is None or valid.all():
        counts = np.multiply.outer(*(_lengths(size, factor) for size in block.shape[:2]))
        counts = np.broadcast_to(counts[..., np.newaxis], (*counts.shape, block.shape[2]))
    else:
        block = np.where(valid, block, block.dtype.type(0))
        counts = _square_sums(valid, factor, np.dtype(np.uint32))
    return _square_sums(block, factor, total).astype(np.float64), counts, block.dtype


def _square_sums(block: np.ndarray, factor: int, dtype: np.dtype) -> np.ndarray:
    """Add up squares of `factor` x `factor`, smaller ones at the end; shape (row, col, channel)."""
    while factor > 1:
        block, factor = _pair_sums(block, dtype), factor // 2
    return block


def _pair_sums(block: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Add 2 x 2 neighbours; an odd last row or column stands alone."""
    rows, cols, channels = block.shape
    added = np.empty((-(-rows // 2), cols, channels), dtype)
    np.add(block[0 : rows - 1 : 2], block[1::2], out=added[: rows // 2], dtype=dtype)
    added[rows // 2 :] = block[rows - rows % 2 :]
    result = np.empty((added.shape[0], -(-cols // 2), channels), dtype)
    # Channel by channel: numpy is five times slower with an innermost axis of three.
    for channel in range(channels):
        line, out = added[..., channel], result[..., channel]
        np.add(line[:, 0 : cols - 1 : 2], line[:, 1::2], out=out[:, : cols // 2])
        out[:, cols // 2 :] = line[:, cols - cols % 2 :]
    return result


def _lengths(size: int, factor: int) -> np.ndarray:
    """Return how many pixels lie along each square."""
    lengths = np.full(-(-size // factor), float(factor))
    lengths[-1] = size - factor * (len(lengths) - 1)
    return lengths
