"""One session at a time in a folder; the next one is told who is there."""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
from pathlib import Path

from filelock import FileLock, Timeout

from napari_sam.errors import InputError

__all__ = ["FolderLock", "SessionInUse", "user_name"]


class SessionInUse(InputError):
    """Somebody else has the session open."""


class FolderLock:
    """Held as long as a session is open.

    The operating system lets go of it when its process ends, however that ends, so that no stale
    lock stays; ``owner.json`` is only there to say who it is.

    Parameters
    ----------
    folder : Path
        Of the session.

    Raises
    ------
    SessionInUse
        If another one holds it.
    OSError
        If the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._owner = folder / "owner.json"
        self._lock = FileLock(folder / "lock", timeout=0, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise SessionInUse(
                f"{folder} is open already{_who(self._owner)}: close it there first."
            ) from None
        told = {
            "process": os.getpid(),
            "host": socket.gethostname(),
            "user": user_name(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        try:
            self._owner.write_text(json.dumps(told), encoding="utf-8")
        except OSError:
            self._lock.release()
            raise

    def release(self) -> None:
        """Let others in."""
        self._owner.unlink(missing_ok=True)
        self._lock.release()


def user_name() -> str:
    """Return who is logged in; nothing where the system does not know."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may have no name for its user
        return ""


def _who(owner: Path) -> str:
    try:
        told = json.loads(owner.read_text(encoding="utf-8"))
        return (
            f" in process {told['process']} on {told['host']} ({told['user']}, since "
            f"{told['since']})"
        )
    except (OSError, ValueError, KeyError):
        return ""
