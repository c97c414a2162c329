"""Outlines of labelled objects that follow the edges of their pixels.

A corner is a point where four pixels meet, counted from the outer corner of the first pixel: it
lies half a pixel before the centre of the pixel with the same row and column. A node is a corner
at which a border between labels turns or branches. Nodes joined by straight borders are all there
is to know of a label map's outlines, and they are as many as the outlines are crooked, however
large the map is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from napari_sam.files.rasters import blocks
from napari_sam.tiles.regions import Region

__all__ = ["Outlines", "trace", "trace_blocks"]

_BLOCK = 1024

# Directions, clockwise as one sees them (rows grow downward).
_RIGHT, _DOWN, _LEFT, _UP = range(4)


@dataclass(frozen=True, eq=False)
class Outlines:
    """Rings around the objects of a label map, and around their holes.

    Every ring is simple: it passes no node twice. An object's pixels that touch by sides are one
    part; those that touch only at a corner are two. Rings of an object follow one another, those
    of a part too, its outer ring first. Walking along a ring, the object lies on the right (with
    rows growing downward): outer rings run clockwise, holes against it.

    Parameters
    ----------
    nodes : (n, 2) ndarray
        int32 (row, col) of corners, (0, 0) being the outer corner of the first pixel; ascending.
    branching : (n,) ndarray
        bool; whether borders of three or more labels, or of labels that touch at a corner, meet.
    visits : (m,) ndarray
        Indices of nodes: the rings one after another, without their first node repeated.
    starts : (k + 1,) ndarray
        Where each ring begins in `visits`, and where the last ends.
    owners : (k,) ndarray
        uint32; the object of each ring, ascending.
    holes : (k,) ndarray
        bool; whether a ring surrounds a hole.
    """

    nodes: np.ndarray
    branching: np.ndarray
    visits: np.ndarray
    starts: np.ndarray
    owners: np.ndarray
    holes: np.ndarray

    def ring(self, index: int) -> np.ndarray:
        """Return the corners of a ring: (n, 2), (row, col), the first not repeated."""
        return self.nodes[self.visits[self.starts[index] : self.starts[index + 1]]]


def trace(labels: np.ndarray) -> Outlines:
    """Return the outlines of the objects of a label map, or of a mask.

    Parameters
    ----------
    labels : ndarray
        Integers or bool (row, col); 0 is background.

    Examples
    --------
    Two pixels that touch only at a corner are two parts:

    >>> found = trace(np.eye(2, dtype=bool))
    >>> [found.ring(index).tolist() for index in range(len(found.owners))]
    [[[0, 0], [0, 1], [1, 1], [1, 0]], [[1, 1], [1, 2], [2, 2], [2, 1]]]

    A hole is a ring of its own:

    >>> trace(np.pad(np.zeros((1, 1), int), 1, constant_values=7)).holes
    array([False,  True])
    """
    shape = (labels.shape[0], labels.shape[1])
    return trace_blocks(lambda part: labels[part.rows, part.cols], shape)


def trace_blocks(
    paint: Callable[[Region], np.ndarray], shape: tuple[int, int], side: int = _BLOCK
) -> Outlines:
    """Return the outlines of a label map of any size, which is asked for block by block.

    Memory holds one block, one row of the map, and the nodes.

    Parameters
    ----------
    paint : callable
        Takes a region of level 0 and returns its labels; it is called once for each pixel.
    shape : (int, int)
        Rows and columns.
    side : int
        Of a block.
    """
    nodes, around = _nodes(paint, shape, side)
    owners, places, following = _borders(nodes, around)
    visits, starts = _cycles(following)
    rings_of = owners[visits[starts[:-1]]]
    visits, starts, parts = _simple(places[visits], starts, len(nodes))
    return _grouped(nodes, _degree(around) > 2, visits, starts, rings_of[parts], parts)


def _nodes(
    paint: Callable[[Region], np.ndarray], shape: tuple[int, int], side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes, row by row, and the labels of the four pixels around each.

    These are (4, n): lower right, lower left, upper left, upper right, which is what lies on the
    right of somebody who leaves the node to the right, down, to the left, up.
    """
    found: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    above = np.zeros(shape[1] + 2, np.uint32)
    for part in blocks(shape, side):
        if part.col0 == 0:
            left = np.zeros(part.shape[0], np.uint32)
            upper, above = above, np.zeros_like(above)
        # A row and a column of the neighbours before it; nothing after the last.
        more_rows, more_cols = int(part.row1 == shape[0]), int(part.col1 == shape[1])
        window = np.zeros((part.shape[0] + 1 + more_rows, part.shape[1] + 1 + more_cols), np.uint32)
        values = paint(part)
        window[1 : part.shape[0] + 1, 1 : part.shape[1] + 1] = values
        window[0] = upper[part.col0 : part.col0 + window.shape[1]]
        window[1 : part.shape[0] + 1, 0] = left
        left = values[:, -1].astype(np.uint32)
        above[part.col0 + 1 : part.col1 + 1] = values[-1]
        lower_right, lower_left = window[1:, 1:], window[1:, :-1]
        upper_left, upper_right = window[:-1, :-1], window[:-1, 1:]
        upright = (upper_left != upper_right) | (lower_left != lower_right)
        upright &= (upper_left != lower_left) | (upper_right != lower_right)
        rows, cols = np.nonzero(upright)
        found.append(np.stack([rows + part.row0, cols + part.col0], axis=1).astype(np.int32))
        quads = (lower_right, lower_left, upper_left, upper_right)
        labels.append(np.stack([quad[rows, cols] for quad in quads]))
    nodes, around = np.concatenate(found), np.concatenate(labels, axis=1)
    order = np.lexsort((nodes[:, 1], nodes[:, 0]))
    return nodes[order], around[:, order]


def _degree(around: np.ndarray) -> np.ndarray:
    """Count the borders that meet at each node."""
    return (around != np.roll(around, -1, axis=0)).sum(axis=0)


def _borders(nodes: np.ndarray, around: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the straight borders of all objects, as walked with the object on the right.

    Returns
    -------
    (owners, places, following) : tuple of ndarray
        For each: the object, the node that it begins at, and which of them comes next.
    """
    count = len(nodes)
    index = np.arange(count)
    down = np.lexsort((nodes[:, 0], nodes[:, 1]))
    below, over = np.empty(count, np.int64), np.empty(count, np.int64)
    below[down], over[down] = np.roll(down, -1), np.roll(down, 1)
    targets = (index + 1, below, index - 1, over)
    owners, places, ends, headings = [], [], [], []
    for heading in (_RIGHT, _DOWN, _LEFT, _UP):
        mine, other = around[heading], around[heading - 1]
        some = np.flatnonzero((mine != other) & (mine != 0))
        owners.append(mine[some])
        places.append(some)
        ends.append(targets[heading][some])
        headings.append(np.full(len(some), heading, np.int8))
    owner, place, end, heading_of = map(np.concatenate, (owners, places, ends, headings))
    # Turn right wherever the object does not lie ahead on the right: what touches it only at a
    # corner is another part.
    ahead_right = around[heading_of, end] == owner
    ahead_left = around[heading_of - 1, end] == owner
    turned = np.where(ahead_right, np.where(ahead_left, -1, 0), 1)
    numbers = np.full((4, count), -1, np.int64)
    numbers[heading_of, place] = np.arange(len(owner))
    return owner, place, numbers[(heading_of + turned) % 4, end]


def _cycles(following: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cycles of a permutation one after another, and where each begins."""
    order: list[int] = []
    starts = [0]
    seen = bytearray(len(following))
    after = following.tolist()
    for first in range(len(following)):
        if seen[first]:
            continue
        at = first
        while not seen[at]:
            seen[at] = 1
            order.append(at)
            at = after[at]
        starts.append(len(order))
    return np.array(order, np.int64), np.array(starts, np.int64)


def _simple(
    visits: np.ndarray, starts: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Divide rings that pass a node twice: there an outer ring meets a hole, or two holes meet.

    Returns
    -------
    (visits, starts, rings) : tuple of ndarray
        `rings` says of which ring before each is a part.
    """
    rings, sizes = np.arange(len(starts) - 1), np.diff(starts)
    keys = np.sort(np.repeat(rings, sizes) * count + visits)
    again = np.unique(keys[1:][keys[1:] == keys[:-1]] // max(1, count))
    pieces, lengths, origins, first = [], [], [], 0
    for number in again.tolist():
        loops = _loops(visits[starts[number] : starts[number + 1]].tolist())
        pieces += [visits[starts[first] : starts[number]], *map(np.array, loops)]
        lengths += [sizes[first:number], np.array([len(loop) for loop in loops])]
        origins += [rings[first:number], np.full(len(loops), number)]
        first = number + 1
    lengths.append(sizes[first:])
    return (
        np.concatenate([*pieces, visits[starts[first] :]]),
        np.concatenate([[0], np.cumsum(np.concatenate(lengths))]),
        np.concatenate([*origins, rings[first:]]),
    )


def _loops(ring: list[int]) -> list[list[int]]:
    """Divide a closed walk where it comes to a node again."""
    found: list[list[int]] = []
    path: list[int] = []
    place: dict[int, int] = {}
    for node in ring:
        if node in place:
            begin = place[node]
            found.append(path[begin:])
            for passed in path[begin:]:
                del place[passed]
            del path[begin:]
        place[node] = len(path)
        path.append(node)
    return [*found, path]


def _grouped(
    nodes: np.ndarray,
    branching: np.ndarray,
    visits: np.ndarray,
    starts: np.ndarray,
    owners: np.ndarray,
    walks: np.ndarray,
) -> Outlines:
    """Find out which rings are holes, and of which part, and put them in order."""
    count = len(owners)
    ring = np.repeat(np.arange(count), np.diff(starts))
    here = nodes[visits].astype(np.int64)
    there = nodes[visits[_next(starts)]].astype(np.int64)
    twice = np.bincount(ring, here[:, 1] * there[:, 0] - there[:, 1] * here[:, 0], minlength=count)
    holes = twice < 0
    # A part is called by its outer ring. What was cut off an outer ring is a hole of that part.
    outer = np.full(int(walks.max(initial=-1)) + 1, -1)
    outer[walks[~holes]] = np.flatnonzero(~holes)
    part = np.where(holes, outer[walks], np.arange(count))
    alone = np.flatnonzero(part < 0)
    part[alone] = _rings_before(alone, owners, ring, here, there)
    # That is perhaps another hole of the part: but one that begins further up.
    while not np.array_equal(part, part[part]):
        part = part[part]
    order = np.lexsort((holes, part, owners))
    sizes = np.diff(starts)[order]
    begin = np.cumsum(sizes) - sizes
    visits = visits[np.repeat(starts[order] - begin, sizes) + np.arange(len(visits))]
    ends = np.concatenate([[0], np.cumsum(sizes)])
    return Outlines(nodes, branching, visits, ends, owners[order], holes[order])


def _next(starts: np.ndarray) -> np.ndarray:
    """Return for each visit of rings the index of the one after it."""
    after = np.arange(1, int(starts[-1]) + 1)
    after[starts[1:] - 1] = starts[:-1]
    return after


def _rings_before(
    holes: np.ndarray, owners: np.ndarray, ring: np.ndarray, here: np.ndarray, there: np.ndarray
) -> np.ndarray:
    """Return a ring of the same part for each hole: the one to the left of the pixel above it."""
    if not len(holes):
        return holes
    _, number = np.unique(owners, return_inverse=True)
    rows, cols = int(here[:, 0].max()) + 1, int(here[:, 1].max()) + 1
    # The highest corner of a hole, the leftmost of them: the pixel above is the object's.
    place = np.full(len(owners), rows * cols)
    np.minimum.at(place, ring, here[:, 0] * cols + here[:, 1])
    wanted = number[holes] * rows * cols + place[holes] - cols
    # Borders upward have the object on their right; one key for each row that they pass.
    concerned = np.isin(number, number[holes])[ring]
    upward = np.flatnonzero((there[:, 0] < here[:, 0]) & concerned)
    heights = here[upward, 0] - there[upward, 0]
    each = np.repeat(upward, heights)
    down = np.arange(len(each)) - np.repeat(np.cumsum(heights) - heights, heights)
    keys = (number[ring[each]] * rows + there[each, 0] + down) * cols + here[each, 1]
    order = np.argsort(keys)
    return ring[each[order[np.searchsorted(keys[order], wanted, "right") - 1]]]
