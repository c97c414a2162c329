"""Points, boxes and polygons from vector files, as they are stored."""

from __future__ import annotations

import csv
import json
import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.extras import need

from .crs import crs_named

__all__ = ["ENDINGS", "VectorLayer", "read_vectors"]

ENDINGS = (".gpkg", ".geojson", ".json", ".shp", ".fgb", ".parquet", ".csv")

_BOX = ("xmin", "ymin", "xmax", "ymax")
_PLACES = {"x": "y", "lon": "lat", "longitude": "latitude", "lng": "lat", "easting": "northing"}
_DEGREES = ("lon", "longitude", "lng")


@dataclass(frozen=True, eq=False)
class VectorLayer:
    """Features of one layer.

    Parameters
    ----------
    name : str
        What messages call it.
    geometries : ndarray of shapely.Geometry
        None where a feature has none.
    properties : tuple of dict
        Of each feature, the names of its columns in lower case.
    crs : pyproj.CRS or None
        None where the file tells none.
    assumed : bool
        Whether it tells none, and `crs` is what its format asks for then.
    """

    name: str
    geometries: np.ndarray
    properties: tuple[Mapping[str, Any], ...]
    crs: Any
    assumed: bool = False


def read_vectors(file: str | Path, crs: str | None = None) -> VectorLayer:
    """Read a vector file.

    Parameters
    ----------
    file : path
        GeoPackage, GeoJSON, shapefile, FlatGeobuf, GeoParquet; or CSV with a header that names
        columns x and y (or lon and lat), or xmin, ymin, xmax and ymax, and perhaps crs. One layer
        of several is given as ``FILE:LAYER``.
    crs : str, optional
        The system of its coordinates, whatever the file says of it.

    Raises
    ------
    InputError
        If it cannot be read, has no features, or has several layers of which none is given.
    """
    path, layer = _path_and_layer(str(file))
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(
            f"{path} is no vector file that is read here: give one of {', '.join(ENDINGS)}."
        )
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    if ending == ".csv":
        found = _from_csv(path)
    elif ending == ".parquet":
        found = _from_parquet(path)
    else:
        found = _from_gdal(path, layer)
    if not len(found.geometries):
        raise InputError(f"{found.name} has no features: choose another file, or another layer.")
    if crs is None:
        return found
    return replace(found, crs=crs_named(crs, "what was given for the file"), assumed=False)


def _path_and_layer(text: str) -> tuple[Path, str | None]:
    path, colon, layer = text.rpartition(":")
    if colon and not Path(text).exists() and Path(path).is_file():
        return Path(path), layer
    return Path(text), None


def _from_gdal(path: Path, layer: str | None) -> VectorLayer:
    pyogrio, shapely = need("pyogrio", "geo"), need("shapely", "geo")
    raw = need("pyogrio.raw", "geo")
    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(path)]
        if layer is not None and layer not in layers:
            raise InputError(f"{path} has no layer {layer}: choose from {', '.join(layers)}.")
        if layer is None and len(layers) > 1:
            raise InputError(
                f"{path} has the layers {', '.join(layers)}: choose one, as {path}:{layers[0]}."
            )
        meta, _, wkb, fields = raw.read(path, layer=layer)
        geometries = shapely.from_wkb([] if wkb is None else wkb)
    except InputError:
        raise
    except Exception as error:  # damaged files raise a dozen types
        reason = textwrap.shorten(" ".join(str(error).split()).strip(" ."), 160)
        raise InputError(f"{path} cannot be read as a vector file ({reason}).") from error
    names = [str(name).lower() for name in meta["fields"]]
    columns = [[_plain(value) for value in column] for column in fields]
    rows = zip(*columns, strict=True) if columns else ((),) * len(geometries)
    properties = tuple(dict(zip(names, row, strict=True)) for row in rows)
    crs, assumed = meta["crs"], False
    if path.suffix.lower() in (".geojson", ".json") and not _tells_its_crs(path):
        # Of a GeoJSON that says nothing GDAL assumes what the standard asks for. Some have other
        # coordinates all the same, which then cannot be degrees.
        positions = np.abs(shapely.get_coordinates(geometries))
        assumed = bool(np.all(positions <= (180, 90)))
        crs = crs if assumed else None
    name = str(path) if layer is None else f"{path}:{layer}"
    told = None if not crs else crs_named(crs, name)
    return VectorLayer(name, np.asarray(geometries, object), properties, told, assumed)


def _tells_its_crs(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        return False  # such as a feature on each line, which GDAL knows too
    return isinstance(content, dict) and isinstance(content.get("crs"), dict)


def _from_parquet(path: Path) -> VectorLayer:
    geopandas = need("geopandas", "geo")
    try:
        frame = geopandas.read_parquet(path)
    except Exception as error:  # damaged files raise a dozen types
        reason = textwrap.shorten(" ".join(str(error).split()).strip(" ."), 160)
        raise InputError(f"{path} cannot be read as GeoParquet ({reason}).") from error
    columns = [name for name in frame.columns if name != frame.geometry.name]
    properties = tuple(
        {str(name).lower(): _plain(value) for name, value in zip(columns, row, strict=True)}
        for row in frame[columns].itertuples(index=False, name=None)
    )
    return VectorLayer(str(path), np.asarray(frame.geometry, object), properties, frame.crs)


def _from_csv(path: Path) -> VectorLayer:
    shapely = need("shapely", "geo")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8: save it as such.") from error
    lines = text.splitlines()
    reader = csv.DictReader(lines, delimiter=max(",;\t", key=(lines or [""])[0].count))
    try:
        names = {str(name).strip().lower(): name for name in reader.fieldnames or ()}
    except csv.Error as error:
        raise InputError(f"{path} is no CSV ({error}).") from error
    across = next((x for x, y in _PLACES.items() if names.keys() >= {x, y}), None)
    if across is None and not names.keys() >= set(_BOX):
        raise InputError(
            f"{path} has no header with x and y, lon and lat, or xmin, ymin, xmax, ymax: its first "
            f"line must name the columns so."
        )
    taken = (across, _PLACES[across]) if across is not None else _BOX
    geometries, properties = [], []
    try:
        for row in reader:
            known = {name: (row[given] or "").strip() for name, given in names.items()}
            if not any(known.values()):
                continue
            numbers = [
                _number(known.pop(name), f"{name} in line {reader.line_num} of {path}")
                for name in taken
            ]
            shape = shapely.Point(*numbers) if len(numbers) == 2 else shapely.box(*numbers)
            geometries.append(shape)
            properties.append({name: value or None for name, value in known.items()})
    except csv.Error as error:
        raise InputError(f"{path} is no CSV from line {reader.line_num} on ({error}).") from error
    told = {str(known["crs"]) for known in properties if known.get("crs")}
    if len(told) > 1:
        raise InputError(
            f"{path} names several coordinate systems ({', '.join(sorted(told))}): give a file for "
            f"each."
        )
    system = told.pop() if told else "EPSG:4326" if across in _DEGREES else None
    crs = None if system is None else crs_named(system, str(path))
    return VectorLayer(str(path), np.array(geometries, object), tuple(properties), crs)


def _number(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{what[0].upper()}{what[1:]} is {text!r} and no finite number.")
    return number


def _plain(value: Any) -> Any:
    """Turn a value of a column into one of Python; None where nothing is there."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and math.isnan(value) else value
