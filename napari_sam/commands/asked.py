"""`napari-sam segment` with the prompts of a file: an object for each, on an image of any size."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from napari_sam.commands.convert import check_export, write_exports
from napari_sam.commands.prompted_picture import NOTHING_SEEN, segment_picture
from napari_sam.commands.running import count, describe, plane_said, progress_bar, stopping
from napari_sam.commands.scene_results import found_with, write_scene
from napari_sam.commands.segment import is_small, open_image, read_whole
from napari_sam.commands.segment_scene import STOPPED, Prepared, prepare, stem_of
from napari_sam.commands.views import View
from napari_sam.files.boxes import DetectedBox
from napari_sam.files.outputs import check_output_folder
from napari_sam.loading import check_model, load
from napari_sam.segment.prompted import as_found, prompt_scene
from napari_sam.segment.prompts import Prompt
from napari_sam.segment.segmenter import Segmenter

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from napari_sam.segment.everything import FoundObjects

__all__ = ["Asked", "segment_asked"]

_SHOWN = 10
"""Prompts without an object that are listed."""


@dataclass(frozen=True)
class Asked:
    """What a file asks for.

    Parameters
    ----------
    kind : {"box", "prompt"}
        What its entries are called.
    prompts : sequence of Prompt
        One for each object; at least one.
    ids : sequence of str
        What the file calls them.
    columns : mapping of str to sequence
        Further columns of the table of objects: texts or numbers, None where there is none.
    notes : sequence of str
        What is to be said besides.
    """

    kind: str
    prompts: Sequence[Prompt]
    ids: Sequence[str]
    columns: Mapping[str, Sequence[str | float | None]]
    notes: Sequence[str] = field(default=())


def segment_asked(
    image: str,
    view: View,
    read: Callable[[Scene], Asked],
    *,
    where: str | None,
    model_name: str,
    folder: Path,
    exports: Sequence[Path] = (),
) -> None:
    """Find the object that each prompt of a file means.

    A small image is treated, and its results are written, as `--point` and `--box` do; of a larger
    one, or with a store, the labels are an OME-Zarr and the table is parquet.

    Parameters
    ----------
    image : str
        Path or URL.
    view : View
        Which plane of which image.
    read : callable
        Reads the file for the Scene.
    where : str or None
        Of the store of embeddings of a large image; by default beside the results.
    model_name : str
        Name of a known checkpoint, or path of a file of weights.
    folder : Path
        For the results.
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
    asked = read(scene)
    check_output_folder(folder)
    stem = stem_of(image) + view.mark
    check_model(model_name, "auto", "auto")
    start = time.perf_counter()
    plane, table = "", ""
    paths: tuple[Path, Path, Path]
    if is_small(scene) and where is None:
        model = load(model_name)
        objects, hidden, paths = segment_picture(
            read_whole(image, scene),
            model,
            asked.prompts,
            {name: [_text(value) for value in values] for name, values in asked.columns.items()},
            folder,
            stem,
            found_with(scene.name, model_name, model),
        )
        found, table = count(objects), describe(objects)
        missing = [f"{asked.ids[i]}: {NOTHING_SEEN}" for i in hidden]
    else:
        prepared = prepare(image, scene, where, model_name, folder, None, stem)
        scene, plane = prepared.scene, plane_said(prepared.store.scene)
        in_tiles, own, missing = _in_tiles(prepared, asked)
        found = f"{len(in_tiles)} object{'' if len(in_tiles) == 1 else 's'}"
        paths = _write(prepared, in_tiles, asked, own, folder, stem, model_name)
    rows, cols = scene.shape
    number = len(asked.prompts)
    kinds = asked.kind if number == 1 else {"box": "boxes"}.get(asked.kind, f"{asked.kind}s")
    print(
        f"{PurePosixPath(image).name} ({rows} rows, {cols} columns{plane}): {found} for {number} "
        f"{kinds} in {time.perf_counter() - start:.1f} s with {model_name}"
    )
    told = [*asked.notes, *([table] if table else [])]
    for line in (*told, *(f"  {asked.kind} {text}" for text in missing[:_SHOWN])):
        print(line)
    for path in paths:
        print(path)
    write_exports(exports, scene, paths[0], paths[1])


def _in_tiles(prepared: Prepared, asked: Asked) -> tuple[FoundObjects, list[int], list[str]]:
    """Return the objects, the prompts that they are of, and what to say of the others.

    Raises
    ------
    KeyboardInterrupt
        With what to do next, if ctrl-C stopped it.
    """
    from napari_sam.segment.boxes import segment_boxes

    boxes = []
    for number, prompt in enumerate(asked.prompts):
        box = prompt.box
        if box is not None and not prompt.points:
            boxes.append(DetectedBox((box.row0, box.col0, box.row1, box.col1), str(number)))
    scene, store, sam = prepared.scene, prepared.store, prepared.sam
    if len(boxes) == len(asked.prompts):  # many boxes are found much faster together
        with stopping() as should_stop, progress_bar("boxes") as show:
            answered = segment_boxes(scene, sam, boxes, store, show, should_stop)
        if answered is None:
            raise KeyboardInterrupt(STOPPED)
        own = [int(box.id) for box in answered.boxes]
        missing = [f"{asked.ids[int(box.id)]}: {why}" for box, why in answered.without]
        return answered.objects, own, missing
    segmenter = Segmenter(scene, store, sam)
    with stopping() as should_stop, progress_bar("objects") as show:
        found = prompt_scene(segmenter, asked.prompts, show, should_stop)
    if len(found) < len(asked.prompts):
        raise KeyboardInterrupt(STOPPED)
    own = [number for number, one in enumerate(found) if one.mask.any()]
    missing = [
        f"{asked.ids[number]}: no object" for number, one in enumerate(found) if not one.mask.any()
    ]
    return as_found(found, scene.shape), own, missing


def _write(
    prepared: Prepared,
    found: FoundObjects,
    asked: Asked,
    own: Sequence[int],
    folder: Path,
    stem: str,
    model_name: str,
) -> tuple[Path, Path, Path]:
    import pyarrow as pa

    columns = {name: [values[i] for i in own] for name, values in asked.columns.items()}
    more = pa.table(
        {
            name: pa.array(
                values,
                pa.float64() if any(isinstance(v, float) for v in values) else pa.string(),
            )
            for name, values in columns.items()
        }
    )
    scene, geometry = prepared.scene, prepared.store.geometry
    told = found_with(scene.name, model_name, prepared.sam)
    return write_scene(folder, stem, scene, found, geometry, more=more, told=told)


def _text(value: str | float | None) -> str:
    """Set a value of the table as text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:g}"
