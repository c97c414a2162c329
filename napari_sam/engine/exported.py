"""What is exported of an image: pieces of it, and the objects in each as annotations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from napari_sam.session import ObjectInfo, Runs
from napari_sam.tiles.regions import Region
from src_model.rle import coco_encode_rle, rle_from_window

from .choosing import blocks_of
from .project import ProjectImage
from .rounds import Kind

__all__ = ["ExportedObject", "Piece", "annotation", "pieces_of"]

_SIDE = 2048
"""Pixels along a side of a piece, at most: larger images are cut."""

_PIECES = 1_000_000
"""Numbers that are kept for the pieces of one image."""


@dataclass(frozen=True)
class ExportedObject:
    """An object, wherever it comes from.

    Parameters
    ----------
    info : ObjectInfo
        What is known of it.
    kind : Kind
        Who is behind it.
    runs : Runs
        Its pixels, at level 0.
    """

    info: ObjectInfo
    kind: Kind
    runs: Runs


@dataclass(frozen=True)
class Piece:
    """A part of an image that becomes one picture.

    Parameters
    ----------
    image : ProjectImage
        Of the project.
    number : int
        The same in every export.
    plane : (int, int)
        (t, z).
    region : Region
        Pixels of level 0.
    objects : tuple of ExportedObject
        Those that are shown in it.
    """

    image: ProjectImage
    number: int
    plane: tuple[int, int]
    region: Region
    objects: tuple[ExportedObject, ...]

    def about(self) -> dict[str, Any]:
        """Return what both formats say of the picture."""
        rows, cols = self.region.shape
        return {
            "width": cols,
            "height": rows,
            "source": self.image.where,
            "key": self.image.key,
            "plane": list(self.plane),
            "region": [self.region.row0, self.region.col0, self.region.row1, self.region.col1],
        }


def pieces_of(
    image: ProjectImage, shape: tuple[int, int], objects: Sequence[ExportedObject]
) -> Iterator[Piece]:
    """Cut an image into pieces, and give those that show objects.

    Parameters
    ----------
    image : ProjectImage
        Of the project.
    shape : (int, int)
        Rows and columns of level 0.
    objects : sequence of ExportedObject
        Of all planes. Each is in the piece that has most of it, and cut off at its border.
    """
    blocks = blocks_of(shape, _SIDE)
    by_place: dict[tuple[tuple[int, int], int], list[ExportedObject]] = {}
    for given in objects:
        one = replace(given, runs=given.runs.clip(Region(0, 0, *shape)))
        areas = [
            one.runs.clip(block).area if (block & one.runs.box).area else 0 for block in blocks
        ]
        by_place.setdefault((one.info.plane, int(np.argmax(areas))), []).append(one)
    planes = sorted({plane for plane, _ in by_place})
    for (plane, index), some in sorted(by_place.items(), key=lambda item: item[0]):
        number = image.number * _PIECES + planes.index(plane) * len(blocks) + index
        yield Piece(image, number, plane, blocks[index], tuple(some))


def annotation(piece: Piece, one: ExportedObject) -> dict[str, Any]:
    """Describe an object as SA-1B and COCO do, in pixels of its piece.

    Corners of boxes are whole numbers, and pixel centres lie at half ones. What was drawn without
    the network has no scores: they are 1, and `scored` is false.

    Returns
    -------
    dict
        `id` (unique, and the same in every export), `segmentation` (COCO's compressed run lengths),
        `bbox`, `area`, `predicted_iou`, `stability_score`, `point_coords`, `crop_box`; beside what
        the formats define: `object_id` (in its session), `class`, `kind`, `source`, `scored`,
        `model` (hash), `user`, `time` (ISO 8601, UTC), `cut` (whether the piece's border cuts it).
    """
    runs, origin = one.runs.clip(piece.region), one.info.provenance
    rows, cols = piece.region.shape
    box = runs.box.within(piece.region)
    mask = runs.mask
    rle = rle_from_window(np.ascontiguousarray(mask.T), (box.row0, box.col0), (rows, cols))
    scored = origin.predicted_iou is not None and origin.stability is not None
    row, col = _inside(one, piece.region, mask, (box.row0, box.col0))
    return {
        "id": (piece.image.number << 32) + one.info.id,
        "segmentation": coco_encode_rle(rle),
        "bbox": [box.col0, box.row0, box.shape[1], box.shape[0]],
        "area": runs.area,
        "predicted_iou": _score(origin.predicted_iou),
        "stability_score": _score(origin.stability),
        "point_coords": [[col + 0.5, row + 0.5]],
        "crop_box": [0, 0, cols, rows],
        "object_id": one.info.id,
        "class": one.info.class_name,
        "kind": one.kind,
        "source": origin.source,
        "scored": scored,
        "model": origin.model,
        "user": origin.user,
        "time": datetime.fromtimestamp(origin.time, UTC).isoformat(timespec="seconds"),
        "cut": runs.area < one.runs.area,
    }


def _score(value: float | None) -> float:
    return 1.0 if value is None else round(float(value), 6)


def _inside(
    one: ExportedObject, region: Region, mask: np.ndarray, corner: tuple[int, int]
) -> tuple[float, float]:
    """Return the first click on an object, or a place deep in it: (row, col) in its piece."""
    from scipy import ndimage

    prompts = one.info.provenance.prompts
    for row, col, on_it in () if prompts is None else prompts.points:
        place = row - region.row0, col - region.col0
        if on_it and 0 <= place[0] < region.shape[0] and 0 <= place[1] < region.shape[1]:
            return place
    deep = ndimage.distance_transform_edt(np.pad(mask, 1))
    down, across = divmod(int(deep.argmax()), deep.shape[1])
    return float(down - 1 + corner[0]), float(across - 1 + corner[1])
