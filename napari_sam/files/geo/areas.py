"""Areas and perimeters on the ground, whatever a map's projection makes of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from napari_sam.extras import need

from .crs import CrsTransform

__all__ = ["ground_sizes", "with_short_edges"]

_LONGEST = 10_000.0
"""Metres of an edge beyond which a straight line on the map is none on the ground."""

_METRES_PER_DEGREE = 111_320.0


def ground_sizes(shapes: np.ndarray, crs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Measure shapes on the ellipsoid of their coordinate system.

    A map's own square metres are not those of the ground: in UTM they differ by up to 0.2 %, in
    Web Mercator at 60 degrees north by a factor of four, and degrees are no lengths at all. So
    corners are brought to longitude and latitude, without a change of datum, and the area between
    geodesics is taken. A system that is tied to no ellipsoid is measured as it is, in its units.

    Parameters
    ----------
    shapes : ndarray
        Polygons or multipolygons of shapely.
    crs : pyproj.CRS
        Of their coordinates, x (or longitude) first.

    Returns
    -------
    (areas, perimeters) : tuple of ndarray
        float64: square metres and metres. Edges of holes count for the perimeter.

    Examples
    --------
    >>> import shapely
    >>> from napari_sam.files.geo.crs import crs_named
    >>> square = np.array([shapely.box(0, 0, 1, 1)])
    >>> areas, _ = ground_sizes(square, crs_named("EPSG:4326", "it"))
    >>> round(float(areas[0]) / 1e6)
    12308
    """
    shapely = need("shapely", "geo")
    geodetic = crs.geodetic_crs
    if geodetic is None or not (crs.is_projected or crs.is_geographic):
        metres = float(crs.axis_info[0].unit_conversion_factor) if crs.axis_info else 1.0
        return shapely.area(shapes) * metres**2, shapely.length(shapes) * metres
    ellipsoid = crs.get_geod()
    shapes = with_short_edges(shapes, crs)
    rings, of = shapely.get_rings(shapely.get_parts(shapes), return_index=True)
    whose = np.repeat(np.arange(len(shapes)), shapely.get_num_geometries(shapes))[of]
    first = np.append(True, of[1:] != of[:-1]) if len(of) else np.zeros(0, bool)
    places, ring = shapely.get_coordinates(rings, return_index=True)
    # Degrees, where some systems have grads.
    degrees = np.rad2deg(geodetic.axis_info[0].unit_conversion_factor)
    places = CrsTransform(crs, geodetic)(places) * degrees
    areas, perimeters = np.zeros(len(shapes)), np.zeros(len(shapes))
    ends = np.searchsorted(ring, np.arange(len(rings) + 1))
    for number, (begin, end) in enumerate(pairwise(ends)):
        area, length = ellipsoid.polygon_area_perimeter(*places[begin:end].T)
        areas[whose[number]] += abs(area) if first[number] else -abs(area)
        perimeters[whose[number]] += length
    return areas, perimeters


def with_short_edges(shapes: np.ndarray, crs: Any) -> np.ndarray:
    """Divide edges that are so long that they bend on their way to another coordinate system."""
    unit = crs.axis_info[0]
    metres = unit.unit_conversion_factor
    if crs.is_geographic:
        metres *= np.rad2deg(1) * _METRES_PER_DEGREE  # its factor leads to radians
    found: np.ndarray = need("shapely", "geo").segmentize(shapes, _LONGEST / metres)
    return found
