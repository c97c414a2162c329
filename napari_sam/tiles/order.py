"""In which order tiles are encoded."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from .geometry import TileId

__all__ = ["Priority", "TileQueue"]

Priority = Callable[[TileId], float]
"""How urgent a tile is now; larger is sooner."""

_ASK_AGAIN = 1.0
"""Seconds after which priorities are asked again."""

_SHARE = 10
"""At least so many times as long as asking takes lies between two askings: with very many tiles."""


class TileQueue:
    """Tiles that wait; those that failed and are tried again come last.

    Parameters
    ----------
    tiles : iterable of TileId
        In the order that holds without priorities, and among equal ones.
    priority : callable, optional
        Asked for every tile at first, and again now and then: what is looked at moves.

    Examples
    --------
    >>> queue = TileQueue([TileId(0, 0, col) for col in range(3)], lambda tile: tile.col % 2)
    >>> [queue.take().col for _ in range(len(queue))]
    [1, 0, 2]
    """

    def __init__(self, tiles: Iterable[TileId], priority: Priority | None = None) -> None:
        self._tiles = deque(tiles)
        self._again: deque[TileId] = deque()
        self._priority = priority
        self._ask_at = 0.0

    def __len__(self) -> int:
        return len(self._tiles) + len(self._again)

    def take(self) -> TileId:
        """Remove the next tile and return it.

        Raises
        ------
        IndexError
            If none is left.
        """
        if self._priority is not None and time.monotonic() >= self._ask_at:
            self._sort(self._priority)
        return self._tiles.popleft() if self._tiles else self._again.popleft()

    def try_again(self, tile: TileId) -> None:
        """Put back a tile that failed, behind all others: what was wrong may have passed then."""
        self._again.append(tile)

    def _sort(self, priority: Priority) -> None:
        began = time.monotonic()
        # Equal ones keep the order they have, as sorting is stable.
        self._tiles = deque(sorted(self._tiles, key=priority, reverse=True))
        asked = time.monotonic()
        self._ask_at = asked + max(_ASK_AGAIN, _SHARE * (asked - began))
