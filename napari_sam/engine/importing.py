"""What people made of a round: the objects of sessions, with what they cost and who made them."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from napari_sam.errors import InputError
from napari_sam.session import Session
from napari_sam.sessions.folder import read_head
from napari_sam.sessions.opening import find_image, sessions_in
from napari_sam.tiles.regions import Region
from napari_sam.tiles.subjects import SceneInfo, scene_differences
from src_model.training.evaluation.bootstrap import Estimate, bootstrap_ratio

from .effort import read_effort
from .kinds import kinds_of, review_file
from .project import Project, ProjectImage
from .rounds import Imported, ImportedObject, Round
from .sessions import from_project, sessions_of, to_project

__all__ = ["Costs", "Finished", "SessionOpener", "costs_of", "import_round", "opened_session"]

Finished = Literal["none", "regions", "images"]
"""What a person says is wholly annotated: nothing, the regions that were proposed, the images."""

SessionOpener = Callable[[Path, ProjectImage], AbstractContextManager[Session]]
"""Takes a session's folder and its image, and lends it open: a window lends its own."""


@dataclass(frozen=True)
class Costs:
    """What an object took a person in a round, on the average; intervals are over images.

    Parameters
    ----------
    objects : int
        That a person made, changed or checked in it.
    clicks : Estimate or None
        For an object; None without objects.
    seconds : Estimate or None
        For an object of which that is known; None without any.
    """

    objects: int
    clicks: Estimate | None
    seconds: Estimate | None


def opened_session(folder: Path, image: ProjectImage) -> Session:
    """Open a session with its image; it is to be closed.

    Raises
    ------
    SessionInUse
        If it is open elsewhere.
    InputError
        If it cannot be opened, or is about something else.
    """
    was = _scene_of(folder)
    return Session.open(folder, image.picture.open(was.t, was.z, like=was))


def import_round(
    project: Project,
    sessions: Sequence[Path] = (),
    *,
    finished: Finished = "none",
    opener: SessionOpener = opened_session,
    on_progress: Callable[[str, int, int], object] | None = None,
) -> tuple[Round, Imported]:
    """Note which objects there are, who is behind each, and what it cost since the last round.

    Repeated before the training it is done anew. After the training it begins another round.

    Parameters
    ----------
    project : Project
        With the images.
    sessions : sequence of Path
        Folders of sessions, or those beside images (``IMAGE.napari-sam``); by default the sessions
        of all images, where `napari-sam open` keeps them.
    finished : {"none", "regions", "images"}
        Where every object is outlined now: elsewhere what is not outlined is unknown, and no
        background to learn from.
    opener : callable
        Opens a session.
    on_progress : callable, optional
        Told the image, how many are done, and of how many.

    Returns
    -------
    Round, Imported

    Raises
    ------
    InputError
        If there are no sessions or objects, one is of no image of the project, is open elsewhere,
        or an image was imported from another session before.
    """
    with project.working():
        current = project.current()
        if current.figures is not None:
            current = project.round(current.number + 1)
        else:
            _forget_training(current)
        before = project.round(current.number - 1).imported if current.number > 1 else None
        earlier = current.imported
        chosen = _chosen(project, sessions)
        for key, where in ({} if earlier is None else earlier.sessions).items():
            chosen.setdefault(key, from_project(project, where))
        _check_same(project, chosen)
        objects, shapes = {}, {}
        for done, (key, folder) in enumerate(sorted(chosen.items())):
            if on_progress is not None:
                on_progress(key, done, len(chosen))
            with opener(folder, project.image(key)) as session:
                objects[key] = _objects(session, 0.0 if before is None else before.time)
                shapes[key] = session.scene.shape
        if not any(objects.values()):
            raise InputError(
                f"The sessions of {project.folder} hold no objects: open its images with "
                f"`napari-sam open`, and accept some."
            )
        imported = Imported(
            round(time.time(), 3),
            {key: to_project(project, folder) for key, folder in sorted(chosen.items())},
            objects,
            _finished(current, finished, shapes, earlier),
        )
        current.note_imported(imported)
    return current, imported


def _forget_training(current: Round) -> None:
    """Remove what was made of a round's objects, which are imported anew."""
    from napari_sam.finetune.process import ENDED, TrainingProcess

    run = current.folder / "run"
    if run.is_dir() and TrainingProcess.attach(run).view().state not in ENDED:
        raise InputError(
            f"Round {current.number} is being trained: wait for it, or stop it, and import then."
        )
    for folder in (run, current.folder / "dataset"):
        try:
            if folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            raise InputError(f"{folder} cannot be removed ({error.strerror or error}).") from error


def costs_of(imported: Imported, since: float) -> Costs:
    """Return what objects took in a round.

    Parameters
    ----------
    imported : Imported
        The round's.
    since : float
        When the round before was imported; 0 without one.
    """
    sums: dict[str, list[float]] = {}
    timed: dict[str, list[float]] = {}
    for key, some in imported.objects.items():
        for one in some:
            if one.kind in ("automatic", "imported") or one.time <= since:
                continue
            sums.setdefault(key, []).append(one.clicks)
            if one.seconds is not None:
                timed.setdefault(key, []).append(one.seconds)
    return Costs(sum(map(len, sums.values())), _mean(sums), _mean(timed))


def _mean(values: dict[str, list[float]]) -> Estimate | None:
    if not values:
        return None
    return bootstrap_ratio([sum(some) for some in values.values()], list(map(len, values.values())))


def _objects(session: Session, since: float) -> tuple[ImportedObject, ...]:
    """Describe the objects of a session."""
    efforts = read_effort(session.path, review_file(session), since)
    kinds = kinds_of(session)
    found = []
    for number, kind in kinds.items():
        info, effort = session.info(number), efforts.get(number)
        known = effort is not None and effort.timed
        found.append(
            ImportedObject(
                number,
                info.plane,
                info.class_name,
                kind,
                info.provenance.user,
                max(info.provenance.time, 0.0 if effort is None else effort.time),
                0 if effort is None else effort.clicks,
                round(effort.seconds, 1) if effort is not None and known else None,
            )
        )
    return tuple(found)


def _chosen(project: Project, given: Sequence[Path]) -> dict[str, Path]:
    """Return the session of each image, by its key."""
    chosen: dict[str, Path] = {}
    if not given:
        chosen = sessions_of(project)
        if not chosen:
            raise InputError(
                f"No image of {project.folder} was worked on yet: open one with `napari-sam open`, "
                f"and accept some objects."
            )
        return chosen
    for path in given:
        folders = sessions_in(path)
        if not folders:
            raise InputError(
                f"{path} is no session: give its folder, or the one beside its image, "
                f"IMAGE.napari-sam."
            )
        for folder in folders:
            key = _image_of(project, folder).key
            if chosen.setdefault(key, folder.absolute()) != folder.absolute():
                raise InputError(
                    f"{chosen[key]} and {folder} are both sessions of {key}: give one of them."
                )
    return chosen


def _image_of(project: Project, folder: Path) -> ProjectImage:
    """Find the image of a session: by its place, else by its pixels."""
    was = _scene_of(folder)
    where = find_image(folder, was)
    for image in project.images:
        if where is not None and os.path.realpath(where) == os.path.realpath(image.where):
            return image
    for image in project.images:
        try:
            scene = image.picture.open(was.t, was.z, like=was)
        except InputError:
            continue  # it has no such plane or channels
        if not scene_differences(was, SceneInfo.of(scene)):
            return image
    raise InputError(
        f"{folder} is a session of {was.name}, which is no image of {project.folder}: add it with "
        f"`napari-sam engine init`."
    )


def _scene_of(folder: Path) -> SceneInfo:
    try:
        return SceneInfo.from_dict(read_head(folder)["scene"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder} cannot be read as a session ({error}).") from error


def _check_same(project: Project, chosen: dict[str, Path]) -> None:
    """Refuse another session of an image than that of earlier rounds: ids would mean others."""
    for one in project.rounds:
        imported = one.imported
        for key, where in ({} if imported is None else imported.sessions).items():
            was = from_project(project, where)
            if key in chosen and os.path.realpath(chosen[key]) != os.path.realpath(was):
                raise InputError(
                    f"Round {one.number} imported {key} from {was}, and not from {chosen[key]}: go "
                    f"on with that session."
                )


def _finished(
    current: Round,
    said: Finished,
    shapes: dict[str, tuple[int, int]],
    earlier: Imported | None,
) -> dict[str, tuple[Region, ...]]:
    found = {} if earlier is None else {key: list(some) for key, some in earlier.finished.items()}
    if said == "images":
        for key, shape in shapes.items():
            found.setdefault(key, []).append(Region(0, 0, *shape))
    elif said == "regions":
        proposed = current.proposed
        if proposed is None:
            raise InputError(
                f"Round {current.number} proposed no regions that could be finished: say "
                f"--finished images, or nothing."
            )
        for one in proposed.regions:
            if one.image in shapes:
                found.setdefault(one.image, []).append(one.region)
    return {key: tuple(dict.fromkeys(some)) for key, some in found.items()}
