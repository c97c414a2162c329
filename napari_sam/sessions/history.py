"""The steps that can be undone and done again; those of long ago are read from disk when needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .records import Step

__all__ = ["History", "Location"]


@dataclass(frozen=True)
class Location:
    """Where a step is on disk.

    Parameters
    ----------
    journal : int
        Number of the file.
    offset : int
        Where its line begins.
    """

    journal: int
    offset: int


class History:
    """All steps, and how many of them are done.

    Parameters
    ----------
    read : callable
        Reads a step from disk.
    locations : sequence of Location
        Of steps from before.
    position : int
        How many of them are done.
    """

    def __init__(
        self,
        read: Callable[[Location], Step],
        locations: Sequence[Location] = (),
        position: int = 0,
    ) -> None:
        self._read = read
        self._steps: list[Step | None] = [None] * len(locations)
        self._locations = list(locations)
        self.position = position

    @property
    def locations(self) -> Sequence[Location]:
        """Of all steps."""
        return self._locations

    @property
    def can_undo(self) -> bool:
        """Whether a step is done."""
        return self.position > 0

    @property
    def can_redo(self) -> bool:
        """Whether a step was undone, and nothing was done since."""
        return self.position < len(self._steps)

    def add(self, step: Step | None, location: Location) -> None:
        """Add a step that was done, None if it is on disk; those that were undone are forgotten."""
        del self._steps[self.position :], self._locations[self.position :]
        self._steps.append(step)
        self._locations.append(location)
        self.position += 1

    def step(self, number: int) -> Step:
        """Return a step.

        Raises
        ------
        InputError
            If its record is damaged or gone.
        """
        step = self._steps[number]
        if step is None:
            step = self._steps[number] = self._read(self._locations[number])
        return step

    def done(self) -> Iterator[Step]:
        """Give the steps that are done, the first one first; none is kept in memory for it."""
        for number in range(self.position):
            yield self._steps[number] or self._read(self._locations[number])
