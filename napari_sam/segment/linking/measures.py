"""What linking needs to know of the objects of one frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_sam.errors import InputError

__all__ = ["Objects", "measure"]


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of a frame.

    Parameters
    ----------
    ids : (n,) ndarray
        int64, ascending: their labels.
    areas : (n,) ndarray
        float64, pixels.
    centres : (n, d) ndarray
        float64, mean positions.
    labels : ndarray
        The frame itself.
    """

    ids: np.ndarray
    areas: np.ndarray
    centres: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def measure(labels: np.ndarray, frame: int) -> Objects:
    """Measure the objects of a frame.

    Parameters
    ----------
    labels : ndarray
        Whole numbers, (row, col) or (z, row, col); 0 is none.
    frame : int
        Its number, for messages.

    Raises
    ------
    InputError
        If they are no labels.

    Examples
    --------
    >>> found = measure(np.array([[0, 7, 7], [2, 0, 0]]), 0)
    >>> found.ids, found.areas, found.centres.tolist()
    (array([2, 7]), array([1., 2.]), [[1.0, 0.0], [0.0, 1.5]])
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "uib" or labels.ndim not in (2, 3):
        raise InputError(
            f"Frame {frame} has shape {labels.shape} and is {labels.dtype}: give labels, whole "
            f"numbers with (row, col) or (z, row, col)."
        )
    places = np.nonzero(labels)
    ids, which = np.unique(labels[places], return_inverse=True)
    areas = np.bincount(which, minlength=len(ids)).astype(np.float64)
    sums = [np.bincount(which, axis, minlength=len(ids)) for axis in places]
    centres = np.stack(sums, axis=1) / np.maximum(areas, 1)[:, None]
    return Objects(ids.astype(np.int64), areas, centres, labels)
