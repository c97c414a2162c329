"""Simpler outlines in which neighbours keep the border that they share.

The borders of a label map are cut into arcs where they branch, and each arc is simplified once,
for the objects on both of its sides, after Douglas and Peucker: nodes are left out that lie within
a tolerance of the straight line between those that stay.

Beyond that, nodes are left out only where nothing else lies near: the rectangle along the straight
line that holds all nodes which it replaces must hold no other node of the map. If it does, the arc
is divided further. That suffices for borders neither to cross nor to touch anew. The proof, with
"chain" for nodes that one line replaces: no border passes between a chain's nodes without having a
node in the rectangle, as it would have to cross the chain itself. If two lines crossed, each chain
would have to go around an end of the other's line, which then lay in its rectangle. So no object
is lost, none comes to overlap another, and no gap opens.
"""

from __future__ import annotations

import numpy as np

from .outlines import Outlines

__all__ = ["simplified"]

_SLACK = 1e-9
"""A node this near to a rectangle lies in it."""


def simplified(outlines: Outlines, tolerance: float) -> Outlines:
    """Leave out nodes that the outlines can do without.

    Parameters
    ----------
    outlines : Outlines
        Of a label map.
    tolerance : float
        In pixels: how far a node that is left out may lie from the new outline. The steps of
        slanted edges vanish from 1.5 on, those of diagonal ones from 0.71.

    Returns
    -------
    Outlines
        With the same objects, parts and holes.

    References
    ----------
    .. [1] Douglas, Peucker: Algorithms for the reduction of the number of points required to
           represent a digitized line or its caricature. Cartographica 10 (2), 1973.

    Examples
    --------
    >>> from napari_sam.files.geo.outlines import trace
    >>> steps = trace(np.tri(5, dtype=int))
    >>> len(steps.visits), simplified(steps, 0.8).ring(0).tolist()
    (12, [[0, 0], [0, 1], [5, 5], [5, 0]])
    """
    if tolerance <= 0 or not len(outlines.visits):
        return outlines
    nodes = outlines.nodes.astype(np.float64)
    path, begins, ends = _arcs(outlines)
    keep = outlines.branching.copy()
    keep[path[begins]] = keep[path[ends]] = True
    begins, ends = _anchored(nodes, path, begins, ends, keep)
    index = _Nodes(outlines.nodes)
    while len(begins):
        offsets, widest = _offsets(nodes, path, begins, ends)
        wide = offsets > tolerance
        near = np.flatnonzero(~wide)
        wide[near] = index.crowded(path, begins[near], ends[near])
        begins, ends = _divided(begins[wide], widest[wide], ends[wide], path, keep)
    kept = keep[outlines.visits]
    before = np.concatenate([[0], np.cumsum(kept)])
    return Outlines(
        outlines.nodes,
        outlines.branching,
        outlines.visits[kept],
        before[outlines.starts],
        outlines.owners,
        outlines.holes,
    )


def _arcs(outlines: Outlines) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the borders between branchings, each once, as parts of a path.

    A ring without branchings is an arc from its first node to itself.

    Returns
    -------
    (path, begins, ends) : tuple of ndarray
        Nodes, and for each arc the index in `path` of its first and its last.
    """
    visits, starts = outlines.visits, outlines.starts
    sizes = np.diff(starts)
    ring = np.repeat(np.arange(len(sizes)), sizes)
    cut = outlines.branching[visits]
    # Begin each ring with a branching, or with its first node: objects on both sides must agree.
    lowest = np.minimum.reduceat(np.where(cut, -1, visits), starts[:-1])
    cut |= visits == lowest[ring]
    where = np.flatnonzero(cut)
    shift = where[np.searchsorted(where, starts[:-1])] - starts[:-1]
    # One place more for each ring: its first node again.
    new = starts + np.arange(len(starts))
    longer = np.repeat(np.arange(len(sizes)), sizes + 1)
    at = (np.arange(new[-1]) - new[longer] + shift[longer]) % sizes[longer] + starts[longer]
    path, cut = visits[at], cut[at]
    ends = np.flatnonzero(cut)
    first = np.isin(ends, new[:-1])
    begins, ends = ends[:-1][~first[1:]], ends[1:][~first[1:]]
    # Each is found from both sides; a node between branchings belongs to one arc alone.
    inner = np.minimum(path[np.minimum(begins + 1, ends)], path[np.maximum(ends - 1, begins)])
    several = ends - begins > 1
    low = np.minimum(path[begins], path[ends])
    high = np.maximum(path[begins], path[ends])
    keys = np.where(several, [inner, np.full(len(inner), -1)], [low, high])
    _, chosen = np.unique(keys, axis=1, return_index=True)
    return path, begins[chosen], ends[chosen]


def _anchored(
    nodes: np.ndarray, path: np.ndarray, begins: np.ndarray, ends: np.ndarray, keep: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Divide arcs that must not become one straight line, or an object would be lost.

    That is a closed one, and one that has both ends in common with another.
    """
    low = np.minimum(path[begins], path[ends])
    high = np.maximum(path[begins], path[ends])
    _, same, times = np.unique(
        np.stack([low, high]), axis=1, return_inverse=True, return_counts=True
    )
    closed = low == high
    inner = ends - begins > 1
    plain = inner & ~closed & (times[same.reshape(-1)] == 1)
    found = [(begins[plain], ends[plain])]
    lens = inner & ~closed & (times[same.reshape(-1)] > 1)
    _, widest = _offsets(nodes, path, begins[lens], ends[lens])
    found.append(_divided(begins[lens], widest, ends[lens], path, keep))
    # A closed one is divided at the node furthest from its first, and then both halves again.
    first, last = begins[closed], ends[closed]
    _, widest = _offsets(nodes, path, first, last)
    first, last = _divided(first, widest, last, path, keep)
    _, widest = _offsets(nodes, path, first, last)
    found.append(_divided(first, widest, last, path, keep))
    return np.concatenate([one for one, _ in found]), np.concatenate([two for _, two in found])


def _divided(
    begins: np.ndarray, middles: np.ndarray, ends: np.ndarray, path: np.ndarray, keep: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Divide chains in two, and return those that still have nodes to leave out."""
    keep[path[middles]] = True
    begins, ends = np.concatenate([begins, middles]), np.concatenate([middles, ends])
    inner = ends - begins > 1
    return begins[inner], ends[inner]


def _spread(begins: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the places of all chains, whose each is, and where each chain starts in them."""
    sizes = ends - begins + 1
    starts = np.cumsum(sizes) - sizes
    chain = np.repeat(np.arange(len(sizes)), sizes)
    return np.arange(len(chain)) - starts[chain] + begins[chain], chain, starts


def _offsets(
    nodes: np.ndarray, path: np.ndarray, begins: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return how far a chain strays from the line between its ends, and its place where it does."""
    if not len(begins):
        return np.zeros(0), begins
    places, chain, starts = _spread(begins, ends)
    first, line = nodes[path[begins]], nodes[path[ends]] - nodes[path[begins]]
    away = nodes[path[places]] - first[chain]
    squared = np.maximum((line**2).sum(1), 1e-12)
    along = np.clip((away * line[chain]).sum(1) / squared[chain], 0, 1)
    distance = np.hypot(*(away - along[:, None] * line[chain]).T)
    distance[starts] = distance[starts + ends - begins] = -1  # the ends are no choice
    furthest = np.maximum.reduceat(distance, starts)
    hits = np.flatnonzero(distance == furthest[chain])
    _, one = np.unique(chain[hits], return_index=True)
    return furthest, places[hits[one]]


class _Nodes:
    """All nodes of a map, to be counted in rectangles that lie aslant."""

    def __init__(self, nodes: np.ndarray) -> None:
        self._columns = int(nodes[:, 1].max()) + 1
        self._keys = nodes[:, 0].astype(np.int64) * self._columns + nodes[:, 1]
        self._nodes = nodes.astype(np.float64)

    def crowded(self, path: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Tell for each chain whether other nodes lie in the rectangle along its line."""
        if not len(begins):
            return np.zeros(0, bool)
        places, chain, starts = _spread(begins, ends)
        first = self._nodes[path[begins]]
        line = self._nodes[path[ends]] - first
        line /= np.hypot(*line.T)[:, None]
        away = self._nodes[path[places]] - first[chain]
        limits = []
        for axis in (line, line[:, ::-1] * [-1, 1]):
            value = (away * axis[chain]).sum(1)
            low = np.minimum.reduceat(value, starts) - _SLACK
            limits.append((axis, low, np.maximum.reduceat(value, starts) + _SLACK))
        corners = np.stack([side[:, None] * line for side in limits[0][1:]])[:, None] + np.stack(
            [side[:, None] * limits[1][0] for side in limits[1][1:]]
        )
        rows = corners.reshape(4, -1, 2)[..., 0] + first[:, 0]
        top, bottom = np.ceil(rows.min(0)).astype(int), np.floor(rows.max(0)).astype(int)
        row, of, _ = _spread(np.maximum(top, 0), bottom)
        # The stretch of each row that lies in the rectangle.
        left, right = np.full(len(row), -np.inf), np.full(len(row), np.inf)
        for axis, low, high in limits:
            done = (row - first[of, 0]) * axis[of, 0]
            step = axis[of, 1]
            with np.errstate(divide="ignore", invalid="ignore"):
                one, two = (low[of] - done) / step, (high[of] - done) / step
            level = np.abs(step) < _SLACK
            outside = level & ((done < low[of]) | (done > high[of]))
            left = np.maximum(left, np.where(level, -np.inf, np.minimum(one, two)))
            right = np.minimum(right, np.where(level, np.inf, np.maximum(one, two)))
            right[outside] = -np.inf
        left = np.clip(np.ceil(left + first[of, 1] - _SLACK), 0, self._columns)
        right = np.clip(np.floor(right + first[of, 1] + _SLACK), -1, self._columns - 1)
        some = right >= left
        base = row[some] * self._columns
        stop = np.searchsorted(self._keys, base + right[some].astype(np.int64), "right")
        start = np.searchsorted(self._keys, base + left[some].astype(np.int64), "left")
        there = np.bincount(of[some], stop - start, minlength=len(begins))
        crowded: np.ndarray = there > ends - begins + 1
        return crowded
