"""Where on Earth an image lies, as GeoTIFF tells it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Georeference", "from_geotiff"]

_USER_DEFINED = 32767
"""GeoTIFF's number for a coordinate system that has no EPSG code."""


@dataclass(frozen=True)
class Georeference:
    """A coordinate reference system and the way into it.

    Parameters
    ----------
    crs : str or None
        Such as ``"EPSG:26916"``; a name where the file gives no code, None where it gives nothing.
    affine : tuple of float
        ``(a, b, c, d, e, f)``: the corner of pixels at (col, row), with (0, 0) the outer corner of
        the first one, lies at ``x = a * col + b * row + c``, ``y = d * col + e * row + f``. Beware:
        in this package's coordinates that corner is at row -0.5, column -0.5.
    unit : str or None
        Of x and y: ``"metre"``, ``"degree"``, ...
    """

    crs: str | None
    affine: tuple[float, float, float, float, float, float]
    unit: str | None = None


def from_geotiff(metadata: Mapping[str, Any]) -> Georeference | None:
    """Read GeoTIFF's keys and tags.

    Parameters
    ----------
    metadata : mapping
        What `tifffile.TiffFile.geotiff_metadata` gives.

    Returns
    -------
    Georeference or None
        None where no affine transformation is told (ground control points alone, for example).

    References
    ----------
    .. [1] OGC GeoTIFF Standard 1.1, https://docs.ogc.org/is/19-008r4/19-008r4.html

    Examples
    --------
    >>> from_geotiff({"ModelPixelScale": [2, 3, 0], "ModelTiepoint": [0, 0, 0, 500, 900, 0]}).affine
    (2.0, 0.0, 500.0, 0.0, -3.0, 900.0)
    """
    matrix, scale = metadata.get("ModelTransformation"), metadata.get("ModelPixelScale")
    ties = metadata.get("ModelTiepoint")
    try:
        if matrix is not None:
            # tifffile gives the 16 numbers as four rows.
            flat = np.asarray(matrix, np.float64).ravel().tolist()
            a, b, _, c, d, e, _, f = flat[:8]
        elif scale is not None and ties is not None:
            # Several tie points come as rows of six numbers; the first says enough.
            col, row, _, x, y, _ = np.asarray(ties, np.float64).ravel().tolist()[:6]
            a, b, d, e = float(scale[0]), 0.0, 0.0, -float(scale[1])
            c, f = x - a * col, y - e * row
        else:
            return None
    except (TypeError, ValueError, IndexError):
        return None
    # RasterPixelIsPoint: (0, 0) is the centre of the first pixel.
    if metadata.get("GTRasterTypeGeoKey") == 2:
        c, f = c - (a + b) / 2, f - (d + e) / 2
    return Georeference(_crs(metadata), (a, b, c, d, e, f), _unit(metadata))


def _crs(metadata: Mapping[str, Any]) -> str | None:
    for key in ("ProjectedCSTypeGeoKey", "GeographicTypeGeoKey"):
        code = metadata.get(key)
        if isinstance(code, int) and 0 < code < _USER_DEFINED:
            return f"EPSG:{int(code)}"
        if code == _USER_DEFINED:
            break  # a projection of one's own is not the geographic system it is based on
    for key in ("PCSCitationGeoKey", "GTCitationGeoKey", "GeogCitationGeoKey"):
        if metadata.get(key):
            return str(metadata[key])
    return None


def _unit(metadata: Mapping[str, Any]) -> str | None:
    """Name the unit of x and y; EPSG's numbers for metre, the two feet, degree and radian."""
    names = {9001: "metre", 9002: "foot", 9003: "US survey foot", 9101: "radian", 9102: "degree"}
    geographic = metadata.get("GTModelTypeGeoKey") == 2
    key = "GeogAngularUnitsGeoKey" if geographic else "ProjLinearUnitsGeoKey"
    told = metadata.get(key)
    if told is None and metadata.get("GTModelTypeGeoKey") in (1, 2):
        told = 9102 if geographic else 9001  # the units of nearly all systems that have a code
    return names.get(int(told)) if isinstance(told, int) else None
