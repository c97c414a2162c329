"""A number that says whether a mask shows where its tiles meet."""

from __future__ import annotations

import numpy as np

from napari_sam.tiles.geometry import TileGeometry, TileId

from .objects import MaskLike

__all__ = ["boundary_steps", "seam_score"]

_REACH = 32
"""Pixels beyond which it is another boundary."""

_MOST = 8
"""Pixels that a step counts at the most, so that one alone says little."""

_OBLIQUE = 4
"""Pixels by which a boundary moves at the most from line to line where steps can be told."""

_BETWEEN = (0.25, 0.5, 0.75)
"""Shares of a core at which lines lie that steps are compared with."""


def seam_score(mask: MaskLike, geometry: TileGeometry) -> float:
    """Compare the steps of a mask's boundary where cores of level 0 meet with those elsewhere.

    Where a boundary crosses a line between two cores, it should go on at the same place. How far
    it jumps there is compared with how far it jumps at lines through cores, at a quarter, half and
    three quarters of them::

        (1 + mean step at lines between cores) / (1 + mean step at lines through cores)

    The 1 pixel added is what cannot be told from the raster.

    Parameters
    ----------
    mask : Candidate or MaskRegion
        Pixels of level 0.
    geometry : TileGeometry
        Where the tiles lie.

    Returns
    -------
    float
        About 1 for a mask that is drawn without tiles (0.8 to 1.25 for smooth shapes that cross a
        dozen borders; a ragged one that crosses few may have 1.5 by chance); 1 + n if at each
        border the boundary jumps by n pixels, and nowhere else. 1 if it crosses no border.

    Examples
    --------
    >>> from napari_sam.segment.scribbles import MaskRegion
    >>> geometry = TileGeometry((16, 40), tile=16, halo=2)
    >>> smooth = np.zeros((16, 40), bool)
    >>> smooth[1:7, 1:39] = True
    >>> seam_score(MaskRegion(0, 0, smooth), geometry)
    1.0
    >>> stepped = smooth.copy()
    >>> for border in (14, 26):
    ...     stepped[:, border:] = np.roll(stepped[:, border:], 2, axis=0)
    >>> seam_score(MaskRegion(0, 0, stepped), geometry)
    3.0
    """
    borders: list[int] = []
    inside: list[int] = []
    for axis in (0, 1):
        for line in _lines(geometry, axis):
            borders += boundary_steps(mask, line, axis)
            for share in _BETWEEN:
                inside += boundary_steps(mask, line - round(share * geometry.step), axis)
    if not borders:
        return 1.0
    elsewhere = float(np.mean(inside)) if inside else 0.0
    return (1 + float(np.mean(borders))) / (1 + elsewhere)


def boundary_steps(mask: MaskLike, line: int, axis: int) -> list[int]:
    """Measure how far a mask's boundary jumps at a line.

    An oblique boundary moves at every line. So only what it moves more than both just before and
    just after counts; where it runs almost along the line, nothing can be told.

    Parameters
    ----------
    mask : MaskLike
        Pixels of level 0.
    line : int
        The first row (axis 0) or column (axis 1) after the line.
    axis : int
        Of the line's position.

    Returns
    -------
    list of int
        Pixels, for each place where the boundary reaches the line and can be followed.

    Examples
    --------
    >>> from napari_sam.segment.scribbles import MaskRegion
    >>> ends = [2, 3, 4, 8, 9, 10]
    >>> mask = MaskRegion(0, 0, np.array([np.arange(12) < end for end in ends]))
    >>> boundary_steps(mask, 2, 0), boundary_steps(mask, 3, 0)
    ([0, 0], [0, 3])
    """
    first = mask.row if axis == 0 else mask.col
    pixels = mask.mask if axis == 0 else mask.mask.T
    at = line - first
    if not 2 <= at < len(pixels) - 1:
        return []
    changes = [_changes(pixels[at + offset]) for offset in (-2, -1, 0, 1)]
    steps = []
    for place, rises in changes[1]:
        before = _nearest(changes[0], place, rises)
        if before is None or abs(place - before) > _OBLIQUE:
            continue
        there = _nearest(changes[2], place, rises)
        if there is None:
            steps.append(_MOST)
            continue
        after = _nearest(changes[3], there, rises)
        usual = max(abs(place - before), 0 if after is None else abs(after - there))
        steps.append(min(_MOST, max(0, abs(there - place) - usual)))
    return steps


def _nearest(changes: list[tuple[int, bool]], place: int, rises: bool) -> int | None:
    """Return where the boundary goes on; None if it ends."""
    near = [other for other, up in changes if up == rises and abs(other - place) <= _REACH]
    return min(near, key=lambda other: abs(other - place), default=None)


def _changes(line: np.ndarray) -> list[tuple[int, bool]]:
    """Return where the mask begins (True) and ends (False) along a line of pixels."""
    steps = np.diff(np.concatenate([[0], line.astype(np.int8), [0]]))
    return [(int(place), bool(steps[place] > 0)) for place in np.flatnonzero(steps)]


def _lines(geometry: TileGeometry, axis: int) -> list[int]:
    """Return the first row or column of each core but the first."""
    count = geometry.grid(0)[axis]
    cores = [geometry.core(TileId(0, *((i, 0) if axis == 0 else (0, i)))) for i in range(1, count)]
    return [core.row0 if axis == 0 else core.col0 for core in cores]
