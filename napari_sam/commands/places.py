"""`napari-sam segment --prompts`: points, boxes and polygons of a map to masks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from napari_sam.commands.boxes import segment_in_tiles
from napari_sam.commands.convert import check_export, write_exports
from napari_sam.commands.prompted_picture import NOTHING_SEEN, segment_picture
from napari_sam.commands.running import plane_said, progress_bar, stopping
from napari_sam.commands.scene_results import write_scene
from napari_sam.commands.segment import is_small, open_image, read_whole
from napari_sam.commands.segment_scene import STOPPED, Prepared, prepare, stem_of
from napari_sam.commands.views import View
from napari_sam.files.boxes import DetectedBox
from napari_sam.files.geo.prompts import PlacedPrompt, place_prompts
from napari_sam.files.outputs import check_output_folder
from napari_sam.loading import check_model, load
from napari_sam.provenance import provenance
from napari_sam.segment.prompted import as_found, prompt_scene
from napari_sam.segment.segmenter import Segmenter

if TYPE_CHECKING:
    from napari_sam.segment.everything import FoundObjects

_FIRST = View()

_SHOWN = 10
"""Prompts without an object that are listed."""


def run(
    image: str,
    file: str,
    *,
    crs: str | None,
    where: str | None,
    model_name: str,
    folder: Path,
    view: View = _FIRST,
    exports: Sequence[Path] = (),
) -> None:
    """Find the object of each prompt in a vector file.

    A small image is treated, and its results are written, as `--point` and `--box` do; of a larger
    one, or with a store, the labels are an OME-Zarr and the table is parquet.

    Parameters
    ----------
    image : str
        Path or URL.
    file : str
        As `place_prompts` takes it.
    crs : str or None
        The system of its coordinates, whatever it says.
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
        For an image, prompts, a model or a folder that cannot be used.
    """
    for path in exports:
        check_export(path)
    scene = open_image(image, view)
    placed = place_prompts(file, scene, crs)
    asked = placed.prompts
    check_output_folder(folder)
    stem = stem_of(image) + view.mark
    check_model(model_name, "auto", "auto")
    start = time.perf_counter()
    plane = ""
    paths: tuple[Path, Path, Path]
    if is_small(scene) and where is None:
        columns = {
            "prompt_id": [one.id for one in asked],
            "class": [one.label or "" for one in asked],
        }
        prompts = [one.prompt for one in asked]
        pixels = read_whole(image, scene)
        objects, hidden, paths = segment_picture(
            pixels,
            load(model_name),
            prompts,
            columns,
            folder,
            stem,
            provenance(scene.name, model_name),
        )
        number = len(objects)
        missing = [f"{asked[i].id}: {NOTHING_SEEN}" for i in hidden]
    else:
        prepared = prepare(image, scene, where, model_name, folder, None, stem)
        scene, plane = prepared.scene, plane_said(prepared.store.scene)
        found, own, missing = _in_tiles(prepared, asked)
        number = len(found)
        paths = _write(prepared, found, own, folder, stem, model_name)
    rows, cols = scene.shape
    seconds = time.perf_counter() - start
    print(
        f"{PurePosixPath(image).name} ({rows} rows, {cols} columns{plane}): "
        f"{number} object{'' if number == 1 else 's'} for {len(asked)} "
        f"prompt{'' if len(asked) == 1 else 's'} in {seconds:.1f} s with {model_name}"
    )
    for note in placed.notes:
        print(note)
    if placed.outside:
        print(
            f"{placed.outside} of {placed.total} points and boxes lie outside of the image and are "
            f"left out"
        )
    for line in (*(f"  prompt {text}" for text in missing[:_SHOWN]), *map(str, paths)):
        print(line)
    write_exports(exports, scene, paths[0], paths[1], model_name)


def _in_tiles(
    prepared: Prepared, asked: Sequence[PlacedPrompt]
) -> tuple[FoundObjects, list[PlacedPrompt], list[str]]:
    """Return the objects, the prompts that they are of, and what to say of the others."""
    boxes = []
    for number, one in enumerate(asked):
        box = one.prompt.box
        if box is not None and not one.prompt.points:
            boxes.append(DetectedBox((box.row0, box.col0, box.row1, box.col1), str(number)))
    if len(boxes) == len(asked):  # many boxes are found much faster together
        result = segment_in_tiles(prepared, boxes)
        own = [asked[int(box.id)] for box in result.boxes]
        missing = [f"{asked[int(box.id)].id}: {why}" for box, why in result.without]
        return result.objects, own, missing
    segmenter = Segmenter(prepared.scene, prepared.store, prepared.sam)
    with stopping() as should_stop, progress_bar("objects") as show:
        found = prompt_scene(segmenter, [one.prompt for one in asked], show, should_stop)
    if len(found) < len(asked):
        raise KeyboardInterrupt(STOPPED)
    seen = [one.mask.any() for one in found]
    own = [one for one, there in zip(asked, seen, strict=True) if there]
    missing = [f"{one.id}: no object" for one, there in zip(asked, seen, strict=True) if not there]
    return as_found(found, prepared.scene.shape), own, missing


def _write(
    prepared: Prepared,
    found: FoundObjects,
    own: Sequence[PlacedPrompt],
    folder: Path,
    stem: str,
    model_name: str,
) -> tuple[Path, Path, Path]:
    import pyarrow as pa

    more = pa.table(
        {
            "class": pa.array([one.label for one in own], pa.string()),
            "prompt_id": pa.array([one.id for one in own], pa.string()),
        }
    )
    geometry = prepared.store.geometry
    return write_scene(
        folder, stem, prepared.scene, found, geometry, more=more, model_name=model_name
    )
