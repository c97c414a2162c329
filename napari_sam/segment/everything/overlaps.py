"""Which candidates overlap, and how much: measured once, so that filters need no masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from napari_sam.tiles.regions import Region

from .candidates import AllCandidates
from .packing import Damaged, pack, unpack

__all__ = ["INSIDE", "LEAST_EVIDENCE", "LEAST_OVERLAP", "Pairs", "common_area", "measure_pairs"]

LEAST_OVERLAP = 0.2
"""Pairs that overlap less are not kept, so that no filter can ask for less; but for one in the
other."""

INSIDE = 0.9
"""The share of a mask that another one covers at least, for it to lie in that one."""

LEAST_EVIDENCE = 0.1
"""The share of the smaller mask that two must have in common for their agreement to say anything:
the overlap of two windows may hold only the rim of one."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of candidates that overlap.

    Parameters
    ----------
    first, second : (m,) ndarray
        int32, candidates; `first` is less than `second`.
    iou : (m,) ndarray
        float32, of the two masks.
    agreement : (m,) ndarray
        float32, of the two masks where the windows of both tiles are: where both could have seen
        the object. For two masks that no window cuts it is `iou`.
    evidence : (m,) ndarray
        float32, the share of the smaller mask that they have in common.
    """

    first: np.ndarray
    second: np.ndarray
    iou: np.ndarray
    agreement: np.ndarray
    evidence: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def to_bytes(self, about: bytes) -> bytes:
        """Return all of it, compressed; `about` says of which candidates."""
        return pack(vars(self), about)

    @classmethod
    def from_bytes(cls, content: bytes, about: bytes) -> Pairs | None:
        """Read what `to_bytes` gave; None if it is damaged, or of other candidates."""
        try:
            return cls(**unpack(content, about))
        except Damaged:
            return None


def measure_pairs(candidates: AllCandidates) -> Pairs:
    """Measure all pairs of candidates that matter.

    Pairs whose boxes and areas leave no more than an IoU of `LEAST_OVERLAP`, and of which none can
    lie in the other, are left out without looking at their masks. Masks of different levels are
    compared in pixels of the finer one.
    """
    rows: list[tuple[int, int, float, float, float]] = []
    for one, other in _tile_pairs(candidates):
        rows += _between(candidates, one, other)
    first, second, iou, agreement, evidence = (
        np.array(rows, np.float64).reshape(-1, 5)[:, column] for column in range(5)
    )
    order = np.lexsort((second, first))
    return Pairs(
        first[order].astype(np.int32),
        second[order].astype(np.int32),
        iou[order].astype(np.float32),
        agreement[order].astype(np.float32),
        evidence[order].astype(np.float32),
    )


def _tile_pairs(candidates: AllCandidates) -> Iterator[tuple[int, int]]:
    """Give the pairs of tiles whose windows overlap, each with itself too, the finer one first."""
    windows = [candidates.window(tile) for tile in range(len(candidates.tiles))]
    corners = np.array([(w.row0, w.col0, w.row1, w.col1) for w in windows], np.int64).reshape(-1, 4)
    for tile in range(len(windows)):
        later = corners[tile:]
        start = np.maximum(later[:, :2], corners[tile, :2])
        shared = (start < np.minimum(later[:, 2:], corners[tile, 2:])).all(1)
        for offset in np.flatnonzero(shared).tolist():
            yield tile, tile + offset


def _between(
    candidates: AllCandidates, one: int, other: int
) -> list[tuple[int, int, float, float, float]]:
    """Measure the pairs of two tiles, or within one."""
    ours, theirs = candidates.of_tile(one), candidates.of_tile(other)
    a, b = candidates.boxes[ours], candidates.boxes[theirs]
    if not (len(a) and len(b)):
        return []
    shared = (
        np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    ).clip(min=0)
    most = shared[..., 0] * shared[..., 1]
    area_a, area_b = candidates.areas[ours][:, None], candidates.areas[theirs][None]
    smaller = np.minimum(area_a, area_b)
    most = np.minimum(most, smaller)
    wanted = (most > LEAST_OVERLAP * (area_a + area_b - most)) | (most >= INSIDE * smaller)
    levels = candidates.tiles[one].level, candidates.tiles[other].level
    masks_a, masks_b = candidates.masks(one), candidates.masks(other)
    in_a, in_b = candidates.areas[ours] * 1.0, candidates.areas[theirs] * 1.0
    if one == other:
        wanted = np.triu(wanted, k=1)
    else:
        both = candidates.window(one) & candidates.window(other)
        touching = most > 0
        in_a = _areas_within(candidates, one, masks_a, touching.any(1), both)
        in_b = _areas_within(candidates, other, masks_b, touching.any(0), both)
        either_cut = (candidates.cuts[ours] > 0)[:, None] | (candidates.cuts[theirs] > 0)[None]
        bound = np.minimum(most, np.minimum(in_a[:, None], in_b[None]))
        wanted |= (
            either_cut
            & (bound > LEAST_OVERLAP * (in_a[:, None] + in_b[None] - bound))
            & (bound > LEAST_EVIDENCE * smaller)
        )
    found = []
    for i, j in np.argwhere(wanted).tolist():
        common = common_area(masks_a[i], a[i], levels[0], masks_b[j], b[j], levels[1])
        if not common:
            continue
        size_a, size_b = int(area_a[i, 0]), int(area_b[0, j])
        iou = common / (size_a + size_b - common)
        cut = candidates.cuts[ours.start + i] or candidates.cuts[theirs.start + j]
        agreement = common / (in_a[i] + in_b[j] - common) if cut else iou
        evidence = common / min(size_a, size_b)
        if max(iou, agreement) <= LEAST_OVERLAP and evidence < INSIDE:
            continue
        found.append((ours.start + i, theirs.start + j, iou, agreement, evidence))
    return found


def _areas_within(
    candidates: AllCandidates,
    tile: int,
    masks: list[np.ndarray],
    wanted: np.ndarray,
    window: Region,
) -> np.ndarray:
    """Return the areas of a tile's masks within a window of level 0; of others the whole."""
    own, level = candidates.of_tile(tile), candidates.tiles[tile].level
    areas = candidates.areas[own].astype(np.float64)
    boxes = candidates.boxes[own]
    low, high = (window.row0, window.col0), (window.row1, window.col1)
    outside = (boxes[:, :2] < low).any(1) | (boxes[:, 2:] > high).any(1)
    for index in np.flatnonzero(wanted & outside).tolist():
        row0, col0, row1, col1 = boxes[index].tolist()
        part = Region(row0, col0, row1, col1) & window
        rows, cols = masks[index].shape
        # A window of a finer level may end within a pixel, of which a part counts.
        down = _lengths(part.row0 - row0, part.row1 - row0, level, rows)
        across = _lengths(part.col0 - col0, part.col1 - col0, level, cols)
        areas[index] = down @ masks[index] @ across
    return areas


def _lengths(start: int, stop: int, level: int, count: int) -> np.ndarray:
    """Return how many pixels of level 0 between two places lie in each pixel of a level."""
    edges = np.arange(count + 1) << level
    return np.diff(edges.clip(start, stop)).astype(np.float64)


def common_area(
    mask_a: np.ndarray,
    box_a: np.ndarray,
    level_a: int,
    mask_b: np.ndarray,
    box_b: np.ndarray,
    level_b: int,
) -> int:
    """Count the pixels of level 0 that two masks share.

    Parameters
    ----------
    mask_a, mask_b : bool ndarray
        Each in pixels of its level.
    box_a, box_b : (4,) ndarray
        Where they lie, in pixels of level 0.
    level_a, level_b : int
        Their levels, the finer one first.
    """
    part = Region(*box_a.tolist()) & Region(*box_b.tolist())
    if not part.area:
        return 0
    if level_a == level_b:
        one = _crop(mask_a, box_a, level_a, part)
        return int(np.count_nonzero(one & _crop(mask_b, box_b, level_b, part))) << (2 * level_a)
    # In whole pixels of the finer level: its box has none else.
    one = _crop(mask_a, box_a, level_a, part)
    step = level_b - level_a
    rows = (((np.arange(part.row0, part.row1, 1 << level_a)) - int(box_b[0])) >> level_a) >> step
    cols = (((np.arange(part.col0, part.col1, 1 << level_a)) - int(box_b[1])) >> level_a) >> step
    return int(np.count_nonzero(one & mask_b[np.ix_(rows, cols)])) << (2 * level_a)


def _crop(mask: np.ndarray, box: np.ndarray, level: int, part: Region) -> np.ndarray:
    """Return what of a mask lies in a part of its box that consists of whole pixels of its level.

    Parameters
    ----------
    mask : (h, w) bool ndarray
        In pixels of its level.
    box : (4,) ndarray
        Where it lies, in pixels of level 0.
    level : int
        Its level.
    part : Region
        Of level 0.

    Examples
    --------
    >>> mask = np.array([[True, False], [True, True]])
    >>> _crop(mask, np.array([4, 8, 8, 12]), 1, Region(4, 10, 8, 12))
    array([[False],
           [ True]])
    """
    row, col = int(box[0]), int(box[1])
    return mask[
        (part.row0 - row) >> level : (part.row1 - row) >> level,
        (part.col0 - col) >> level : (part.col1 - col) >> level,
    ]
