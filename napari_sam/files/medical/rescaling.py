"""Stored values -> real ones, in the smallest type that holds them all."""

from collections.abc import Iterable

import numpy as np

__all__ = ["rescaled", "rescaled_type"]

_INTEGERS = (np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32)


def rescaled_type(
    stored: np.dtype, low: int, high: int, scales: Iterable[tuple[float, float]]
) -> np.dtype:
    """Choose the type of rescaled values.

    Parameters
    ----------
    stored : dtype
        Of the values as they are stored.
    low, high : int
        The smallest and the largest of them, for integers.
    scales : iterable of (float, float)
        Slope and intercept, each that occurs.

    Returns
    -------
    dtype
        `stored`, where nothing is rescaled; an integer type, where all slopes and intercepts are
        whole numbers, and one holds all values; else float32, or float64 for longer values.

    Examples
    --------
    >>> rescaled_type(np.dtype("u2"), 0, 4095, [(1.0, -1024.0)])
    dtype('int16')
    >>> rescaled_type(np.dtype("u2"), 0, 65535, [(0.25, 0.0), (0.5, 0.0)])
    dtype('float32')
    """
    given = set(scales)
    if given <= {(1.0, 0.0)}:
        return stored
    if stored.kind in "iu" and all(s.is_integer() and i.is_integer() for s, i in given):
        ends = [slope * value + inter for slope, inter in given for value in (low, high)]
        for kind in _INTEGERS:
            limits = np.iinfo(kind)
            if limits.min <= min(ends) and max(ends) <= limits.max:
                return np.dtype(kind)
    long = stored.itemsize > 4 or (stored.kind in "iu" and stored.itemsize > 2)
    return np.dtype(np.float64 if long else np.float32)


def rescaled(values: np.ndarray, slope: float, intercept: float, dtype: np.dtype) -> np.ndarray:
    """Return ``slope * values + intercept`` in a type of `rescaled_type`.

    Examples
    --------
    >>> rescaled(np.array([0, 1000, 4095], np.uint16), 1, -1024, np.dtype(np.int16))
    array([-1024,   -24,  3071], dtype=int16)
    >>> rescaled(np.array([60000, 65535], np.uint16), 1, -60000, np.dtype(np.int16))
    array([   0, 5535], dtype=int16)
    """
    if (slope, intercept) == (1.0, 0.0):
        return values.astype(dtype, copy=False)
    if dtype.kind in "iu":
        # Whatever overflows on the way comes back: whole numbers wrap round, and the sum fits.
        whole = values.astype(dtype)
        if slope != 1:
            whole *= np.array(int(slope)).astype(dtype)
        whole += np.array(int(intercept)).astype(dtype)
        return whole
    return (values.astype(np.float64) * slope + intercept).astype(dtype)
