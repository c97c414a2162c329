"""Tables of objects that were found for a detector's boxes: the usual columns, and the box's."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from napari_sam.errors import InputError
from napari_sam.files.boxes import DetectedBox
from napari_sam.files.outputs import write_table, written_together
from napari_sam.scenes.sources import PixelSize

from .boxes import BoxObjects
from .everything import object_table
from .objects import SegmentedObject

__all__ = ["write_box_csv", "write_box_parquet"]


def write_box_csv(
    path: str | Path,
    objects: Sequence[SegmentedObject],
    boxes: Sequence[DetectedBox],
) -> None:
    """Write what `files.outputs.write_table` does, and box_id, label, box_score.

    Parameters
    ----------
    path : str or Path
        Of the CSV file.
    objects : sequence of SegmentedObject
        The rows.
    boxes : sequence of DetectedBox
        The box of each.
    """
    write_table(path, objects)
    with Path(path).open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow((*header, "box_id", "label", "box_score"))
        for row, box in zip(rows, boxes, strict=True):
            score = "" if box.score is None else f"{box.score:g}"
            table.writerow((*row, box.id, box.label or "", score))


def write_box_parquet(
    found: BoxObjects, path: str | os.PathLike[str], pixel_size: PixelSize | None = None
) -> None:
    """Write what `everything.write_table` does, with the label as class, and box_id, box_score.

    Parameters
    ----------
    found : BoxObjects
        The rows.
    path : path
        Ends in .parquet. It is replaced when the new file is whole.
    pixel_size : PixelSize, optional
        Of level 0.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    beside = path.absolute().parent
    try:
        with (
            tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=beside) as folder,
            written_together(path) as (partial,),
        ):
            plain = Path(folder) / "objects.parquet"
            object_table.write_table(found.objects, plain, pixel_size)
            with pq.ParquetFile(plain) as rows:
                schema = rows.schema_arrow.append(pa.field("box_id", pa.string()))
                schema = schema.append(pa.field("box_score", pa.float64()))
                with pq.ParquetWriter(partial, schema) as writer:
                    start = 0
                    for batch in rows.iter_batches():
                        boxes = found.boxes[start : start + len(batch)]
                        start += len(batch)
                        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                        columns["class"] = pa.array([box.label for box in boxes], pa.string())
                        columns["box_id"] = pa.array([box.id for box in boxes], pa.string())
                        columns["box_score"] = pa.array([box.score for box in boxes], pa.float64())
                        writer.write_table(pa.table(columns, schema=schema))
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}).") from error
