"""Embeddings in 16 bits: float16 as numpy has it, bfloat16 as its bit patterns in uint16."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HalfType", "absent", "as_float32", "rounded", "rounding_error", "stored_dtype", "widen"]

HalfType = Literal["float16", "bfloat16"]

_SMALLEST_NORMAL = 2.0**-14  # of float16; below it the steps no longer shrink with the value
_BFLOAT16_NAN = 0x7FC0
_AT_ONCE = 1 << 15


def stored_dtype(dtype: HalfType) -> np.dtype:
    """Return the numpy dtype that holds one: numpy has no bfloat16, so that its bits are kept."""
    return np.dtype(np.float16 if dtype == "float16" else np.uint16)


def absent(dtype: HalfType) -> float | int:
    """Return what is found where nothing was written: NaN, which no embedding contains."""
    return float("nan") if dtype == "float16" else _BFLOAT16_NAN


def as_float32(embedding: np.ndarray | Tensor) -> np.ndarray:
    """Bring an array or a tensor, on any device, to float32 numpy; torch need not be imported."""
    given: Any = embedding
    if hasattr(given, "detach"):
        given = given.detach().float().cpu().numpy()
    with np.errstate(over="ignore"):  # what becomes infinite is refused later
        return np.asarray(given, np.float32)


def rounded(values: np.ndarray, dtype: HalfType) -> np.ndarray:
    """Round to the nearest number of 16 bits, to even where two are as near.

    Parameters
    ----------
    values : ndarray
        float32. What is too large becomes infinite.
    dtype : {"float16", "bfloat16"}
        Which kind.

    Returns
    -------
    ndarray
        Of the same shape: float16, or for bfloat16 uint16 with its bits.

    Examples
    --------
    >>> bits = rounded(np.float32([1.0, 1.01, -2.0]), "bfloat16")
    >>> [hex(value) for value in bits]
    ['0x3f80', '0x3f81', '0xc000']
    >>> widen(bits, "bfloat16")
    array([ 1.       ,  1.0078125, -2.       ], dtype=float32)
    """
    if dtype == "float16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16)
    bits = np.ascontiguousarray(values).view(np.uint32)
    # bfloat16 is the upper half of float32: add just under half a step, a little more if odd.
    halves = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(_BFLOAT16_NAN), halves)


def widen(bits: np.ndarray, dtype: HalfType) -> np.ndarray:
    """Return what `rounded` gave as float32, exactly."""
    if dtype == "float16":
        return bits.astype(np.float32)
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rounding_error(values: np.ndarray, bits: np.ndarray, dtype: HalfType) -> float:
    """Return the largest relative error of rounded values.

    Relative to each value itself, or to 2**-14 where that is larger. Rounding to float16 stays
    below 2**-11, to bfloat16 below 2**-8, whatever the embedding.

    Parameters
    ----------
    values : ndarray
        float32.
    bits : ndarray
        What `rounded` made of them.
    dtype : {"float16", "bfloat16"}
        Which kind.

    Returns
    -------
    float
        Infinite or NaN if some value is, before rounding or after.

    Examples
    --------
    >>> values = np.float32([1.0, 3.003])
    >>> rounding_error(values, rounded(values, "float16"), "float16") < 2**-11
    True
    >>> rounding_error(values, rounded(values * 1e5, "float16"), "float16")
    inf
    """
    largest = np.float32(0)
    # Parts that stay in a core's cache: the encoder runs meanwhile, and what this takes is its.
    # And in the order of memory: networks may give the channels innermost.
    order = np.argsort(values.strides)[::-1]
    values, bits = values.transpose(order).reshape(-1), bits.transpose(order).reshape(-1)
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(values), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            error = widen(bits[part], dtype)
            error -= values[part]
            np.abs(error, out=error)
            size = np.abs(values[part])
            error /= np.maximum(size, np.float32(_SMALLEST_NORMAL), out=size)
            largest = np.maximum(largest, error.max())  # NaN stays
    return float(largest)
