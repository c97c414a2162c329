"""`napari-sam segment --everything --volume`: all objects of a volume."""

from __future__ import annotations

import csv
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from napari_sam.commands.convert import check_export, write_all
from napari_sam.commands.running import ROWS_SHOWN, progress_bar, stopping
from napari_sam.commands.segment_scene import Sizes, stem_of
from napari_sam.commands.views import View
from napari_sam.errors import InputError
from napari_sam.files.formats import write_objects
from napari_sam.files.outputs import check_output_folder, written_together
from napari_sam.files.zarr_images import is_zarr
from napari_sam.loading import check_model, load
from napari_sam.scene import open_scene
from napari_sam.segment.volumes import Joining, VolumeProgress, Volumes, segment_volume
from napari_sam.segment.volumes.sizes import volumes_in_voxels
from napari_sam.tiles.store_errors import called

if TYPE_CHECKING:
    from napari_sam.files.labelled import Labelled
    from napari_sam.segment.volumes import VolumeResult

_COLUMNS = (
    "id",
    "volume_voxels",
    "volume",
    "volume_unit",
    "z0",
    "z1",
    "slices",
    "centroid_z",
    "centroid_row",
    "centroid_col",
    "predicted_iou",
    "source",
)

_SHOWN = 20
"""Failures that are listed."""


def run(
    image: str,
    *,
    sizes: Sizes,
    volumes: Volumes | None,
    gap: int | None,
    consensus: bool,
    t: int,
    part: str | None,
    where: str | None,
    model_name: str,
    folder: Path,
    exports: Sequence[Path],
) -> None:
    """Find all objects of a volume and write labels and table.

    Parameters
    ----------
    image : str
        Path or URL.
    sizes : Sizes
        Of the objects in their largest slices.
    volumes : Volumes or None
        Of the objects; None for all.
    gap : int or None
        Slices in which an object may be missing; None for the default.
    consensus : bool
        Whether to look along y and x too.
    t, part
        Which volume of the file.
    where : str or None
        A folder for what was computed of the slices; by default beside the results.
    model_name : str
        As `loading.load` takes it.
    folder : Path
        For the results.
    exports : sequence of Path
        Files to write the objects to besides.

    Raises
    ------
    InputError
        If something cannot be used; after writing, if slices failed.
    KeyboardInterrupt
        With what to do next, if ctrl-C stopped it.
    """
    check_output_folder(folder)
    options: dict[str, Any] = {"t": t, "part": part}
    scene = open_scene(image, **options)
    volumes_in_voxels(volumes or Volumes(), scene)  # or refuses
    joining = Joining() if gap is None else Joining(gap=gap)
    for path in exports:
        check_export(path)
    check_model(model_name, "auto", "auto")
    stem = stem_of(image) + View(part=part, t=t).mark
    labels, table = folder / f"{stem}_labels.zarr", folder / f"{stem}_objects.csv"
    if labels.exists() and not is_zarr(labels):
        raise InputError(f"{labels} is no Zarr: remove it, or choose another folder.")
    kept = folder / f"{stem}.slices" if where is None else Path(where)
    with stopping() as should_stop, progress_bar("slices") as show:

        def told(progress: VolumeProgress) -> None:
            show(progress.done, progress.total)

        result = segment_volume(
            image,
            kept,
            load(model_name),
            options=options,
            sizes=(sizes.smallest, sizes.largest),
            unit=sizes.unit,
            volumes=volumes,
            joining=joining,
            consensus=consensus,
            model=model_name,
            on_progress=told,
            should_stop=should_stop,
        )
    if result.labelled is None:
        raise KeyboardInterrupt(
            f"stopped, {result.left} slices are left: the same command goes on with them."
        )
    print(_said(image, result, result.labelled, model_name))
    _write(labels, table, result.labelled)
    print(f"{labels}\n{table}")
    write_all(result.labelled, exports)
    print(f"{kept}: what was found in each slice, kept for the next call")
    _refuse_failures(result)


def _said(image: str, result: VolumeResult, labelled: Labelled, model_name: str) -> str:
    """Say what was found."""
    planes, rows, cols = labelled.labels.shape
    count = len(labelled.table)
    lines = [
        f"{PurePosixPath(image).name} ({planes} slices, {rows} rows, {cols} columns): "
        f"{count or 'no'} object{'' if count == 1 else 's'} of {result.of_slices} in slices, "
        f"{result.removed} left out, in {result.seconds:.1f} s with {model_name}"
    ]
    if count:
        lines.append("  id     volume            slices  centre z,row,col  predicted IoU")
    for row in labelled.table[:ROWS_SHOWN]:
        volume = f"{row['volume_voxels']} voxels"
        if row["volume"] is not None:
            volume = f"{row['volume']:.4g} {row['volume_unit']}"
        centre = ",".join(f"{row[f'centroid_{axis}']:.0f}" for axis in ("z", "row", "col"))
        slices = f"{row['z0']}-{row['z1'] - 1}"
        lines.append(
            f"{row['id']:4}  {volume:>20}{slices:>9}{centre:>18}{row['predicted_iou']:14.2f}"
        )
    if count > ROWS_SHOWN:
        lines.append(f"   ... and {count - ROWS_SHOWN} more in the table")
    return "\n".join(lines)


def _write(labels: Path, table: Path, labelled: Labelled) -> None:
    """Write OME-Zarr and table; earlier ones are replaced."""
    try:
        labels.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{labels.name}.", dir=labels.parent) as beside:
            new = Path(beside) / labels.name
            write_objects(new, labelled)
            if labels.exists():
                shutil.rmtree(labels)
            new.rename(labels)
        with written_together(table) as (partial,), partial.open("w", encoding="utf-8") as file:
            rows = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
            rows.writeheader()
            rows.writerows(labelled.table)
    except OSError as error:
        raise InputError(
            f"The results cannot be written to {labels.parent}: {error.strerror or error}."
        ) from error


def _refuse_failures(result: VolumeResult) -> None:
    """List what failed, if anything, and end the command with a sentence.

    Raises
    ------
    InputError
        If there is any.
    """
    if not result.failed:
        return
    for along, number, failure in result.failed[:_SHOWN]:
        print(
            f"  slice {number} along {along}, {called(failure.tile)} failed {failure.times} times: "
            f"{failure.reason}",
            file=sys.stderr,
        )
    along, number, failure = result.failed[0]
    count = len({(along, number) for along, number, _ in result.failed})
    raise InputError(
        f"{count} slice{'' if count == 1 else 's'} could not be looked at, first {number} along "
        f"{along} ({failure.reason.rstrip('.')}): objects may be missing there; mend the image, "
        f"and the same command does only these."
    )
