"""A plane of a scene, or a picture, with the objects that somebody outlined in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.sessions.runs import Runs

if TYPE_CHECKING:
    from napari_sam.scene import PixelSize, Scene

__all__ = ["Outlined", "Place"]


@dataclass(frozen=True, eq=False)
class Outlined:
    """Objects of one plane, by id; they may overlap.

    Parameters
    ----------
    ids : tuple of int
        Ascending.
    runs : tuple of Runs
        The pixels of each, at level 0.
    classes : mapping of int to str
        What those are of which somebody said it.
    """

    ids: tuple[int, ...]
    runs: tuple[Runs, ...]
    classes: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def boxes(self) -> np.ndarray:
        """(n, 4) int64: (row0, col0, row1, col1), the ends exclusive."""
        found = [(b.row0, b.col0, b.row1, b.col1) for b in (one.box for one in self.runs)]
        return np.array(found, np.int64).reshape(-1, 4)

    @cached_property
    def overlapping(self) -> bool:
        """Whether two of them share a pixel."""
        if not self.runs:
            return False
        edges = np.concatenate([one.edges.reshape(-1, 2) for one in self.runs])
        edges = edges[np.argsort(edges[:, 0], kind="stable")]
        return bool((edges[1:, 0] < np.maximum.accumulate(edges[:-1, 1])).any())


@dataclass(frozen=True, eq=False)
class Place:
    """Where objects are outlined; what is large is read when it is asked for.

    Parameters
    ----------
    name : str
        What people call it: the image's path, or the picture's name.
    kind : {"session", "labels", "picture"}
        Where the objects come from.
    where : str
        The same for planes that show the same things at the same pixels, as those of one stack do:
        what is held out of one is held out of all.
    group : str
        The patient, folder or scene that it belongs to.
    plane : (int, int) or None
        (t, z), where there are several planes.
    shape : (int, int)
        Rows and columns.
    pixel_size : PixelSize or None
        Of level 0.
    finished : sequence of (n, 2) array, or None
        Polygons, (row, col) at level 0, in which all objects are outlined; None: everywhere.
    open : callable
        Returns the Scene.
    outlined : callable
        Returns the objects.
    """

    name: str
    kind: str
    where: str
    group: str
    plane: tuple[int, int] | None
    shape: tuple[int, int]
    pixel_size: PixelSize | None
    finished: Sequence[np.ndarray] | None
    open: Callable[[], Scene] = field(repr=False)
    outlined: Callable[[], Outlined] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return what a dataset remembers of it."""
        size = self.pixel_size
        return {
            "name": self.name,
            "kind": self.kind,
            "group": None if self.group == self.where else self.group,
            "plane": None if self.plane is None else list(self.plane),
            "shape": list(self.shape),
            "pixel_size": None if size is None else [size.rows, size.cols, size.unit],
            "finished": "everywhere"
            if self.finished is None
            else [np.asarray(one, float).tolist() for one in self.finished],
        }
