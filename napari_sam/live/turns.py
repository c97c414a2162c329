"""Whose turn it is: prompts go first, and a background run works while there are none."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Turns"]

_REST = 0.5
"""Seconds without a prompt after which the run goes on: often another one follows."""

_FINISH = 0.5
"""Seconds in which the tile in hand is written; then only a slow read is left."""


class Turns:
    """Lets a run and those who go before it agree.

    The run asks `must_wait` now and then while it works, says so by `step_back`, and ends what it
    has in hand.

    Parameters
    ----------
    changed : Condition
        Held where it says so; all who wait are told of changes.
    """

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self._asides, self._rest_until = 0, 0.0
        self._working = False
        self._stepped_back: float | None = None

    @property
    def taken(self) -> bool:
        """Whether somebody goes first just now."""
        return self._asides > 0

    @property
    def rest_until(self) -> float:
        """Until when the run rests, on the clock of `time.monotonic`."""
        return self._rest_until

    @contextmanager
    def first(self) -> Iterator[None]:
        """Go first; waits until the run has nothing in hand."""
        with self._changed:
            self._asides += 1
            self._changed.notify_all()
            while not self._out_of_the_way():
                self._changed.wait(0.05)
        try:
            yield
        finally:
            with self._changed:
                self._asides -= 1
                self._rest_until = time.monotonic() + _REST
                self._changed.notify_all()

    def must_wait(self) -> bool:
        """Tell the run, which holds the condition, whether somebody goes or went first."""
        return self._asides > 0 or time.monotonic() < self._rest_until

    def begin(self) -> None:
        """Take a portion in hand; the condition is held."""
        self._working, self._stepped_back = True, None

    def step_back(self) -> None:
        """Say that no further tile of the portion is begun; the condition is held."""
        if self._stepped_back is None:
            self._stepped_back = time.monotonic()

    def end(self) -> None:
        """Say that nothing is in hand; the condition is held."""
        self._working = False
        self._changed.notify_all()

    def _out_of_the_way(self) -> bool:
        """Whether nothing is encoded or written; what is read ahead of a portion may go on."""
        if not self._working:
            return True
        stepped = self._stepped_back
        return stepped is not None and time.monotonic() > stepped + _FINISH
