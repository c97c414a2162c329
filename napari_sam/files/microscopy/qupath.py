"""GeoJSON as QuPath reads it: outlines in pixels of full resolution, classes, measurements."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np

from napari_sam.files.label_colours import label_colour
from napari_sam.files.labelled import Labelled
from napari_sam.files.microscopy.rings import Outlined, outlined
from napari_sam.files.outputs import written_together
from napari_sam.files.rasters import told

__all__ = ["write_qupath"]

_NOT_MEASURED = frozenset({"id", "class", "track", "parent"})


def write_qupath(
    path: Path,
    labelled: Labelled,
    *,
    kind: Literal["annotation", "detection"] = "annotation",
) -> None:
    """Write outlines along the edges of pixels, with holes and parts.

    QuPath opens it with File > Import objects, over the same image. Numbers of the table become
    measurements, other values metadata of the object. An object in several planes is one object
    in each.

    Parameters
    ----------
    path : Path
        Of the .geojson file; replaced when the new one is whole.
    labelled : Labelled
        The objects.
    kind : {"annotation", "detection"}
        What they become: annotations can be changed by hand, detections are many.

    Raises
    ------
    InputError
        If it cannot be written.

    References
    ----------
    .. [1] https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html
    """
    classes = sorted({str(row["class"]) for row in labelled.table if row.get("class")})
    colours = {name: list(label_colour(number)) for number, name in enumerate(classes, 1)}
    head = {"type": "FeatureCollection", "provenance": dict(labelled.provenance)}
    with (
        told(path),
        written_together(path) as (partial,),
        partial.open("w", encoding="utf-8") as file,
    ):
        file.write(json.dumps(head)[:-1] + ', "features": [')
        _write_features(file, labelled, kind, colours)
        file.write("\n]}\n")


def _write_features(
    file: TextIO, labelled: Labelled, kind: str, colours: Mapping[str, list[int]]
) -> None:
    """Write them one by one: there may be more than memory holds."""
    for number, one in enumerate(outlined(labelled)):
        row = labelled.row(one.id)
        properties: dict[str, Any] = {
            "objectType": kind,
            "name": str(one.id),
            "measurements": _measurements(row),
            "metadata": {
                key: str(value)
                for key, value in row.items()
                if key != "class" and value is not None and key not in _measurements(row)
            },
        }
        if row.get("class"):
            name = str(row["class"])
            properties["classification"] = {"name": name, "color": colours[name]}
        feature = {
            "type": "Feature",
            # The same object has the same identity in every export of an image.
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, _place(labelled, one))),
            "geometry": {**_geometry(one), "plane": {"c": -1, "z": one.z, "t": one.t}},
            "properties": properties,
        }
        file.write((",\n" if number else "\n") + json.dumps(feature, allow_nan=False))


def _place(labelled: Labelled, one: Outlined) -> str:
    return f"napari-sam-tiled:{labelled.provenance.get('image', '')}:{one.t}:{one.z}:{one.id}"


def _measurements(row: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in row.items()
        if key not in _NOT_MEASURED
        and isinstance(value, int | float | np.number)
        and not isinstance(value, bool)
        and np.isfinite(value)
    }


def _geometry(one: Outlined) -> dict[str, Any]:
    parts = [[[*ring.tolist(), ring[0].tolist()] for ring in polygon] for polygon in one.polygons]
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}
