"""Labelled objects as features: a shape on the map for each, and what is known of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.extras import need
from napari_sam.scenes.lengths import METRES

from .areas import ground_sizes
from .crs import crs_of
from .outlines import Outlines, trace_blocks
from .polygons import polygons
from .right_angles import right_angled
from .shared_borders import simplified

if TYPE_CHECKING:
    from napari_sam.files.labelled import Labelled

__all__ = ["Features", "features"]

_BESIDE_BUILDINGS = 1.5
"""Pixels of tolerance for what has no right angles, where they are sought and no other is asked."""


@dataclass(frozen=True, eq=False)
class Features:
    """Shapes and what is known of them.

    Parameters
    ----------
    shapes : (n,) ndarray
        A `shapely.MultiPolygon` for each object, in coordinates of `crs`, or of pixels (x to the
        right, y down, from the outer corner of the first pixel).
    columns : dict of str to list
        For each object, ``id`` first; None where something is not known of it.
    crs : pyproj.CRS or None
        None where the image does not tell it.
    placed : bool
        Whether the coordinates are those of a map.
    provenance : mapping of str to str
        As the labels have it.
    """

    shapes: np.ndarray
    columns: dict[str, list[Any]]
    crs: Any
    placed: bool
    provenance: Mapping[str, str]


def features(
    labelled: Labelled, simplify: float | None = None, unit: str = "px", regularise: bool = False
) -> Features:
    """Trace labelled objects, block by block.

    Parameters
    ----------
    labelled : Labelled
        Of one plane. Rows of its table without a pixel become no feature.
    simplify : float, optional
        How far an outline may move, as `simplified` means it; by default it follows the edges of
        pixels.
    unit : {"px", "map"}
        Of `simplify`: pixels, or the unit of the map's coordinates.
    regularise : bool
        Whether right angles are sought, as `right_angled` does.

    Returns
    -------
    Features
        With the table's columns and ``area_px`` (pixels), ``area_m2`` and ``perimeter_m`` (of the
        shape as it is here, on the ground; None without a size of pixels); if regularised also
        ``regularised_iou`` (with the outline before; None for those that stay as they were).

    Raises
    ------
    InputError
        If there are several planes, or the coordinate system is not known to PROJ.
    """
    scene = labelled.scene
    if len(labelled.planes) > 1:
        raise InputError(
            f"{scene.name} has labels of {len(labelled.planes)} planes: a map holds those of one."
        )
    t, z = labelled.planes[0]
    place = scene.georeference
    crs = crs_of(place, scene.name)
    affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0) if place is None else place.affine
    outlines = trace_blocks(lambda part: labelled.plane(part, t, z), scene.shape)
    areas = _pixel_areas(outlines)
    tolerance = _in_pixels(simplify, unit, None if place is None else affine, scene.name)
    if tolerance is None and regularise:
        tolerance = _BESIDE_BUILDINGS
    ids, shapes = polygons(outlines)
    ious: np.ndarray | None = None
    if tolerance is not None:
        originals = shapes
        _, shapes = polygons(simplified(outlines, tolerance))
        if regularise:
            shapes, ious = right_angled(shapes, originals, _metric(affine, scene.shape, crs))
    shapes = _placed(shapes, affine)
    columns = _columns([labelled.row(number) for number in ids.tolist()])
    columns["area_px"] = areas.tolist()
    square, around = _ground(labelled, shapes, crs)
    columns["area_m2"], columns["perimeter_m"] = square, around
    if ious is not None:
        columns["regularised_iou"] = [None if np.isnan(iou) else iou for iou in ious.tolist()]
    return Features(shapes, columns, crs, place is not None, labelled.provenance)


def _in_pixels(
    simplify: float | None, unit: str, affine: tuple[float, ...] | None, name: str
) -> float | None:
    """Return a tolerance in pixels."""
    if simplify is None:
        return None
    if unit not in ("px", "map"):
        raise InputError(f"{unit!r} is no unit of a tolerance: choose 'px' or 'map'.")
    if not 0 < simplify < np.inf:
        raise InputError(f"A tolerance of {simplify} is none: give a positive number.")
    if unit == "px":
        return simplify
    if affine is None:
        raise InputError(f"{name} has no place on a map: give the tolerance in pixels.")
    a, b, _, d, e, _ = affine
    return float(simplify / np.sqrt(abs(a * e - b * d)))


def _pixel_areas(outlines: Outlines) -> np.ndarray:
    """Count the pixels of each object, from its outline."""
    y, x = outlines.nodes[outlines.visits].astype(np.int64).T
    after = np.arange(1, len(y) + 1)
    after[outlines.starts[1:] - 1] = outlines.starts[:-1]
    _, number = np.unique(outlines.owners, return_inverse=True)
    each = np.repeat(number, np.diff(outlines.starts))
    return (np.bincount(each, x * y[after] - x[after] * y) / 2).astype(np.int64)


def _placed(shapes: np.ndarray, affine: tuple[float, float, float, float, float, float]) -> Any:
    a, b, c, d, e, f = affine

    def on_map(places: np.ndarray) -> np.ndarray:
        x, y = places.T
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)

    return need("shapely", "geo").transform(shapes, on_map)


def _metric(affine: tuple[float, ...], shape: tuple[int, int], crs: Any) -> np.ndarray:
    """Return what leads from (x, y) in pixels to directions on the ground."""
    a, b, _, d, e, f = affine
    metric = np.array([[a, b], [d, e]])
    if crs is not None and crs.is_geographic:
        latitude = d * shape[1] / 2 + e * shape[0] / 2 + f
        # Beyond the poles there is nothing.
        metric[0] *= max(0.01, np.cos(latitude * crs.axis_info[0].unit_conversion_factor))
    return metric


def _ground(
    labelled: Labelled, shapes: np.ndarray, crs: Any
) -> tuple[list[float | None], list[float | None]]:
    """Return square metres and metres, as far as they can be known."""
    if crs is not None:
        square, around = ground_sizes(shapes, crs)
        return square.tolist(), around.tolist()
    scene, shapely = labelled.scene, need("shapely", "geo")
    size = scene.pixel_size
    metres = None if size is None else METRES.get(size.unit)
    if size is None or metres is None or scene.georeference is not None:
        return [None] * len(shapes), [None] * len(shapes)
    scaled = shapely.transform(shapes, lambda xy: xy * [size.cols * metres, size.rows * metres])
    return shapely.area(scaled).tolist(), shapely.length(scaled).tolist()


def _columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return rows as columns of one type each."""
    rows = list(rows)
    names = dict.fromkeys(["id", *(name for row in rows for name in row)])
    return {name: _of_one_type([row.get(name) for row in rows]) for name in names}


def _of_one_type(values: list[Any]) -> list[Any]:
    """Return plain values: numbers of one kind, or text."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    kinds = {type(value) for value in plain if value is not None}
    if len(kinds) < 2 and kinds <= {bool, int, float, str}:
        return plain
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in plain]
    return [None if value is None else _as_text(value) for value in plain]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
