"""Which session of each image a project is about."""

from __future__ import annotations

import os
from pathlib import Path

from napari_sam.live.folders import find_session, folder_for

from .project import Project

__all__ = ["from_project", "sessions_of", "to_project"]


def sessions_of(project: Project) -> dict[str, Path]:
    """Return the session of each image that has one, by the image's key.

    That is the one that was imported, else the one that `napari-sam open` keeps for it.

    Raises
    ------
    InputError
        If a session is damaged, or an image cannot be opened.
    """
    found: dict[str, Path] = {}
    for one in project.rounds:
        imported = one.imported
        for key, where in ({} if imported is None else imported.sessions).items():
            found.setdefault(key, from_project(project, where))
    for image in project.images:
        if image.key not in found:
            path, scene, _ = find_session(folder_for(image.picture), image.picture)
            if scene is not None:
                found[image.key] = path
    return found


def to_project(project: Project, folder: Path) -> str:
    """Return a path from the project's folder, so that both can be moved together."""
    try:
        return Path(os.path.relpath(folder, project.folder)).as_posix()
    except ValueError:  # another drive
        return folder.as_posix()


def from_project(project: Project, where: str) -> Path:
    """Return the path that `to_project` gave."""
    return Path(os.path.normpath(project.folder / where))
