"""The regions that are worth annotating in a round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from napari_sam.errors import InputError
from napari_sam.tiles.regions import Region

from .choosing import Choice, blocks_of, choose_regions
from .kinds import PEOPLE, kinds_of
from .looking import Looked, in_region, look_at, mean_embeddings, some_tiles
from .places import Opener, opened
from .project import Project, ProjectImage
from .rounds import Proposed, ProposedRegion, Round

__all__ = ["MOST_TILES", "SIDE", "Progress", "naming", "propose", "round_to_propose"]

SIDE = 512
"""Pixels along a side of a region, at most."""

MOST_TILES = 64
"""Of a large image: tiles that are looked at in a round."""

Progress = Callable[[str, int, int], object]
"""Takes what is worked on, how much of all is done, and how much there is to do."""


@dataclass(frozen=True, eq=False)
class _Image:
    """An image that was looked at."""

    image: ProjectImage
    looked: Looked  # what may be proposed
    annotated: list[np.ndarray]  # what those regions look like in which people made objects


@dataclass(frozen=True)
class _Where:
    """What of an image is looked at."""

    taken: list[Region]
    side: int
    most_tiles: int
    number: int


def propose(
    project: Project,
    count: int = 8,
    *,
    side: int = SIDE,
    most_tiles: int = MOST_TILES,
    model: str | None = None,
    opener: Opener = opened,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[Round, Proposed]:
    """Choose the regions that are worth annotating next, and begin a round with them.

    Embeddings and candidates are kept beside each image, as when it is worked on. A round of which
    nothing was imported yet is proposed anew.

    Parameters
    ----------
    project : Project
        With the images.
    count : int
        How many regions.
    side : int
        Pixels of level 0 along a side of a region, at most; never more than a tile has.
    most_tiles : int
        Tiles that are looked at of a large image; other ones in every round.
    model : str, optional
        Whose candidates and embeddings; by default the project's.
    opener : callable
        Opens an image.
    on_progress, should_stop : callable, optional
        Told how far it is; asked whether to stop.

    Returns
    -------
    Round, Proposed

    Raises
    ------
    InputError
        If there is nothing left to propose, an image cannot be used, or it was asked to stop; then
        what was encoded is kept.
    """
    if count < 1 or side < 1 or most_tiles < 1:
        raise InputError("Ask for 1 or more regions, of 1 or more pixels, from 1 or more tiles.")
    with project.working():
        current, name = round_to_propose(project), model or project.model
        worked_on, held_out = _worked_on(project), project.held_out
        images = []
        for image in project.images:
            taken = worked_on.get(image.key, []) + held_out.get(image.key, [])
            told = naming(on_progress, project, image)
            where = _Where(taken, side, most_tiles, current.number)
            images.append(_look(image, name, where, opener, told, should_stop))
            if should_stop is not None and should_stop():
                raise InputError("Stopped: nothing is proposed yet; what was encoded is kept.")
        proposed = _choose(project, images, count, name)
        current.note_proposed(proposed)
    return current, proposed


def round_to_propose(project: Project) -> Round:
    """Return the round that is proposed for: a new one if the last one was imported."""
    current = project.current()
    return current if current.imported is None else project.round(current.number + 1)


def _look(
    image: ProjectImage,
    model: str,
    where: _Where,
    opener: Opener,
    told: Callable[[int, int], object] | None,
    should_stop: Callable[[], bool] | None,
) -> _Image:
    """Look at an image; regions of which a half was worked on, or is held out, are not offered."""
    with opener(image, model) as workplace:
        geometry, session = workplace.store.geometry, workplace.session
        blocks = blocks_of(geometry.shape, min(where.side, geometry.tile))
        places = [
            session.mask(number).centroid
            for number, kind in kinds_of(session).items()
            if kind in PEOPLE and session.info(number).plane == session.plane
        ]
        centres = np.array(places).reshape(-1, 2)
        annotated = [block for block in blocks if in_region(centres, block).any()]
        offered = [block for block in blocks if _share(block, where.taken) < 0.5]
        if offered:
            tiles = some_tiles(geometry, where.most_tiles, where.number)
            looked = look_at(workplace, offered, tiles, told, should_stop)
        else:
            looked = Looked.nothing(workplace.store.model.embedding_shape[0])
        known = mean_embeddings(workplace.store, annotated, should_stop=should_stop)
    return _Image(image, looked, [known[index] for index in sorted(known)])


def _choose(project: Project, images: list[_Image], count: int, model: str) -> Proposed:
    places = [(one, index) for one in images for index in range(len(one.looked.regions))]
    if not places:
        raise InputError(
            f"Nothing is left to propose in {project.folder}: every region was annotated, is held "
            f"out, or shows nothing; add images with `napari-sam engine init`."
        )
    vectors = np.array([one.looked.vectors[index] for one, index in places])
    known = np.array([vector for one in images for vector in one.annotated])
    doubts = np.array([one.looked.doubts[index] for one, index in places])
    chosen = []
    for choice in choose_regions(doubts, vectors, known, count):
        one, index = places[choice.index]
        number, doubt = int(one.looked.counts[index]), float(one.looked.doubts[index])
        chosen.append(
            ProposedRegion(
                one.image.key,
                one.looked.regions[index],
                number,
                None if number == 0 else round(doubt, 4),
                None if choice.distance is None else round(choice.distance, 4),
                round(choice.score, 4),
                _reason(number, doubt, choice, len(known) > 0),
            )
        )
    return Proposed(model, len(places), tuple(chosen))


def _reason(number: int, doubt: float, choice: Choice, annotated: bool) -> str:
    """Say why a region was chosen.

    Examples
    --------
    >>> _reason(12, 0.41, Choice(3, 0.9, 0.85, None), True)
    '12 candidates with a mean doubt of 0.41, more than in 85 % of the others'
    >>> _reason(0, 0.0, Choice(3, 0.4, 0.0, 0.7), False)
    'nothing is found there; 0.70 away from all that is proposed before'
    """
    words = "nothing is found there"
    if number:
        share = f"{100 * choice.doubt_share:.0f} %"
        words = (
            f"{number} candidate{'s'[: number != 1]} with a mean doubt of {doubt:.2f}, more than "
            f"in {share} of the others"
        )
    if choice.distance is None:
        return words
    what = "all that is annotated or proposed" if annotated else "all that is proposed before"
    return f"{words}; {choice.distance:.2f} away from {what}"


def _worked_on(project: Project) -> dict[str, list[Region]]:
    """Return the regions that earlier rounds proposed and imported, and those that are finished."""
    found: dict[str, list[Region]] = {}
    for one in project.rounds:
        if one.imported is None:
            continue
        for region in () if one.proposed is None else one.proposed.regions:
            if region.image in one.imported.sessions:
                found.setdefault(region.image, []).append(region.region)
    for image in project.images:
        found.setdefault(image.key, []).extend(project.finished(image.key))
    return found


def _share(block: Region, taken: list[Region]) -> float:
    """Return how much of a block other regions cover, at most, as if they did not overlap."""
    return sum((block & one).area for one in set(taken)) / block.area


def naming(
    on_progress: Progress | None, project: Project, image: ProjectImage
) -> Callable[[int, int], object] | None:
    """Return what tells how far a project is, while tiles of one of its images are worked on.

    Each image counts the same. None if nobody wants to know.
    """
    if on_progress is None:
        return None
    before, images = image.number - 1, len(project.images)

    def told(done: int, of: int) -> None:
        on_progress(image.key, before * of + done, images * of)

    told(0, 1)
    return told
