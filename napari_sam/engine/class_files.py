"""Classes proposed for the images of a project, kept beside each session until they are used."""

from __future__ import annotations

from collections.abc import Callable

from napari_sam.errors import InputError

from .classes import ClassProposals, apply_classes, propose_classes
from .places import Opener, opened
from .project import Project
from .proposing import Progress, naming
from .sessions import sessions_of

__all__ = ["classify_images"]


def classify_images(
    project: Project,
    key: str | None = None,
    least: float | None = None,
    *,
    model: str | None = None,
    opener: Opener = opened,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[tuple[str, ClassProposals, int]]:
    """Propose classes in each image from its own objects.

    Parameters
    ----------
    project : Project
        With images and sessions.
    key : str, optional
        Of the only image; by default all whose objects have two or more classes.
    least : float, optional
        Apply them, from this confidence on, in one step of each session.
    model, opener, on_progress, should_stop
        As for `propose`.

    Returns
    -------
    list of (str, ClassProposals, int)
        Of each image its key, what was proposed, and how many were applied.

    Raises
    ------
    InputError
        If no image has objects of two classes, or one cannot be used.
    """
    if key is not None:
        project.image(key)
    there, name, found = sessions_of(project), model or project.model, []
    for image in project.images:
        if image.key not in there or key not in (None, image.key):
            continue
        with opener(image, name) as workplace:
            session = workplace.session
            known = {info.class_name for number in session.ids if (info := session.info(number))}
            if key is None and len(known - {None}) < 2:
                continue
            told = naming(on_progress, project, image)
            proposals = propose_classes(
                session, workplace.store, on_progress=told, should_stop=should_stop
            )
            applied = [] if least is None else apply_classes(session, proposals, least)
        found.append((image.key, proposals, len(applied)))
    if not found:
        raise InputError(
            f"No image of {project.folder} has objects of two or more classes: give some objects a "
            f"class, and some another one."
        )
    return found
