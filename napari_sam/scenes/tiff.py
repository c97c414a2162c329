"""TIFF in all its kinds (BigTIFF, COG, OME, ImageJ), read tile by tile."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_sam.errors import InputError
from napari_sam.files.images import damage_told
from napari_sam.scenes.georeference import Georeference, from_geotiff
from napari_sam.scenes.sources import LazyFile, PixelSize, Source, colour_names

__all__ = ["open_tiff"]

_PHOTOMETRIC = tifffile.PHOTOMETRIC


def open_tiff(path: Path) -> Source | None:
    """Open the first series of a TIFF with its pyramid.

    Parameters
    ----------
    path : Path
        A TIFF file.

    Returns
    -------
    Source or None
        Only tags are read. None for pixels that need a conversion of colours for which a
        picture is read whole: palettes, CMYK, inverted grey, and YCbCr other than JPEG's.

    Raises
    ------
    InputError
        If the file is damaged or has no image.
    """
    with damage_told(path), tifffile.TiffFile(path) as tiff:
        if not tiff.series:
            raise InputError(f"{path} is damaged or not a picture (no page in it).")
        series, page = tiff.series[0], tiff.pages.first
        if _needs_conversion(page):
            return None
        levels = [
            _lazy(path, 0, number, level)
            for number, level in enumerate(series.levels)
            if level.axes == series.axes
        ]
        georeference = from_geotiff(tiff.geotiff_metadata or {}) if tiff.is_geotiff else None
        ome = _ome_pixels(tiff)
        axes, names = series.axes, _channel_names(ome)
        if not names and "C" not in axes and axes[-3:] == "YXS":
            infrared = page.photometric == _PHOTOMETRIC.RGB and page.extrasamples == (0,)
            names = colour_names(series.shape[-1])
            if infrared and len(names) == 4:  # a fourth sample that is no transparency
                names = (*names[:3], "3")
        return Source(
            str(path),
            tuple(levels),
            axes,
            names,
            _pixel_size(tiff, ome, georeference),
            georeference,
            _nodata(page),
            _masks(path, tiff, levels, series.axes),
            _alpha(series, page),
        )


def _masks(
    path: Path, tiff: tifffile.TiffFile, levels: list[LazyFile], axes: str
) -> tuple[LazyFile | None, ...]:
    """Find the mask of each level, as GDAL keeps them: pages between those of the image."""
    found = {
        tuple(level.shape): _lazy(path, number, coarse, level)
        for number, series in enumerate(tiff.series)
        if series.keyframe.is_mask and series.axes == "YX"
        for coarse, level in enumerate(series.levels)
    }
    if not found or set(axes) - set("YXS"):
        return ()
    rows, cols = axes.index("Y"), axes.index("X")
    return tuple(found.get((level.shape[rows], level.shape[cols])) for level in levels)


def _alpha(series: Any, page: Any) -> int | None:
    """Return which sample is an alpha channel."""
    extra = tuple(page.extrasamples)
    if "S" not in series.axes or not extra:
        return None
    first = series.shape[series.axes.index("S")] - len(extra)
    kinds = tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA
    return next((first + number for number, kind in enumerate(extra) if kind in kinds), None)


def _lazy(path: Path, series: int, number: int, level: Any) -> LazyFile:
    dtype = np.dtype(level.dtype)
    return LazyFile(_open_level, path, series, number, shape=level.shape, dtype=dtype)


def _open_level(path: Path, number_of_series: int, number: int) -> Any:
    """Open one resolution as an array; the file stays open as long as it is in use."""
    import zarr

    tiff = tifffile.TiffFile(path)
    series = tiff.series[number_of_series]
    level = series.levels[number]
    if level.dataoffset is not None:
        # Not compressed and in one piece: such files may have one strip, which is the whole image.
        dtype = np.dtype(level.dtype).newbyteorder(tiff.byteorder)
        tiff.close()
        return np.memmap(path, dtype, "r", level.dataoffset, level.shape)
    return zarr.open_array(series.aszarr(level=number), mode="r")


def _needs_conversion(page: Any) -> bool:
    inverted = page.photometric == _PHOTOMETRIC.MINISWHITE
    subsampled = page.photometric == _PHOTOMETRIC.YCBCR and page.compression not in (
        tifffile.COMPRESSION.JPEG,
        tifffile.COMPRESSION.OJPEG,
    )
    return (
        inverted or subsampled or page.photometric in (_PHOTOMETRIC.PALETTE, _PHOTOMETRIC.SEPARATED)
    )


def _nodata(page: Any) -> float | None:
    """Read GDAL's tag, which holds a number as text."""
    tag = page.tags.get("GDAL_NODATA")
    try:
        return None if tag is None else float(str(tag.value).strip(" \0"))
    except ValueError:
        return None


def _ome_pixels(tiff: tifffile.TiffFile) -> dict[str, Any]:
    """Return OME's description of the first image's pixels; empty where there is none."""
    if not tiff.is_ome or tiff.ome_metadata is None:
        return {}
    described: Any = tifffile.xml2dict(tiff.ome_metadata)
    try:
        image = described["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    except (KeyError, IndexError, TypeError):
        return {}
    return pixels if isinstance(pixels, dict) else {}


def _channel_names(pixels: dict[str, Any]) -> tuple[str, ...]:
    channels = pixels.get("Channel", [])
    channels = channels if isinstance(channels, list) else [channels]
    names = [channel.get("Name") for channel in channels if isinstance(channel, dict)]
    return tuple(map(str, names)) if names and all(name is not None for name in names) else ()


def _pixel_size(
    tiff: tifffile.TiffFile, ome: dict[str, Any], georeference: Georeference | None
) -> PixelSize | None:
    """Take the size from OME, ImageJ or GeoTIFF.

    The resolution of other files is that of a print (72 dots per inch), and tells nothing.
    """
    try:
        if "PhysicalSizeX" in ome and "PhysicalSizeY" in ome:
            return _positive(
                float(ome["PhysicalSizeY"]),
                float(ome["PhysicalSizeX"]),
                str(ome.get("PhysicalSizeXUnit", "µm")),
            )
        unit = (tiff.imagej_metadata or {}).get("unit")
        if unit:
            tags = tiff.pages.first.tags
            across, down = tags["XResolution"].value, tags["YResolution"].value
            return _positive(down[1] / down[0], across[1] / across[0], str(unit))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if georeference is not None and georeference.unit is not None:
        a, b, _, d, e, _ = georeference.affine
        return _positive(float(np.hypot(b, e)), float(np.hypot(a, d)), georeference.unit)
    return None


def _positive(rows: float, cols: float, unit: str) -> PixelSize | None:
    usable = 0 < rows < np.inf and 0 < cols < np.inf
    return PixelSize(rows, cols, unit) if usable else None
