"""The values of a volume in one piece of a file, packed or not, read where they are indexed."""

import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.medical.rescaling import rescaled
from napari_sam.scenes.sources import LazyFile

__all__ = ["StoredValues", "lazily"]

_IN_MEMORY = 256 << 20
"""Bytes up to which packed values are kept in memory; longer ones in a temporary file."""

_AT_ONCE = 64 << 10
"""Packed bytes that are read at a time: they become 1032 times as many, at most."""

_BEST_DEFLATION = 1032


@dataclass(frozen=True)
class StoredValues:
    """Where values are, and how they are meant.

    Parameters
    ----------
    path : Path
        The file.
    offset : int
        Where they begin in it, or what is packed does.
    skip : int
        What is left out of what is unpacked.
    packed : bool
        With deflate: zlib's or gzip's.
    dtype : dtype
        As stored.
    stored : tuple of int
        The length of each axis, the last one runs fastest.
    order : tuple of int
        How the axes are turned.
    slope, intercept : float
        From stored values to real ones.
    to : dtype
        Of these.
    """

    path: Path
    offset: int
    skip: int
    packed: bool
    dtype: np.dtype
    stored: tuple[int, ...]
    order: tuple[int, ...]
    slope: float
    intercept: float
    to: np.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis, as it is indexed."""
        return tuple(self.stored[axis] for axis in self.order)

    @property
    def size(self) -> int:
        """Bytes that they take."""
        return int(np.prod([float(n) for n in self.stored])) * self.dtype.itemsize


def lazily(values: StoredValues) -> LazyFile:
    """Return an array whose file is opened when it is first read.

    Raises
    ------
    InputError
        If the file is too short for them: found before room is made for what it says.
    """
    there = values.path.stat().st_size - values.offset
    wanted = values.skip + values.size
    if wanted > there * (_BEST_DEFLATION if values.packed else 1):
        raise _cut_off(values.path)
    return LazyFile(_Open, values, shape=values.shape, dtype=values.to)


class _Open:
    """Values that are read; what is packed is unpacked once. Several threads may read."""

    def __init__(self, values: StoredValues) -> None:
        self._values = values
        self._lock = threading.Lock()
        self._array: np.ndarray | None = None
        self._file: IO[bytes] | None = None  # as long as it is open it is there

    def __getitem__(self, selection: Any) -> np.ndarray:
        with self._lock:
            if self._array is None:
                flat = self._flat()
                self._array = flat.reshape(self._values.stored).transpose(self._values.order)
        values = self._values
        part = np.asarray(self._array[selection])
        return rescaled(part, values.slope, values.intercept, values.to)

    def _flat(self) -> np.ndarray:
        values = self._values
        count = values.size // values.dtype.itemsize
        if not values.packed:
            start = values.offset + values.skip
            return np.memmap(values.path, values.dtype, "r", start, (count,))
        if values.size <= _IN_MEMORY:
            room = bytearray()
            _unpack(values, room.extend)
            return np.frombuffer(room, values.dtype)
        self._file = tempfile.TemporaryFile(prefix="napari-sam-")  # noqa: SIM115
        _unpack(values, self._file.write)
        self._file.flush()
        return np.memmap(self._file, values.dtype, "r", 0, (count,))


def _unpack(values: StoredValues, write: Callable[[bytes], Any]) -> None:
    """Write the values, and no more than there are said to be."""
    skip, left = values.skip, values.size
    try:
        for block in unpacked(values.path, values.offset):
            part = block[min(skip, len(block)) :][:left]
            skip -= min(skip, len(block))
            write(part)
            left -= len(part)
            if not left:
                return
    except zlib.error as error:
        raise _cut_off(values.path) from error
    except OSError as error:
        raise InputError(
            f"{values.path} cannot be unpacked ({error.strerror or error}): make room in "
            f"{tempfile.gettempdir()}, or unpack it yourself."
        ) from error
    raise _cut_off(values.path)


def unpacked(path: Path, offset: int = 0) -> Iterator[bytes]:
    """Unpack a file from some place on, piece by piece; several streams follow each other.

    Raises
    ------
    zlib.error
        If it is damaged; where it is cut off, it ends.
    """
    with path.open("rb") as file:
        file.seek(offset)
        stream, rest = zlib.decompressobj(47), b""
        while block := rest or file.read(_AT_ONCE):
            yield stream.decompress(block)
            rest = stream.unused_data
            if stream.eof:
                stream = zlib.decompressobj(47)
                if rest[:2] != b"\x1f\x8b":  # what follows is none of it
                    return


def _cut_off(path: Path) -> InputError:
    return InputError(f"{path} is shorter than its header says: it is damaged or was cut off.")
