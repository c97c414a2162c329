"""What a round is trained with: the objects of all rounds until then that somebody stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import InputError
from napari_sam.finetune.datasets import from_session
from napari_sam.live.finished import read_finished

from .importing import SessionOpener, opened_session
from .kinds import PEOPLE, kinds_of
from .project import Project, ProjectImage
from .sessions import from_project

if TYPE_CHECKING:
    from napari_sam.finetune.datasets import Source
    from napari_sam.finetune.datasets.places import Outlined, Place
    from napari_sam.session import Session

__all__ = ["sources_of", "vouched"]

Plane = tuple[int, int]

Polygons = Mapping[Plane, Sequence[np.ndarray]]


def sources_of(
    project: Project, number: int, opener: SessionOpener = opened_session
) -> list[Source]:
    """Return what is annotated in the images of a project, up to a round.

    That are the objects that people made, changed or looked at, and those of the network in regions
    that a person said are finished: whoever says so has seen them. It is all that is in the
    imported sessions by now: what is left out of a finished region would be learned as background.

    Parameters
    ----------
    project : Project
        With imported rounds.
    number : int
        Of the last round that counts.
    opener : callable
        Opens a session.

    Returns
    -------
    list of Source
        One for each image with objects, named by the image's key.

    Raises
    ------
    InputError
        If nobody stands for any object, or a session cannot be opened.
    """
    where: dict[str, str] = {}
    for one in project.rounds:
        if one.number <= number and (imported := one.imported) is not None:
            where |= imported.sessions
    found = []
    for key, path in sorted(where.items()):
        image = project.image(key)
        folder = from_project(project, path)
        with opener(folder, image) as session:
            source = _source(project, image, session, folder)
        if source is not None:
            found.append(source)
    if not found:
        raise InputError(
            f"Nobody stands for any object of {project.folder} yet: correct or accept some, look "
            f"through them in the Review widget, or import them with --finished."
        )
    return found


def vouched(session: Session, finished: Polygons) -> set[int]:
    """Return the objects of a session that somebody stands for.

    Parameters
    ----------
    session : Session
        As it is now.
    finished : mapping of (int, int) to polygons
        Where a person said that everything is outlined, by plane.
    """
    return {
        number
        for number, kind in kinds_of(session).items()
        if kind in PEOPLE
        or _lies_in(session.mask(number).centroid, finished.get(session.info(number).plane, ()))
    }


def _source(
    project: Project,
    image: ProjectImage,
    session: Session,
    folder: Path,
) -> Source | None:
    finished: dict[Plane, list[np.ndarray]] = {}
    for plane, polygons in read_finished(folder).items():
        finished.setdefault(plane, []).extend(polygons)
    finished.setdefault(session.plane, []).extend(
        np.array(region.border) for region in project.finished(image.key)
    )
    ids = vouched(session, finished)
    if not ids:
        return None
    source = from_session(session, finished=finished)
    places = [_only(place, ids, image.key) for place in source.places]
    return replace(source, name=image.key, places=tuple(p for p in places if len(p.outlined())))


def _only(place: Place, ids: set[int], key: str) -> Place:
    """Return a place with some of its objects, called as the image is in the project."""
    all_of_them = place.outlined()
    kept = [index for index, number in enumerate(all_of_them.ids) if number in ids]
    outlined: Outlined = replace(
        all_of_them,
        ids=tuple(all_of_them.ids[index] for index in kept),
        runs=tuple(all_of_them.runs[index] for index in kept),
        classes={n: name for n, name in all_of_them.classes.items() if n in ids},
    )
    # The same wherever the project lies, so that the hold-out is found again.
    return replace(place, name=key, where=key, group=key, outlined=lambda: outlined)


def _lies_in(place: tuple[float, float], polygons: Sequence[np.ndarray]) -> bool:
    from skimage.measure import points_in_poly  # slow to import

    return any(bool(points_in_poly([place], polygon)[0]) for polygon in polygons)
