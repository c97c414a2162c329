"""Outlines as the polygons of shapely."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_sam.extras import need

from .outlines import Outlines

__all__ = ["counterclockwise", "polygons"]


def polygons(
    outlines: Outlines, affine: tuple[float, float, float, float, float, float] | None = None
) -> tuple[np.ndarray, Any]:
    """Return a multipolygon for each object.

    Parameters
    ----------
    outlines : Outlines
        Of a label map.
    affine : tuple of float, optional
        As `Georeference.affine`; by default x is the column and y the row of corners, from the
        outer corner of the first pixel.

    Returns
    -------
    (ids, shapes) : tuple of ndarray
        Ascending ids, and a `shapely.MultiPolygon` for each.

    Examples
    --------
    >>> from napari_sam.files.geo.outlines import trace
    >>> ids, shapes = polygons(trace(np.full((1, 2), 7)), (0.5, 0, 100, 0, -0.5, 900))
    >>> int(ids[0]), shapes[0].bounds
    (7, (100.0, 899.5, 101.0, 900.0))
    """
    shapely = need("shapely", "geo")
    a, b, c, d, e, f = (1, 0, 0, 0, 1, 0) if affine is None else affine
    y, x = outlines.nodes[outlines.visits].astype(np.float64).T
    ring = np.repeat(np.arange(len(outlines.owners)), np.diff(outlines.starts))
    places = np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)
    rings = shapely.linearrings(places, indices=ring)
    part = np.cumsum(~outlines.holes) - 1
    parts = shapely.polygons(rings, indices=part)
    ids, number = np.unique(outlines.owners[~outlines.holes], return_inverse=True)
    return ids, shapely.multipolygons(parts, indices=number)


def counterclockwise(shapes: np.ndarray) -> np.ndarray:
    """Return multipolygons whose outer rings run counterclockwise (y upward), and holes clockwise.

    Examples
    --------
    >>> from napari_sam.files.geo.outlines import trace
    >>> _, shapes = polygons(trace(np.ones((1, 1), bool)), (1, 0, 0, 0, -1, 0))
    >>> ring = counterclockwise(shapes)[0].geoms[0].exterior
    >>> shapes[0].geoms[0].exterior.is_ccw, ring.is_ccw
    (False, True)
    """
    shapely = need("shapely", "geo")
    turned = shapely.orient_polygons(shapely.get_parts(shapes))
    whose = np.repeat(np.arange(len(shapes)), shapely.get_num_geometries(shapes))
    found: np.ndarray = shapely.multipolygons(turned, indices=whose)
    return found
