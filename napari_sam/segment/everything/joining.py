"""The pieces of one object that several tiles cut, put together by what both tiles saw of it."""

from __future__ import annotations

import numpy as np

from .raw import CUT_BOTTOM, CUT_LEFT, CUT_RIGHT, CUT_TOP

__all__ = ["best_of_each_other", "join", "open_sides"]


def join(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Give the same number to all that links connect.

    Parameters
    ----------
    count : int
        How many there are.
    first, second : (m,) ndarray
        What is linked with what.

    Returns
    -------
    (count,) ndarray
        int64, for each the least index of its group: whatever the order of the links.

    Examples
    --------
    >>> join(5, np.array([4, 1]), np.array([2, 4]))
    array([0, 1, 1, 3, 1])
    """
    parents = np.arange(count)

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = index = int(parents[parents[index]])
        return index

    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        a, b = root(one), root(other)
        parents[max(a, b)] = min(a, b)
    while True:
        higher = parents[parents]
        if (higher == parents).all():
            return parents
        parents = higher


def best_of_each_other(
    first: np.ndarray, second: np.ndarray, agreement: np.ndarray, tile_of: np.ndarray
) -> np.ndarray:
    """Tell which pairs are the best for both sides.

    A piece may agree with several of another tile, of which one continues it.

    Parameters
    ----------
    first, second : (m,) ndarray
        Pairs of candidates.
    agreement : (m,) ndarray
        Of each pair; of equal ones the candidates that come first are better.
    tile_of : (n,) ndarray
        The tile of each candidate.

    Returns
    -------
    (m,) bool ndarray
        Whether, of all in the other's tile, each agrees most with the other.

    Examples
    --------
    >>> best_of_each_other(
    ...     np.array([0, 0]), np.array([1, 2]), np.array([0.7, 0.9]), np.array([0, 1, 1])
    ... )
    array([False,  True])
    """
    # Each pair twice, once from either side.
    one, other = np.concatenate([first, second]), np.concatenate([second, first])
    order = np.lexsort((other, -np.tile(agreement, 2), tile_of[other], one))
    key = np.stack([one, tile_of[other]])[:, order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (key[:, 1:] != key[:, :-1]).any(0)
    best = np.empty(len(order), bool)
    best[order] = is_first
    return best[: len(first)] & best[len(first) :]


def open_sides(cuts: np.ndarray, windows: np.ndarray) -> int:
    """Return the sides at which a joined object is still cut off.

    Parameters
    ----------
    cuts : (k,) ndarray
        The sides at which each piece is cut off.
    windows : (k, 4) ndarray
        What the tile of each piece sees: (row0, col0, row1, col1).

    Returns
    -------
    int
        Sides of a piece beyond which no other piece's window reaches, as in `RawCandidates.cuts`.

    Examples
    --------
    >>> windows = np.array([[0, 0, 10, 10], [0, 8, 10, 18]])
    >>> open_sides(np.array([CUT_RIGHT, CUT_LEFT]), windows)
    0
    >>> open_sides(np.array([CUT_RIGHT, CUT_LEFT | CUT_RIGHT]), windows) == CUT_RIGHT
    True
    """
    left = 0
    # What comes first of a window (row0, col0) is open if it is the least, what ends it the most.
    for column, side in enumerate((CUT_TOP, CUT_LEFT, CUT_BOTTOM, CUT_RIGHT)):
        places = windows[:, column]
        furthest = places.min() if column < 2 else places.max()
        if ((cuts & side > 0) & (places == furthest)).any():
            left |= side
    return left
