"""The blocks of pixels in a CZI file: where they lie, and their pixels.

Every number of the file is checked before it is used: a damaged file is told in a sentence.

References
----------
.. [1] ZEISS, ZISRAW (CZI) File Format, Design Specification
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from napari_sam.errors import InputError

__all__ = ["CziBlock", "decode", "map_bytes", "read_blocks", "read_metadata"]

_SEGMENT = 32
"""Bytes in front of each segment: its kind and two sizes."""

_PIXEL_TYPES = MappingProxyType(
    {
        0: ("u1", 1),
        1: ("<u2", 1),
        2: ("<f4", 1),
        3: ("u1", 3),
        4: ("<u2", 3),
        8: ("<f4", 3),
        9: ("u1", 4),
        12: ("<i4", 1),
    }
)
"""Type of a sample and samples of a pixel; colours are stored blue first."""

_RAW, _JPEG, _JPEG_XR, _ZSTD, _ZSTD_HEADED = 0, 1, 4, 5, 6

_LARGEST = 1 << 31
"""Bytes of a block's pixels that are believed."""


@dataclass(frozen=True, eq=False)
class CziBlock:
    """A rectangle of pixels of one plane and channel.

    Parameters
    ----------
    start, size : mapping of str to int
        For each dimension (``"X"``, ``"Y"``, ``"C"``, ``"M"``, ...), in pixels of full resolution.
    stored : (int, int)
        Rows and columns that are stored; fewer than `size` in coarser levels.
    dtype : dtype
        Of a sample.
    samples : int
        Of a pixel: 1, 3 or 4.
    compression : int
        CZI's number of it.
    position : int
        Of its segment in the file.
    """

    start: MappingProxyType[str, int]
    size: MappingProxyType[str, int]
    stored: tuple[int, int]
    dtype: np.dtype
    samples: int
    compression: int
    position: int


def map_bytes(path: Path) -> np.ndarray:
    """Return a file as bytes that are read when they are looked at.

    Raises
    ------
    InputError
        If it is missing, empty or not readable.
    """
    try:
        mapped: np.ndarray = np.memmap(path, np.uint8, "r")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.") from None
    except ValueError as error:
        raise InputError(f"{path} is empty (0 bytes).") from error
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}.") from error
    return mapped


def read_blocks(content: np.ndarray, path: Path) -> tuple[CziBlock, ...]:
    """Read the directory of a CZI file.

    Parameters
    ----------
    content : ndarray
        As `map_bytes` gives it.
    path : Path
        What messages call it.

    Raises
    ------
    InputError
        If it is no CZI, damaged, or its pixels are of a kind that is not read.
    """
    file_part, directory, _ = _header(content, path)
    if file_part != 0:
        raise InputError(f"{path} is a later part of a CZI of several files: give the first.")
    start, used = _segment(content, directory, b"ZISRAWDIRECTORY", path)
    if used < 128:
        raise _damaged(path, "its directory is cut off")
    (count,) = struct.unpack("<i", _bytes(content, start, 4, path))
    place, end = start + 128, min(start + used, len(content))
    blocks = []
    for _ in range(max(count, 0)):
        block, place = _entry(content, place, end, path)
        blocks.append(block)
    if not blocks:
        raise InputError(f"{path} holds no image.")
    return tuple(blocks)


def read_metadata(content: np.ndarray, path: Path) -> bytes:
    """Return the XML of a CZI file; nothing where there is none.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    _, _, position = _header(content, path)
    if position <= 0:
        return b""
    start, _ = _segment(content, position, b"ZISRAWMETADATA", path)
    (size,) = struct.unpack_from("<i", _bytes(content, start, 4, path))
    return _bytes(content, start + 256, max(size, 0), path)


def decode(content: np.ndarray, block: CziBlock, path: Path) -> np.ndarray:
    """Return a block's pixels.

    Returns
    -------
    ndarray
        Shape (row, col, sample), red first; a view into the file where it is not compressed.

    Raises
    ------
    InputError
        If they are damaged or compressed in a way that is not read.
    """
    import imagecodecs

    start, _ = _segment(content, block.position, b"ZISRAWSUBBLOCK", path)
    about, _, size = struct.unpack("<iiq", _bytes(content, start, 16, path))
    (dimensions,) = struct.unpack("<i", _bytes(content, start + 16 + 28, 4, path))
    # Metadata, pixels and attachment follow the entry, or 256 bytes where that is short.
    first = start + max(256, 16 + 32 + 20 * dimensions) + about
    if min(about, size, dimensions) < 0 or first + size > len(content):
        raise _damaged(path, "a block lies beyond its end")
    data = content[first : first + size]
    packed = b"" if block.compression == _RAW else bytes(data)
    shape = (*block.stored, block.samples)
    expected = int(np.prod(shape, dtype=np.int64)) * block.dtype.itemsize
    if block.compression == _RAW:
        if size < expected:
            raise _damaged(path, "a block is cut off")
        pixels = data[:expected].view(block.dtype)
    elif block.compression == _JPEG:
        pixels = imagecodecs.jpeg8_decode(packed)
    elif block.compression == _JPEG_XR:
        pixels = imagecodecs.jpegxr_decode(packed)
    elif block.compression in (_ZSTD, _ZSTD_HEADED):
        pixels = _unpacked(packed, block, expected, path)
    else:
        raise InputError(
            f"{path} is compressed in a way that is not read (number {block.compression}): export "
            "it from ZEN without compression, or with JPEG XR or zstd."
        )
    if pixels.size != expected // block.dtype.itemsize or pixels.dtype != block.dtype:
        raise _damaged(path, "a block has another size or type than its directory says")
    pixels = pixels.reshape(shape)
    # JPEG XR tells the order of its colours, and its decoder gives red first.
    if block.samples == 1 or block.compression == _JPEG_XR:
        return pixels
    return pixels[..., [2, 1, 0, *range(3, block.samples)]]


def _unpacked(data: bytes, block: CziBlock, expected: int, path: Path) -> np.ndarray:
    """Expand zstd; with a header, the low bytes of 16-bit samples may all stand before the high."""
    import imagecodecs

    split = False
    if block.compression == _ZSTD_HEADED:
        length = data[0] if data else 0
        if length not in (1, 3) or len(data) < length:
            raise _damaged(path, "a block has an unknown header")
        split = length == 3 and data[1] == 1 and bool(data[2] & 1)
        data = data[length:]
    try:
        raw = np.frombuffer(imagecodecs.zstd_decode(data, out=expected), np.uint8)
    except imagecodecs.ZstdError as error:
        raise _damaged(path, "a block cannot be expanded") from error
    if raw.size != expected:
        raise _damaged(path, "a block is cut off")
    if split:
        raw = np.ascontiguousarray(raw.reshape(2, -1).T).reshape(-1)
    return raw.view(block.dtype)


def _header(content: np.ndarray, path: Path) -> tuple[int, int, int]:
    """Return the number of the file, and where directory and metadata lie."""
    if bytes(content[:10]) != b"ZISRAWFILE":
        raise InputError(f"{path} is damaged or not a CZI file.")
    values = struct.unpack("<iiii16s16siqq", _bytes(content, _SEGMENT, 68, path))
    return values[6], values[7], values[8]


def _segment(content: np.ndarray, position: int, kind: bytes, path: Path) -> tuple[int, int]:
    """Return where the data of a segment begin, and how many are used."""
    name, _, used = struct.unpack("<16sqq", _bytes(content, position, _SEGMENT, path))
    if name.rstrip(b"\0") != kind:
        raise _damaged(path, f"there is no {kind.decode()} where one should be")
    return position + _SEGMENT, used


def _entry(content: np.ndarray, place: int, end: int, path: Path) -> tuple[CziBlock, int]:
    """Read an entry of the directory; return it and where the next begins."""
    if place + 32 > end:
        raise _damaged(path, "its directory is cut off")
    schema, kind, position, _, compression, _, count = struct.unpack(
        "<2siqii6si", bytes(content[place : place + 32])
    )
    place += 32
    if schema != b"DV" or not 0 <= count <= 40 or place + 20 * count > end:
        raise _damaged(path, "its directory makes no sense")
    start, size, stored = {}, {}, {}
    for _ in range(count):
        name, first, length, _, kept = struct.unpack("<4siifi", bytes(content[place : place + 20]))
        dimension = name.rstrip(b"\0").decode("ascii", "replace")
        start[dimension], size[dimension] = first, length
        stored[dimension] = kept or length
        place += 20
    if kind not in _PIXEL_TYPES:
        raise InputError(f"{path} holds pixels of a type that is not read (CZI's number {kind}).")
    dtype, samples = np.dtype(_PIXEL_TYPES[kind][0]), _PIXEL_TYPES[kind][1]
    rows, cols = stored.get("Y", 0), stored.get("X", 0)
    if not (0 < rows <= size.get("Y", 0) and 0 < cols <= size.get("X", 0)):
        raise _damaged(path, "a block has no rows or columns")
    if rows * cols * samples * dtype.itemsize > _LARGEST:
        raise _damaged(path, "a block claims to have more than 2 GiB")
    sides = MappingProxyType(start), MappingProxyType(size)
    return CziBlock(*sides, (rows, cols), dtype, samples, compression, position), place


def _bytes(content: np.ndarray, start: int, count: int, path: Path) -> bytes:
    if start < 0 or start + count > len(content):
        raise _damaged(path, "it is cut off")
    return bytes(content[start : start + count])


def _damaged(path: Path, how: str) -> InputError:
    return InputError(f"{path} is a damaged CZI file: {how}.")
