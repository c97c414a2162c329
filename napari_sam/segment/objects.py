"""Candidates painted into one label map, and what is known of each object in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from napari_sam.tiles.geometry import TileId


class MaskLike(Protocol):
    """A mask somewhere in a Scene, as `Candidate`, `MaskRegion` and `Runs` are."""

    @property
    def row(self) -> int:
        """Of its upper left pixel, at level 0."""

    @property
    def col(self) -> int:
        """Of its upper left pixel, at level 0."""

    @property
    def mask(self) -> np.ndarray:
        """Pixels of level 0, bool (row, col)."""


@dataclass(frozen=True)
class Candidate:
    """A mask offered for a prompt.

    Only the part of the picture that the mask covers is kept, so that hundreds of them on a large
    picture stay small.

    Attributes
    ----------
    row, col : int
        Where the upper left pixel of `mask` lies in the picture.
    mask : ndarray
        bool, shape (row, col), cut to the bounding box; (0, 0) for an empty mask.
    predicted_iou : float
        The network's guess of how well the mask fits.
    stability : float
        IoU of the masks cut from the logits 1 above and 1 below the threshold.
    prompt : str
        The kind of prompt: "point", "points", "box", "box+points", "scribble", "mask" or "grid".
    level : int
        The level of the Scene at which it was found; finer ones only refined it.
    tiles : tuple of TileId
        Those whose answers are in it, from the coarsest level; none for a picture without tiles.
    """

    row: int
    col: int
    mask: np.ndarray
    predicted_iou: float
    stability: float
    prompt: str
    level: int = 0
    tiles: tuple[TileId, ...] = ()

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def region(self) -> tuple[slice, slice]:
        """The part of the picture that `mask` covers."""
        rows, cols = self.mask.shape
        return slice(self.row, self.row + rows), slice(self.col, self.col + cols)


@dataclass(frozen=True)
class SegmentedObject:
    """An object of a label map: one row of the table.

    Attributes
    ----------
    id : int
        Its value in the label map.
    prompt : str
        What it was found with, as in `Candidate`.
    area : int
        Pixels that carry the id.
    bbox : tuple of int
        (row0, col0, row1, col1), the last row and column plus one as in
        `skimage.measure.regionprops`.
    centroid : tuple of float
        (row, col), the mean position of its pixels.
    predicted_iou, stability : float
        As in `Candidate`.
    """

    id: int
    prompt: str
    area: int
    bbox: tuple[int, int, int, int]
    centroid: tuple[float, float]
    predicted_iou: float
    stability: float


def cut_candidate(
    mask: np.ndarray, predicted_iou: float, stability: float, prompt: str
) -> Candidate:
    """Make a candidate of a mask as large as the picture.

    Parameters
    ----------
    mask : ndarray
        bool, shape (row, col).
    predicted_iou, stability : float
        Its scores.
    prompt : str
        The kind of prompt.

    Returns
    -------
    Candidate

    Examples
    --------
    >>> import numpy as np
    >>> mask = np.zeros((5, 5), dtype=bool)
    >>> mask[1:3, 2] = True
    >>> found = cut_candidate(mask, 0.9, 0.8, "point")
    >>> found.row, found.col, found.mask.shape, found.area
    (1, 2, (2, 1), 2)
    """
    rows = np.flatnonzero(mask.any(axis=1))
    cols = np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return Candidate(0, 0, np.zeros((0, 0), dtype=bool), predicted_iou, stability, prompt)
    cut = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1].copy()
    return Candidate(int(rows[0]), int(cols[0]), cut, predicted_iou, stability, prompt)


def without_duplicates(candidates: Sequence[Candidate], overlap_thresh: float) -> list[Candidate]:
    """Keep the first of candidates that are about the same.

    Boxes do not tell: a mask with a speck far away has another box than the same mask without.

    Parameters
    ----------
    candidates : sequence of Candidate
        The best first.
    overlap_thresh : float
        Greatest IoU of two masks that are kept.

    Returns
    -------
    list of Candidate
        In the same order.

    Examples
    --------
    >>> import numpy as np
    >>> cell = Candidate(0, 0, np.ones((1, 5), dtype=bool), 0.9, 0.9, "grid")
    >>> again = Candidate(0, 1, np.ones((1, 4), dtype=bool), 0.8, 0.8, "grid")
    >>> nucleus = Candidate(0, 2, np.ones((1, 2), dtype=bool), 0.7, 0.7, "grid")
    >>> [kept.area for kept in without_duplicates([cell, again, nucleus], 0.7)]
    [5, 2]
    """
    kept: list[Candidate] = []
    for candidate in candidates:
        if all(_iou(candidate, other) <= overlap_thresh for other in kept):
            kept.append(candidate)
    return kept


def _iou(a: Candidate, b: Candidate) -> float:
    """Return the IoU of two masks; 0 where one is empty."""
    row0, row1 = max(a.row, b.row), min(a.region[0].stop, b.region[0].stop)
    col0, col1 = max(a.col, b.col), min(a.region[1].stop, b.region[1].stop)
    if row0 >= row1 or col0 >= col1:
        return 0.0
    parts = [c.mask[row0 - c.row : row1 - c.row, col0 - c.col : col1 - c.col] for c in (a, b)]
    shared = np.count_nonzero(parts[0] & parts[1])
    return shared / (a.area + b.area - shared)


def paint_labels(
    candidates: Sequence[Candidate], shape: tuple[int, int]
) -> tuple[np.ndarray, list[SegmentedObject]]:
    """Paint candidates into one label map.

    Where they overlap, the smaller one lies on top, so that a nested object (a nucleus in its
    cell) stays visible. The numbers follow the order of the candidates; one of which nothing is
    visible gets none.

    Parameters
    ----------
    candidates : sequence of Candidate
        In the order in which they are to be numbered.
    shape : tuple of int
        Rows and columns of the picture.

    Returns
    -------
    labels : ndarray
        uint32, shape (row, col); 0 is background.
    objects : list of SegmentedObject
        In the order of their ids 1, 2, …; area, box and centroid are those of the visible pixels,
        so that they agree with the label map.

    Examples
    --------
    >>> import numpy as np
    >>> cell = Candidate(0, 0, np.ones((1, 5), dtype=bool), 0.9, 0.9, "grid")
    >>> nucleus = Candidate(0, 2, np.ones((1, 2), dtype=bool), 0.8, 0.8, "grid")
    >>> labels, objects = paint_labels([cell, nucleus], (1, 6))
    >>> labels
    array([[1, 1, 2, 2, 1, 0]], dtype=uint32)
    >>> objects[0].area, objects[0].bbox, objects[0].centroid
    (3, (0, 0, 1, 5), (0.0, 1.6666666666666667))
    """
    drawn = np.zeros(shape, dtype=np.uint32)
    for number in sorted(range(len(candidates)), key=lambda i: -candidates[i].area):
        candidate = candidates[number]
        drawn[candidate.region][candidate.mask] = number + 1
    objects: list[SegmentedObject] = []
    renumbered = np.zeros(len(candidates) + 1, dtype=np.uint32)
    for number, candidate in enumerate(candidates, start=1):
        rows, cols = np.nonzero(drawn[candidate.region] == number)
        if rows.size == 0:
            continue
        rows, cols = rows + candidate.row, cols + candidate.col
        renumbered[number] = len(objects) + 1
        objects.append(
            SegmentedObject(
                id=len(objects) + 1,
                prompt=candidate.prompt,
                area=int(rows.size),
                bbox=(int(rows.min()), int(cols.min()), int(rows.max()) + 1, int(cols.max()) + 1),
                centroid=(float(rows.mean()), float(cols.mean())),
                predicted_iou=candidate.predicted_iou,
                stability=candidate.stability,
            )
        )
    return renumbered[drawn], objects
