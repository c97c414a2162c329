"""The table of objects, as a parquet file: one row for each, with its whole mask."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.outputs import written_together
from napari_sam.scenes.sources import PixelSize

from .found import FoundObjects

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_provenance", "read_table", "table_mask", "write_table"]

_ROWS = 4096
"""Rows that are in memory at once."""

_ABOUT = b"napari-sam"


def write_table(
    objects: FoundObjects,
    path: str | os.PathLike[str],
    pixel_size: PixelSize | None = None,
    more: pa.Table | None = None,
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Write one row for each object.

    The columns: `id`; `class` (null without); `row0`, `col0`, `row1`, `col1` (ends exclusive) and
    `centroid_row`, `centroid_col` in pixels of level 0; `area_px`; `area` in the square of the unit
    of `pixel_size` (null without); `predicted_iou`, `stability`, `level`; `doubt` (1 - predicted
    IoU × stability); `cut`, whether a tile's border still cuts it off; `pieces`, of how many tiles'
    masks it was joined; `parent`, the id of the smallest object that it lies in (null where there
    is none); `rle`, its mask as COCO's compressed string, of `rle_rows` × `rle_cols` pixels of
    `level`, the first at `rle_row0`, `rle_col0` of that level.

    Parameters
    ----------
    objects : FoundObjects
        The rows.
    path : path
        Ends in .parquet. It is replaced when the new file is whole.
    pixel_size : PixelSize, optional
        Of level 0.
    more : pyarrow.Table, optional
        Further columns, or what `class` is to hold: a row for each object.
    provenance : mapping of str to str, optional
        What `napari_sam.provenance.provenance` gives.

    Raises
    ------
    InputError
        If the name does not end in .parquet, or it cannot be written.
    """
    import pyarrow.parquet as pq

    path = Path(path)
    if path.suffix.lower() != ".parquet":
        raise InputError(f"{path} does not end in .parquet: choose a name that does.")
    about = {
        "shape": list(objects.shape),
        "unit": None if pixel_size is None else pixel_size.unit,
        "pixel_size": None if pixel_size is None else [pixel_size.rows, pixel_size.cols],
        "provenance": dict(provenance or {}),
    }
    schema = _schema().with_metadata({_ABOUT: json.dumps(about).encode()})
    for field in () if more is None else more.schema:
        schema = schema if field.name in schema.names else schema.append(field)
    parents = objects.parents()
    try:
        with written_together(path) as (partial,), pq.ParquetWriter(partial, schema) as writer:
            for start in range(0, max(1, len(objects)), _ROWS):
                rows = slice(start, min(start + _ROWS, len(objects)))
                columns = _columns(objects, rows, parents, pixel_size)
                if more is not None:
                    columns |= more.slice(rows.start, rows.stop - rows.start).to_pydict()
                writer.write_table(_typed(columns, schema))
            writer.close()
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}).") from error


def read_table(path: str | os.PathLike[str]) -> pa.Table:
    """Read a table that `write_table` wrote.

    Raises
    ------
    InputError
        If it is missing, or no such table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as a table of objects ({error}).") from error
    if _ABOUT not in (table.schema.metadata or {}):
        raise InputError(f"{path} is no table of objects: give one that write_table wrote.")
    return table


def read_provenance(table: pa.Table) -> dict[str, str]:
    """Return where the objects of a table come from; empty where it does not say."""
    about = json.loads((table.schema.metadata or {}).get(_ABOUT, b"{}"))
    return dict(about.get("provenance", {}))


def table_mask(row: dict[str, object]) -> np.ndarray:
    """Return the mask of a row of the table: bool (row, col), in pixels of its level.

    Examples
    --------
    >>> table_mask({"rle": "02", "rle_rows": 1, "rle_cols": 2})
    array([[ True,  True]])
    """
    from src_model.rle import coco_decode_rle, rle_to_mask

    size = [int(str(row["rle_rows"])), int(str(row["rle_cols"]))]
    return rle_to_mask(coco_decode_rle({"size": size, "counts": str(row["rle"])}))


def _schema() -> pa.Schema:
    import pyarrow as pa

    whole = ["row0", "col0", "row1", "col1"]
    return pa.schema(
        [
            ("id", pa.uint32()),
            ("class", pa.string()),
            *((name, pa.int64()) for name in whole),
            ("centroid_row", pa.float64()),
            ("centroid_col", pa.float64()),
            ("area_px", pa.int64()),
            ("area", pa.float64()),
            ("predicted_iou", pa.float32()),
            ("stability", pa.float32()),
            ("level", pa.int32()),
            ("doubt", pa.float32()),
            ("cut", pa.bool_()),
            ("pieces", pa.int32()),
            ("parent", pa.uint32()),
            ("rle_row0", pa.int64()),
            ("rle_col0", pa.int64()),
            ("rle_rows", pa.int32()),
            ("rle_cols", pa.int32()),
            ("rle", pa.string()),
        ]
    )


def _columns(
    objects: FoundObjects, rows: slice, parents: np.ndarray, pixel_size: PixelSize | None
) -> dict[str, Any]:
    """Return some rows of the table, by columns."""
    from src_model.rle import coco_encode_rle, mask_to_rle

    indices = range(rows.start, rows.stop)
    regions = [objects.region(index) for index in indices]
    count = len(regions)
    areas = objects.areas[rows]
    boxes = np.minimum(objects.boxes[rows], [*objects.shape, *objects.shape])
    return {
        "id": objects.ids[rows],
        "class": [None] * count,
        **{name: boxes[:, column] for column, name in enumerate(("row0", "col0", "row1", "col1"))},
        "centroid_row": objects.centroids[rows, 0],
        "centroid_col": objects.centroids[rows, 1],
        "area_px": areas,
        "area": [None] * count if pixel_size is None else areas * pixel_size.rows * pixel_size.cols,
        "predicted_iou": objects.predicted_ious[rows],
        "stability": objects.stabilities[rows],
        "level": objects.levels[rows],
        "doubt": objects.doubts[rows].astype(np.float32),
        "cut": objects.cuts[rows],
        "pieces": objects.pieces[rows],
        "parent": [parent or None for parent in parents[rows].tolist()],
        "rle_row0": [region.row0 for region in regions],
        "rle_col0": [region.col0 for region in regions],
        "rle_rows": [region.shape[0] for region in regions],
        "rle_cols": [region.shape[1] for region in regions],
        "rle": [coco_encode_rle(mask_to_rle(objects.mask(index)))["counts"] for index in indices],
    }


def _typed(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    return pa.table(
        {name: pa.array(values, schema.field(name).type) for name, values in columns.items()},
        schema=schema,
    )
