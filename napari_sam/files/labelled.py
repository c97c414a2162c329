"""What every writer of objects takes: labels on the grid of their image, and what is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.scenes.axes import LazyArray
from napari_sam.tiles.regions import Region

if TYPE_CHECKING:
    from napari_sam.scene import Scene

__all__ = ["Labelled", "LabelledWindow", "blocks_of", "windows"]

_SIDE = 2048
"""Rows and columns that are looked at together."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Objects of a scene as a label image, and what is known of them.

    Parameters
    ----------
    scene : Scene
        The image, whose rows and columns of level 0 the labels have: its georeference, volume grid
        and pixel size are theirs.
    labels : LazyArray
        Whole numbers, 0 where there is no object; read block by block.
    axes : str
        ``"YX"``, ``"ZYX"``, ``"TYX"`` or ``"TZYX"``, as `scene.axes` means them. Without Z or T
        they are of the scene's own plane.
    table : tuple of mapping
        A row for each object: ``id`` always, where known ``class``, ``predicted_iou``,
        ``stability``, ``area_px``, ``source``, ``user``, ``time`` and others; plain values.
    provenance : mapping of str to str
        What `napari_sam.provenance.provenance` gives. Writers keep all of it.

    Raises
    ------
    InputError
        If the labels are not whole numbers, or have another size than the scene.

    Examples
    --------
    >>> from napari_sam.scene import open_scene
    >>> scene = open_scene(np.zeros((4, 6), np.uint8))
    >>> labels = np.array([[1, 1, 0, 0, 0, 0]] * 4, np.uint32)
    >>> labelled = Labelled(scene, labels, "YX", ({"id": 1, "class": "cell"},))
    >>> labelled.plane(Region(0, 0, 1, 3))
    array([[1, 1, 0]], dtype=uint32)
    """

    scene: Scene
    labels: LazyArray
    axes: str
    table: tuple[Mapping[str, Any], ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name, shape = self.scene.name, tuple(self.labels.shape)
        if self.axes not in ("YX", "ZYX", "TYX", "TZYX") or len(shape) != len(self.axes):
            raise InputError(
                f"Labels of {name} have shape {shape} and the axes {self.axes!r}: give one of YX, "
                f"ZYX, TYX and TZYX."
            )
        if np.dtype(self.labels.dtype).kind not in "uib":
            raise InputError(
                f"Labels of {name} are {self.labels.dtype}: whole numbers are needed, 0 for none."
            )
        sizes = {
            "T": self.scene.times,
            "Z": self.scene.planes,
            "Y": self.scene.shape[0],
            "X": self.scene.shape[1],
        }
        wanted = tuple(sizes[axis] for axis in self.axes)
        if shape != wanted:
            raise InputError(
                f"Labels of {name} have shape {shape}, where the image has {wanted} "
                f"({self.axes}): give those that belong to it."
            )

    @property
    def planes(self) -> list[tuple[int, int]]:
        """(t, z) of each plane that it has labels of, in order."""
        times = range(self.scene.times) if "T" in self.axes else [self.scene.t]
        depths = range(self.scene.planes) if "Z" in self.axes else [self.scene.z]
        return [(t, z) for t in times for z in depths]

    def plane(self, region: Region, t: int = 0, z: int = 0) -> np.ndarray:
        """Read a rectangle.

        Parameters
        ----------
        region : Region
            In pixels of level 0.
        t, z : int
            Which plane, one of `planes`; what it has no axis for does not matter.

        Returns
        -------
        ndarray
            uint32, (row, col).
        """
        where: dict[str, int | slice] = {"T": t, "Z": z, "Y": region.rows, "X": region.cols}
        block = np.asarray(self.labels[tuple(where[axis] for axis in self.axes)])
        return block.astype(np.uint32, copy=False)

    def volume(self) -> np.ndarray:
        """Read all of it, into memory: uint32, with `axes`."""
        return np.asarray(self.labels[(slice(None),) * len(self.axes)]).astype(
            np.uint32, copy=False
        )

    def row(self, number: int) -> Mapping[str, Any]:
        """Return what is known of an object; its id alone where nothing is."""
        return self._rows.get(number, {"id": number})

    @cached_property
    def _rows(self) -> dict[int, Mapping[str, Any]]:
        return {int(row["id"]): row for row in self.table}


@dataclass(frozen=True)
class LabelledWindow:
    """Where an object lies in one plane.

    Parameters
    ----------
    id : int
        The object's.
    t, z : int
        The plane.
    region : Region
        Its bounding box, in pixels of level 0.
    area : int
        Pixels.
    """

    id: int
    t: int
    z: int
    region: Region
    area: int


def blocks_of(labelled: Labelled, side: int = _SIDE) -> Iterator[tuple[int, int, Region]]:
    """Divide all planes into squares: t, z and the part, plane by plane and row by row."""
    rows, cols = labelled.scene.shape
    for t, z in labelled.planes:
        for row in range(0, rows, side):
            for col in range(0, cols, side):
                yield t, z, Region(row, col, min(row + side, rows), min(col + side, cols))


def windows(labelled: Labelled) -> list[LabelledWindow]:
    """Find where each object lies in each plane; reads all labels once, block by block.

    Returns
    -------
    list of LabelledWindow
        By plane, then by id.

    Examples
    --------
    >>> from napari_sam.scene import open_scene
    >>> labels = np.array([[0, 7, 7], [0, 0, 7]])
    >>> found = windows(Labelled(open_scene(np.zeros((2, 3), np.uint8)), labels, "YX"))
    >>> [(one.id, one.region, one.area) for one in found]
    [(7, Region(row0=0, col0=1, row1=2, col1=3), 3)]
    """
    found: dict[tuple[int, int, int], list[int]] = {}
    for t, z, part in blocks_of(labelled):
        block = labelled.plane(part, t, z)
        rows, cols = np.nonzero(block)
        if not len(rows):
            continue
        ids, which = np.unique(block[rows, cols], return_inverse=True)
        count = len(ids)
        low_row, low_col = np.full(count, _SIDE), np.full(count, _SIDE)
        high_row, high_col = np.zeros(count, int), np.zeros(count, int)
        np.minimum.at(low_row, which, rows)
        np.minimum.at(low_col, which, cols)
        np.maximum.at(high_row, which, rows + 1)
        np.maximum.at(high_col, which, cols + 1)
        areas = np.bincount(which, minlength=count)
        for number, *box, area in zip(
            ids.tolist(),
            (low_row + part.row0).tolist(),
            (low_col + part.col0).tolist(),
            (high_row + part.row0).tolist(),
            (high_col + part.col0).tolist(),
            areas.tolist(),
            strict=True,
        ):
            known = found.setdefault((t, z, number), [*box, 0])
            known[:2] = map(min, known[:2], box[:2])
            known[2:4] = map(max, known[2:4], box[2:])
            known[4] += area
    return [
        LabelledWindow(number, t, z, Region(*known[:4]), known[4])
        for (t, z, number), known in sorted(found.items())
    ]
