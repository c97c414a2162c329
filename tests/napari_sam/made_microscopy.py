"""Files of microscopes, made by hand from what is published of their formats."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

CZI_RAW, CZI_JPEG_XR, CZI_ZSTD, CZI_ZSTD_HEADED = 0, 4, 5, 6


def write_czi(
    path: Path,
    tiles: Sequence[tuple[dict[str, int], np.ndarray]],
    *,
    compression: int = CZI_RAW,
    zoom: Sequence[int] | None = None,
    xml: str = "",
) -> None:
    """Write blocks of pixels, (row, col) or (row, col, 3), at places such as {"X": 0, "C": 1}."""
    content = bytearray(32 + 512)
    entries = []
    for number, (place, pixels) in enumerate(tiles):
        factor = 1 if zoom is None else zoom[number]
        rows, cols = pixels.shape[:2]
        entry = _czi_entry(place, pixels, len(content), compression, factor, (rows, cols))
        entries.append(entry)
        data = _czi_pixels(pixels, compression)
        body = struct.pack("<iiq", 0, 0, len(data)) + entry
        body += bytes(max(0, 256 - len(body))) + data
        content += _czi_segment(b"ZISRAWSUBBLOCK", body)
    directory = len(content)
    body = struct.pack("<i", len(entries)) + bytes(124) + b"".join(entries)
    content += _czi_segment(b"ZISRAWDIRECTORY", body)
    metadata = len(content)
    text = xml.encode()
    content += _czi_segment(b"ZISRAWMETADATA", struct.pack("<ii", len(text), 0) + bytes(248) + text)
    about = struct.pack("<iiii16s16siqqiq", 1, 0, 0, 0, b"", b"", 0, directory, metadata, 0, 0)
    content[: 32 + 512] = _czi_segment(b"ZISRAWFILE", about.ljust(512, b"\0"))
    path.write_bytes(content)


def czi_xml(
    channels: Sequence[str] = (), scenes: Sequence[str] = (), meters: dict[str, float] | None = None
) -> str:
    listed = "".join(f'<Channel Id="Channel:{n}" Name="{c}"/>' for n, c in enumerate(channels))
    named = "".join(f'<Scene Index="{n}" Name="{name}"/>' for n, name in enumerate(scenes))
    steps = "".join(
        f'<Distance Id="{axis}"><Value>{value!r}</Value></Distance>'
        for axis, value in (meters or {}).items()
    )
    return (
        "<ImageDocument><Metadata><Information><Image><Dimensions>"
        f"<Channels>{listed}</Channels><S><Scenes>{named}</Scenes></S>"
        "</Dimensions></Image></Information>"
        f"<Scaling><Items>{steps}</Items></Scaling></Metadata></ImageDocument>"
    )


def _czi_segment(kind: bytes, body: bytes) -> bytes:
    return struct.pack("<16sqq", kind, len(body), len(body)) + body


def _czi_entry(
    place: dict[str, int],
    pixels: np.ndarray,
    position: int,
    compression: int,
    factor: int,
    stored: tuple[int, int],
) -> bytes:
    kinds: dict[tuple[Any, int], int] = {("u1", 2): 0, ("u2", 2): 1, ("f4", 2): 2, ("u1", 3): 3}
    kind = kinds[(pixels.dtype.str[1:], pixels.ndim)]
    sides = {"X": stored[1], "Y": stored[0]}
    dimensions = b""
    for axis, start in {"X": 0, "Y": 0, **place}.items():
        kept = sides.get(axis, 1)
        size = kept * factor if axis in sides else 1
        dimensions += struct.pack("<4siifi", axis.encode(), start, size, 0.0, kept)
    count = len({"X": 0, "Y": 0, **place})
    pyramid = bytes([int(factor > 1) * 2]) + bytes(5)
    return struct.pack("<2siqii6si", b"DV", kind, position, 0, compression, pyramid, count) + (
        dimensions
    )


def _czi_pixels(pixels: np.ndarray, compression: int) -> bytes:
    if compression == CZI_JPEG_XR:
        return bytes(imagecodecs.jpegxr_encode(pixels, level=1.0))
    stored = pixels if pixels.ndim == 2 else pixels[..., ::-1]
    raw = np.ascontiguousarray(stored).tobytes()
    if compression == CZI_ZSTD:
        return bytes(imagecodecs.zstd_encode(raw))
    if compression == CZI_ZSTD_HEADED:
        split = np.frombuffer(raw, np.uint8).reshape(-1, 2).T.tobytes()
        return bytes([3, 1, 1]) + bytes(imagecodecs.zstd_encode(split))
    return raw
