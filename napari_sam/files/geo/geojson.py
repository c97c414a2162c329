"""Objects as GeoJSON: longitude and latitude, or pixels where an image has no place on a map."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.extras import need

from .areas import with_short_edges
from .crs import CrsTransform, crs_named
from .features import Features, features
from .polygons import counterclockwise
from .whole_files import whole_file

if TYPE_CHECKING:
    from napari_sam.files.labelled import Labelled

__all__ = ["write_geojson"]

_DECIMALS = 7
"""Of degrees: a centimetre."""

_PIXELS = "pixels: x to the right, y down, from the outer corner of the upper left pixel"


def write_geojson(
    path: Path,
    labelled: Labelled,
    *,
    simplify: float | None = None,
    unit: str = "px",
    regularise: bool = False,
) -> None:
    """Write GeoJSON as RFC 7946 has it.

    Coordinates are longitude and latitude in WGS 84 with 7 decimals (as many more as pixels of
    less than 10 cm need), outer rings run counterclockwise, and what crosses the antimeridian is
    divided there. The provenance is a member of the collection. Of an image without a coordinate
    system the coordinates are pixels, and a member ``coordinates`` says so.

    Parameters
    ----------
    path : Path
        Ends in .geojson. A file of that name is replaced when the new one is whole.
    labelled : Labelled
        The objects.
    simplify, unit, regularise
        As `features` takes them.

    Raises
    ------
    InputError
        If objects have no longitude and latitude, or the file cannot be written.

    References
    ----------
    .. [1] https://www.rfc-editor.org/rfc/rfc7946
    """
    found = features(labelled, simplify, unit, regularise)
    head: dict[str, Any] = {"type": "FeatureCollection", "provenance": dict(found.provenance)}
    if found.crs is None:
        head["coordinates"] = _PIXELS
        shapes = found.shapes
        if found.placed:
            head["coordinates"] = "of a map whose coordinate system the image does not tell"
    else:
        shapes = _in_degrees(labelled, found, head)
    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "features": [')
        for number, feature in enumerate(_features(shapes, found)):
            file.write(",\n" if number else "\n")
            file.write(json.dumps(feature, ensure_ascii=False, allow_nan=False))
        file.write("\n]}\n")


def _features(shapes: np.ndarray, found: Features) -> Iterator[dict[str, Any]]:
    shapely = need("shapely", "geo")
    for number, shape in enumerate(counterclockwise(shapes)):
        parts = [
            [shapely.get_coordinates(ring).tolist() for ring in (part.exterior, *part.interiors)]
            for part in shape.geoms
        ]
        kind = "MultiPolygon" if len(parts) > 1 else "Polygon"
        known = {name: _finite(values[number]) for name, values in found.columns.items()}
        yield {
            "type": "Feature",
            "id": known["id"],
            "properties": known,
            "geometry": {"type": kind, "coordinates": parts if len(parts) > 1 else parts[0]},
        }


def _finite(value: Any) -> Any:
    """Return what JSON can hold."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _in_degrees(labelled: Labelled, found: Features, head: dict[str, Any]) -> np.ndarray:
    """Bring shapes to longitude and latitude, and note in the head if that is rough."""
    shapely = need("shapely", "geo")
    name = labelled.scene.name
    if found.crs.geodetic_crs is None:
        raise InputError(
            f"{name} has a coordinate system without longitude and latitude: write another format, "
            f"whose coordinates are the map's."
        )
    way = CrsTransform(found.crs, crs_named("OGC:CRS84", name))
    if way.rough:
        head["accuracy"] = "metres: no exact way from the image's datum to WGS 84 is installed"
    shapes = shapely.transform(with_short_edges(found.shapes, found.crs), way)
    places = shapely.get_coordinates(shapes)
    if not np.isfinite(places).all() or (np.abs(places[:, 1]) > 90).any():
        raise InputError(
            f"{name} has objects without longitude and latitude: write another format, whose "
            f"coordinates are the map's."
        )
    decimals = _decimals(found)
    shapes = _divided_at_antimeridian(shapes, name)
    return np.asarray(shapely.transform(shapes, lambda xy: xy.round(decimals)))


def _decimals(found: Features) -> int:
    """Return how many decimals keep corners of pixels apart."""
    pixels = sum(found.columns["area_px"])
    if not pixels:
        return _DECIMALS
    side = np.sqrt(sum(found.columns["area_m2"]) / pixels)
    return _DECIMALS + int(np.ceil(max(0.0, np.log10(0.1 / max(side, 1e-6)))))


def _divided_at_antimeridian(shapes: np.ndarray, name: str) -> np.ndarray:
    """Divide what reaches from 180 degrees east to 180 degrees west."""
    shapely = need("shapely", "geo")
    found = np.array(shapes, object)
    bounds = shapely.bounds(shapes)
    wide = (bounds[:, 2] - bounds[:, 0] > 180) | (bounds[:, 2] > 180) | (bounds[:, 0] < -180)
    for number in np.flatnonzero(wide):
        parts: list[Any] = []
        for whole in shapely.get_parts(shapes[number]):
            going_on = _going_on(whole, name)
            for turn in (-360, 0, 360):
                part = shapely.intersection(going_on, shapely.box(turn - 180, -90, turn + 180, 90))
                part = shapely.transform(part, lambda xy, turn=turn: xy - [turn, 0])
                parts += [one for one in shapely.get_parts(part) if one.geom_type == "Polygon"]
        found[number] = shapely.MultiPolygon(parts)
    return found


def _going_on(polygon: Any, name: str) -> Any:
    """Let longitudes go on beyond 180 degrees where they would jump; edges are short."""
    shapely = need("shapely", "geo")
    rings: list[np.ndarray] = []
    for ring in (polygon.exterior, *polygon.interiors):
        x, y = shapely.get_coordinates(ring).T
        x = np.unwrap(x, period=360)
        if abs(x[-1] - x[0]) > 180:
            raise InputError(
                f"{name} has an object around a pole, which GeoJSON cannot hold: write another "
                f"format, whose coordinates are the map's."
            )
        middle = rings[0][:, 0].mean() if rings else 0.0
        rings.append(np.stack([x + 360 * np.round((middle - x.mean()) / 360), y], axis=1))
    return shapely.Polygon(rings[0], rings[1:])
