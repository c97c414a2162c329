"""Slides as scanners write them, made with tifffile."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image


def tissue(rows: int, cols: int, seed: int = 1) -> np.ndarray:
    """Smooth colours, which JPEG keeps nearly as they are."""
    down = np.linspace(0, 3, rows)[:, None, None]
    across = np.linspace(0, 5, cols)[None, :, None]
    waves = 128 + 60 * np.sin(down + seed) + 60 * np.cos(across * np.array([1.0, 0.7, 0.4]))
    return waves.clip(0, 255).astype(np.uint8)


def write_svs(
    path: Path,
    full: np.ndarray,
    *,
    compression: str | int = "jpeg",
    factors: Sequence[int] = (4, 16),
    mpp: float | None = 0.2527,
) -> None:
    """Write a slide of Aperio's: full resolution, a thumbnail, levels, the label, the macro."""
    rows, cols = full.shape[:2]
    about = "Aperio Image Library v12.0.15\r\n{}x{} (256x256) JPEG/RGB Q=70|AppMag = 40"
    known = about.format(cols, rows) + (f"|MPP = {mpp}" if mpp is not None else "")
    tiled = {"photometric": "rgb", "tile": (256, 256), "compression": compression}
    if compression == "jpeg":
        tiled["compressionargs"] = {"level": 95}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(full, description=known, metadata=None, subfiletype=0, **tiled)  # type: ignore[arg-type]
        small = full[:: rows // 64, :: rows // 64]
        writer.write(small, description=known, metadata=None, photometric="rgb", rowsperstrip=16)
        for factor in factors:
            level = full[: rows // factor * factor : factor, : cols // factor * factor : factor]
            writer.write(level, description=known, metadata=None, subfiletype=0, **tiled)  # type: ignore[arg-type]
        for kind, name in ((1, "label"), (9, "macro")):
            said = f"Aperio Image Library v12.0.15\r\n{name} 100x90"
            picture = np.full((90, 100, 3), 255, np.uint8)
            writer.write(
                picture, description=said, metadata=None, photometric="rgb", subfiletype=kind
            )


def write_scn(path: Path, scans: Sequence[np.ndarray], nanometers: int = 500) -> None:
    """Write a slide of Leica's: a picture of all of it, and scans with a level of a quarter."""
    whole = np.zeros((40, 30, 3), np.uint8)
    images, pages, number = [_scn_image("macro", (0, 0, 3_000_000, 4_000_000), [(0, whole)])], [], 1
    for scan, full in enumerate(scans):
        levels = [full, full[::4, ::4]]
        sides = full.shape[1] * nanometers, full.shape[0] * nanometers
        listed = [(number + place, level) for place, level in enumerate(levels)]
        images.append(_scn_image(f"scan {scan}", (1000, 1000, *sides), listed))
        pages += levels
        number += len(levels)
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="slide" sizeX="3000000" sizeY="4000000">{"".join(images)}</collection>'
        "</scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for place, page in enumerate([whole, *pages]):
            writer.write(
                page,
                description=xml if place == 0 else None,
                metadata=None,
                photometric="rgb",
                tile=(64, 64),
                compression="zlib",
            )


def _scn_image(
    name: str, view: tuple[int, int, int, int], levels: Sequence[tuple[int, np.ndarray]]
) -> str:
    dimensions = "".join(
        f'<dimension sizeX="{level.shape[1]}" sizeY="{level.shape[0]}" r="{r}" ifd="{page}"/>'
        for r, (page, level) in enumerate(levels)
    )
    left, top, width, height = view
    return (
        f'<image name="{name}"><pixels sizeX="{levels[0][1].shape[1]}" '
        f'sizeY="{levels[0][1].shape[0]}">{dimensions}</pixels>'
        f'<view sizeX="{width}" sizeY="{height}" offsetX="{left}" offsetY="{top}"/></image>'
    )


def write_ndpi(path: Path, full: np.ndarray, nanometers: int = 250, levels: int = 2) -> None:
    """Write a slide of Hamamatsu's: each level one strip of JPEG, marked where one may start."""
    pages = [(full[:: 2**level, :: 2**level], 40.0 / 2**level) for level in range(levels)]
    pages.append((np.full((64, 128, 3), 200, np.uint8), -1.0))  # the macro
    content = bytearray(struct.pack("<2sHQ", b"II", 42, 0))
    pointer = 4
    for pixels, magnification in pages:
        entries = _ndpi_entries(content, pixels, magnification, nanometers)
        content[pointer : pointer + 8] = struct.pack("<Q", len(content))
        content += struct.pack("<H", len(entries))
        for code, kind, count, value in sorted(entries):
            content += struct.pack("<HHI", code, kind, count) + value.ljust(4, b"\0")
        pointer = len(content)
        content += bytes(8 + 4 * len(entries))  # no further page; the high halves of values
    path.write_bytes(content)


def _ndpi_entries(
    content: bytearray, pixels: np.ndarray, magnification: float, nanometers: int
) -> list[tuple[int, int, int, bytes]]:
    """Append what a page points to, and return its tags."""

    def put(data: bytes) -> bytes:
        content.extend(bytes(-len(content) % 8))
        place = struct.pack("<I", len(content))
        content.extend(data)
        return place

    rows, cols = pixels.shape[:2]
    stream = io.BytesIO()
    # An interval of 8 blocks of 8 x 8 pixels.
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, subsampling=0, restart_marker_blocks=8)
    jpeg = stream.getvalue()
    scan = jpeg.index(b"\xff\xda")
    starts = [scan + 2 + int.from_bytes(jpeg[scan + 2 : scan + 4], "big")]
    marks = re.finditer(rb"\xff[\xd0-\xd7]", jpeg[starts[0] :])
    starts += [starts[0] + mark.end() for mark in marks]
    strip = put(jpeg)
    step = round(1e7 / nanometers * abs(magnification) / 40)  # pixels per centimeter
    bits = put(struct.pack("<3H", 8, 8, 8))
    resolution = put(struct.pack("<II", step, 1))
    listed = put(struct.pack(f"<{len(starts)}I", *starts))
    make = put(b"Hamamatsu\0")
    entries = [
        (256, 4, 1, struct.pack("<I", cols)),
        (257, 4, 1, struct.pack("<I", rows)),
        (258, 3, 3, bits),
        (259, 3, 1, struct.pack("<H", 7)),
        (262, 3, 1, struct.pack("<H", 6)),
        (271, 2, 10, make),
        (273, 4, 1, strip),
        (277, 3, 1, struct.pack("<H", 3)),
        (278, 4, 1, struct.pack("<I", rows)),
        (279, 4, 1, struct.pack("<I", len(jpeg))),
        (282, 5, 1, resolution),
        (283, 5, 1, resolution),
        (296, 3, 1, struct.pack("<H", 3)),
        (65420, 4, 1, struct.pack("<I", 1)),
        (65421, 11, 1, struct.pack("<f", magnification)),
    ]
    return [*entries, (65426, 4, len(starts), listed)] if len(starts) > 1 else entries


def write_philips(path: Path, full: np.ndarray, millimeters: tuple[float, float]) -> None:
    """Write a slide of Philips': levels halved, each told with the distance of its pixels."""
    rows, cols = millimeters
    spacings = "".join(
        '<DataObject ObjectType="PixelDataRepresentation"><Attribute Name="DICOM_PIXEL_SPACING">'
        f"&quot;{rows * step}&quot; &quot;{cols * step}&quot;</Attribute></DataObject>"
        for step in (1, 2)
    )
    xml = (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">'
        f"<Attribute><Array>{spacings}</Array></Attribute></DataObject>"
    )
    with tifffile.TiffWriter(path) as writer:
        for step in (1, 2):
            writer.write(
                full[::step, ::step],
                tile=(128, 128),
                photometric="rgb",
                description=xml if step == 1 else None,
                software="Philips DP v1.0",
                metadata=None,
            )
        writer.write(full[:32, :32], description="Macro", photometric="rgb", metadata=None)
