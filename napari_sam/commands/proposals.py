"""`napari-sam proposals`: all that may be an object, the surest first."""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

from napari_sam.commands.scene_results import refuse_failures
from napari_sam.commands.segment import open_image
from napari_sam.commands.segment_scene import Sizes, find_everything, prepare
from napari_sam.errors import InputError
from napari_sam.files.outputs import check_output_folder, written_together
from napari_sam.loading import check_model
from napari_sam.segment.everything import FoundObjects, write_table
from napari_sam.segment.everything.grid import sizes_in_pixels
from napari_sam.segment.proposals import rank_proposals

_COLUMNS = (
    *("id", "row0", "col0", "row1", "col1", "score"),
    *("predicted_iou", "stability", "area_px", "level"),
)


def run(
    image: str,
    path: Path,
    *,
    most: int | None,
    sizes: Sizes,
    where: str | None,
    scheduler: str | None,
    model_name: str,
) -> None:
    """Find proposals in an image and write them.

    Parameters
    ----------
    image : str
        Path or URL.
    path : Path
        Of the result; ends in .csv (boxes) or .parquet (masks too).
    most : int or None
        Only so many.
    sizes, where, scheduler, model_name
        As `segment_scene.run` takes them.

    Raises
    ------
    InputError
        If something cannot be used; after writing, if tiles failed.
    KeyboardInterrupt
        With what to do next, if ctrl-C stopped it.
    """
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise InputError(f"{path} does not end in .csv or .parquet: choose a name that does.")
    if path.is_dir():
        raise InputError(f"{path} is a folder: choose another name.")
    if most is not None and most < 1:
        raise InputError(f"--most {most}: ask for 1 or more.")
    folder = path.absolute().parent
    check_output_folder(folder)
    scene = open_image(image)
    sizes_in_pixels((sizes.smallest, sizes.largest), sizes.unit, scene.pixel_size)  # or refuses
    check_model(model_name, "auto", "auto")
    prepared = prepare(image, scene, where, model_name, folder, scheduler)
    result = find_everything(prepared, sizes, scheduler)
    proposals = rank_proposals(result.everything, most)
    ranked = proposals.objects.take(proposals.order)
    if path.suffix.lower() == ".csv":
        _write_boxes(path, ranked, proposals.confidences.tolist())
    else:
        write_table(ranked, path, prepared.scene.pixel_size)
    print(f"{PurePosixPath(image).name}: {len(ranked)} proposals\n{path}")
    refuse_failures(result.failed)


def _write_boxes(path: Path, objects: FoundObjects, confidences: list[float]) -> None:
    """Write boxes as `segment --boxes` reads them, the surest first."""
    with written_together(path) as (partial,), partial.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(_COLUMNS)
        for index, confidence in enumerate(confidences):
            # From outer edge to outer edge, with pixel centres at integers.
            corners = [corner - 0.5 for corner in objects.boxes[index].tolist()]
            scores = confidence, objects.predicted_ious[index], objects.stabilities[index]
            table.writerow(
                [
                    index + 1,
                    *corners,
                    *(f"{score:.4f}" for score in scores),
                    objects.areas[index],
                    objects.levels[index],
                ]
            )
