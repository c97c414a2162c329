"""Slides as scanners write them, made with tifffile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile


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
