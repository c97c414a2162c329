"""Where the results of an image lie: beside it, or in a folder of the user."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from napari_sam.errors import InputError
from napari_sam.scene import Scene, fingerprint
from napari_sam.sessions.folder import read_head
from napari_sam.tiles.subjects import SceneInfo, scene_differences
from napari_sam.user_folder import user_folder

from .picture import Picture

__all__ = ["find_session", "folder_for", "made_folder", "names", "short_name"]

_ENDING = ".napari-sam"

_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}


def folder_for(picture: Picture) -> Path:
    """Return where the results of an image belong; nothing is made.

    That is beside its file, ``<image>.napari-sam``. For arrays, URLs and places that cannot be
    written to it is a folder of the user (of ``NAPARI_SAM_DATA``, if that is set), named by a
    fingerprint of the first plane, so that the same pixels find it again.

    Raises
    ------
    InputError
        If the image cannot be opened.
    """
    beside = _beside(picture)
    if beside is not None and os.access(beside if beside.exists() else beside.parent, os.W_OK):
        return beside
    return _of_the_user(picture)


def made_folder(picture: Picture) -> tuple[Path, list[str]]:
    """Make the folder of `folder_for`, and say where it lies if that is not where one looks.

    Raises
    ------
    InputError
        If it cannot be made.
    """
    folder, beside = folder_for(picture), _beside(picture)
    if folder == beside:
        try:
            folder.mkdir(exist_ok=True)
            return folder, []
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise InputError(_cannot_make(folder, error)) from error
            folder = _of_the_user(picture)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(_cannot_make(folder, error)) from error
    if beside is None:
        return folder, []
    return folder, [f"{beside.parent} cannot be written to, so that all is kept in {folder}."]


def find_session(folder: Path, picture: Picture) -> tuple[Path, Scene | None, list[str]]:
    """Look for a session of an image.

    Parameters
    ----------
    folder : Path
        Where: ``session``, ``session-2`` and so on.
    picture : Picture
        The image.

    Returns
    -------
    path : Path
        Of the session, or the first name that is free.
    scene : Scene or None
        The plane that the session began with, opened as it was then; None if there is no session.
    notes : list of str
        Which sessions do not fit, and why.

    Raises
    ------
    InputError
        If a session is damaged, or of an unknown version: its objects must not be overlooked.
    """
    notes: list[str] = []
    for path in names(folder / "session"):
        if not (path / "session.json").exists():
            if path.is_dir() and any(found.name != "lock" for found in path.iterdir()):
                continue
            return path, None, notes
        try:
            was = SceneInfo.from_dict(read_head(path)["scene"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path} cannot be read as a session ({error}): repair it, or move it elsewhere to "
                f"begin a new one."
            ) from error
        if picture.is_other_side(was):
            continue  # its sides have sessions of their own
        scene, why = _opened_like(picture, was)
        if scene is not None:
            return path, scene, notes
        notes.append(f"{path} is the session of something else, and is left alone: {why}.")
    raise AssertionError("names never end")


def names(path: Path) -> Iterator[Path]:
    """Give names without end: the one asked for, then with -2, -3, ... before its ending."""
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1


def short_name(name: str) -> str:
    """Return what of a name can be part of a file's.

    Examples
    --------
    >>> short_name("my models/vit_b (best).pth")
    'vit_b-best'
    """
    stem = Path(name.replace("\\", "/")).name
    stem = stem.rsplit(".", 1)[0] if "." in stem[1:] else stem
    return re.sub(r"[^\w]+", "-", stem).strip("-")[:60] or "image"


def _opened_like(picture: Picture, was: SceneInfo) -> tuple[Scene | None, str]:
    """Open the plane that a session is about; None, and why, if it is not of this image."""
    try:
        scene = picture.open(was.t, was.z, like=was)
    except InputError as error:
        return None, str(error).rstrip(".")
    differences = scene_differences(was, SceneInfo.of(scene))
    return (None, "; ".join(differences)) if differences else (scene, "")


def _beside(picture: Picture) -> Path | None:
    return None if picture.path is None else picture.path.with_name(picture.path.name + _ENDING)


def _of_the_user(picture: Picture) -> Path:
    data = user_folder()
    pixels = fingerprint(picture.open())[:16]
    # A layer may have had another name.
    known = sorted(data.glob(f"*-{pixels}"))
    return known[0] if known else data / f"{short_name(picture.name)}-{pixels}"


def _cannot_make(folder: Path, error: OSError) -> str:
    return (
        f"{folder} cannot be made ({error.strerror or error}): make room or choose a place that "
        f"you may write to."
    )
