"""Looking at objects one after the other: in which order, and which were looked at.

What was looked at is kept in a file beside the session, one line for each decision. A line holds a
fingerprint of the object's pixels: an object that changed since is due again, and one that undo
brought back as it was is not.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from napari_sam.errors import InputError
from napari_sam.session import Runs, Session

from .object_rows import ObjectRows

__all__ = ["REVIEW_FILE", "Review", "mask_fingerprint", "read_reviews"]

REVIEW_FILE = "reviewed.jsonl"
"""In the folder of an image's results."""


class Review:
    """Which objects of a session's plane were looked at, and which is next.

    Parameters
    ----------
    session : Session
        Whose objects.
    path : path
        Of the file; it is made with the first decision. Lines that cannot be read are ignored:
        at worst an object is looked at twice.

    Raises
    ------
    InputError
        If the file is there and cannot be read.
    """

    def __init__(self, session: Session, path: str | os.PathLike[str]) -> None:
        self._session, self._path = session, Path(path)
        self._looked_at = read_reviews(self._path)
        self._unwritten: list[str] = []
        self._reviewed: set[int] = set()
        self.rows = ObjectRows.none()
        self.refresh()

    def refresh(self, ids: Iterable[int] | None = None) -> None:
        """Take over what changed in the session.

        Parameters
        ----------
        ids : iterable of int, optional
            Which objects, as a `SessionEvent` names them; by default all, as after going to
            another plane.
        """
        if ids is None:
            self.rows = ObjectRows.of_session(self._session)
            self._reviewed = set()
            self._check(self.rows.ids.tolist())
            return
        changed = set(ids)
        self.rows = self.rows.replaced(changed, ObjectRows.of_session(self._session, changed))
        self._reviewed -= changed
        self._check(changed)

    @property
    def order(self) -> list[int]:
        """The ids of all objects, the most doubtful first."""
        found: list[int] = self.rows.by_doubt().tolist()
        return found

    @property
    def reviewed(self) -> frozenset[int]:
        """The objects that were looked at and did not change since."""
        return frozenset(self._reviewed)

    @property
    def progress(self) -> tuple[int, int]:
        """How many objects were looked at, and how many there are."""
        return len(self._reviewed), len(self.rows)

    def next(self, after: int | None = None, back: bool = False) -> int | None:
        """Return the object to look at.

        Parameters
        ----------
        after : int, optional
            The one that was looked at last; by default it begins with the most doubtful one.
        back : bool
            The one before it instead, whether it was looked at or not.

        Returns
        -------
        int or None
            None if nothing is left.
        """
        order = self.rows.by_doubt()
        if not len(order):
            return None
        place = np.flatnonzero(order == after) if after is not None else np.zeros(0, int)
        if back:
            return int(order[(place[0] if len(place) else 0) - 1])
        start = int(place[0]) + 1 if len(place) else 0
        for number in np.roll(order, -start).tolist():
            if number not in self._reviewed:
                return int(number)
        return None

    def accept(self, object_id: int) -> None:
        """Note that an object was looked at and is right as it is.

        Raises
        ------
        InputError
            If there is no such object, or the file cannot be written; then it counts until the
            session is closed, and is written with the next one.
        """
        mark = mask_fingerprint(self._session.mask(object_id))
        self._looked_at[object_id] = mark
        self._reviewed.add(object_id)
        self._write({"id": object_id, "pixels": mark, "time": round(time.time(), 3)})

    def forget(self, object_id: int) -> None:
        """Note that an object is to be looked at again.

        Raises
        ------
        InputError
            As `accept`.
        """
        self._looked_at.pop(object_id, None)
        self._reviewed.discard(object_id)
        self._write({"id": object_id, "pixels": None, "time": round(time.time(), 3)})

    def _check(self, ids: Iterable[int]) -> None:
        """Find out which of some objects of the plane are still as they were looked at."""
        there = set(self.rows.ids.tolist())
        for number in there & self._looked_at.keys() & set(ids):
            try:
                mark = mask_fingerprint(self._session.mask(number))
            except InputError:
                continue  # it was deleted a moment ago, and the next event tells
            if mark == self._looked_at[number]:
                self._reviewed.add(number)

    def _write(self, record: dict[str, object]) -> None:
        self._unwritten.append(json.dumps(record))
        try:
            # A line break first: a line that was cut off must not spoil this one.
            text = "".join(f"\n{line}" for line in self._unwritten)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise InputError(
                f"{self._path} cannot be written ({error.strerror or error}): what was reviewed is "
                f"in memory only, make room on the disk and go on."
            ) from error
        self._unwritten.clear()


def mask_fingerprint(runs: Runs) -> str:
    """Return what stands for an object's pixels in the file."""
    return hashlib.sha256(runs.edges.astype("<i8").tobytes()).hexdigest()[:16]


def read_reviews(path: Path) -> dict[int, str]:
    """Return the fingerprints of what was looked at, by id; none if there is no such file.

    Raises
    ------
    InputError
        If it is there and cannot be read.
    """
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}).") from error
    found: dict[int, str] = {}
    for line in lines:
        try:
            record = json.loads(line)
            number, mark = int(record["id"]), record["pixels"]
        except (ValueError, KeyError, TypeError):
            continue  # cut off when the process was killed
        if mark is None:
            found.pop(number, None)
        else:
            found[number] = str(mark)
    return found
