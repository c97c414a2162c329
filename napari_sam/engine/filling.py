"""The second and the third stage: the network goes first, or alone.

Semi-automatic: masks that the network is sure of become objects of a session, and a person adds
what is missing. Automatic: all sure masks are kept beside the sessions as pseudo-labels, with their
scores.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from napari_sam.errors import InputError
from napari_sam.live.workplace import Workplace
from napari_sam.segment.everything import (
    FoundObjects,
    Thresholds,
    segment_everything,
    write_table,
)
from napari_sam.segment.everything.thresholds import default_thresholds
from napari_sam.session import Session
from napari_sam.sessions.importing import found_masks
from napari_sam.tiles.regions import Region

from .looking import in_region, roi_of, told_as
from .places import Opener, opened
from .project import Project, ProjectImage
from .proposing import Progress, naming
from .rounds import Round
from .saved import read_saved, write_saved

__all__ = ["Filled", "fill", "fill_automatically", "sure_masks"]

_TOUCHING = 0.1
"""How much of a mask may belong to objects that are there; what is more of theirs is no new one."""


@dataclass(frozen=True)
class Filled:
    """What was filled in.

    Parameters
    ----------
    round : Round
        For which.
    counts : dict of str to int
        New objects, or pseudo-labels, of each image that was looked at.
    """

    round: Round
    counts: dict[str, int]


def fill(
    project: Project,
    *,
    predicted_iou: float | None = None,
    stability: float | None = None,
    everywhere: bool = False,
    model: str | None = None,
    opener: Opener = opened,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Filled:
    """Fill the masks that the network is sure of into the sessions, as one step of each.

    Objects that are there are not touched, and a mask that shares more than a tenth with them is
    left out: repeated, it adds nothing.

    Parameters
    ----------
    project : Project
        With the images.
    predicted_iou, stability : float, optional
        Least values; by default those for objects found by this model.
    everywhere : bool
        In whole images; else in the regions that the round proposes.
    model : str, optional
        By default the project's.
    opener, on_progress, should_stop
        As for `propose`.

    Returns
    -------
    Filled

    Raises
    ------
    InputError
        If there are no regions, thresholds or images cannot be used, or it was asked to stop.
    """
    with project.working():
        current, name = project.current(), model or project.model
        proposed = current.proposed
        regions: dict[str, list[Region]] = {}
        for one in () if proposed is None else proposed.regions:
            regions.setdefault(one.image, []).append(one.region)
        if not everywhere and not regions:
            raise InputError(
                f"Nothing is proposed in round {current.number} of {project.folder}: propose "
                f"regions first, or fill whole images with --everywhere."
            )
        counts: dict[str, int] = {}
        for image in project.images:
            if not everywhere and image.key not in regions:
                continue
            where = None if everywhere else regions[image.key]
            with opener(image, name) as workplace:
                found = sure_masks(
                    workplace,
                    where,
                    predicted_iou,
                    stability,
                    naming(on_progress, project, image),
                    should_stop,
                )
                made = _add(workplace.session, found)
                if made:
                    _note(current, image, workplace, found, made)
            counts[image.key] = len(made)
    return Filled(current, counts)


def fill_automatically(
    project: Project,
    *,
    predicted_iou: float | None = None,
    stability: float | None = None,
    model: str | None = None,
    opener: Opener = opened,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Filled:
    """Keep all masks that the network is sure of as pseudo-labels of the round.

    Sessions are not changed. For each image a table ``prefilled/KEY.parquet`` is written, as
    `segment.everything.write_table` does it: masks, predicted IoU, stability.

    Parameters
    ----------
    project, predicted_iou, stability, model, opener, on_progress, should_stop
        As for `fill`.

    Returns
    -------
    Filled

    Raises
    ------
    InputError
        As `fill`.
    """
    with project.working():
        current, name = project.current(), model or project.model
        folder = current.folder / "prefilled"
        counts = {}
        for image in project.images:
            with opener(image, name) as workplace:
                found = sure_masks(
                    workplace,
                    None,
                    predicted_iou,
                    stability,
                    naming(on_progress, project, image),
                    should_stop,
                )
                about = {
                    "model": workplace.store.model.hash,
                    "model_name": name,
                    "least": {"predicted_iou": predicted_iou, "stability": stability},
                }
                write_saved(folder / f"{image.key}.parquet.json", about)
                write_table(found, folder / f"{image.key}.parquet", workplace.scene.pixel_size)
            counts[image.key] = len(found)
    return Filled(current, counts)


def sure_masks(
    workplace: Workplace,
    regions: list[Region] | None,
    predicted_iou: float | None = None,
    stability: float | None = None,
    on_progress: Callable[[int, int], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> FoundObjects:
    """Find the masks that the network is sure of.

    Parameters
    ----------
    workplace : Workplace
        The image, open.
    regions : list of Region or None
        Masks with the centre in one of them; None is everywhere.
    predicted_iou, stability : float, optional
        Least values; by default those of the model.
    on_progress, should_stop : callable, optional
        Told how many tiles are done, and of how many; asked before each.

    Raises
    ------
    InputError
        If a threshold cannot be used, or it was asked to stop.
    """
    geometry = workplace.store.geometry
    tiles = np.full(geometry.grid(0), regions is None)
    for region in regions or ():
        for tile in geometry.tiles(0, region):
            tiles[tile.row, tile.col] = True
    result = segment_everything(
        workplace.scene,
        workplace.store,
        workplace.sam,
        roi=roi_of(geometry, tiles),
        thresholds=_thresholds(workplace, predicted_iou, stability),
        on_progress=told_as(on_progress),
        should_stop=should_stop,
    )
    if result.left:
        raise InputError("Stopped: what was found is kept, and the objects are as they were.")
    found = result.objects
    if regions is None:
        return found
    inside = np.any([in_region(found.centroids, region) for region in regions], axis=0)
    return found.take(np.flatnonzero(inside))


def _thresholds(
    workplace: Workplace, predicted_iou: float | None, stability: float | None
) -> Thresholds:
    chosen = default_thresholds(workplace.sam)
    return replace(
        chosen,
        predicted_iou=chosen.predicted_iou if predicted_iou is None else predicted_iou,
        stability=chosen.stability if stability is None else stability,
    )


def _add(session: Session, found: FoundObjects) -> dict[int, int]:
    """Make objects of masks that are new, in one step; return their ids by the place in `found`."""
    taken = [session.mask(number) for number in session.ids if _is_here(session, number)]
    scene = Region(0, 0, *session.scene.shape)
    new = []
    for index, (runs, _) in found_masks(found, scene).items():
        near = [other for other in taken if (other.box & runs.box).area]
        if sum((other & runs).area for other in near) <= _TOUCHING * runs.area:
            new.append(index)
    if not new:
        return {}
    made = session.add_objects(found.take(np.array(new)), overlap="keep_old")
    return {new[place]: number for place, number in made.items()}


def _is_here(session: Session, number: int) -> bool:
    return session.info(number).plane == session.plane


def _note(
    current: Round,
    image: ProjectImage,
    workplace: Workplace,
    found: FoundObjects,
    made: dict[int, int],
) -> None:
    """Keep what was filled in, beside what earlier calls did."""
    path = current.folder / "prefilled" / f"{image.key}.json"
    before = read_saved(path)
    filled = [] if before is None else list(before["filled"])
    filled.append(
        {
            "session": str(workplace.session.path.name),
            "model": workplace.store.model.hash,
            "model_name": workplace.model_name,
            "time": round(time.time(), 3),
            "objects": [
                {
                    "id": number,
                    "predicted_iou": round(float(found.predicted_ious[index]), 4),
                    "stability": round(float(found.stabilities[index]), 4),
                }
                for index, number in sorted(made.items(), key=lambda one: one[1])
            ],
        }
    )
    write_saved(path, {"filled": filled})
