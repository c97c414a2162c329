"""What a segmentation leaves on disk: label TIFF, table of objects, overlay PNG.

Files appear whole or not at all: everything is written under temporary names in the same folder
and renamed when all of it is on the disk.
"""

import csv
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import numpy as np
import tifffile
from PIL import Image

from napari_sam.errors import InputError
from napari_sam.provenance import ABOUT
from napari_sam.segment.objects import SegmentedObject

TABLE_COLUMNS = (
    "id",
    "prompt",
    "area_px",
    "row0",
    "col0",
    "row1",
    "col1",
    "centroid_row",
    "centroid_col",
    "predicted_iou",
    "stability",
)


def output_paths(folder: str | Path, stem: str) -> tuple[Path, Path, Path]:
    """Name the three results of one segmentation.

    Parameters
    ----------
    folder : str or Path
        Where they go.
    stem : str
        What the names begin with; usually the name of the image without its suffix.

    Returns
    -------
    (labels, table, overlay) : tuple of Path

    Examples
    --------
    >>> [path.name for path in output_paths("out", "cells")]
    ['cells_labels.tif', 'cells_objects.csv', 'cells_overlay.png']
    """
    folder = Path(folder)
    return (
        folder / f"{stem}_labels.tif",
        folder / f"{stem}_objects.csv",
        folder / f"{stem}_overlay.png",
    )


def check_output_folder(folder: str | Path) -> None:
    """Make sure, before any work is done, that files can be written to a folder.

    Parameters
    ----------
    folder : str or Path
        An existing folder, or one that can be created. It is not created here.

    Raises
    ------
    InputError
        If it, or the nearest parent that exists, is a file or not writable.
    """
    folder = Path(folder)
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InputError(f"{nearest} is a file; give a folder for the results.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"{nearest} is not writable; give another folder for the results.")


def write_results(
    folder: str | Path,
    stem: str,
    labels: np.ndarray,
    objects: Sequence[SegmentedObject],
    overlay: np.ndarray,
    provenance: Mapping[str, str] | None = None,
) -> tuple[Path, Path, Path]:
    """Write label TIFF, table and overlay: all three, or none.

    Parameters
    ----------
    folder : str or Path
        Created if absent. Results of the same name are replaced.
    stem : str
        As in `output_paths`.
    labels : ndarray
        Object ids, shape (row, col), 0 where there is no object.
    objects : sequence of SegmentedObject
        The rows of the table.
    overlay : ndarray
        uint8 RGB.
    provenance : mapping of str to str, optional
        As `write_labels` takes it.

    Returns
    -------
    (labels, table, overlay) : tuple of Path

    Raises
    ------
    InputError
        If the folder cannot be created or written to, or the disk is full.
    """
    check_output_folder(folder)
    paths = output_paths(folder, stem)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with written_together(*paths) as (labels_path, table_path, overlay_path):
            write_labels(labels_path, labels, provenance)
            write_table(table_path, objects)
            write_png(overlay_path, overlay)
    except OSError as error:
        raise InputError(
            f"The results cannot be written to {folder}: {error.strerror or error}."
        ) from error
    return paths


@contextmanager
def written_together(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Lend temporary names for files, and rename them all when the block ends well.

    Parameters
    ----------
    *paths : Path
        The final names; their folders exist.

    Yields
    ------
    tuple of Path
        A name beside each of them to write to. If the block raises, what was written there is
        removed and the final names are untouched.

    Raises
    ------
    IsADirectoryError
        If one of the names is that of a folder.
    """
    for path in paths:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder")
    tag = secrets.token_hex(4)
    temporary = tuple(path.with_name(f".{path.name}.{tag}.part") for path in paths)
    try:
        yield temporary
        for part in temporary:
            _flush(part)
        for part, path in zip(temporary, paths, strict=True):
            os.replace(part, path)
    finally:
        for part in temporary:
            part.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Bring a file from memory to the disk, or after a power cut its name may stand for nothing."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def write_labels(
    path: str | Path, labels: np.ndarray, provenance: Mapping[str, str] | None = None
) -> None:
    """Write a label map as a deflate-compressed uint32 TIFF.

    Parameters
    ----------
    path : str or Path
        Any suffix; the content is TIFF.
    labels : ndarray
        Integers of shape (row, col).
    provenance : mapping of str to str, optional
        What `napari_sam.provenance.provenance` gives: kept as JSON in the description, where
        `provenance_in` finds it.
    """
    tifffile.imwrite(
        path,
        labels.astype(np.uint32, copy=False),
        photometric="minisblack",
        compression="zlib",
        metadata=None,
        description=None if provenance is None else json.dumps({ABOUT: dict(provenance)}),
        software="napari-sam-tiled",
    )


def write_table(
    path: str | Path,
    objects: Sequence[SegmentedObject],
    more: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> None:
    """Write one row for each object, under the names in `TABLE_COLUMNS`.

    Parameters
    ----------
    path : str or Path
        Of the CSV file: UTF-8, comma, a header line.
    objects : sequence of SegmentedObject
        In the order in which they are to appear.
    more : mapping of str to sequence of str
        Further columns, by name, with a value for each object.
    """
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow((*TABLE_COLUMNS, *more))
        for index, found in enumerate(objects):
            table.writerow(
                (
                    found.id,
                    found.prompt,
                    found.area,
                    *found.bbox,
                    *(f"{value:.2f}" for value in found.centroid),
                    f"{found.predicted_iou:.4f}",
                    f"{found.stability:.4f}",
                    *(values[index] for values in more.values()),
                )
            )


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Write a uint8 RGB picture as PNG, whatever the suffix.

    Parameters
    ----------
    path : str or Path
        Of the file.
    image : ndarray
        uint8, shape (row, col, 3).
    """
    Image.fromarray(image).save(path, format="PNG")
