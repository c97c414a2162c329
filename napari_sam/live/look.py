"""A look at what a new model finds by itself in a block that it was not taught with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import InputError

from .lesson_results import dataset_of
from .teaching import is_of_session

if TYPE_CHECKING:
    from napari_sam.session import Session
    from napari_sam.tiles.regions import Region

__all__ = ["Look", "take_a_look"]


class _Stopped(Exception):
    """Somebody asked to stop."""


@dataclass(frozen=True)
class Look:
    """What was found in a block.

    Parameters
    ----------
    labels : ndarray
        (rows, cols) of the region: which object each pixel is of, 0 for none.
    level : int
        Of the scene.
    region : Region
        In pixels of that level.
    count : int
        How many objects.
    """

    labels: np.ndarray
    level: int
    region: Region
    count: int


def take_a_look(
    run: Path,
    weights: Path,
    session: Session,
    report: Callable[[object], None],
    should_stop: Callable[[], bool],
) -> Look | None:
    """Find everything in the held-out block of the plane that has most objects; None if stopped.

    Parameters
    ----------
    run, weights : Path
        Of the run, and of the model that came out of it.
    session : Session
        Of the image.
    report : callable
        Given (clicks done, of all).
    should_stop : callable
        Asked after every click.

    Raises
    ------
    InputError
        If nothing of this plane was held out, or the run's files are gone.
    """
    from napari_sam.loading import load
    from napari_sam.segment.image import segment_everything
    from napari_sam.segment.objects import paint_labels

    dataset = dataset_of(run)
    here = [
        crop
        for crop in dataset.crops
        if crop.part == "hold-out"
        and is_of_session(dataset, crop.source, session)
        and crop.plane in (None, session.plane)
    ]
    if not here:
        raise InputError("Nothing of this plane was held out: go to one of which something was.")
    crop = max(here, key=lambda one: one.objects)
    region = crop.region

    def told(done: int, of: int) -> None:
        report((done, of))
        if should_stop():
            raise _Stopped

    image = session.scene.read_rgb(crop.level, region.rows, region.cols)
    try:
        found = segment_everything(load(str(weights), "auto", "float32"), image, told)
    except _Stopped:
        return None
    labels, objects = paint_labels(found, image.shape[:2])
    return Look(labels, crop.level, region, len(objects))
