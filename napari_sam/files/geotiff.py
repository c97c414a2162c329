"""What a TIFF says of where its pixels lie: GeoTIFF's tags, or OME's size of a pixel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari_sam.scenes.georeference import Georeference
from napari_sam.scenes.sources import PixelSize

__all__ = ["at_level", "geotiff_tags", "ome_size", "ome_unit"]

_SCALE, _TIE, _MATRIX = 33550, 33922, 34264
_KEYS, _TEXTS = 34735, 34737
_DOUBLE, _SHORT, _ASCII = 12, 3, 2

_MODEL, _RASTER, _CITATION = 1024, 1025, 1026
_GEOGRAPHIC, _ANGULAR_UNITS, _PROJECTED, _LINEAR_UNITS = 2048, 2054, 3072, 3076
_PROJECTED_MODEL, _GEOGRAPHIC_MODEL, _USER_DEFINED = 1, 2, 32767
_PIXEL_IS_AREA = 1

_UNITS = {"metre": 9001, "foot": 9002, "US survey foot": 9003, "radian": 9101, "degree": 9102}
"""EPSG's numbers."""

_OME_UNITS = {
    **dict.fromkeys(("micrometer", "micrometre", "micron", "um", "µm"), "µm"),
    **dict.fromkeys(("nanometer", "nanometre", "nm"), "nm"),
    **dict.fromkeys(("millimeter", "millimetre", "mm"), "mm"),
    **dict.fromkeys(("centimeter", "centimetre", "cm"), "cm"),
    **dict.fromkeys(("meter", "metre", "m"), "m"),
    **dict.fromkeys(("kilometer", "kilometre", "km"), "km"),
    **dict.fromkeys(("angstrom", "Å"), "Å"),
    **dict.fromkeys(("inch", "in"), "in"),
    **dict.fromkeys(("foot", "ft"), "ft"),
}


def at_level(georeference: Georeference, level: int) -> Georeference:
    """Return the georeference of a coarser level, whose first pixel begins at the same corner.

    Examples
    --------
    >>> at_level(Georeference("EPSG:32633", (2.0, 0.0, 500.0, 0.0, -3.0, 900.0)), 1).affine
    (4.0, 0.0, 500.0, 0.0, -6.0, 900.0)
    """
    a, b, c, d, e, f = georeference.affine
    scale = 1 << level
    return replace(georeference, affine=(a * scale, b * scale, c, d * scale, e * scale, f))


def geotiff_tags(georeference: Georeference) -> list[tuple[int, int, int, Any, bool]]:
    """Return the tags of a GeoTIFF.

    Parameters
    ----------
    georeference : Georeference
        Of the raster's own pixels. A system that has no code of EPSG is told by its name.

    Returns
    -------
    list
        As `tifffile.TiffWriter.write` takes `extratags`: number, type, count, value, once.

    References
    ----------
    .. [1] OGC GeoTIFF Standard 1.1, https://docs.ogc.org/is/19-008r4/19-008r4.html

    Examples
    --------
    >>> for tag in geotiff_tags(Georeference("EPSG:4326", (0.5, 0, 9, 0, -0.5, 48), "degree")):
    ...     print(tag[0], tag[3])
    33550 (0.5, 0.5, 0.0)
    33922 (0.0, 0.0, 0.0, 9.0, 48.0, 0.0)
    34735 (1, 1, 0, 4, 1024, 0, 1, 2, 1025, 0, 1, 1, 2048, 0, 1, 4326, 2054, 0, 1, 9102)
    """
    a, b, c, d, e, f = map(float, georeference.affine)
    if b == d == 0 and a > 0 > e:
        places = [(_SCALE, (a, -e, 0.0)), (_TIE, (0.0, 0.0, 0.0, c, f, 0.0))]
    else:
        matrix = (a, b, 0.0, c, d, e, 0.0, f, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
        places = [(_MATRIX, matrix)]
    tags = [(number, _DOUBLE, len(values), values, True) for number, values in places]
    return [*tags, *_system(georeference)]


def ome_size(pixel_size: PixelSize, level: int) -> dict[str, Any] | None:
    """Return what OME says of a level's pixels, as `tifffile` takes it; None in unknown units.

    Examples
    --------
    >>> from napari_sam.scene import PixelSize
    >>> ome_size(PixelSize(0.5, 0.25, "micrometer"), 1)["PhysicalSizeY"]
    1.0
    """
    unit = ome_unit(pixel_size.unit)
    if unit is None:
        return None
    scale = 1 << level
    return {
        "axes": "YX",
        "PhysicalSizeY": pixel_size.rows * scale,
        "PhysicalSizeYUnit": unit,
        "PhysicalSizeX": pixel_size.cols * scale,
        "PhysicalSizeXUnit": unit,
    }


def ome_unit(unit: str) -> str | None:
    """Return OME's sign of a unit of length; None if it has none.

    Examples
    --------
    >>> ome_unit("micrometer"), ome_unit("degree")
    ('µm', None)
    """
    return _OME_UNITS.get(unit)


def _system(georeference: Georeference) -> list[tuple[int, int, int, Any, bool]]:
    """Return the tags that name the coordinate reference system."""
    crs, unit = georeference.crs, georeference.unit
    geographic = unit in ("degree", "radian")
    code = int(crs[5:]) if crs is not None and crs.startswith("EPSG:") else _USER_DEFINED
    keys = {
        _MODEL: _GEOGRAPHIC_MODEL if geographic else _PROJECTED_MODEL,
        _RASTER: _PIXEL_IS_AREA,
        _GEOGRAPHIC if geographic else _PROJECTED: code,
    }
    if crs is None and unit is None:
        keys = {_RASTER: _PIXEL_IS_AREA}
    if unit in _UNITS:
        keys[_ANGULAR_UNITS if geographic else _LINEAR_UNITS] = _UNITS[unit]
    directory = [(key, 0, 1, value) for key, value in keys.items()]
    texts = []
    if crs is not None and code == _USER_DEFINED:
        name = crs.encode("ascii", "replace") + b"|"
        directory.append((_CITATION, _TEXTS, len(name), 0))
        texts = [(_TEXTS, _ASCII, len(name) + 1, name, True)]
    directory.sort()
    values = (1, 1, 0, len(directory), *(number for key in directory for number in key))
    return [(_KEYS, _SHORT, len(values), values, True), *texts]
