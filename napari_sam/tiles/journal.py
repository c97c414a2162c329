"""What became of each tile: records that several processes write without meeting.

Each writer has files of its own and adds to nobody else's. A record says what happened to a tile
and has an id; a tile's state follows from the set of all records, in whatever order they are
read, so that writers need no lock and no common clock. A record is taken back by another one that
names its id.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

from .geometry import TileId
from .places import Place

__all__ = ["FOLDER", "Journal", "Record", "State"]

FOLDER = "journal"

_FULL = 1024
"""Records in a file before its writer begins the next."""

_IDLE = 3600.0
"""Seconds after its last record in which a file may still have a writer."""


class State(IntEnum):
    """What is known of a tile."""

    MISSING = 0
    DONE = 1
    EMPTY = 2
    FAILED = 3


@dataclass(frozen=True)
class Record:
    """Something that happened to a tile.

    Parameters
    ----------
    tile : TileId
        Which.
    event : {"done", "empty", "failed", "cancel"}
        Its embedding is stored; nothing is to be seen in it; encoding it failed; or earlier
        records no longer hold.
    id : str
        16 hexadecimal digits by chance.
    text : str
        Why.
    cancels : tuple of str
        Ids of the records that no longer hold.
    time : float
        Seconds since 1970, for people; nothing depends on it but tidying up.
    """

    tile: TileId
    event: Literal["done", "empty", "failed", "cancel"]
    id: str
    text: str = ""
    cancels: tuple[str, ...] = ()
    time: float = 0.0

    def to_line(self) -> bytes:
        r"""Return it as a line of a file: the CRC-32 of the rest, a blank, and JSON.

        Examples
        --------
        >>> line = Record(TileId(0, 3, 5), "done", "00112233445566aa", time=7.0).to_line()
        >>> line
        b'cbc0d0e0 {"tile":[0,3,5],"event":"done","id":"00112233445566aa","time":7.0}\n'
        >>> Record.from_line(line[:-1]).tile
        TileId(level=0, row=3, col=5)
        >>> Record.from_line(line[:-1].replace(b"3,5", b"3,6")) is None
        True
        """
        saved: dict[str, Any] = {
            "tile": [self.tile.level, self.tile.row, self.tile.col],
            "event": self.event,
            "id": self.id,
        }
        if self.text:
            saved["text"] = self.text
        if self.cancels:
            saved["cancels"] = list(self.cancels)
        saved["time"] = self.time
        text = json.dumps(saved, separators=(",", ":")).encode()
        return b"%08x %s\n" % (zlib.crc32(text), text)

    @classmethod
    def from_line(cls, line: bytes) -> Record | None:
        """Return what a line says; None if it is damaged."""
        text = line[9:]
        if line[:9] != b"%08x " % zlib.crc32(text):
            return None
        saved = json.loads(text)
        return cls(
            TileId(*saved["tile"]),
            saved["event"],
            saved["id"],
            saved.get("text", ""),
            tuple(saved.get("cancels", ())),
            saved["time"],
        )


class Journal:
    """All records of a store: those read so far, and where new ones go.

    Parameters
    ----------
    place : Place
        Of the store. Nothing is read before it is needed.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._valid: dict[TileId, dict[str, Record]] = {}
        self._cancelled: set[str] = set()
        self._finished: set[str] = set()
        self._seen: dict[str, int] = {}
        self._lock = threading.Lock()  # for what is remembered
        self._writing = threading.Lock()  # for the file
        self._loaded = False
        self._begin_file()

    def state(self, tile: TileId) -> State:
        """Return a tile's state, as far as it has been read.

        What is there counts more than what is not: a tile that one process encoded is done, even
        if another failed with it.
        """
        self._load()
        with self._lock:
            events = {record.event for record in self._valid.get(tile, {}).values()}
        if "done" in events:
            return State.DONE
        if "empty" in events:
            return State.EMPTY
        return State.FAILED if "failed" in events else State.MISSING

    def records(self, tile: TileId) -> list[Record]:
        """Return what holds of a tile, oldest first."""
        self._load()
        with self._lock:
            return sorted(self._valid.get(tile, {}).values(), key=lambda record: record.time)

    def tiles(self) -> list[TileId]:
        """Return all tiles of which anything holds."""
        self._load()
        with self._lock:
            return list(self._valid)

    def add(
        self,
        tile: TileId,
        event: Literal["done", "empty", "failed"],
        text: str = "",
    ) -> None:
        """Write what happened to a tile.

        Raises
        ------
        StoreUnusable
            If it cannot be written; then it did not happen.
        """
        self._write(Record(tile, event, secrets.token_hex(8), text, (), time.time()))

    def cancel(self, tile: TileId, why: str) -> None:
        """Take back all that holds of a tile.

        Raises
        ------
        StoreUnusable
            If it cannot be written.
        """
        if self.records(tile):
            self._write(self._cancellation(tile, why))

    def ignore(self, tile: TileId) -> None:
        """Take back all that holds of a tile, for this reader only."""
        self._apply(self._cancellation(tile, ""))

    def refresh(self) -> None:
        """Read what others have written since."""
        while True:
            names = sorted(set(self._place.names(FOLDER)) - self._finished)
            contents = self._place.fetch_all([f"{FOLDER}/{name}" for name in names])
            for name, found in zip(names, contents, strict=True):
                content = found or b""
                # Files only grow: what was read before is not read again.
                for line in content[self._seen.get(name, 0) :].splitlines():
                    if (record := Record.from_line(line)) is not None:
                        self._apply(record)
                self._seen[name] = len(content)
                if content.count(b"\n") >= _FULL:
                    self._finished.add(name)
            self._loaded = True
            # One that vanished was joined with others, in a file that may not have been listed.
            if None not in contents:
                return

    def join_files(self) -> None:
        """Join the small files of writers that are gone, so that there are few to read.

        The joined file is there before the others go. A writer that was only slow writes all its
        records again with its next one.
        """
        small: dict[str, list[bytes]] = {}
        for name in self._place.names(FOLDER):
            lines = (self._place.fetch(f"{FOLDER}/{name}") or b"").splitlines(keepends=True)
            records = [Record.from_line(line[:-1]) for line in lines]
            newest = max((record.time for record in records if record), default=0.0)
            if len(lines) < _FULL and newest < time.time() - _IDLE:
                small[name] = lines
        if len(small) < 2:
            return
        lines = [line for some in small.values() for line in some]
        for start in range(0, len(lines), _FULL):
            name = secrets.token_hex(8)
            self._place.put(f"{FOLDER}/{name}", b"".join(lines[start : start + _FULL]))
        for name in small:
            self._place.drop(f"{FOLDER}/{name}")

    def _cancellation(self, tile: TileId, why: str) -> Record:
        ids = tuple(record.id for record in self.records(tile))
        return Record(tile, "cancel", secrets.token_hex(8), why, ids, time.time())

    def _load(self) -> None:
        if not self._loaded:
            self.refresh()

    def _begin_file(self) -> None:
        self._name, self._lines, self._process = secrets.token_hex(8), b"", os.getpid()
        self._count = 0

    def _write(self, record: Record) -> None:
        with self._writing:
            # A forked process must not write its parent's file.
            if self._count >= _FULL or self._process != os.getpid():
                self._begin_file()
            lines = self._lines + record.to_line()
            # The whole file each time, as object stores cannot add to one; it stays small.
            self._place.put(f"{FOLDER}/{self._name}", lines)
            self._lines, self._count = lines, self._count + 1
            self._apply(record)

    def _apply(self, record: Record) -> None:
        with self._lock:
            if record.event == "cancel":
                self._cancelled.update(record.cancels)
                valid = self._valid.get(record.tile, {})
                for cancelled in record.cancels:
                    valid.pop(cancelled, None)
                if not valid:
                    self._valid.pop(record.tile, None)
            elif record.id not in self._cancelled:
                self._valid.setdefault(record.tile, {})[record.id] = record
