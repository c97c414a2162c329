"""The objects of slices joined to those of a volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError

from .branches import settle
from .chains import link
from .label_volume import Along, Measures, write_slices
from .overlaps import Overlaps, measure_overlaps
from .painting import paint_slices
from .slices import Kept

if TYPE_CHECKING:
    import zarr

__all__ = ["JoinedVolume", "Joining", "join_slices"]


@dataclass(frozen=True)
class Joining:
    """What makes one object of the objects of slices.

    Parameters
    ----------
    overlap : float
        Least score of two objects that follow each other: the mean of their IoU and of the share of
        the smaller one that lies over the other.
    gap : int
        Slices in which an object may be missing.
    neck : float
        An object is cut where its area is less than this share of what it is on both sides; 0 cuts
        none.
    """

    overlap: float = 0.3
    gap: int = 2
    neck: float = 0.6

    def __post_init__(self) -> None:
        if not (0 < self.overlap <= 1 and 0 <= self.gap <= 16 and 0 <= self.neck < 1):
            raise InputError(
                f"Slices cannot be joined with an overlap of {self.overlap:g}, a gap of {self.gap} "
                f"and a neck of {self.neck:g}: give an overlap above 0 and up to 1, a gap of 0 to "
                f"16 slices, and a neck from 0 to less than 1."
            )


@dataclass(frozen=True, eq=False)
class JoinedVolume:
    """What was joined.

    Parameters
    ----------
    count : int
        Objects of the volume: labels are 1 to this.
    of_slices : int
        Objects of slices that they were joined from.
    predicted_ious : (count + 1,) ndarray
        float64, the mean over the objects of slices by area; the first is none.
    measures : Measures
        Of the labels along the direction, which is not always z.
    """

    count: int
    of_slices: int
    predicted_ious: np.ndarray
    measures: Measures


def join_slices(
    slices: Kept, labels: zarr.Array[Any], joining: Joining, along: Along = "z"
) -> JoinedVolume:
    """Join the objects of slices, and write them.

    All slices are read twice, and a few are in memory at a time.

    Parameters
    ----------
    slices : Kept
        Of all of a direction.
    labels : zarr.Array
        Is written: (z, row, col).
    joining : Joining
        What makes one object.
    along : {"z", "y", "x"}
        The direction.
    """
    overlaps = measure_overlaps(slices, joining.gap)
    joined = settle(overlaps, link(overlaps, joining.overlap, joining.neck))
    count = int(joined.object_of.max(initial=-1)) + 1
    measures = Measures.of(count)
    write_slices(labels, measures.counted(paint_slices(slices, overlaps, joined)), along)
    return JoinedVolume(
        count, len(overlaps), _mean_ious(overlaps, joined.object_of, count), measures
    )


def _mean_ious(overlaps: Overlaps, object_of: np.ndarray, count: int) -> np.ndarray:
    weights = np.bincount(object_of, overlaps.areas, count)
    sums = np.bincount(object_of, overlaps.areas * overlaps.predicted_ious, count)
    return np.concatenate([[0.0], sums / np.maximum(weights, 1)])
