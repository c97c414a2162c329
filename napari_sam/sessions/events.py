"""What a session tells those who show it."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from napari_sam.tiles.regions import Region

from .prompts import Plane

__all__ = ["Events", "SessionEvent", "SessionWarning"]


class SessionWarning(UserWarning):
    """Something that a person should know, after which the session goes on."""


@dataclass(frozen=True)
class SessionEvent:
    """Something that changed.

    Parameters
    ----------
    kind : {"step", "undo", "redo", "candidates", "plane", "model", "problem"}
        A step was done, taken back or done again; the candidates of an object are there; another
        plane is worked on; another network answers; something cannot be written.
    ids : frozenset of int
        The objects that it is about, also those that are gone.
    regions : mapping
        Where labels changed: a rectangle of level 0 for each plane, (t, z).
    text : str
        The name of the step, or the problem in a sentence.
    """

    kind: Literal["step", "undo", "redo", "candidates", "plane", "model", "problem"]
    ids: frozenset[int] = frozenset()
    regions: Mapping[Plane, Region] = field(default_factory=dict)
    text: str = ""


class Events:
    """Who wants to know, and what they are still to be told."""

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[SessionEvent], object]] = {}
        self._next = 0
        self._waiting: deque[SessionEvent] = deque()

    def subscribe(self, callback: Callable[[SessionEvent], object]) -> Callable[[], None]:
        """Add a callback; what is returned removes it."""
        number, self._next = self._next, self._next + 1
        self._callbacks[number] = callback
        return lambda: self._callbacks.pop(number, None) and None

    def add(self, event: SessionEvent) -> None:
        """Keep an event until `tell`."""
        self._waiting.append(event)

    def warn(self, problem: str) -> None:
        """Warn of a problem, and keep it as an event."""
        warnings.warn(problem, SessionWarning, stacklevel=2)
        self.add(SessionEvent("problem", text=problem))

    def tell(self) -> None:
        """Call all callbacks with all events that wait."""
        while True:
            try:
                event = self._waiting.popleft()
            except IndexError:
                return
            for callback in list(self._callbacks.values()):
                callback(event)
