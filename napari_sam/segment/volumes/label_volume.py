"""Labels of a volume on the disk, written slice by slice along any axis."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam.files.rasters import told

if TYPE_CHECKING:
    import zarr

__all__ = ["Along", "Measures", "new_labels", "slabs", "write_slices"]

Along = Literal["z", "y", "x"]

_SIDE = 32
"""Voxels along each edge of a chunk, so that slices of all directions touch few of them."""

_AXIS: dict[Along, int] = {"z": 0, "y": 1, "x": 2}


def new_labels(path: Path, shape: tuple[int, int, int], by_slice: bool = False) -> zarr.Array[Any]:
    """Make an array of uint32 zeros, (z, row, col); what was there is removed.

    Parameters
    ----------
    path : Path
        Its folder.
    shape : (int, int, int)
        Slices, rows and columns.
    by_slice : bool
        Whether it will be read a slice along z at a time, and not written along other axes.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    import zarr

    chunk = (1, 512, 512) if by_slice else (_SIDE, _SIDE, _SIDE)
    with told(path):
        shutil.rmtree(path, ignore_errors=True)
        return zarr.create_array(
            path,
            shape=shape,
            chunks=tuple(min(most, side) for most, side in zip(chunk, shape, strict=True)),
            dtype=np.uint32,
            fill_value=0,
            dimension_names=("z", "y", "x"),
        )


def write_slices(labels: zarr.Array[Any], slices: Iterable[np.ndarray], along: Along) -> None:
    """Write all slices of a direction, as many at a time as a chunk holds.

    Parameters
    ----------
    labels : zarr.Array
        (z, row, col).
    slices : iterable of ndarray
        As `open_scene` gives them: (row, col) along z, (z, col) along y, (z, row) along x.
    along : {"z", "y", "x"}
        The direction.
    """
    axis, together, start = _AXIS[along], [], 0
    for plane in slices:
        together.append(plane)
        if len(together) == _SIDE or start + len(together) == labels.shape[axis]:
            where: list[slice] = [slice(None)] * 3
            where[axis] = slice(start, start + len(together))
            labels[tuple(where)] = np.stack(together, axis=axis)
            start += len(together)
            together = []


def slabs(labels: zarr.Array[Any]) -> Iterator[tuple[int, np.ndarray]]:
    """Give all of it, a row of chunks at a time: the first slice, and (z, row, col)."""
    for start in range(0, labels.shape[0], _SIDE):
        yield start, np.asarray(labels[start : start + _SIDE])


@dataclass(frozen=True, eq=False)
class Measures:
    """What is counted of each object while all voxels are read once.

    Parameters
    ----------
    volumes : (n,) ndarray
        int64, voxels; n is one more than the highest label, 0 is none.
    sums : (n, 3) ndarray
        float64, of (z, row, col).
    low, high : (n,) ndarray
        int64, the first slice and the one after the last.
    slices : (n,) ndarray
        int64, in how many it is.
    widest : (n,) ndarray
        int64, pixels in the slice where it is largest.
    """

    volumes: np.ndarray
    sums: np.ndarray
    low: np.ndarray
    high: np.ndarray
    slices: np.ndarray
    widest: np.ndarray

    @classmethod
    def of(cls, count: int) -> Measures:
        """Begin with nothing, for labels up to `count`."""
        size = count + 1
        return cls(
            np.zeros(size, np.int64),
            np.zeros((size, 3)),
            np.full(size, np.iinfo(np.int64).max),
            np.zeros(size, np.int64),
            np.zeros(size, np.int64),
            np.zeros(size, np.int64),
        )

    def add(self, number: int, labels: np.ndarray) -> None:
        """Count what a slice has."""
        rows, cols = np.nonzero(labels)
        found, places = np.unique(labels[rows, cols], return_inverse=True)
        areas = np.bincount(places, minlength=len(found))
        self.volumes[found] += areas
        self.sums[found, 0] += areas * number
        self.sums[found, 1] += np.bincount(places, rows, len(found))
        self.sums[found, 2] += np.bincount(places, cols, len(found))
        self.low[found] = np.minimum(self.low[found], number)
        self.high[found] = np.maximum(self.high[found], number + 1)
        self.slices[found] += 1
        self.widest[found] = np.maximum(self.widest[found], areas)

    def counted(self, slices: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Give slices on, and count what they have."""
        for number, labels in enumerate(slices):
            self.add(number, labels)
            yield labels
