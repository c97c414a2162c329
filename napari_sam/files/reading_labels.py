"""Labels in a file -> labels on the grid of their image, with the table that lies beside them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_sam.errors import InputError
from napari_sam.files.labelled import Labelled
from napari_sam.provenance import ABOUT, provenance
from napari_sam.scenes.axes import LazyArray, find_axes
from napari_sam.scenes.lazy import Lazy
from napari_sam.scenes.opening import open_source

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from napari_sam.scenes.sources import Source

__all__ = ["find_table", "provenance_in", "read_labelled", "read_rows"]

_TABLES = ("_objects.parquet", "_objects.csv")
_ZARR = "zarr.json"

_MASKS = "rle"
"""What the names of columns with masks begin with: the labels say it already."""


def read_labelled(
    path: str | Path,
    scene: Scene,
    table: Path | None = None,
    model: str | None = None,
) -> Labelled:
    """Read labels of a scene.

    Parameters
    ----------
    path : path or address
        A label image in any format that images are read in, with the rows and columns of the
        scene's file; of a stack or series as many planes and times, or one plane.
    scene : Scene
        The image.
    table : Path, optional
        What is known of the objects, ``.parquet`` or ``.csv`` with a column ``id``; by default
        what `find_table` finds.
    model : str, optional
        Which model found them, where the table does not tell.

    Raises
    ------
    InputError
        If they cannot be read, are not labels, or belong to another image.
    """
    source = open_source(path)
    labels, axes = _turned(source, scene)
    table = find_table(Path(path)) if table is None else table
    rows, told = ([], {}) if table is None else read_rows(table)
    known = provenance(scene.name, model)
    if model is None:
        known |= told or provenance_in(Path(path))
    labelled = Labelled(scene, labels, axes, tuple(rows), known)
    _check_place(source, scene)
    return labelled


def provenance_in(path: Path) -> dict[str, str]:
    """Return what labels that `napari-sam segment` wrote say of themselves; of others nothing."""
    try:
        if (path / _ZARR).is_file():
            told = json.loads((path / _ZARR).read_bytes())["attributes"][ABOUT]
        elif path.suffix.lower() in (".tif", ".tiff"):
            with tifffile.TiffFile(path) as tiff:
                told = json.loads(tiff.pages.first.description)[ABOUT]
        else:
            return {}
        return {name: text for name, text in told.items() if isinstance(text, str)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # other programs say other things there, or nothing


def find_table(labels: Path) -> Path | None:
    """Return the table that `napari-sam segment` wrote beside labels; None if there is none.

    Examples
    --------
    >>> find_table(Path("nowhere/cells_labels.tif")) is None
    True
    """
    stem, mark, _ = labels.name.partition("_labels.")
    if not mark:
        return None
    beside = (labels.with_name(stem + ending) for ending in _TABLES)
    return next((path for path in beside if path.is_file()), None)


def read_rows(path: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Read a table of objects.

    Returns
    -------
    rows : list of dict
        One for each object, by id, without its mask.
    provenance : dict
        What the file says of where they come from; empty if nothing.

    Raises
    ------
    InputError
        If it cannot be read, or has no column ``id``.
    """
    if path.suffix.lower() == ".parquet":
        from napari_sam.segment.everything.object_table import read_provenance, read_table

        found = read_table(path)
        columns = [name for name in found.column_names if not name.startswith(_MASKS)]
        rows: Iterable[Mapping[str, Any]] = found.select(columns).to_pylist()
        told = read_provenance(found)
    else:
        rows, told = _csv_rows(path), {}
    try:
        numbered = sorted(
            ({**row, "id": int(row["id"])} for row in rows), key=lambda row: row["id"]
        )
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{path} has no column id with a whole number in each row: give a table of objects "
            f"that napari-sam wrote."
        ) from None
    return numbered, told


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [
                {name: _plain(text) for name, text in row.items() if name is not None}
                for row in csv.DictReader(file)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table ({error}).") from error


def _plain(text: str | None) -> int | float | str | None:
    """Read a number where there is one."""
    if not text:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _turned(source: Source, scene: Scene) -> tuple[LazyArray, str]:
    """Bring labels, whose axes are those of the image's file, to the axes of the scene."""
    array = source.levels[0]
    shape = tuple(array.shape)
    if np.dtype(array.dtype).kind not in "uib":
        raise InputError(
            f"{source.name} holds {array.dtype} numbers: labels are whole numbers, 0 for none."
        )
    told = source.axes
    if told is None and len(shape) == 3:
        told = "ZYX" if scene.planes > 1 else "TYX"
    axes = find_axes(shape, told, source.name)
    letters = dict(zip(_as_stored(scene.axes), scene.axes, strict=True))
    many = [axis for axis, size in zip(axes, shape, strict=True) if size > 1 or axis in "YX"]
    if set(many) - set("TZYX"):
        raise InputError(
            f"{source.name} has the axes {axes}, shape {shape}: labels have rows and columns, and "
            f"perhaps planes (Z) and times (T)."
        )
    if "Z" in many or scene.planes == 1:
        named = {axis: letters.get(axis, axis) for axis in many}
    else:
        named = {axis: axis for axis in many}  # of the one plane, as it is looked at
    order = sorted(many, key=lambda axis: "TZYX".index(named[axis]))
    return _ordered(array, axes, order), "".join(named[axis] for axis in order)


def _ordered(array: LazyArray, axes: str, order: list[str]) -> Lazy:
    """Show some axes of an array in another order; the others have length 1."""
    sizes = dict(zip(axes, array.shape, strict=True))

    def window(parts: tuple[slice, ...]) -> np.ndarray:
        asked = dict(zip(order, parts, strict=True))
        block = np.asarray(array[tuple(asked.get(axis, 0) for axis in axes)])
        left = [axis for axis in axes if axis in order]
        return block.transpose([left.index(axis) for axis in order])

    return Lazy(tuple(sizes[axis] for axis in order), np.dtype(array.dtype), window)


def _as_stored(axes: str) -> str:
    """Return the axes that a volume had before it was looked at along another one.

    Examples
    --------
    >>> [_as_stored(axes) for axes in ("ZYX", "YZX", "YXZ", "TYXZ", "YXS")]
    ['ZYX', 'ZYX', 'ZYX', 'TZYX', 'YXS']
    """
    places = iter("ZYX")
    if "Z" not in axes:
        return axes
    return "".join(next(places) if axis in "ZYX" else axis for axis in axes)


def _check_place(source: Source, scene: Scene) -> None:
    """Refuse labels that lie elsewhere on Earth or in the patient."""
    there, here = source.georeference, scene.georeference
    if there is not None and here is not None:
        step = abs(here.affine[0]) + abs(here.affine[1])
        if not np.allclose(there.affine, here.affine, rtol=0, atol=max(step * 1e-3, 1e-9)):
            raise InputError(
                f"{source.name} lies elsewhere on the map than {scene.name}: give labels on the "
                f"grid of the image."
            )
    if source.grid is not None and scene.grid is not None:
        corners = np.array([(0, 0, 0), np.array(scene.grid.shape) - 1], float)
        apart = np.abs(source.grid.to_patient(corners) - scene.grid.to_patient(corners)).max()
        if apart > 0.1 * min(scene.grid.spacing):
            raise InputError(
                f"{source.name} lies {apart:.1f} mm away from {scene.name} in the patient: give "
                f"labels on the grid of the image."
            )
