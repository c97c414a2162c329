"""Sessions found by their folders, with the images that they are about."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.errors import InputError
from napari_sam.tiles.subjects import SceneInfo

from .folder import read_head

if TYPE_CHECKING:
    from napari_sam.session import Session

__all__ = ["ENDING", "find_image", "image_of", "open_session", "sessions_in"]

ENDING = ".napari-sam"
"""Of the folder beside an image in which its sessions lie."""

_HEAD = "session.json"


def sessions_in(path: Path) -> list[Path]:
    """Return the folders of the sessions at a path.

    Parameters
    ----------
    path : Path
        A session's folder, the ``session.json`` in it, or ``IMAGE.napari-sam``; of anything else
        there are none.
    """
    if path.name == _HEAD and path.is_file():
        return [path.parent]
    if (path / _HEAD).is_file():
        return [path]
    if path.suffix != ENDING or not path.is_dir():
        return []
    return sorted(found.parent for found in path.glob(f"session*/{_HEAD}"))


def open_session(folder: Path) -> Session:
    """Open a session with its image, in the plane that it began with; it is to be closed.

    Parameters
    ----------
    folder : Path
        The session's.

    Raises
    ------
    SessionInUse
        If it is open elsewhere.
    InputError
        If it cannot be opened, or its image is not there.
    """
    from napari_sam.scene import open_scene
    from napari_sam.session import Session
    from napari_sam.tiles.reopening import choices

    was = SceneInfo.from_dict(read_head(folder)["scene"])
    return Session.open(folder, open_scene(image_of(folder, was), **choices(was)))


def image_of(folder: Path, scene: SceneInfo) -> Path:
    """Find the image of a session.

    Raises
    ------
    InputError
        If it is not there.
    """
    if image := find_image(folder, scene):
        return image
    raise InputError(
        f"The image of the session {folder}, {scene.name}, is not there: put it back, or open the "
        f"image and then Plugins > Segment Anything > Segment, which finds its session."
    )


def find_image(folder: Path, scene: SceneInfo) -> Path | None:
    """Return where the image of a session or store is: beside it, or where it was."""
    places: Sequence[Path] = [
        parent.with_name(parent.name.removesuffix(ENDING))
        for parent in (folder.absolute(), folder.absolute().parent)
        if parent.suffix == ENDING
    ]
    name = Path(scene.name)
    places = [*places, name, folder.absolute().parent / name.name]
    return next((place for place in places if place.name and os.path.exists(place)), None)
