"""Boxes that a detector found, from CSV, GeoJSON or COCO JSON, in pixels of the image.

What comes in (x, y) is measured from the outer corner of the first pixel, as COCO and GIS do, and
is half a pixel less in this package's coordinates, in which pixel centres are at integers. Columns
row0, col0, row1, col1 are taken as they are, as `--box` is.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.scenes.georeference import Georeference

__all__ = ["DetectedBox", "clip_boxes", "read_boxes"]

_ROW_COL, _XY = ("row0", "col0", "row1", "col1"), ("xmin", "ymin", "xmax", "ymax")
_IMAGE = ("image_path", "image", "file_name", "filename")
_ID, _LABEL, _SCORE = ("id", "box_id"), ("label", "class", "category"), ("score", "confidence")


@dataclass(frozen=True)
class DetectedBox:
    """A box.

    Parameters
    ----------
    corners : (float, float, float, float)
        (row0, col0, row1, col1) in pixels of level 0, centres at integers.
    id : str
        As the file has it; its number, from 1, where it has none.
    label : str or None
        What it is a box of.
    score : float or None
        How sure the detector is.
    """

    corners: tuple[float, float, float, float]
    id: str
    label: str | None = None
    score: float | None = None


def read_boxes(
    path: str | os.PathLike[str], image: str, georeference: Georeference | None = None
) -> list[DetectedBox]:
    r"""Read the boxes of one image.

    - ``.csv``: a header names the columns: row0, col0, row1, col1 (pixels, as `--box` has them) or
      xmin, ymin, xmax, ymax (pixels from the image's upper left corner); and perhaps id, label
      (class, category), score (confidence), and image_path (image, file_name, filename), which
      chooses the rows of this image.
    - ``.geojson``: features with a ``bbox`` or any geometry, whose bounding box counts; id, label
      and score are looked for in the feature and its properties. Positions are in the image's map
      units if it has a georeference, else in pixels from its upper left corner.
    - ``.json``: GeoJSON as above, or COCO's: annotations of the image, which is found by its file
      name, or a list of results.

    Parameters
    ----------
    path : path
        Of the file.
    image : str
        Path or URL of the image: its name chooses what is of it, unless a file is about a single
        image, whatever that is called.
    georeference : Georeference, optional
        Of the image.

    Returns
    -------
    list of DetectedBox
        In the order of the file; they may lie outside of the image.

    Raises
    ------
    InputError
        If the file cannot be read, is none of these, or has no boxes of this image.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "found.csv"
    ...     _ = path.write_text("xmin,ymin,xmax,ymax,label\n10,20,30,60,tree\n")
    ...     read_boxes(path, "scene.tif")
    [DetectedBox(corners=(19.5, 9.5, 59.5, 29.5), id='1', label='tree', score=None)]
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in (".csv", ".json", ".geojson"):
        raise InputError(
            f"{path} does not end in .csv, .geojson or .json: give boxes in one of these formats."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8: save it as such.") from error
    name = PurePosixPath(image.rstrip("/").replace("\\", "/")).name
    if ending == ".csv":
        found = _from_csv(text, path, name)
    else:
        try:
            content = json.loads(text)
        except ValueError as error:
            raise InputError(f"{path} is no JSON ({error}).") from error
        found = _from_json(content, path, name, georeference)
    if not found:
        raise InputError(f"{path} has no boxes.")
    return found


def clip_boxes(
    boxes: Iterable[DetectedBox], shape: tuple[int, int]
) -> tuple[list[DetectedBox], int]:
    """Cut boxes off where the image ends.

    Parameters
    ----------
    boxes : iterable of DetectedBox
        Anywhere.
    shape : (int, int)
        Rows and columns of the image.

    Returns
    -------
    inside : list of DetectedBox
        Those that share some area with the image, in order.
    outside : int
        How many do not.

    Examples
    --------
    >>> clip_boxes([DetectedBox((-9, 2, 5, 7), "1"), DetectedBox((30, 0, 40, 5), "2")], (20, 20))
    ([DetectedBox(corners=(-0.5, 2.0, 5.0, 7.0), id='1', label=None, score=None)], 1)
    """
    inside, outside = [], 0
    for box in boxes:
        row0, col0, row1, col1 = box.corners
        # The end of a box may be given as the pixel after the last one.
        cut = (max(row0, -0.5), max(col0, -0.5), min(row1, shape[0]), min(col1, shape[1]))
        starts_inside = cut[0] < shape[0] - 0.5 and cut[1] < shape[1] - 0.5
        if starts_inside and cut[0] < cut[2] and cut[1] < cut[3]:
            corners = (float(cut[0]), float(cut[1]), float(cut[2]), float(cut[3]))
            inside.append(DetectedBox(corners, box.id, box.label, box.score))
        else:
            outside += 1
    return inside, outside


def _from_csv(text: str, path: Path, name: str) -> list[DetectedBox]:
    header = text.partition("\n")[0]
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True
    )
    columns = {str(column).strip().lower(): column for column in reader.fieldnames or ()}
    corners = next((kind for kind in (_ROW_COL, _XY) if columns.keys() >= set(kind)), None)
    if corners is None:
        raise InputError(
            f"{path} has no header with row0, col0, row1, col1 or xmin, ymin, xmax, ymax: its "
            f"first line must name the columns so."
        )
    rows = []
    try:
        for row in reader:
            known = {column: (row[given] or "").strip() for column, given in columns.items()}
            if any(known.values()):
                rows.append((reader.line_num, known))
    except csv.Error as error:
        raise InputError(f"{path} is no CSV from line {reader.line_num} on ({error}).") from error
    image = next((column for column in _IMAGE if column in columns), None)
    if image is not None:
        rows = _of_image(rows, [row[image] for _, row in rows], name, path)
    found = []
    for number, (line, row) in enumerate(rows, 1):
        where = f"line {line} of {path}"
        values = [_number(row[column], f"{column} in {where}") for column in corners]
        score = next((row[column] for column in _SCORE if row.get(column)), None)
        found.append(
            DetectedBox(
                _ordered(values) if corners is _ROW_COL else _from_corner(values),
                next((row[column] for column in _ID if row.get(column)), str(number)),
                next((row[column] for column in _LABEL if row.get(column)), None),
                None if score is None else _number(score, f"the score in {where}"),
            )
        )
    return found


def _from_json(
    content: Any, path: Path, name: str, georeference: Georeference | None
) -> list[DetectedBox]:
    kind = content.get("type") if isinstance(content, dict) else None
    if kind in ("FeatureCollection", "Feature"):
        return _from_geojson(content, path, georeference)
    annotations = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(annotations, list):
        raise InputError(
            f"{path} is neither GeoJSON (a FeatureCollection) nor COCO JSON (with annotations, or "
            f"a list of results): export the boxes as one of these."
        )
    return _from_coco(content if isinstance(content, dict) else {}, annotations, path, name)


def _from_geojson(
    content: dict[str, Any], path: Path, georeference: Georeference | None
) -> list[DetectedBox]:
    _check_crs(content, path, georeference)
    features = content.get("features") if content["type"] == "FeatureCollection" else [content]
    if not isinstance(features, list):
        raise InputError(f"{path} is a FeatureCollection without a list of features.")
    found = []
    for number, feature in enumerate(features, 1):
        where = f"feature {number} of {path}"
        if not isinstance(feature, dict):
            raise InputError(f"{where} is no object.")
        xy = _to_pixels(_positions(feature, where), georeference)
        (x0, y0), (x1, y1) = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
        properties = feature.get("properties")
        known = properties if isinstance(properties, dict) else {}
        found.append(
            _described(_from_corner((x0, y0, x1, y1)), {**known, **feature}, number, where)
        )
    return found


def _positions(feature: dict[str, Any], where: str) -> np.ndarray:
    """Return the positions (x, y) whose bounding box is meant."""
    bbox, geometry = feature.get("bbox"), feature.get("geometry")
    if bbox is not None:
        if not isinstance(bbox, list) or len(bbox) not in (4, 6):
            raise InputError(f"the bbox in {where} must have 4 numbers: x0, y0, x1, y1.")
        half = len(bbox) // 2
        x0, y0, x1, y1 = (
            _number(value, f"the bbox in {where}")
            for at in (0, half)
            for value in bbox[at : at + 2]
        )
        return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    geometries = [geometry]
    if isinstance(geometry, dict) and geometry.get("type") == "GeometryCollection":
        geometries = geometry.get("geometries") or []
    found = [
        position
        for part in geometries
        if isinstance(part, dict)
        for position in _flattened(part.get("coordinates"), where)
    ]
    if len(found) < 2:
        raise InputError(f"{where} has neither a bbox nor a geometry with an extent.")
    return np.array(found)


def _flattened(coordinates: Any, where: str) -> Iterator[tuple[float, float]]:
    """Give all positions of a geometry, however deep they lie."""
    if not isinstance(coordinates, list):
        raise InputError(f"the coordinates of {where} are no list.")
    if coordinates and not isinstance(coordinates[0], list):
        if len(coordinates) < 2:
            raise InputError(f"a position in {where} has fewer than two numbers.")
        x, y = (_number(value, f"a position in {where}") for value in coordinates[:2])
        yield x, y
        return
    for part in coordinates:
        yield from _flattened(part, where)


def _to_pixels(xy: np.ndarray, georeference: Georeference | None) -> np.ndarray:
    """Bring map positions to (x, y) in pixels from the image's corner."""
    if georeference is None:
        return xy
    a, b, c, d, e, f = georeference.affine
    pixels: np.ndarray = np.linalg.solve(np.array([[a, b], [d, e]]), (xy - (c, f)).T).T
    return pixels


def _check_crs(content: dict[str, Any], path: Path, georeference: Georeference | None) -> None:
    """Refuse a file that says itself that it is in another coordinate system."""
    told = content.get("crs")
    name = told.get("properties", {}).get("name") if isinstance(told, dict) else None
    if georeference is None or georeference.crs is None or not isinstance(name, str):
        return
    code = name.replace("::", ":").split(":")[-1]
    own = georeference.crs.split(":")[-1]
    if code.isdecimal() and own.isdecimal() and code != own:
        raise InputError(
            f"{path} is in EPSG:{code} and the image in {georeference.crs}: bring the boxes to the "
            f"image's coordinate system first."
        )


def _from_coco(
    content: dict[str, Any], annotations: list[Any], path: Path, name: str
) -> list[DetectedBox]:
    images, categories = (_by_id(content, key, path) for key in ("images", "categories"))
    for number, annotation in enumerate(annotations, 1):
        if not isinstance(annotation, dict):
            raise InputError(f"annotation {number} of {path} is no object.")
    numbered = list(enumerate(annotations, 1))
    of = [str(annotation.get("image_id")) for annotation in annotations]
    files = {number: str(image.get("file_name", number)) for number, image in images.items()}
    wanted = [number for number, file in files.items() if _same_image(file, name)]
    if wanted:
        numbered = [pair for pair, image in zip(numbered, of, strict=True) if image in wanted]
    else:
        numbered = _of_image(numbered, [files.get(image, image) for image in of], name, path)
    found = []
    for place, (number, annotation) in enumerate(numbered, 1):
        where = f"annotation {number} of {path}"
        bbox = annotation.get("bbox")
        if not isinstance(bbox, list) or len(bbox) != 4:
            raise InputError(f"{where} has no bbox of four numbers (x, y, width, height).")
        x, y, width, height = (_number(value, f"the bbox in {where}") for value in bbox)
        category = annotation.get("category_id")
        label = categories.get(str(category), {}).get("name", category)
        known = {"label": label, **annotation}
        found.append(_described(_from_corner((x, y, x + width, y + height)), known, place, where))
    return found


def _by_id(content: dict[str, Any], key: str, path: Path) -> dict[str, dict[str, Any]]:
    entries = content.get(key) or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{key} in {path} must be a list of objects, each with an id.")
    return {str(entry.get("id")): entry for entry in entries}


def _of_image(rows: list[Any], names: Sequence[str], name: str, path: Path) -> list[Any]:
    """Choose the rows of an image; all of them if they are of a single one."""
    chosen = [row for row, given in zip(rows, names, strict=True) if _same_image(given, name)]
    if chosen or len(set(names)) <= 1:
        return chosen or rows
    raise InputError(
        f"{path} has boxes of {len(set(names))} images, none of which is called {name}: give an "
        f"image of that name, or a file with its boxes only."
    )


def _same_image(given: str, name: str) -> bool:
    """Tell whether a path, name or stem that a file gives is that of an image."""
    own = PurePosixPath(given.replace("\\", "/")).name
    return own in (name, PurePosixPath(name).stem)


def _described(
    corners: tuple[float, float, float, float], known: dict[str, Any], number: int, where: str
) -> DetectedBox:
    """Make a box with what is known of it."""
    values = [
        next((known[key] for key in keys if known.get(key) is not None), None)
        for keys in (_ID, _LABEL, _SCORE)
    ]
    own, label, score = values
    return DetectedBox(
        corners,
        str(number) if own is None else str(own),
        None if label is None else str(label),
        None if score is None else _number(score, f"the score in {where}"),
    )


def _from_corner(xyxy: Sequence[float]) -> tuple[float, float, float, float]:
    """Turn (x0, y0, x1, y1) from the image's corner into (row0, col0, row1, col1)."""
    x0, y0, x1, y1 = (value - 0.5 for value in xyxy)
    return _ordered((y0, x0, y1, x1))


def _ordered(corners: Sequence[float]) -> tuple[float, float, float, float]:
    row0, col0, row1, col1 = corners
    return min(row0, row1), min(col0, col1), max(row0, row1), max(col0, col1)


def _number(value: Any, what: str) -> float:
    try:
        number = float(value) if not isinstance(value, bool | None) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{what[0].upper()}{what[1:]} is {value!r} and no finite number.")
    return number
