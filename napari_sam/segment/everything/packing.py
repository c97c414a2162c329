"""Arrays as bytes that are compressed and checked."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping

import numpy as np
import xxhash

__all__ = ["Damaged", "pack", "unpack"]

_MAGIC = b"napari-sam arrays 1\n"
_DIGEST = 8


class Damaged(Exception):
    """What was read is not what was written."""


def pack(arrays: Mapping[str, np.ndarray], about: bytes = b"") -> bytes:
    """Return arrays as bytes: magic, checksum, and compressed a line of JSON and their values.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Of numbers.
    about : bytes
        What they belong to; they are only read with the same.

    Examples
    --------
    >>> content = pack({"areas": np.array([3, 5])}, b"these")
    >>> unpack(content, b"these")
    {'areas': array([3, 5])}
    >>> unpack(content, b"others")
    Traceback (most recent call last):
        ...
    napari_sam.segment.everything.packing.Damaged
    """
    little = {name: a.astype(a.dtype.newbyteorder("<"), copy=False) for name, a in arrays.items()}
    head = json.dumps([(name, a.dtype.str, a.shape) for name, a in little.items()]).encode()
    packed = zlib.compress(b"\n".join([head, b"".join(a.tobytes() for a in little.values())]), 4)
    return _MAGIC + xxhash.xxh3_64_digest(about + packed) + packed


def unpack(content: bytes, about: bytes = b"") -> dict[str, np.ndarray]:
    """Return the arrays that `pack` packed; they cannot be written to.

    Raises
    ------
    Damaged
        If it is something else.
    """
    start = len(_MAGIC) + _DIGEST
    digest, packed = content[len(_MAGIC) : start], content[start:]
    if not content.startswith(_MAGIC) or xxhash.xxh3_64_digest(about + packed) != digest:
        raise Damaged
    head, values = zlib.decompress(packed).split(b"\n", 1)
    arrays, place = {}, 0
    for name, kind, shape in json.loads(head):
        count = math.prod(shape)
        found = np.frombuffer(values, np.dtype(kind), count, place).reshape(shape)
        arrays[name] = found.astype(found.dtype.newbyteorder("="), copy=False)
        place += found.nbytes
    return arrays
