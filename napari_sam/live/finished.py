"""The regions in which a person has outlined everything, remembered beside a session.

Outside of them what is not outlined may still be an object, and teaches nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.outputs import written_together

__all__ = ["finished_path", "read_finished", "write_finished"]

Plane = tuple[int, int]

_VERSION = 1


def finished_path(session: Path) -> Path:
    """Return the file that belongs to the session in a folder.

    Examples
    --------
    >>> finished_path(Path("cells.tif.napari-sam/session-2")).name
    'session-2-finished.json'
    """
    return session.with_name(f"{session.name}-finished.json")


def read_finished(session: Path) -> dict[Plane, list[np.ndarray]]:
    """Return what was remembered: polygons of (row, col) vertices in level 0, by plane (t, z).

    Parameters
    ----------
    session : Path
        The session's folder.

    Returns
    -------
    dict
        Of each plane a list of (n, 2) float64 arrays; empty if nothing was remembered.

    Raises
    ------
    InputError
        If the file cannot be read, or was written by a later version.
    """
    path = finished_path(session)
    if not path.exists():
        return {}
    try:
        told = json.loads(path.read_text("utf-8"))
        version, planes = told["format_version"], told.get("planes", ())
        found = {
            (int(plane["t"]), int(plane["z"])): [
                np.array(polygon, np.float64).reshape(-1, 2) for polygon in plane["polygons"]
            ]
            for plane in planes
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}): delete it, and choose the finished "
            f"regions again."
        ) from error
    if version != _VERSION:
        raise InputError(f"{path} is of a later version of this program: update it.")
    return found


def write_finished(session: Path, finished: Mapping[Plane, Sequence[np.ndarray]]) -> None:
    """Remember regions in place of those before; planes without any are left out.

    Parameters
    ----------
    session : Path
        The session's folder.
    finished : mapping
        Of planes (t, z), each with arrays of (n, 2) vertices.

    Raises
    ------
    InputError
        If the file cannot be written; what it held before is still there.

    Examples
    --------
    >>> import tempfile
    >>> corners = np.array([[0, 0], [0, 5], [5, 5]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_finished(Path(folder) / "session", {(0, 3): [corners], (0, 4): []})
    ...     list(read_finished(Path(folder) / "session"))
    [(0, 3)]
    """
    path = finished_path(session)
    planes = [
        {"t": t, "z": z, "polygons": [np.asarray(one, float).tolist() for one in polygons]}
        for (t, z), polygons in sorted(finished.items())
        if len(polygons)
    ]
    try:
        with written_together(path) as (part,):
            part.write_text(
                json.dumps({"format_version": _VERSION, "planes": planes}), encoding="utf-8"
            )
    except OSError as error:
        raise InputError(
            f"The finished regions cannot be written to {path} ({error.strerror or error}): make "
            f"room on the disk."
        ) from error
