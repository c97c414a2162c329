"""TIFF in all its kinds (BigTIFF, COG, OME, ImageJ), read tile by tile."""

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_sam.errors import InputError
from napari_sam.files.chunks import check_chunk
from napari_sam.files.images import damage_told
from napari_sam.files.microscopy.parts import choose_part
from napari_sam.scenes.georeference import Georeference, crs_text, from_geotiff
from napari_sam.scenes.sources import LazyFile, PixelSize, Source, colour_names
from napari_sam.scenes.tiff_images import channel_names, image_size, images_in
from napari_sam.scenes.world_files import read_world_file

__all__ = ["open_tiff", "size_on_the_ground", "tiff_georeference"]

_PHOTOMETRIC = tifffile.PHOTOMETRIC


def open_tiff(path: Path, part: str | None = None) -> Source | None:
    """Open an image of a TIFF with its pyramid: the first series, or the one that is asked for.

    Parameters
    ----------
    path : Path
        A TIFF file.
    part : str or None
        One of several images, as `tiff_images.tiff_parts` names them.

    Returns
    -------
    Source or None
        Only tags are read. None for pixels that need a conversion of colours for which a
        picture is read whole: palettes, CMYK, inverted grey, and YCbCr other than JPEG's.

    Raises
    ------
    InputError
        If the file is damaged or has no image, or several of which none is chosen.
    """
    with damage_told(path), tifffile.TiffFile(path) as tiff:
        if not tiff.series:
            raise InputError(f"{path} is damaged or not a picture (no page in it).")
        images = images_in(tiff)
        chosen = images[choose_part(part, tuple(images), path, "images")]
        series = tiff.series[chosen]
        page = series.keyframe if chosen else tiff.pages.first
        if _needs_conversion(page):
            return None
        for level in series.levels:
            if level.dataoffset is None:
                check_chunk(level.keyframe.chunks, np.dtype(level.dtype), str(path))
        levels = [
            _lazy(path, chosen, number, level)
            for number, level in enumerate(series.levels)
            if level.axes == series.axes
        ]
        if len(levels) == 1:
            levels += _overviews_beside(path, series)
        georeference = _georeference(path, tiff)
        size, depth = image_size(tiff, chosen)
        axes = series.axes
        names = channel_names(tiff, chosen) or _described_bands(tiff)
        if not names and "C" not in axes and axes[-3:] == "YXS":
            names = colour_names(series.shape[-1])
            if page.extrasamples == (0,) and len(names) % 2 == 0:
                # A last sample that is no transparency, such as infrared.
                names = (*names[:-1], "3") if len(names) == 4 else ()
        return Source(
            str(path),
            tuple(levels),
            axes,
            names,
            size or size_on_the_ground(georeference),
            georeference,
            _nodata(page),
            _masks(path, tiff, levels, series.axes),
            _alpha(series, page),
            depth,
        )


def tiff_georeference(path: Path) -> Georeference | None:
    """Read where a TIFF lies that `open_tiff` leaves to others.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    with damage_told(path), tifffile.TiffFile(path) as tiff:
        return _georeference(path, tiff)


def size_on_the_ground(georeference: Georeference | None) -> PixelSize | None:
    """Return the sides of a pixel on the map; None where its unit is unknown."""
    if georeference is None or georeference.unit is None:
        return None
    a, b, _, d, e, _ = georeference.affine
    return _positive(float(np.hypot(b, e)), float(np.hypot(a, d)), georeference.unit)


def _georeference(path: Path, tiff: tifffile.TiffFile) -> Georeference | None:
    """Read where the image lies: from its tags, else from a world file."""
    found = from_geotiff(tiff.geotiff_metadata or {}) if tiff.is_geotiff else None
    if found is None:
        return read_world_file(path)
    if found.crs is None or found.crs.startswith("EPSG:") or found.crs.endswith("]"):
        return found
    return replace(found, crs=_wkt(path) or found.crs)


def _wkt(path: Path) -> str | None:
    """Have a system that has no code put together from its parts, if GDAL is there."""
    try:
        import rasterio
    except ImportError:
        return None
    try:
        with rasterio.open(path, driver="GTiff") as dataset:
            crs = dataset.crs
            if crs is None or not (crs.is_projected or crs.is_geographic):
                return None  # a grid of somebody's own is no place on Earth
            return crs_text(crs)
    except rasterio.errors.RasterioError:
        return None  # a TIFF that only tifffile can read, or parts that make no system


def _described_bands(tiff: tifffile.TiffFile) -> tuple[str, ...]:
    """Read what GDAL calls the bands, if it has a name for each."""
    tag = tiff.pages.first.tags.get("GDAL_METADATA")
    text = "" if tag is None else str(tag.value)
    items = re.findall(r'<Item name="DESCRIPTION" sample="(\d+)"[^>]*>([^<]+)</Item>', text)
    # GDAL escapes them twice.
    names = {int(number): html.unescape(html.unescape(name)) for number, name in items}
    return tuple(names[number] for number in sorted(names))


def _overviews_beside(path: Path, series: Any) -> list[LazyFile]:
    """Return the coarser levels that GDAL keeps in a file of their own."""
    beside = path.with_name(f"{path.name}.ovr")
    if not beside.is_file():
        return []
    with damage_told(beside), tifffile.TiffFile(beside) as tiff:
        found = []
        for number, one in enumerate(tiff.series):
            for coarse, level in enumerate(one.levels):
                if one.keyframe.is_mask or level.dtype != series.dtype:
                    continue
                lazy = _lazy(beside, number, coarse, level)
                if level.axes == series.axes:
                    found.append(lazy)
                elif (level.axes, series.axes) == ("SYX", "YXS"):  # GDAL may part the samples here
                    found.append(_SamplesLast.of(lazy))
        return found


class _SamplesLast:
    """An array (S, Y, X) as (Y, X, S).

    Parameters
    ----------
    array : LazyFile
        Opened when it is read.
    """

    def __init__(self, array: LazyFile) -> None:
        self._array = array

    @classmethod
    def of(cls, array: LazyFile) -> LazyFile:
        """Wrap an array so that it is still opened when it is first read."""
        samples, rows, cols = array.shape
        return LazyFile(cls, array, shape=(rows, cols, samples), dtype=array.dtype)

    def __getitem__(self, selection: tuple[slice, slice, slice]) -> np.ndarray:
        rows, cols, samples = selection
        return np.moveaxis(np.asarray(self._array[samples, rows, cols]), 0, -1)


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
        tifffile.COMPRESSION.APERIO_JP2000_YCBC,  # whose decoder gives red, green and blue
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


def _positive(rows: float, cols: float, unit: str) -> PixelSize | None:
    usable = 0 < rows < np.inf and 0 < cols < np.inf
    return PixelSize(rows, cols, unit) if usable else None
