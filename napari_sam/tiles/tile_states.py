"""Which tiles of a store are done, and what became of the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .geometry import TileGeometry, TileId
from .journal import Journal, State
from .places import Place
from .store_errors import TileEmpty, TileNotThere, called
from .store_format import StoreFormat
from .subjects import ModelInfo, SceneInfo

__all__ = ["Failure", "Progress", "State", "TileStates"]


@dataclass(frozen=True)
class Failure:
    """A tile that could not be encoded.

    Parameters
    ----------
    tile : TileId
        Which.
    reason : str
        Of the last time.
    times : int
        How often it failed.
    """

    tile: TileId
    reason: str
    times: int


@dataclass(frozen=True)
class Progress:
    """How many tiles are in which state."""

    missing: int
    done: int
    empty: int
    failed: int

    @property
    def total(self) -> int:
        """All tiles."""
        return self.missing + self.done + self.empty + self.failed


class TileStates:
    """The states of a store's tiles: asked, and changed by whoever encodes.

    What is told of many tiles, or of one that is not done, includes what others wrote until now.

    Parameters
    ----------
    place : Place
        Where the store lies.
    layout : StoreFormat
        What its attributes say.
    """

    def __init__(self, place: Place, layout: StoreFormat) -> None:
        self._place, self._layout = place, layout
        self._journal = Journal(place)

    @property
    def place(self) -> Place:
        """Where it lies."""
        return self._place

    @property
    def layout(self) -> StoreFormat:
        """All that its attributes say."""
        return self._layout

    @property
    def scene(self) -> SceneInfo:
        """What was encoded."""
        return self._layout.scene

    @property
    def model(self) -> ModelInfo:
        """What it was encoded with."""
        return self._layout.model

    @property
    def geometry(self) -> TileGeometry:
        """How it was cut."""
        return self._layout.geometry

    @property
    def levels(self) -> tuple[int, ...]:
        """Which levels are stored."""
        return self._layout.levels

    def state(self, tile: TileId) -> State:
        """Return a tile's state.

        Raises
        ------
        InputError
            If the store has no such tile.
        """
        self._layout.check_tile(tile)
        state = self._journal.state(tile)
        if state is not State.DONE:
            self._journal.refresh()
            state = self._journal.state(tile)
        return state

    def states(self, level: int) -> np.ndarray:
        """Return the states of all tiles of a level.

        Returns
        -------
        ndarray
            uint8, shape (tile rows, tile columns): 0 missing, 1 done, 2 empty, 3 failed.

        Raises
        ------
        InputError
            If the level is not stored.
        """
        self._layout.check_tile(TileId(level, 0, 0))
        self._journal.refresh()
        states = np.zeros(self.geometry.grid(level), np.uint8)
        for tile in self._journal.tiles():
            if tile.level == level:
                states[tile.row, tile.col] = self._journal.state(tile)
        return states

    def missing(self, level: int) -> Iterator[TileId]:
        """Give the tiles of a level that are missing now, row by row."""
        return self.tiles(level, State.MISSING)

    def tiles(self, level: int, state: State) -> Iterator[TileId]:
        """Give the tiles of a level that are in a state now, row by row."""
        for row, col in np.argwhere(self.states(level) == state).tolist():
            yield TileId(level, row, col)

    def progress(self) -> Progress:
        """Count the tiles of all levels by state."""
        counts = np.zeros(4, np.int64)
        for level in self.levels:
            counts += np.bincount(self.states(level).ravel(), minlength=4)
        return Progress(*map(int, counts))

    def mark_empty(self, tile: TileId, why: Literal["no data", "constant"]) -> None:
        """Say that nothing is to be seen in a tile, so that it has no embedding.

        Raises
        ------
        InputError
            If the store has no such tile.
        StoreUnusable
            If it cannot be written.
        """
        self._layout.check_tile(tile)
        self._journal.add(tile, "empty", why)

    def mark_failed(self, tile: TileId, reason: str) -> None:
        """Say that a tile could not be encoded; each time counts.

        Raises
        ------
        InputError
            If the store has no such tile.
        StoreUnusable
            If it cannot be written.
        """
        self._layout.check_tile(tile)
        self._journal.add(tile, "failed", reason)

    def mark_missing(self, tile: TileId, why: str) -> None:
        """Take back all that is known of a tile, so that it is encoded again.

        Raises
        ------
        InputError
            If the store has no such tile.
        StoreUnusable
            If it cannot be written.
        """
        self._layout.check_tile(tile)
        self._journal.refresh()
        self._journal.cancel(tile, why)

    def why_empty(self, tile: TileId) -> str | None:
        """Return why an empty tile is empty; None if it is not."""
        if self.state(tile) is not State.EMPTY:
            return None
        return next(r.text for r in self._journal.records(tile) if r.event == "empty")

    def failures(self) -> list[Failure]:
        """Return the tiles that failed and were not encoded since, in order."""
        self._journal.refresh()
        found = []
        for tile in sorted(self._journal.tiles()):
            if self._journal.state(tile) is State.FAILED:
                records = self._journal.records(tile)
                found.append(Failure(tile, records[-1].text, len(records)))
        return found

    def absence(self, tile: TileId) -> TileNotThere:
        """Return what is to be raised of a tile that is not done: why it has no embedding."""
        state = self.state(tile)
        name = self._place.name
        if state is State.EMPTY:
            return TileEmpty(
                f"{called(tile)} of {name} is empty ({self.why_empty(tile)}) and has no embedding: "
                f"look at tiles that are done."
            )
        if state is State.FAILED:
            reason = self._journal.records(tile)[-1].text.rstrip(".")
            return TileNotThere(
                f"{called(tile)} of {name} failed to be encoded ({reason}): try it again."
            )
        return TileNotThere(f"{called(tile)} of {name} is not encoded yet: encode it first.")
