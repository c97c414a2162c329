"""What objects cost a person: clicks and seconds, read from a session's journals.

Every line of a journal says when it was written. The time since the line before it belongs to the
objects that it is about; a pause, in which nobody worked, belongs to none. What a person looked at
in a review and left as it is counts in the same way. What the program did by itself costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_sam.sessions.journal import read_lines

__all__ = ["PAUSE", "Effort", "read_effort"]

PAUSE = 60.0
"""Seconds between two changes after which nobody can have worked on an object all the time."""

_BY_ITSELF = {"add_objects", "add_masks", "import_labels", "classify"}
"""Steps that make or change many objects at once, without looking at each."""

_STROKES = {"paint", "erase", "replace", "split", "merge", "delete", "add_object"}


@dataclass
class Effort:
    """What one object took.

    Parameters
    ----------
    clicks : int
        Points, boxes and scribbles that were given, moved or taken away; strokes and other changes.
    seconds : float
        In all.
    timed : bool
        Whether any time is known; without it all of it was after pauses.
    changed : bool
        Whether a person made it or changed its pixels, and did not undo that.
    time : float
        Of the last of it, in seconds since 1970; 0 if unknown.
    """

    clicks: int = 0
    seconds: float = 0.0
    timed: bool = False
    changed: bool = False
    time: float = 0.0


@dataclass(frozen=True)
class _Event:
    """Something that happened; `made` are objects that were not there before."""

    time: float | None
    ids: tuple[int, ...] = ()
    clicks: int = 0
    by_person: bool = False
    made: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Step:
    """What matters of a step: which objects it is about, makes, changes and renames."""

    ids: tuple[int, ...]
    made: tuple[int, ...]
    changes: bool
    renamed: Mapping[int, int]


@dataclass
class _Steps:
    """The steps of a session as far as they matter, and how many of them are done."""

    steps: list[_Step] = field(default_factory=list)
    position: int = 0

    def add(self, step: _Step) -> None:
        del self.steps[self.position :]
        self.steps.append(step)
        self.position += 1

    def travel(self, back: bool) -> tuple[int, ...]:
        """Undo or redo a step, and return the objects that it is about."""
        number = self.position - back
        self.position += -1 if back else 1
        return self.steps[number].ids if 0 <= number < len(self.steps) else ()

    @property
    def changed(self) -> set[int]:
        """The objects that a person made or changed, by the ids that they had then."""
        found: set[int] = set()
        for step in self.steps[: self.position]:
            if step.changes:
                found.update(step.ids)
            else:
                found.difference_update(step.made)  # imported labels may have ids of before
        return found

    @property
    def renamed(self) -> dict[int, int]:
        """Which ids became which."""
        done = self.steps[: self.position]
        return {was: now for step in done for was, now in step.renamed.items()}


def read_effort(session: Path, reviewed: Path, since: float = 0.0) -> dict[int, Effort]:
    """Read what the objects of a session took; it may be open meanwhile.

    Parameters
    ----------
    session : Path
        Its folder.
    reviewed : Path
        The file of its review, which need not be there.
    since : float
        Seconds since 1970: what was before costs nothing any more.

    Returns
    -------
    dict of int to Effort
        By the id that each object has now; also of objects that are gone.
    """
    steps = _Steps()
    events = [*_journal(session, steps), *_reviews(reviewed)]
    renamed = steps.renamed
    known = sorted(
        (event for event in events if event.time is not None), key=lambda one: one.time or 0
    )
    found: dict[int, Effort] = {}
    before: float | None = None
    for event in known:
        assert event.time is not None
        gap = None if before is None else event.time - before
        before = event.time
        if not event.by_person:
            for number in event.made:
                found.pop(_now(number, renamed), None)
        if not event.by_person or event.time <= since:
            continue
        for number in event.ids:
            effort = found.setdefault(_now(number, renamed), Effort())
            effort.clicks += event.clicks
            effort.time = max(effort.time, event.time)
            if gap is not None and gap <= PAUSE:
                effort.seconds += gap / len(event.ids)
                effort.timed = True
    for event in events:  # of programs that did not say when
        if event.time is None and event.by_person and not since:
            for number in event.ids:
                found.setdefault(_now(number, renamed), Effort()).clicks += event.clicks
    for number in steps.changed:
        found.setdefault(_now(number, renamed), Effort()).changed = True
    return found


def _journal(session: Path, steps: _Steps) -> Iterator[_Event]:
    for path in sorted(session.glob("journal-??????")):
        for _, line in read_lines(path.read_bytes())[0]:
            yield _event(line, steps)


def _event(line: Mapping[str, Any], steps: _Steps) -> _Event:
    time = line.get("time")
    if "undo" in line or "redo" in line:
        return _Event(time, steps.travel("undo" in line), by_person=True)
    step = line.get("step")
    if step is None:
        return _Event(time)
    changes, prompts = step.get("objects", ()), step.get("prompts", ())
    about = {int(one["id"]) for one in (*changes, *prompts)}
    own = step["arguments"].get("id")
    ids = (int(own),) if own in about else tuple(sorted(about))
    by_person = step["name"] not in _BY_ITSELF
    renamed, made = {}, []
    for change in changes:
        was, became = change.get("info") or (None, None)
        if was and became and was["id"] != became["id"]:
            renamed[was["id"]] = became["id"]
        if became and not was:
            made.append(int(became["id"]))
        if time is None and became is not None:
            time = became["provenance"].get("time")
    pixels = any(change.keys() & {"added", "removed"} for change in changes)
    steps.add(_Step(ids, tuple(made), by_person and pixels, renamed))
    clicks = sum(_clicks(*one["prompts"]) for one in prompts) + (step["name"] in _STROKES)
    return _Event(time, ids, clicks if by_person else 0, by_person, tuple(made))


def _clicks(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> int:
    """Count what was given, moved or taken away between two states of an object's prompts.

    That all are gone is no click: the object was accepted, or given up.

    Examples
    --------
    >>> one = {"points": [[1, 2, 1]]}
    >>> _clicks(None, one), _clicks(one, {"points": [[1, 3, 1]]}), _clicks(one, None)
    (1, 1, 0)
    >>> _clicks(None, {"box": [0, 0, 5, 5], "points": [[1, 2, 1], [4, 4, 0]], "mask": "object"})
    3
    """
    if after is None:
        return 0
    parts = [_parts(before or {}), _parts(after)]
    gone, new = (
        len([one for one in some if one not in other]) for some, other in (parts, parts[::-1])
    )
    return max(gone, new)


def _parts(prompts: Mapping[str, Any]) -> list[Any]:
    box = [prompts["box"]] if prompts.get("box") else []
    return [*prompts.get("points", ()), *prompts.get("scribbles", ()), *box]


def _reviews(path: Path) -> Iterator[_Event]:
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            record = json.loads(line)
            number, time = int(record["id"]), float(record["time"])
        except (ValueError, KeyError, TypeError):
            continue  # cut off when the process was killed
        if record.get("pixels") is not None:
            yield _Event(time, (number,), by_person=True)


def _now(number: int, renamed: Mapping[int, int]) -> int:
    """Return which id an object has now."""
    seen = set()
    while number in renamed and number not in seen:
        seen.add(number)
        number = renamed[number]
    return number
