"""Pieces of a file that can only be read whole must fit into memory."""

import math
from collections.abc import Sequence

import numpy as np
import psutil

from napari_sam.errors import InputError

__all__ = ["check_chunk"]


def check_chunk(shape: Sequence[int], dtype: np.dtype, name: str) -> None:
    """Refuse pieces that are larger than this machine's memory: of damaged files, or of others.

    Parameters
    ----------
    shape : sequence of int
        Of a tile, a strip or a chunk, which is decoded as a whole.
    dtype : dtype
        Of a sample.
    name : str
        What messages call the file.

    Raises
    ------
    InputError
        If it does not fit.

    Examples
    --------
    >>> check_chunk((512, 512, 3), np.dtype("u1"), "slide.svs")
    >>> check_chunk((1 << 30, 1 << 30), np.dtype("u2"), "odd.zarr")
    Traceback (most recent call last):
        ...
    napari_sam.errors.InputError: odd.zarr can only be read in pieces of 2147483648 GiB, more than \
this machine's memory: it is damaged, or has to be stored in smaller pieces.
    """
    size = math.prod(map(int, shape)) * dtype.itemsize
    if size > psutil.virtual_memory().total:
        raise InputError(
            f"{name} can only be read in pieces of {size >> 30} GiB, more than this machine's "
            "memory: it is damaged, or has to be stored in smaller pieces."
        )
