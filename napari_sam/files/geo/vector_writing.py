"""Objects as vector layers in the map's own coordinates: GeoPackage, FlatGeobuf, GeoParquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.extras import need
from napari_sam.provenance import provenance_said

from .features import Features, features
from .polygons import counterclockwise
from .whole_files import whole_file

if TYPE_CHECKING:
    import pyarrow as pa

    from napari_sam.files.labelled import Labelled

__all__ = ["write_flatgeobuf", "write_geopackage", "write_geoparquet"]

_LAYER = "objects"
_GEOMETRY = "geometry"
_TAKEN = ("fid", "geom", _GEOMETRY)
"""What GeoPackages call columns of their own."""


def write_geopackage(
    path: Path,
    labelled: Labelled,
    *,
    simplify: float | None = None,
    unit: str = "px",
    regularise: bool = False,
) -> None:
    """Write a GeoPackage: a layer ``objects``, and a table ``provenance`` without shapes.

    Parameters
    ----------
    path : Path
        Ends in .gpkg. A file of that name is replaced when the new one is whole.
    labelled : Labelled
        Of an image with a georeference.
    simplify, unit, regularise
        As `features` takes them.

    Raises
    ------
    InputError
        If the image has no georeference, another program has the file open, or it cannot be
        written.
    """
    import pyarrow as pa

    pyogrio = need("pyogrio", "geo")
    found = _on_map(labelled, simplify, unit, regularise)
    told = pa.table(
        {"key": list(found.provenance), "value": list(found.provenance.values())},
        schema=pa.schema([("key", pa.string()), ("value", pa.string())]),
    )
    with whole_file(path, *_failures(pyogrio)) as partial:
        _write_layer(
            pyogrio,
            partial,
            found,
            driver="GPKG",
            layer_metadata=dict(found.provenance) or None,
            layer_options={"DESCRIPTION": provenance_said(found.provenance)},
        )
        pyogrio.write_arrow(told, partial, layer="provenance", driver="GPKG", append=True)


def write_flatgeobuf(
    path: Path,
    labelled: Labelled,
    *,
    simplify: float | None = None,
    unit: str = "px",
    regularise: bool = False,
) -> None:
    """Write a FlatGeobuf with a spatial index; its description is the provenance, as JSON.

    Parameters
    ----------
    path : Path
        Ends in .fgb.
    labelled, simplify, unit, regularise
        As for `write_geopackage`.

    Raises
    ------
    InputError
        If the image has no georeference, or it cannot be written.
    """
    pyogrio = need("pyogrio", "geo")
    found = _on_map(labelled, simplify, unit, regularise)
    said = json.dumps(dict(found.provenance), ensure_ascii=False)
    with whole_file(path, *_failures(pyogrio)) as partial:
        options = {"TITLE": _LAYER, "DESCRIPTION": said}
        _write_layer(pyogrio, partial, found, driver="FlatGeobuf", layer_options=options)


def write_geoparquet(
    path: Path,
    labelled: Labelled,
    *,
    simplify: float | None = None,
    unit: str = "px",
    regularise: bool = False,
) -> None:
    """Write GeoParquet 1.1; the file's metadata has the provenance, as JSON under ``provenance``.

    Parameters
    ----------
    path : Path
        Ends in .parquet.
    labelled, simplify, unit, regularise
        As for `write_geopackage`.

    Raises
    ------
    InputError
        If the image has no georeference, or it cannot be written.

    References
    ----------
    .. [1] https://geoparquet.org/releases/v1.1.0/
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    shapely = need("shapely", "geo")
    found = _on_map(labelled, simplify, unit, regularise)
    shapes = counterclockwise(found.shapes)
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["MultiPolygon"],
        "orientation": "counterclockwise",
        # Null is a system that is not known; without the key it were longitude and latitude.
        "crs": None if found.crs is None else json.loads(found.crs.to_json()),
    }
    if len(shapes):
        column["bbox"] = shapely.total_bounds(shapes).tolist()
    about = {"version": "1.1.0", "primary_column": _GEOMETRY, "columns": {_GEOMETRY: column}}
    metadata = {"geo": about, "provenance": dict(found.provenance)}
    table = _table(found, shapes).replace_schema_metadata(
        {key: json.dumps(value, ensure_ascii=False) for key, value in metadata.items()}
    )
    with whole_file(path, pa.ArrowException) as partial:
        pq.write_table(table, partial, compression="zstd")


def _on_map(labelled: Labelled, simplify: float | None, unit: str, regularise: bool) -> Features:
    """Trace objects of an image that has a place on the map."""
    if labelled.scene.georeference is None:
        raise InputError(
            f"{labelled.scene.name} has no place on a map: write GeoJSON, whose coordinates are "
            f"then pixels, or another format without one."
        )
    found = features(labelled, simplify, unit, regularise)
    # What the format itself calls so would be lost.
    columns = {
        f"{name}_of_table" if name.lower() in _TAKEN else name: values
        for name, values in found.columns.items()
    }
    return Features(found.shapes, columns, found.crs, found.placed, found.provenance)


def _table(found: Features, shapes: np.ndarray) -> pa.Table:
    """Return the features as a table, the shapes as well-known binary."""
    import pyarrow as pa

    types = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}
    arrays = {}
    for name, values in found.columns.items():
        kind = next((type(value) for value in values if value is not None), str)
        arrays[name] = pa.array(values, types[kind])
    arrays[_GEOMETRY] = pa.array(need("shapely", "geo").to_wkb(shapes), pa.binary())
    return pa.table(arrays)


def _write_layer(pyogrio: Any, path: Path, found: Features, **options: Any) -> None:
    table = _table(found, found.shapes)
    pyogrio.write_arrow(
        table,
        path,
        layer=_LAYER,
        geometry_name=_GEOMETRY,
        geometry_type="MultiPolygon",
        crs=None if found.crs is None else found.crs.to_wkt(),
        **options,
    )
    # GDAL says nothing where a disk is full when it writes its last bytes.
    _, _, shapes, (ids,) = pyogrio.raw.read(path, layer=_LAYER, columns=["id"])
    order = np.argsort(ids)  # FlatGeobuf is sorted by place
    if ids[order].tolist() != found.columns["id"] or not np.array_equal(
        shapes[order], table[_GEOMETRY].to_numpy()
    ):
        raise OSError("what was written is not there: the disk is full or failing")


def _failures(pyogrio: Any) -> tuple[type[Exception], ...]:
    errors = pyogrio.errors
    return errors.DataSourceError, errors.DataLayerError, errors.FeatureError
