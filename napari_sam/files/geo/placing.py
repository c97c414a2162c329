"""From the map to the pixels of a scene: shapes in any coordinate system, and areas of interest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.extras import need

from .crs import CrsTransform, crs_called, crs_of
from .vectors import VectorLayer, read_vectors

if TYPE_CHECKING:
    from napari_sam.scene import Scene

__all__ = ["PlacedAreas", "WayToPixels", "place_areas"]

_PARTS = 32
"""Into how many parts at least the extent of a shape is cut before it is brought to another system:
what is straight in one is bent in the other."""


class WayToPixels:
    """Brings the shapes of a layer to pixels of a scene.

    Parameters
    ----------
    layer : VectorLayer
        A layer without a coordinate system is taken to have that of the image.
    scene : Scene
        The image. If it lies nowhere on a map coordinates are pixels (x, y), counted from its upper
        left corner.

    Attributes
    ----------
    notes : tuple of str
        What had to be assumed, in sentences.

    Raises
    ------
    InputError
        If the layer has a coordinate system, and the image lies nowhere on a map; or that of the
        image is unknown.
    """

    def __init__(self, layer: VectorLayer, scene: Scene) -> None:
        self._place = scene.georeference
        self._change: CrsTransform | None = None
        own, notes = crs_of(self._place, scene.name), []
        told = layer.crs
        if self._place is None:
            if told is not None and not layer.assumed:
                raise InputError(
                    f"{scene.name} does not say where it lies, so that {layer.name} in "
                    f"{crs_called(told)} cannot be placed on it: give the image a world file or "
                    f"GeoTIFF's tags, or the places in pixels."
                )
            notes.append(f"{layer.name} is taken to be in pixels from the image's corner.")
        elif own is None:
            if told is not None and not layer.assumed:
                notes.append(f"The image is taken to be in {crs_called(told)}, as {layer.name}.")
        elif told is None:
            notes.append(f"{layer.name} is taken to be in {crs_called(own)}, as the image.")
        else:
            self._change = CrsTransform(told, own)
            if self._change.rough:
                notes.append(
                    f"How far {crs_called(told)} and {crs_called(own)} differ PROJ does not know "
                    f"exactly: {layer.name} may be off by some metres."
                )
        self.notes = tuple(notes)

    def positions(self, xy: np.ndarray) -> np.ndarray:
        """Bring positions to pixels.

        Parameters
        ----------
        xy : ndarray
            Shape (n, 2).

        Returns
        -------
        ndarray
            Shape (n, 2): (row, col), pixel centres at integers; not finite where there is no such
            place in the image's coordinate system.
        """
        if self._place is None:
            return xy[:, ::-1] - 0.5
        return self._place.to_pixels(xy if self._change is None else self._change(xy))

    def bent(self, shape: Any) -> Any:
        """Return a shape with so many corners that straight lines between them are right too."""
        if self._change is None or shape.geom_type in ("Point", "MultiPoint"):
            return shape
        x0, y0, x1, y1 = shape.bounds
        longest = max(x1 - x0, y1 - y0)
        if not 0 < longest < np.inf:
            return shape
        shapely = need("shapely", "geo")
        try:
            return shapely.segmentize(shape, longest / _PARTS)
        except shapely.errors.GEOSException:
            return shape  # of numbers so large or small that there is nothing between them

    def corners(self, shape: Any) -> np.ndarray:
        """Return all corners of a shape as (row, col); those that have a place."""
        found = self.positions(need("shapely", "geo").get_coordinates(self.bent(shape)))
        return found[np.isfinite(found).all(axis=1)]


@dataclass(frozen=True, eq=False)
class PlacedAreas:
    """Areas of interest in pixels of a scene.

    Parameters
    ----------
    rings : tuple of ndarray
        As `tiles.roi` takes them: the borders of all areas together, and of their holes.
    outside, total : int
        How many polygons the file has, and how many of them lie outside of the scene.
    notes : tuple of str
        What to say about how they were placed.
    """

    rings: tuple[np.ndarray, ...]
    outside: int
    total: int
    notes: tuple[str, ...]


def place_areas(file: str | Path, scene: Scene) -> PlacedAreas:
    """Read polygons, and bring them to pixels of a scene.

    Parameters
    ----------
    file : path
        As `read_vectors` takes it.
    scene : Scene
        The image; see `WayToPixels`.

    Raises
    ------
    InputError
        If the file cannot be read or placed, has no polygons, or none in the scene.
    """
    shapely = need("shapely", "geo")
    layer = read_vectors(file)
    way = WayToPixels(layer, scene)
    parts = [
        part
        for shape in layer.geometries
        if shape is not None
        for part in shapely.get_parts(shapely.get_parts(shape))
        if part.geom_type == "Polygon" and not part.is_empty
    ]
    if not parts:
        raise InputError(f"{layer.name} has no polygons: areas of interest are polygons.")
    rows, cols = scene.shape
    whole = shapely.box(-0.5, -0.5, rows - 0.5, cols - 0.5)
    inside = []
    for part in parts:
        placed = shapely.transform(way.bent(part), way.positions)
        if not np.isfinite(shapely.get_coordinates(placed)).all():
            continue
        placed = shapely.make_valid(placed)
        if shapely.intersection(placed, whole).area > 0:
            inside.append(placed)
    if not inside:
        raise InputError(
            f"None of the {len(parts)} polygons in {layer.name} shares area with {scene.name}: "
            f"look whether they are of this place, and in the coordinate system that they are said "
            f"to be in."
        )
    # Together, so that what lies in two of them lies in one.
    rings = [
        shapely.get_coordinates(ring)[:-1]
        for part in shapely.get_parts(shapely.union_all(inside))
        if part.geom_type == "Polygon"
        for ring in (part.exterior, *part.interiors)
    ]
    return PlacedAreas(tuple(rings), len(parts) - len(inside), len(parts), way.notes)
