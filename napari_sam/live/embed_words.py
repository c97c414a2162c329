"""What is said of encoding: how far it is, what it will take, when to ask before."""

from __future__ import annotations

from napari_sam.commands.encode import size_said
from napari_sam.tiles.planning import Plan

from .status import Status

__all__ = ["needs_asking", "plan_said", "status_said", "time_said"]

_LONG, _LARGE = 60.0, 500_000_000
"""Seconds and bytes from which a person is asked before."""


def time_said(seconds: float) -> str:
    """Say about how long something takes.

    Examples
    --------
    >>> [time_said(seconds) for seconds in (0.2, 12.3, 61, 180, 25_200)]
    ['1 s', '12 s', '61 s', '3 min', '7.0 h']
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def status_said(status: Status) -> str:
    """Say how far encoding is.

    Examples
    --------
    >>> from napari_sam.tiles.store import Progress
    >>> status_said(Status("encoding", Progress(30, 4, 1, 0), left=12, seconds_left=3.2))
    'Encoding: 12 tiles left, about 3 s.'
    >>> status_said(Status("waiting", Progress(30, 4, 1, 0)))
    'What is in view is encoded; 30 tiles of the image are not.'
    >>> status_said(Status("waiting", Progress(0, 4, 1, 0)))
    'All tiles are encoded.'
    """
    if status.problem is not None:
        return status.problem
    missing, failed = status.counts.missing, status.counts.failed
    if status.doing in ("encoding", "aside"):
        text = f"Encoding: {_tiles(status.left)} left"
        if status.seconds_left is not None:
            text += f", about {time_said(status.seconds_left)}"
        return f"{text}{'; answering a prompt first' if status.doing == 'aside' else ''}."
    if status.doing == "paused":
        return f"Paused, with {_tiles(status.left)} left."
    if status.doing == "stopped" and missing:
        return f"Stopped; {_tiles(missing)} of the image {_are(missing)} not encoded."
    if missing:
        return f"What is in view is encoded; {_tiles(missing)} of the image {_are(missing)} not."
    return (
        "All tiles are encoded." if not failed else "All tiles are encoded but those that failed."
    )


def plan_said(plan: Plan, free: int | None = None) -> str:
    """Say what encoding will take.

    Parameters
    ----------
    plan : Plan
        Of the tiles that are asked for.
    free : int, optional
        Bytes that are free where they are stored.

    Examples
    --------
    >>> plan_said(Plan((), 0, None))
    'All of these tiles are encoded already.'
    >>> from napari_sam.tiles.planning import LevelPlan
    >>> plan_said(Plan((LevelPlan(0, 484, 0, 0, 0),), 10**9, 130.0), free=7 * 10**9)
    'Encoding 484 tiles takes about 2 min and up to 1.0 GB on the disk, where 7.0 GB are free.'
    """
    if not plan.to_do:
        return "All of these tiles are encoded already."
    parts = [] if plan.seconds is None else [f"about {time_said(plan.seconds)}"]
    parts += [] if plan.bytes is None else [f"up to {size_said(plan.bytes)} on the disk"]
    text = f"Encoding {_tiles(plan.to_do)} takes {' and '.join(parts)}"
    return text + ("." if free is None else f", where {size_said(free)} are free.")


def needs_asking(plan: Plan, free: int | None = None) -> bool:
    """Tell whether a person should say yes before so much is encoded."""
    size = plan.bytes or 0
    return (plan.seconds or 0) > _LONG or size > _LARGE or (free is not None and size > free / 2)


def _tiles(count: int) -> str:
    return f"{count:,} tile{'' if count == 1 else 's'}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
