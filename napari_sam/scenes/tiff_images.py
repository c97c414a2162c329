"""The images in a TIFF, and what its makers tell of them: names, channels, sizes."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_sam.files.images import damage_told
from napari_sam.files.microscopy.parts import unlike
from napari_sam.scenes.sources import PixelSize

__all__ = ["channel_names", "image_size", "images_in", "tiff_parts"]

_BESIDE = re.compile(r"\b(label|macro|thumbnail|overview)\b", re.IGNORECASE)
"""Names of pictures of the slide's label, of all of it, and of the like: not to be segmented."""

_SLIDES_FROM = 1000.0
"""Pixels per centimeter: a pyramid with more is of a microscope, and they are no print's."""

Size = tuple[PixelSize | None, float | None]


def tiff_parts(path: Path | str) -> tuple[str, ...]:
    """Name the images in a TIFF: those of OME-TIFF and of Leica's SCN; one of all others.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    with damage_told(Path(path)), tifffile.TiffFile(path) as tiff:
        return tuple(images_in(tiff))


def images_in(tiff: tifffile.TiffFile) -> dict[str, int]:
    """Return the numbers of series by name, without labels, macros and thumbnails of slides."""
    if tiff.series[0].kind not in ("ome", "scn"):
        return {"0": 0}
    names = unlike([series.name for series in tiff.series])
    macros = _scn_macros(tiff)
    images = {
        name: number
        for number, (name, series) in enumerate(zip(names, tiff.series, strict=True))
        if {"Y", "X"} <= set(series.axes) and not _BESIDE.search(name) and number not in macros
    }
    return images or {names[0]: 0}


def channel_names(tiff: tifffile.TiffFile, number: int) -> tuple[str, ...]:
    """Return the names that OME gives to the channels of an image; none where it gives none."""
    channels = _ome_pixels(tiff, number).get("Channel", [])
    channels = channels if isinstance(channels, list) else [channels]
    names = [channel.get("Name") for channel in channels if isinstance(channel, dict)]
    return tuple(map(str, names)) if names and all(name is not None for name in names) else ()


def image_size(tiff: tifffile.TiffFile, number: int) -> Size:
    """Return the size of a pixel and the distance between planes, None where nothing tells.

    OME, ImageJ and makers of slide scanners tell it. The resolution of other files is that of a
    print (72 dots per inch), and tells nothing.
    """
    try:
        ome = _ome_pixels(tiff, number)
        if "PhysicalSizeX" in ome and "PhysicalSizeY" in ome:
            return _ome_size(ome)
        if tiff.imagej_metadata and tiff.imagej_metadata.get("unit"):
            return _imagej_size(tiff)
        return _slide_size(tiff, number), None
    except (KeyError, TypeError, ValueError, ZeroDivisionError, ElementTree.ParseError):
        return None, None


def _ome_pixels(tiff: tifffile.TiffFile, number: int) -> dict[str, Any]:
    """Return OME's description of an image's pixels; empty where there is none."""
    if not tiff.is_ome or tiff.ome_metadata is None:
        return {}
    described: Any = tifffile.xml2dict(tiff.ome_metadata)
    try:
        image = described["OME"]["Image"]
        pixels = (image[number] if isinstance(image, list) else image)["Pixels"]
    except (KeyError, IndexError, TypeError):
        return {}
    return pixels if isinstance(pixels, dict) else {}


def _ome_size(ome: dict[str, Any]) -> Size:
    unit = str(ome.get("PhysicalSizeXUnit", "µm"))
    size = _positive(float(ome["PhysicalSizeY"]), float(ome["PhysicalSizeX"]), unit)
    depth = None
    if "PhysicalSizeZ" in ome and str(ome.get("PhysicalSizeZUnit", "µm")) == unit:
        depth = _step(float(ome["PhysicalSizeZ"]))
    return size, depth if size is not None else None


def _imagej_size(tiff: tifffile.TiffFile) -> Size:
    known: dict[str, Any] = tiff.imagej_metadata or {}
    tags = tiff.pages.first.tags
    across, down = tags["XResolution"].value, tags["YResolution"].value
    unit = str(known["unit"]).replace("\\u00B5", "µ")  # as ImageJ writes it
    size = _positive(down[1] / down[0], across[1] / across[0], unit)
    spacing = known.get("spacing")
    return size, None if size is None or spacing is None else _step(float(spacing))


def _slide_size(tiff: tifffile.TiffFile, number: int) -> PixelSize | None:
    """Read the size of a pixel as makers of slide scanners write it, in micrometers."""
    series = tiff.series[number]
    page = series.keyframe
    if series.kind == "svs":
        told = re.search(r"\bMPP\s*=\s*([0-9.eE+-]+)", page.description)
        return None if told is None else _micrometers(float(told[1]), float(told[1]))
    if series.kind == "scn":
        view = _scn_images(tiff)[number][0]
        shape = dict(zip(series.axes, series.shape, strict=True))
        rows, cols = int(view.get("sizeY", "")), int(view.get("sizeX", ""))  # nanometers
        return _micrometers(rows / shape["Y"] / 1e3, cols / shape["X"] / 1e3)
    if series.kind == "philips":
        told = re.search(
            r'"DICOM_PIXEL_SPACING"[^>]*>\s*"?([0-9.eE+-]+)"?\s+"?([0-9.eE+-]+)',
            (tiff.philips_metadata or "").replace("&quot;", '"'),
        )
        return None if told is None else _micrometers(1e3 * float(told[1]), 1e3 * float(told[2]))
    across, down = (page.tags[name].value for name in ("XResolution", "YResolution"))
    per_cm = across[0] / across[1], down[0] / down[1]
    if page.tags["ResolutionUnit"].value == tifffile.RESUNIT.CENTIMETER and (
        series.kind == "ndpi" or (len(series.levels) > 1 and min(per_cm) > _SLIDES_FROM)
    ):
        return _micrometers(1e4 / per_cm[1], 1e4 / per_cm[0])
    return None


def _scn_images(tiff: tifffile.TiffFile) -> list[tuple[dict[str, str], dict[str, str]]]:
    """Return the views of an SCN's images and of their collections, in the order of series."""
    space = "{*}"
    return [
        (dict(view.attrib), dict(collection.attrib))
        for collection in ElementTree.fromstring(tiff.pages.first.description)
        if collection.tag.endswith("collection")
        for image in collection.iterfind(f"{space}image")
        for view in image.iterfind(f"{space}view")
        for _ in image.iterfind(f"{space}pixels")
    ]


def _scn_macros(tiff: tifffile.TiffFile) -> set[int]:
    """Find the pictures of the whole slide."""
    if tiff.series[0].kind != "scn":
        return set()
    return {
        number
        for number, (view, whole) in enumerate(_scn_images(tiff))
        if all(view.get(side) == whole.get(side) for side in ("sizeX", "sizeY"))
    }


def _micrometers(rows: float, cols: float) -> PixelSize | None:
    return _positive(round(rows, 9), round(cols, 9), "micrometer")


def _positive(rows: float, cols: float, unit: str) -> PixelSize | None:
    usable = 0 < rows < np.inf and 0 < cols < np.inf
    return PixelSize(rows, cols, unit) if usable else None


def _step(length: float) -> float | None:
    return length if 0 < length < np.inf else None
