"""One crop: its pixels, the objects it is there for, and where all objects are outlined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_sam.sessions.runs import Runs
from napari_sam.tiles.regions import Region
from src_model.training.pictures import ObjectMask, trim

from .crops import Planned
from .places import Outlined

__all__ = ["Cut", "cut_objects", "known_region", "sampled"]

_BITS = 32


@dataclass(frozen=True, eq=False)
class Cut:
    """What a crop shows of the objects.

    Parameters
    ----------
    objects : dict of int to ObjectMask
        Those that the crop is there for, by ascending id.
    known : (H, W) bool array
        Where all objects are outlined in it.
    tiny : int
        How many were left out, as they have at most one pixel.
    """

    objects: dict[int, ObjectMask]
    known: np.ndarray
    tiny: int

    @property
    def is_filled(self) -> bool:
        """Whether one object is the background, so that training would refuse it."""
        covered = np.zeros(self.known.shape, bool)
        for item in self.objects.values():
            covered[item.window] |= item.mask
        around = [i.area for i in self.objects.values() if i.mask.shape == covered.shape]
        return bool(covered.all()) and max(around, default=0) * 2 > covered.size


def cut_objects(outlined: Outlined, planned: Planned, finished: Sequence[np.ndarray] | None) -> Cut:
    """Draw what a crop shows.

    Parameters
    ----------
    outlined : Outlined
        All objects of the plane.
    planned : Planned
        The crop.
    finished : sequence of (n, 2) array, or None
        As `Place` has it.
    """
    region, level, boxes = planned.region, planned.level, outlined.boxes
    known = known_region(region, level, finished)
    near = (boxes[:, :2] < np.array([region.row1, region.col1]) << level).all(1)
    near &= (boxes[:, 2:] > np.array([region.row0, region.col0]) << level).all(1)
    mine, objects, tiny = set(planned.objects), {}, 0
    for index in np.flatnonzero(near).tolist():
        shown = sampled(outlined.runs[index], level).clip(region)
        item = None
        if shown:
            box = shown.box
            item = trim(shown.mask, box.row0 - region.row0, box.col0 - region.col0)
        if index in mine and item is not None and item.area > 1:
            objects[outlined.ids[index]] = item
        else:
            tiny += index in mine
            if item is not None:
                known[item.window] &= ~item.mask
    return Cut(objects, known, tiny)


def known_region(region: Region, level: int, finished: Sequence[np.ndarray] | None) -> np.ndarray:
    """Draw finished polygons, as far as they lie in a crop.

    Parameters
    ----------
    region : Region
        In pixels of the level.
    level : int
        Of the crop.
    finished : sequence of (n, 2) array, or None
        (row, col) at level 0, pixel centres at integers; None: everywhere.

    Returns
    -------
    bool array
        Of the region's shape.

    Examples
    --------
    >>> square = np.array([[0, 0], [0, 3], [3, 3], [3, 0]])
    >>> known_region(Region(0, 0, 3, 3), 1, [square]).astype(int)
    array([[1, 1, 0],
           [1, 1, 0],
           [0, 0, 0]])
    """
    from skimage.draw import polygon

    if finished is None:
        return np.ones(region.shape, bool)
    known = np.zeros(region.shape, bool)
    for corners in finished:
        at_level = (np.asarray(corners, float) + 0.5) / (1 << level) - 0.5
        rows, cols = (at_level - (region.row0, region.col0)).T
        known[polygon(rows, cols, shape=region.shape)] = True
    return known


def sampled(runs: Runs, level: int) -> Runs:
    """Return the pixels of a coarser level whose middle belongs to a set.

    Where two pixels of level 0 are as near to the middle, the upper left one counts: sets that do
    not overlap do not overlap then.

    Examples
    --------
    >>> sampled(Runs.of_mask(np.ones((4, 8), bool)), 2).box
    Region(row0=0, col0=0, row1=1, col1=2)
    """
    if not level:
        return runs
    step = 1 << level
    middle = (step - 1) // 2
    rows, starts, stops = runs.parts()
    some = (rows - middle) % step == 0
    rows = (rows[some] - middle) // step << _BITS
    starts, stops = (-((middle - ends[some]) // step) for ends in (starts, stops))
    some = starts < stops
    return Runs.of_ends(rows[some] + starts[some], rows[some] + stops[some])
