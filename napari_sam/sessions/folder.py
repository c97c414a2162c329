"""A session on disk: a folder with its image's fingerprint, journals, and a snapshot now and then.

    session.json        what it is about; without it there is no session
    journal-000001      what happened, line by line
    snapshot-000002     what was there when journal 2 began
    journal-000002      what happened since

All journals stay, so that every step can be undone; only the newest is read to go on.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from napari_sam.errors import InputError
from napari_sam.files.outputs import written_together

from .history import Location
from .journal import JournalFile, from_line, read_lines, to_line
from .lock import FolderLock

__all__ = ["FORMAT_VERSION", "SessionFolder", "read_head"]

FORMAT_VERSION = 1

_HEAD = "session.json"

_LOCK_FILES = {"lock", "owner.json"}

_AT_ONCE, _PAUSE = 16, 0.001
"""Lines of a snapshot, and seconds between them in which other threads get on."""

_LEAST = 4 << 20
"""Bytes of a journal before the next one begins; more where the last snapshot was large."""


class SessionFolder:
    """What is on disk, open for writing.

    Parameters
    ----------
    path : Path
        The folder.
    head : dict
        What ``session.json`` says.
    lock : FolderLock
        That is held.
    on_problem : callable
        Told in a sentence what cannot be written.

    Attributes
    ----------
    snapshot : list of dict
        The lines of the newest one that is whole; empty if there is none.
    repairs : list of str
        What was damaged, in sentences.
    """

    def __init__(
        self,
        path: Path,
        head: dict[str, Any],
        lock: FolderLock,
        on_problem: Callable[[str], object],
    ) -> None:
        self.path, self.head = path, head
        self._lock, self._on_problem = lock, on_problem
        self.repairs: list[str] = []
        self.snapshot: list[dict[str, Any]] = []
        self._number, self._records = 1, 0
        self._journal: JournalFile | None = None
        self._writer: threading.Thread | None = None
        self._most = _LEAST
        self._find_snapshot()

    @classmethod
    def create(
        cls, path: Path, head: dict[str, Any], on_problem: Callable[[str], object]
    ) -> SessionFolder:
        """Begin a session in a folder that is empty or does not exist.

        Raises
        ------
        InputError
            If there is something already, or it cannot be written.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            if (path / _HEAD).exists():
                raise InputError(f"{path} is a session already: open it, or choose another name.")
            if {found.name for found in path.iterdir()} - _LOCK_FILES:
                raise InputError(f"{path} is not empty: choose another name for a new session.")
            lock = FolderLock(path)
        except OSError as error:
            raise InputError(_no_session(path, error)) from error
        head = {"format_version": FORMAT_VERSION, **head}
        try:
            _write_whole(path / _HEAD, json.dumps(head, indent=1).encode())
        except OSError as error:
            lock.release()
            raise InputError(_no_session(path, error)) from error
        return cls(path, head, lock, on_problem)

    @classmethod
    def open(cls, path: Path, on_problem: Callable[[str], object]) -> SessionFolder:
        """Open a session.

        Raises
        ------
        SessionInUse
            If it is open elsewhere.
        InputError
            If there is none, it is of an unknown version, or cannot be read or written.
        """
        if not (path / _HEAD).is_file():
            raise InputError(f"{path} is no session: give the folder that one was created in.")
        try:
            lock = FolderLock(path)
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror or error}).") from error
        try:
            head = read_head(path)
            return cls(path, head, lock, on_problem)
        except BaseException:
            lock.release()
            raise

    @property
    def number(self) -> int:
        """Of the journal that is written."""
        return self._number

    @property
    def waiting(self) -> int:
        """Changes that are in memory only."""
        return 0 if self._journal is None else self._journal.waiting

    @property
    def is_long(self) -> bool:
        """Whether a new journal should begin."""
        if self._writer is not None and self._writer.is_alive():
            return False
        journal = self._journal
        return journal is not None and not journal.waiting and journal.size > self._most

    def records(self) -> Iterator[tuple[Location, dict[str, Any]]]:
        """Give what happened since the snapshot, and cut what is damaged off.

        What follows a damaged line cannot be trusted: it may depend on it.
        """
        while True:
            path = self._journal_path(self._number)
            content = path.read_bytes() if path.exists() else b""
            lines, end = read_lines(content)
            for offset, record in lines:
                if record.get("n") != self._records + 1:
                    end = offset
                    break
                self._records += 1
                yield Location(self._number, offset), record
            if end < len(content):
                self.cut(Location(self._number, end), "a line is damaged or incomplete")
                return
            if not self._journal_path(self._number + 1).exists():
                return
            self._number += 1

    def cut(self, location: Location, why: str) -> None:
        """Put what follows a place aside, and go on from there."""
        path = self._journal_path(location.journal)
        content = path.read_bytes()
        tag = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        aside = path.with_name(f"damaged-{path.name}-{tag}")
        _write_whole(aside, content[location.offset :])
        with path.open("r+b") as file:
            file.truncate(location.offset)
            os.fsync(file.fileno())
        later = location.journal + 1
        while (after := self._journal_path(later)).exists():
            after.rename(after.with_name(f"damaged-{after.name}-{tag}"))
            later += 1
        for number in self._snapshots():
            if number > location.journal:
                snapshot = self._snapshot_path(number)
                snapshot.rename(snapshot.with_name(f"damaged-{snapshot.name}-{tag}"))
        self.repairs.append(
            f"The end of {path.name} could not be read ({why}): the last "
            f"{len(content) - location.offset} bytes were cut off and put into {aside.name}, all "
            f"that happened before is there."
        )

    def append(self, record: dict[str, Any]) -> Location:
        """Write what happened."""
        if self._journal is None:
            self._journal = JournalFile(self._journal_path(self._number), self._on_problem)
        self._records += 1
        line = {"n": self._records, "time": round(time.time(), 3), **record}
        return Location(self._number, self._journal.append(line))

    def read(self, location: Location) -> dict[str, Any]:
        """Read one line again.

        Raises
        ------
        InputError
            If it is damaged or gone.
        """
        path = self._journal_path(location.journal)
        try:
            with path.open("rb") as file:
                file.seek(location.offset)
                record = from_line(file.readline())
        except OSError:
            record = None
        if record is None:
            raise InputError(
                f"{path} is damaged or gone, so that what it says cannot be undone: steps before "
                f"that end there, and all objects are as they are."
            )
        return record

    def begin_journal(self, lines: Iterable[dict[str, Any]]) -> None:
        """Begin a new journal, and write a snapshot of what was before it, in another thread.

        Until that is whole, and if it fails, the older journals are read instead.

        Parameters
        ----------
        lines : iterable of dict
            Of the snapshot; not changed any more.
        """
        assert self._journal is not None
        number, old = self._number + 1, self._journal
        try:
            self._journal = JournalFile(self._journal_path(number), self._on_problem)
        except OSError as error:
            self._most = old.size + _LEAST
            self._on_problem(self._no_snapshot(error))
            return
        self._number = number
        arguments = (number, old, self._records, lines)
        self._writer = threading.Thread(target=self._write_snapshot, args=arguments)
        self._writer.start()

    def _write_snapshot(
        self, number: int, journal: JournalFile, records: int, lines: Iterable[dict[str, Any]]
    ) -> None:
        journal.close()
        path = self._snapshot_path(number)
        try:
            with written_together(path) as (partial,), partial.open("wb") as file:
                count = 0
                for count, line in enumerate(lines, 1):
                    file.write(to_line({"records": records, **line} if count == 1 else line))
                    if count % _AT_ONCE == 0:
                        time.sleep(_PAUSE)
                file.write(to_line({"end": count}))
                size = file.tell()
            _sync_folder(self.path)
        except OSError as error:
            self._on_problem(self._no_snapshot(error))
            return
        self._most = max(_LEAST, 2 * size)
        for old in self._snapshots():
            if old < number - 1:
                self._snapshot_path(old).unlink(missing_ok=True)

    def _no_snapshot(self, error: OSError) -> str:
        return (
            f"No snapshot could be written to {self.path} ({error.strerror or error}); the "
            f"journals are there, and nothing is lost."
        )

    def flush(self) -> None:
        """Write what waits in memory."""
        if self._journal is not None:
            self._journal.flush()

    def close(self) -> None:
        """Let others open it."""
        if self._writer is not None:
            self._writer.join()
        if self._journal is not None:
            self._journal.close()
        self._lock.release()

    def _find_snapshot(self) -> None:
        for number in sorted(self._snapshots(), reverse=True):
            content = self._snapshot_path(number).read_bytes()
            lines, end = read_lines(content)
            records = [record for _, record in lines]
            if end == len(content) and records and records[-1] == {"end": len(records) - 1}:
                self.snapshot = records[:-1]
                self._number, self._records = number, records[0]["records"]
                self._most = max(_LEAST, 2 * len(content))
                return
            self.repairs.append(
                f"snapshot-{number:06d} is damaged: the older journals were read instead."
            )

    def _snapshots(self) -> list[int]:
        return [int(path.name[9:]) for path in self.path.glob("snapshot-??????")]

    def _snapshot_path(self, number: int) -> Path:
        return self.path / f"snapshot-{number:06d}"

    def _journal_path(self, number: int) -> Path:
        return self.path / f"journal-{number:06d}"


def read_head(path: Path) -> dict[str, Any]:
    """Read what ``session.json`` of a session says, whether it is open or not.

    Raises
    ------
    InputError
        If it cannot be read, or is of an unknown version.
    """
    try:
        head: dict[str, Any] = json.loads((path / _HEAD).read_bytes())
        version = head["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path / _HEAD} cannot be read ({error}).") from error
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path} is a session of version {version}, and this program reads version "
            f"{FORMAT_VERSION}: open it with a newer one."
        )
    return head


def _no_session(path: Path, error: OSError) -> str:
    return f"{path} cannot be made a session ({error.strerror or error})."


def _write_whole(path: Path, content: bytes) -> None:
    with written_together(path) as (partial,):
        partial.write_bytes(content)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    """Bring new names of a folder to the disk, where the system has a way to."""
    if os.name != "posix":
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
