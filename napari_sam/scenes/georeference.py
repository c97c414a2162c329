"""Where on Earth an image lies, as GeoTIFF tells it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Georeference", "crs_text", "from_gdal", "from_geotiff", "is_usable"]

_METRES = ("m", "metre", "meter", "metres", "meters")

_USER_DEFINED = 32767
"""GeoTIFF's number for a coordinate system that has no EPSG code."""


@dataclass(frozen=True)
class Georeference:
    """A coordinate reference system and the way into it.

    Parameters
    ----------
    crs : str or None
        Such as ``"EPSG:26916"``; where the file gives no code what else it gives: WKT, or a name.
        None where it gives nothing.
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

    def to_map(self, places: ArrayLike) -> np.ndarray:
        """Return where pixels lie on the map.

        Parameters
        ----------
        places : array-like
            Shape (n, 2): (row, col) of level 0, pixel centres at integers.

        Returns
        -------
        ndarray
            float64, shape (n, 2): (x, y).

        Examples
        --------
        >>> Georeference("EPSG:32633", (2.0, 0, 500, 0, -3.0, 900)).to_map([[-0.5, -0.5], [0, 9]])
        array([[500. , 900. ],
               [519. , 898.5]])
        """
        a, b, c, d, e, f = self.affine
        row, col = np.asarray(places, np.float64).reshape(-1, 2).T + 0.5
        return np.stack([a * col + b * row + c, d * col + e * row + f], axis=1)

    def to_pixels(self, xy: ArrayLike) -> np.ndarray:
        """Return where places of the map lie in the image; undoes `to_map`.

        Parameters
        ----------
        xy : array-like
            Shape (n, 2): (x, y).

        Returns
        -------
        ndarray
            float64, shape (n, 2): (row, col) of level 0, pixel centres at integers.

        Examples
        --------
        >>> georeference = Georeference("EPSG:32633", (2.0, 0, 500, 0, -3.0, 900))
        >>> georeference.to_pixels([[519.0, 898.5]])
        array([[0., 9.]])
        """
        a, b, c, d, e, f = self.affine
        x, y = (np.asarray(xy, np.float64).reshape(-1, 2) - (c, f)).T
        size = a * e - b * d
        return np.stack([(a * y - d * x) / size, (e * x - b * y) / size], axis=1) - 0.5


def from_geotiff(metadata: Mapping[str, Any]) -> Georeference | None:
    """Read GeoTIFF's keys and tags.

    Parameters
    ----------
    metadata : mapping
        What `tifffile.TiffFile.geotiff_metadata` gives.

    Returns
    -------
    Georeference or None
        None where no affine transformation is told (ground control points alone, for example), or
        one that leaves no area.

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
        if scale is not None and ties is not None:
            # Several tie points come as rows of six numbers; the first says enough. Heights of
            # pixels that are written as negative count as positive, as GDAL has it.
            col, row, _, x, y, _ = np.asarray(ties, np.float64).ravel().tolist()[:6]
            a, b, d, e = float(scale[0]), 0.0, 0.0, -abs(float(scale[1]))
            c, f = x - a * col, y - e * row
        elif matrix is not None:
            # tifffile gives the 16 numbers as four rows.
            flat = np.asarray(matrix, np.float64).ravel().tolist()
            a, b, _, c, d, e, _, f = flat[:8]
        else:
            return None
    except (TypeError, ValueError, IndexError):
        return None
    # RasterPixelIsPoint: (0, 0) is the centre of the first pixel.
    if metadata.get("GTRasterTypeGeoKey") == 2:
        c, f = c - (a + b) / 2, f - (d + e) / 2
    affine = a, b, c, d, e, f
    return Georeference(_crs(metadata), affine, _unit(metadata)) if is_usable(affine) else None


def from_gdal(crs: Any, affine: tuple[float, ...]) -> Georeference | None:
    """Take over what GDAL says of where a raster lies.

    Parameters
    ----------
    crs : rasterio.crs.CRS or None
        Of a dataset.
    affine : tuple of float
        Its transform's first six numbers.

    Returns
    -------
    Georeference or None
        None where the dataset tells neither.
    """
    a, b, c, d, e, f = map(float, affine[:6])
    usable = is_usable((a, b, c, d, e, f))
    if not usable or (crs is None and (a, b, c, d, e, f) == (1, 0, 0, 0, 1, 0)):
        return None  # rasterio's identity means that nothing is told
    if crs is None:
        return Georeference(None, (a, b, c, d, e, f))
    unit = str(crs.units_factor[0])
    named = "metre" if unit.lower() in _METRES else None if unit == "unknown" else unit
    return Georeference(crs_text(crs), (a, b, c, d, e, f), named)


def crs_text(crs: Any) -> str:
    """Name a system of rasterio by its code, else by its WKT."""
    return ":".join(crs.to_authority() or ()) or str(crs.to_wkt())


def is_usable(affine: tuple[float, ...]) -> bool:
    """Tell whether pixels have a place and an area by an affine transformation.

    Examples
    --------
    >>> is_usable((2.0, 0.0, 500.0, 0.0, -3.0, 900.0)), is_usable((2.0, 0.0, 0.0, 2.0, 0.0, 0.0))
    (True, False)
    """
    a, b, _, d, e, _ = affine
    size = a * e - b * d
    return bool(np.isfinite(affine).all() and np.isfinite(size) and size != 0)


def _crs(metadata: Mapping[str, Any]) -> str | None:
    # A projection of one's own is not the geographic system that it is based on.
    projected = metadata.get("GTModelTypeGeoKey") == 1 or "ProjectedCSTypeGeoKey" in metadata
    code = metadata.get("ProjectedCSTypeGeoKey" if projected else "GeographicTypeGeoKey")
    if isinstance(code, int) and 0 < code < _USER_DEFINED:
        return f"EPSG:{int(code)}"
    for key in ("PCSCitationGeoKey", "GTCitationGeoKey", "GeogCitationGeoKey"):
        if metadata.get(key):
            return str(metadata[key]).removeprefix("ESRI PE String = ")
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
