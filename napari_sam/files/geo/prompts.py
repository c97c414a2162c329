"""Prompts from a vector file, in pixels of a scene."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.segment.prompts import Box, Point, Prompt

from .placing import WayToPixels
from .vectors import VectorLayer, read_vectors

if TYPE_CHECKING:
    from napari_sam.scene import Scene

__all__ = ["PlacedPrompt", "PlacedPrompts", "place_prompts"]

_OBJECT = ("object", "object_id")
_CLASS = ("class", "category", "label")


@dataclass(frozen=True)
class PlacedPrompt:
    """What is asked for one object.

    Parameters
    ----------
    prompt : Prompt
        In pixels of the scene.
    id : str
        As the file has it; its number, from 1, where it has none.
    label : str or None
        What it is.
    """

    prompt: Prompt
    id: str
    label: str | None = None


@dataclass(frozen=True)
class PlacedPrompts:
    """The prompts of a file.

    Parameters
    ----------
    prompts : tuple of PlacedPrompt
        One for each object, in the order of the file.
    outside, total : int
        How many points and boxes the file has, and how many of them lie outside of the scene and
        are left out.
    notes : tuple of str
        What to say about how they were placed.
    """

    prompts: tuple[PlacedPrompt, ...]
    outside: int
    total: int
    notes: tuple[str, ...]


@dataclass
class _Asked:
    """What has been found of an object."""

    id: str
    label: str | None
    points: list[Point] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)

    @property
    def prompt(self) -> Prompt:
        if not self.boxes:
            return Prompt(tuple(self.points))
        corners = np.array([(b.row0, b.col0, b.row1, b.col1) for b in self.boxes])
        row0, col0 = corners[:, :2].min(axis=0).tolist()
        row1, col1 = corners[:, 2:].max(axis=0).tolist()
        return Prompt(tuple(self.points), Box(row0, col0, row1, col1))


def place_prompts(file: str | Path, scene: Scene, crs: str | None = None) -> PlacedPrompts:
    """Read points, boxes and polygons, and bring them to pixels of a scene.

    Each is one object. Of a box, a polygon or a line the bounding box in pixels is the prompt. A
    column ``object`` or ``object_id`` says what belongs together, and ``foreground`` (or a
    ``label`` of nothing but 0 and 1) is 0 for points that are not on the object; beside such a
    column ``id`` too says what belongs together. A column ``class``, ``category`` or ``label``
    tells what an object is, and ``id`` how it is called.

    Parameters
    ----------
    file : path
        As `read_vectors` takes it.
    scene : Scene
        The image; see `WayToPixels`.
    crs : str, optional
        The system of the coordinates, whatever the file says.

    Raises
    ------
    InputError
        If the file cannot be read or placed, all of it lies outside of the scene, or an object has
        background points only.
    """
    layer = read_vectors(file, crs)
    way = WayToPixels(layer, scene)
    foreground = _foreground_column(layer)
    together = _column(layer, (*_OBJECT, "id") if foreground else _OBJECT)
    asked: dict[Any, _Asked] = {}
    outside = total = 0
    for number, part, known in _parts(layer):
        total += 1
        placed = _placed(part, way, scene.shape, _is_foreground(known, foreground))
        if placed is None:
            outside += 1
            continue
        shared = None if together is None else known.get(together)
        name = known.get("id") if shared is None else shared
        one = asked.setdefault(
            ("alone", total) if shared is None else shared,
            _Asked(str(number if name is None else name), _label(known, foreground)),
        )
        if isinstance(placed, Point):
            one.points.append(placed)
        else:
            one.boxes.append(placed)
    if not asked:
        raise InputError(
            f"None of the {total} points and boxes in {layer.name} lies in {scene.name}: look "
            f"whether they are of this place, and in the coordinate system that they are said to "
            f"be in."
        )
    for one in asked.values():
        if not one.boxes and not any(point.foreground for point in one.points):
            raise InputError(
                f"Of the object {one.id} in {layer.name} there are only points beside it in the "
                f"image: add one on it, or a box."
            )
    prompts = tuple(PlacedPrompt(one.prompt, one.id, one.label) for one in asked.values())
    return PlacedPrompts(prompts, outside, total, way.notes)


def _parts(layer: VectorLayer) -> Iterator[tuple[int, Any, Mapping[str, Any]]]:
    """Give points one by one and other shapes whole, with the number of their feature."""
    for number, (shape, known) in enumerate(
        zip(layer.geometries, layer.properties, strict=True), 1
    ):
        if shape is None or shape.is_empty:
            continue
        if shape.geom_type == "MultiPoint":
            for part in shape.geoms:
                yield number, part, known
        else:
            yield number, shape, known


def _placed(
    part: Any, way: WayToPixels, shape: tuple[int, int], foreground: bool
) -> Point | Box | None:
    """Return a point or a box in the scene, cut off where that ends; None if it is outside."""
    corners = way.corners(part)
    if not len(corners):
        return None
    last = np.array(shape) - 0.5
    low, high = corners.min(axis=0), corners.max(axis=0)
    if part.geom_type == "Point":
        inside = bool((low >= -0.5).all() and (low <= last).all())
        return Point(float(low[0]), float(low[1]), foreground) if inside else None
    low, high = np.maximum(low, -0.5), np.minimum(high, last)
    if not (low < high).all():
        return None
    return Box(*low.tolist(), *high.tolist())


def _column(layer: VectorLayer, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if any(name in known for known in layer.properties)), None)


def _foreground_column(layer: VectorLayer) -> str | None:
    """Return which column says whether points are on the object."""
    if _column(layer, ("foreground",)):
        return "foreground"
    labels = {str(known.get("label")).strip() for known in layer.properties}
    return "label" if labels <= {"0", "1", "0.0", "1.0", "True", "False"} else None


def _is_foreground(known: Mapping[str, Any], column: str | None) -> bool:
    told = None if column is None else known.get(column)
    return told is None or str(told).strip().lower() not in ("0", "0.0", "false")


def _label(known: Mapping[str, Any], foreground: str | None) -> str | None:
    for name in _CLASS:
        if name != foreground and known.get(name) not in (None, ""):
            return str(known[name])
    return None
