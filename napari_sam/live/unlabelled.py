"""Parts of an image that nobody outlined, for an encoder to learn what such images look like."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.outputs import write_png
from napari_sam.tiles.regions import Region

if TYPE_CHECKING:
    from napari_sam.scene import Scene

    from .teaching import Block

__all__ = ["unlabelled_squares", "write_unlabelled"]

_SIDE = 1024
_MOST = 64
"""Pictures; of a large image as many are taken, spread evenly."""


def unlabelled_squares(
    shape: tuple[int, int], kept_away: Sequence[Region], side: int = _SIDE, most: int = _MOST
) -> list[Region]:
    """Choose squares of an image that share no pixel with what is kept away from training.

    Where there is none of that size, smaller ones are looked for.

    Examples
    --------
    >>> unlabelled_squares((100, 200), [Region(0, 0, 50, 50)], side=128)
    [Region(row0=0, col0=128, row1=100, col1=200)]
    """
    while side >= 64:
        found = [
            Region(row, col, min(row + side, shape[0]), min(col + side, shape[1]))
            for row in range(0, shape[0], side)
            for col in range(0, shape[1], side)
        ]
        free = [one for one in found if not any((one & other).area for other in kept_away)]
        free = [one for one in free if min(one.shape) >= min(32, *shape)]
        if free:
            chosen = np.unique(np.linspace(0, len(free) - 1, most).round().astype(int))
            return [free[place] for place in chosen.tolist()]
        side //= 2
    return []


def write_unlabelled(
    scene: Scene,
    blocks: Sequence[Block],
    folder: Path,
    report: Callable[[object], None],
    should_stop: Callable[[], bool],
) -> Path | None:
    """Write squares of a scene as pictures, none of which shows the hold-out; None if stopped.

    Parameters
    ----------
    scene : Scene
        The plane.
    blocks : sequence of Block
        Of the dataset, in this plane; validation is kept away as well.
    folder : Path
        Made; what it held before is replaced.
    report : callable
        Given (pictures written, of all).
    should_stop : callable
        Asked before every picture.

    Raises
    ------
    InputError
        If nothing of the image is left, or the folder cannot be written.
    """
    away = [block.region for block in blocks if block.part != "train"]
    squares = unlabelled_squares(scene.shape, away)
    if not squares:
        raise InputError("Nothing of the image is left beside the hold-out: train without MAE.")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, square in enumerate(squares):
            if should_stop():
                return None
            pixels = scene.read_rgb(0, square.rows, square.cols)
            write_png(folder / f"{square.row0}-{square.col0}.png", pixels)
            report((number + 1, len(squares)))
    except OSError as error:
        raise InputError(
            f"The images for MAE cannot be written to {folder} ({error.strerror or error}): make "
            f"room on the disk."
        ) from error
    return folder
