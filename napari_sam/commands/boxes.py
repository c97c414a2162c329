"""`napari-sam segment --boxes`: the boxes of a detector to masks, on an image of any size."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from napari_sam.commands.convert import check_export, write_exports
from napari_sam.commands.prompted_picture import NOTHING_SEEN, segment_picture
from napari_sam.commands.running import count, describe, plane_said, progress_bar, stopping
from napari_sam.commands.scene_results import write_scene
from napari_sam.commands.segment import is_small, open_image, read_whole
from napari_sam.commands.segment_scene import STOPPED, Prepared, prepare, stem_of
from napari_sam.commands.views import View
from napari_sam.errors import InputError
from napari_sam.files.boxes import DetectedBox, clip_boxes, read_boxes
from napari_sam.files.outputs import check_output_folder
from napari_sam.loading import check_model, load
from napari_sam.provenance import provenance
from napari_sam.segment.prompts import Box, Prompt

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from napari_sam.segment.boxes import BoxObjects

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

    A small image is treated, and its results are written, as `--box` does; of a larger one, or
    with a store, the labels are an OME-Zarr and the table is parquet.

    Parameters
    ----------
    image : str
        Path or URL.
    file : Path
        Boxes, as `read_boxes` takes them.
    where : str or None
        Of the store of embeddings of a large image; by default beside the results.
    model_name : str
        Name of a known checkpoint, or path of a file of weights.
    folder : Path
        For the results.
    view : View
        Which plane of which image.
    exports : sequence of Path
        Files to write the objects to besides, in the formats that their endings tell.

    Raises
    ------
    InputError
        For an image, boxes, a model or a folder that cannot be used.
    """
    for path in exports:
        check_export(path)
    scene = open_image(image, view)
    boxes = read_boxes(file, image, scene.georeference)
    inside, outside = clip_boxes(boxes, scene.shape)
    if not inside:
        raise InputError(_all_outside(scene, boxes, file))
    check_output_folder(folder)
    stem = stem_of(image) + view.mark
    check_model(model_name, "auto", "auto")
    start = time.perf_counter()
    plane = ""
    paths: tuple[Path, Path, Path]
    if is_small(scene) and where is None:
        model = load(model_name)
        pixels = read_whole(image, scene)
        columns = {
            "box_id": [box.id for box in inside],
            "label": [box.label or "" for box in inside],
            "box_score": ["" if box.score is None else f"{box.score:g}" for box in inside],
        }
        prompts = [Prompt((), Box(*box.corners)) for box in inside]
        objects, hidden, paths = segment_picture(
            pixels, model, prompts, columns, folder, stem, provenance(scene.name, model_name)
        )
        told = [count(objects), *([describe(objects)] if objects else [])]
        missing = [f"  box {inside[i].id}: {NOTHING_SEEN}" for i in hidden]
    else:
        prepared = prepare(image, scene, where, model_name, folder, None, stem)
        scene, plane = prepared.scene, plane_said(prepared.store.scene)
        found = segment_in_tiles(prepared, inside)
        told = [_objects(len(found.boxes))]
        paths = _write_scene(prepared, found, folder, stem, model_name)
        missing = [f"  box {box.id}: {why}" for box, why in found.without]
    rows, cols = scene.shape
    seconds = time.perf_counter() - start
    print(
        f"{PurePosixPath(image).name} ({rows} rows, {cols} columns{plane}): {told[0]} for "
        f"{len(inside)} boxes in {seconds:.1f} s with {model_name}"
    )
    if outside:
        print(f"{outside} of {len(boxes)} boxes lie outside of the image and are left out")
    for line in (*told[1:], *missing[:10], *map(str, paths)):
        print(line)
    write_exports(exports, scene, paths[0], paths[1], model_name)


def segment_in_tiles(prepared: Prepared, boxes: Sequence[DetectedBox]) -> BoxObjects:
    """Find the object in each box, and show how far it is.

    Raises
    ------
    KeyboardInterrupt
        With what to do next, if ctrl-C stopped it.
    """
    from napari_sam.segment.boxes import segment_boxes

    with stopping() as should_stop, progress_bar("boxes") as show:
        found = segment_boxes(
            prepared.scene, prepared.sam, boxes, prepared.store, show, should_stop
        )
    if found is None:
        raise KeyboardInterrupt(STOPPED)
    return found


def _write_scene(
    prepared: Prepared, found: BoxObjects, folder: Path, stem: str, model_name: str
) -> tuple[Path, Path, Path]:
    import pyarrow as pa

    more = pa.table(
        {
            "class": pa.array([box.label for box in found.boxes], pa.string()),
            "box_id": pa.array([box.id for box in found.boxes], pa.string()),
            "box_score": pa.array([box.score for box in found.boxes], pa.float64()),
        }
    )
    scene, geometry = prepared.scene, prepared.store.geometry
    return write_scene(
        folder, stem, scene, found.objects, geometry, more=more, model_name=model_name
    )


def _objects(number: int) -> str:
    return f"{number} object{'' if number == 1 else 's'}"


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
