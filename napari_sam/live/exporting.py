"""The objects of a session as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.errors import InputError
from napari_sam.files.formats import write_objects
from napari_sam.files.outputs import check_output_folder
from napari_sam.sessions.volumes import labelled

if TYPE_CHECKING:
    from napari_sam.session import Session

    from .workplace import Workplace

__all__ = ["export_session", "suggested_path"]


def suggested_path(workplace: Workplace) -> Path:
    """Return where the objects of an image would be looked for: beside it, or at home."""
    picture = workplace.picture
    folder = Path.home() if picture.path is None else picture.path.parent
    ending = ".gpkg" if workplace.scene.georeference is not None else ".tif"
    if workplace.scene.grid is not None:
        ending = ".nii.gz"
    return folder / f"{picture.name}-objects{ending}"


def export_session(session: Session, path: Path, to: str | None = None) -> str:
    """Write the objects as they are now, and say so in a sentence.

    Parameters
    ----------
    session : Session
        Of all planes.
    path : Path
        An existing file is replaced.
    to : str, optional
        The format, if it is not as the name ends.

    Raises
    ------
    InputError
        If there are none, the format cannot hold them, or the file cannot be written.
    """
    found = labelled(session)
    if not found.table:
        raise InputError("There are no objects to export.")
    check_output_folder(path.parent)
    writer = write_objects(path, found, to)
    count = len(found.table)
    return f"{count} object{'s'[: count != 1]} written to {path} ({writer.says})."
