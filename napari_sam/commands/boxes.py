"""`napari-sam segment --boxes`: the boxes of a detector to masks, on an image of any size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.commands.asked import Asked, segment_asked
from napari_sam.commands.views import View
from napari_sam.errors import InputError
from napari_sam.files.boxes import DetectedBox, clip_boxes, read_boxes
from napari_sam.segment.prompts import Box, Prompt

if TYPE_CHECKING:
    from napari_sam.scene import Scene

_FIRST = View()


def run(
    image: str,
    file: Path,
    *,
    where: str | None,
    model_name: str,
    folder: Path,
    view: View = _FIRST,
    exports: Sequence[Path] = (),
) -> None:
    """Find the object in each box of a file.

    Parameters
    ----------
    image : str
        Path or URL.
    file : Path
        Boxes, as `read_boxes` takes them.
    where, model_name, folder, view, exports
        As `segment_asked` takes them.

    Raises
    ------
    InputError
        For an image, boxes, a model or a folder that cannot be used.
    """

    def read(scene: Scene) -> Asked:
        boxes = read_boxes(file, image, scene.georeference)
        inside, outside = clip_boxes(boxes, scene.shape)
        if not inside:
            raise InputError(_all_outside(scene, boxes, file))
        note = f"{outside} of {len(boxes)} boxes lie outside of the image and are left out"
        return Asked(
            "box",
            [Prompt((), Box(*box.corners)) for box in inside],
            [box.id for box in inside],
            {
                "box_id": [box.id for box in inside],
                "class": [box.label for box in inside],
                "box_score": [box.score for box in inside],
            },
            [note] if outside else [],
        )

    segment_asked(
        image, view, read, where=where, model_name=model_name, folder=folder, exports=exports
    )


def _all_outside(scene: Scene, boxes: Sequence[DetectedBox], file: Path) -> str:
    rows, cols = scene.shape
    row0, col0, row1, col1 = (f"{value:.0f}" for value in boxes[0].corners)
    where = scene.georeference
    units = "" if where is None else f", GeoJSON in {where.crs or 'the units of its map'}"
    return (
        f"None of the {len(boxes)} boxes in {file} lies in the image, which has {rows} rows and "
        f"{cols} columns{units}; the first would go from row {row0}, column {col0} to row {row1}, "
        f"column {col1}: look whether they are of this image."
    )
