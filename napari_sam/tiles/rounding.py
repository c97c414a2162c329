"""Embeddings in 16 bits: float16 as numpy has it, bfloat16 as its bit patterns in uint16."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HalfType", "absent", "as_float32", "rounded", "stored_dtype", "widen"]

HalfType = Literal["float16", "bfloat16"]

_SMALLEST_NORMAL = 2.0**-14  # of float16; below it the steps no longer shrink with the value
_BFLOAT16_NAN = 0x7FC0
_AT_ONCE = 32_000


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


def rounded(values: np.ndarray, dtype: HalfType) -> tuple[np.ndarray, float]:
    """Round to the nearest number of 16 bits, to even where two are as near.

    Parameters
    ----------
    values : ndarray
        float32. What is too large becomes infinite.
    dtype : {"float16", "bfloat16"}
        Which kind.

    Returns
    -------
    bits : ndarray
        Of the same shape: float16, or for bfloat16 uint16 with its bits.
    error : float
        The largest relative error: relative to each value itself, or to 2**-14 where that is
        larger. Rounding to float16 stays below 2**-11, to bfloat16 below 2**-8, whatever the
        values. Infinite or NaN if some value is, before rounding or after.

    Examples
    --------
    >>> bits, error = rounded(np.float32([1.0, 1.01, -2.0]), "bfloat16")
    >>> [hex(value) for value in bits], error < 2**-8
    (['0x3f80', '0x3f81', '0xc000'], True)
    >>> widen(bits, "bfloat16")
    array([ 1.       ,  1.0078125, -2.       ], dtype=float32)
    >>> rounded(np.float32([1.0, 1e5]), "float16")[1]
    inf
    """
    import torch  # which converts six times as fast as numpy

    whole = torch.from_numpy(np.require(values, requirements=("C", "W"))).flatten()
    halves = torch.empty(whole.shape, dtype=getattr(torch, dtype))
    largest = torch.zeros(())
    # Parts that stay in a core's cache, and are too small for torch to share them among threads:
    # the encoder runs meanwhile, and what this takes is its.
    for part, half in zip(whole.split(_AT_ONCE), halves.split(_AT_ONCE), strict=True):
        half.copy_(part)
        error = half.float().sub_(part).abs_()
        error = error.div_(part.abs().clamp_(min=_SMALLEST_NORMAL)).max()
        largest = torch.maximum(largest, error)  # NaN stays
    bits = halves.view(torch.int16).numpy().view(stored_dtype(dtype))
    return bits.reshape(values.shape), float(largest)


def widen(bits: np.ndarray, dtype: HalfType) -> np.ndarray:
    """Return what `rounded` gave as float32, exactly."""
    if dtype == "float16":
        return bits.astype(np.float32)
    return (bits.astype(np.uint32) << 16).view(np.float32)
