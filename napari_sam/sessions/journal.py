"""A file that only grows: one line for each thing that happened, with a checksum.

A line is written at once, so that a killed process loses nothing that it was told, and is brought
to the disk itself within a second, for power cuts. Where the disk is full, lines wait in memory and
are written with the next one.
"""

from __future__ import annotations

import json
import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["JournalFile", "from_line", "read_lines", "to_line"]

_SYNC_AFTER = 0.5
"""Seconds after which a line is brought from the system's memory to the disk."""


def to_line(record: dict[str, Any]) -> bytes:
    r"""Return a record as a line: the CRC-32 of the rest, a blank, and JSON.

    Examples
    --------
    >>> to_line({"n": 1})
    b'd44b3b7e {"n":1}\n'
    """
    text = json.dumps(record, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def from_line(line: bytes) -> dict[str, Any] | None:
    """Return what a line says, its end included; None if it is damaged."""
    text = line[9:-1]
    if line[-1:] != b"\n" or line[:9] != b"%08x " % zlib.crc32(text):
        return None
    record: dict[str, Any] = json.loads(text)
    return record


def read_lines(content: bytes) -> tuple[list[tuple[int, dict[str, Any]]], int]:
    """Read lines up to the first that is damaged.

    Returns
    -------
    records : list of (int, dict)
        Where each line begins, and what it says.
    end : int
        Where the good ones end.
    """
    records, start = [], 0
    while start < len(content):
        stop = content.find(b"\n", start) + 1 or len(content)
        record = from_line(content[start:stop])
        if record is None:
            break
        records.append((start, record))
        start = stop
    return records, start


class JournalFile:
    """Writes the lines of one file.

    Parameters
    ----------
    path : Path
        Created if it is missing; else it is gone on with.
    on_problem : callable
        Told, once until it is over, in one sentence why lines cannot be written.

    Raises
    ------
    OSError
        If it cannot be opened.
    """

    def __init__(self, path: Path, on_problem: Callable[[str], object]) -> None:
        self._path, self._on_problem = path, on_problem
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
        self._end = self._file.seek(0, os.SEEK_END)
        self._waiting: list[bytes] = []
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._troubled = False
        self._process = os.getpid()

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._end

    @property
    def waiting(self) -> int:
        """Lines that are only in memory."""
        return len(self._waiting)

    def append(self, record: dict[str, Any]) -> int:
        """Add a line, and return where it begins.

        It is kept in memory if it cannot be written.
        """
        if os.getpid() != self._process:
            raise RuntimeError("a forked process must not go on with its parent's session")
        with self._lock:
            offset = self._end + sum(map(len, self._waiting))
            self._waiting.append(to_line(record))
        self.flush()
        return offset

    def flush(self) -> None:
        """Write what waits."""
        problem = None
        with self._lock:
            try:
                self._write(b"".join(self._waiting))
            except OSError as error:
                # A part may have been written: the next attempt writes over it, from its beginning.
                problem = self._problem(error)
            else:
                self._waiting.clear()
                self._troubled = False
                self._sync_soon()
        if problem is not None:
            self._on_problem(problem)

    def close(self) -> None:
        """Bring all to the disk and close; what waits is written if it can be."""
        self.flush()
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
        self._sync()
        self._file.close()

    def _write(self, content: bytes) -> None:
        if not content:
            return
        # A file that was removed still takes what is written, and nobody would ever find it.
        there, ours = os.stat(self._path), os.fstat(self._file.fileno())
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            raise FileNotFoundError(2, "it was removed or replaced")
        self._file.seek(self._end)
        left = memoryview(content)
        while left:
            left = left[self._file.write(left) :]
        self._end += len(content)

    def _sync_soon(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(_SYNC_AFTER, self._sync)
            self._timer.daemon = True
            self._timer.start()

    def _sync(self) -> None:
        """Bring all that is written to the disk, without keeping the next line waiting."""
        with self._lock:
            self._timer = None
            if self._file.closed:
                return
            copy = os.dup(self._file.fileno())
        try:
            os.fsync(copy)
        except OSError as error:
            with self._lock:
                problem = self._problem(error)
            if problem is not None:
                self._on_problem(problem)
        finally:
            os.close(copy)

    def _problem(self, error: OSError) -> str | None:
        """Return what to tell; None if it was told."""
        if self._troubled:
            return None
        self._troubled = True
        return (
            f"{self._path} cannot be written ({error.strerror or error}): your changes are kept in "
            f"memory only and are written with the next one when there is room again."
        )
