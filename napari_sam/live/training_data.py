"""A person's objects as a folder of pictures and label maps that `napari-sam train` reads.

    FOLDER/images/NAME-0-1024-2048.png   what the network sees of a square: level, row, column
    FOLDER/labels/NAME-0-1024-2048.tif   the objects' ids there, 0 for the rest

Squares of one level do not overlap, so that a picture which training holds out shows nothing that
it learns from at that level.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.outputs import (
    check_output_folder,
    write_labels,
    write_png,
    written_together,
)
from napari_sam.scenes.pyramid import halved
from napari_sam.session import Session
from napari_sam.tiles.regions import Region

from .object_rows import ObjectRows

__all__ = ["Exported", "Square", "export_training_data", "plan_squares", "train_command"]

_LARGEST = 1024
"""Side of a square; a picture this large fits into any model's frame."""

_SMALLEST = 128
"""Squares are not made smaller, to get more of them."""

_ENOUGH = 4
"""Pictures, so that one can be held out and the others still differ."""


@dataclass(frozen=True)
class Square:
    """One picture: a part of a level, in its pixels."""

    level: int
    region: Region


@dataclass(frozen=True)
class Exported:
    """What was written.

    Parameters
    ----------
    images, labels : Path
        The two folders.
    pictures, objects : int
        How many.
    """

    images: Path
    labels: Path
    pictures: int
    objects: int


def plan_squares(shape: tuple[int, int], boxes: np.ndarray) -> list[Square]:
    """Choose the squares that show the objects.

    An object belongs to the finest level at which it is no longer than half a square, and to the
    square that holds its middle. Squares without an object of their level are left out. They are
    made smaller where there would be fewer than four and that gives more.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of level 0.
    boxes : (n, 4) array
        Around the objects: (row0, col0, row1, col1) in pixels of level 0, the ends exclusive.

    Returns
    -------
    list of Square
        By level and place.

    Examples
    --------
    >>> boxes = np.array([[10, 10, 60, 50], [1500, 2010, 1550, 2030], [1500, 2200, 1600, 2260]])
    >>> for square in plan_squares((3000, 3000), boxes):
    ...     print(square.level, square.region)
    0 Region(row0=0, col0=0, row1=1024, col1=1024)
    0 Region(row0=1024, col0=1024, row1=2048, col1=2048)
    0 Region(row0=1024, col0=2048, row1=2048, col1=3000)
    """
    best: list[Square] = []
    side = _LARGEST
    while len(best) < _ENOUGH and side >= _SMALLEST:
        squares = _squares(shape, boxes, side)
        if len(squares) > len(best):
            best = squares
        side //= 2
    return best


def export_training_data(
    session: Session,
    folder: Path,
    on_progress: Callable[[int, int], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Exported:
    """Write the objects of a session's plane as pictures and label maps.

    Parameters
    ----------
    session : Session
        Whose objects.
    folder : Path
        For the folders `images` and `labels`; there must be none with files in it.
    on_progress : callable, optional
        Called with the number of pictures done and of all.
    should_stop : callable, optional
        Asked before every picture; what was written stays.

    Raises
    ------
    InputError
        If there are no objects, the folder is taken or cannot be written, or the image cannot be
        read.
    """
    scene, plane = session.scene, session.plane
    rows = ObjectRows.of_session(session)
    squares = plan_squares(scene.shape, rows.boxes)
    if not squares:
        raise InputError("There are no objects to learn from: accept some first.")
    check_output_folder(folder)
    images, labels = folder / "images", folder / "labels"
    for taken in (images, labels):
        if taken.is_dir() and any(taken.iterdir()):
            raise InputError(f"{taken} has files in it already: choose another folder.")
    stem = re.sub(r"[^\w.-]+", "_", Path(scene.name).stem) or "image"
    shown: set[int] = set()
    written = 0
    try:
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        for square in squares:
            if should_stop is not None and should_stop():
                break
            level, region = square.level, square.region
            ids = session.labels(region, level, plane)
            if _is_filled(ids):
                continue  # it would be taken for one whose background has a number
            name = f"{stem}-{level}-{region.row0}-{region.col0}"
            both = images / f"{name}.png", labels / f"{name}.tif"
            with written_together(*both) as (image_part, labels_part):
                write_png(image_part, scene.read_rgb(level, region.rows, region.cols))
                write_labels(labels_part, ids)
            shown.update(np.unique(ids[ids > 0]).tolist())
            written += 1
            if on_progress is not None:
                on_progress(written, len(squares))
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror or error}).") from error
    return Exported(images, labels, written, len(shown))


def train_command(exported: Exported, base: str, run: Path) -> str:
    """Return the command that learns from what was written, to be pasted into a terminal.

    Examples
    --------
    >>> done = Exported(Path("my cells/images"), Path("my cells/labels"), 4, 20)
    >>> print(train_command(done, "vit_nano", Path("run")))
    napari-sam train --images 'my cells/images' --labels 'my cells/labels' --base vit_nano \
--method lora -o run
    """
    words = ["napari-sam", "train", "--images", exported.images, "--labels", exported.labels]
    words += ["--base", base, "--method", "lora", "-o", run]
    return shlex.join(map(str, words))


def _is_filled(ids: np.ndarray) -> bool:
    """Tell whether there is no background, and one object covers more than half."""
    counts = np.unique(ids, return_counts=True)[1] if ids.all() else np.zeros(1)
    return bool(counts.max() * 2 > ids.size)


def _squares(shape: tuple[int, int], boxes: np.ndarray, side: int) -> list[Square]:
    if not len(boxes):
        return []
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
    fits = np.maximum(sides / (side / 2), 1)
    coarsest = int(np.ceil(np.log2(max(1, max(shape) / side))))
    levels = np.minimum(np.ceil(np.log2(fits)).astype(np.int64), coarsest)
    middles = (boxes[:, :2] + boxes[:, 2:] - 1) // 2 >> levels[:, None]
    found = sorted(
        {
            (level, *place)
            for level, place in zip(
                levels.tolist(), map(tuple, (middles // side).tolist()), strict=True
            )
        }
    )
    squares = []
    for level, row, col in found:
        corner = row * side, col * side
        whole = Region(0, 0, *halved(shape, level))
        part = Region(*corner, corner[0] + side, corner[1] + side) & whole
        squares.append(Square(level, part))
    return squares
