"""The objects of a session as arrays that are painted where, and when, they are looked at."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_sam.scenes.pyramid import halved
from napari_sam.session import Session
from napari_sam.tiles.regions import Region

__all__ = ["LabelArray", "LabelLevels"]

_KEPT = 2048 * 2048
"""Pixels of a level that is kept painted: of a coarse one, a window may show all objects."""

_PLANES = 3
"""Planes whose coarse levels are kept."""

_COARSEST = 512
"""Rows or columns of the coarsest level."""

Plane = tuple[int, int]


class LabelLevels:
    """The labels of a session at each level; coarse levels are painted once, then kept up to date.

    Painting costs what is in a window. In a window of a coarse level lie very many objects, so that
    these levels are painted whole, and again only where something changed.

    Parameters
    ----------
    session : Session
        Whose objects.
    """

    def __init__(self, session: Session) -> None:
        self._session, self._lock = session, threading.Lock()
        self._kept: dict[Plane, dict[int, np.ndarray]] = {}
        shape = session.scene.shape
        # Two at least: napari takes one for no pyramid.
        last = next(n for n in itertools.count(1) if max(halved(shape, n)) <= _COARSEST)
        self.shapes = tuple(halved(shape, level) for level in range(last + 1))
        """Rows and columns of each level."""

    def read(self, plane: Plane, level: int, region: Region) -> np.ndarray:
        """Return a window, uint32; it must not be written to, and may change later."""
        rows, cols = self.shapes[level]
        if rows * cols > _KEPT:
            return self._session.labels(region, level, plane)
        with self._lock:
            levels = self._kept.pop(plane, {})
            self._kept[plane] = levels  # the one used last is last
            if level not in levels:
                levels[level] = self._session.labels(None, level, plane)
            for forgotten in list(self._kept)[:-_PLANES]:
                del self._kept[forgotten]
            whole = levels[level]
        return whole if region.shape == whole.shape else whole[region.rows, region.cols]

    def changed(self, plane: Plane, region: Region) -> None:
        """Paint again what was kept, where something changed: a rectangle of level 0."""
        with self._lock:
            for level, whole in self._kept.get(plane, {}).items():
                part = coarse(region, level) & Region(0, 0, *whole.shape)
                if part.area:
                    whole[part.rows, part.cols] = self._session.labels(part, level, plane)

    def arrays(self, axes: str, shape: Sequence[int]) -> list[LabelArray]:
        """Return an array for each level.

        Parameters
        ----------
        axes : str
            A letter of ``TZCYX`` for each axis.
        shape : sequence of int
            The length of each; along C all is the same.
        """
        made = []
        for level, (rows, cols) in enumerate(self.shapes):
            sizes = {**dict(zip(axes, shape, strict=True)), "Y": rows, "X": cols}
            made.append(LabelArray(self, level, axes, tuple(range(sizes[axis]) for axis in axes)))
        return made


class LabelArray:
    """One level of all planes: indexing gives a part of it, `numpy.asarray` paints that.

    Parameters
    ----------
    levels : LabelLevels
        What paints.
    level : int
        Which.
    axes : str
        A letter of ``TZCYX`` for each axis of the whole.
    places : tuple of (range or int)
        What of each axis is there; a number takes the axis away.

    Examples
    --------
    >>> import tempfile
    >>> from napari_sam.scene import open_scene
    >>> from napari_sam.segment.scribbles import MaskRegion
    >>> folder = tempfile.TemporaryDirectory()
    >>> session = Session.create(folder.name, open_scene(np.zeros((5, 6, 8), np.uint8), axes="ZYX"))
    >>> session.add_object(MaskRegion(1, 2, np.ones((2, 3), bool)))
    1
    >>> labels, _ = LabelLevels(session).arrays("ZYX", (5, 6, 8))
    >>> labels.shape, labels[0, :3].shape
    ((5, 6, 8), (3, 8))
    >>> np.asarray(labels[0, :3, ::2])
    array([[0, 0, 0, 0],
           [0, 1, 1, 0],
           [0, 1, 1, 0]], dtype=uint32)
    >>> session.close()
    >>> folder.cleanup()
    """

    dtype = np.dtype(np.uint32)

    def __init__(
        self, levels: LabelLevels, level: int, axes: str, places: tuple[range | int, ...]
    ) -> None:
        self._levels, self._level, self._axes, self._places = levels, level, axes, places

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis that is left."""
        return tuple(len(place) for place in self._places if isinstance(place, range))

    @property
    def ndim(self) -> int:
        """How many axes are left."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many pixels."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        """Return a part; what is no slice or number is looked up in the painted array."""
        keys = list(key) if isinstance(key, tuple) else [key]
        if not all(one is Ellipsis or isinstance(one, slice | int | np.integer) for one in keys):
            return np.asarray(self)[key]
        if Ellipsis in keys:
            place = keys.index(Ellipsis)
            keys[place : place + 1] = [slice(None)] * (self.ndim - len(keys) + 1)
        if len(keys) > self.ndim:
            raise IndexError(f"there are {self.ndim} axes, and not {len(keys)}")
        keys += [slice(None)] * (self.ndim - len(keys))
        left = iter(keys)
        places = tuple(
            place[next(left)] if isinstance(place, range) else place for place in self._places
        )
        return LabelArray(self._levels, self._level, self._axes, places)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        painted = np.asarray(self._painted())
        if dtype is not None and np.dtype(dtype) != painted.dtype:
            return painted.astype(dtype)
        return painted.copy() if copy else painted

    def _painted(self) -> np.ndarray:
        at = dict(zip(self._axes, self._places, strict=True))
        rows, cols = _span(at["Y"]), _span(at["X"])
        ts, zs = (_numbers(at.get(axis, 0)) for axis in "TZ")
        inside = tuple(
            slice(None, None, place.step) if isinstance(place, range) else 0
            for place in (at["Y"], at["X"])
        )
        planes = []
        for plane in itertools.product(ts, zs):
            region = Region(rows.start, cols.start, rows.stop, cols.stop)
            planes.append(self._levels.read(plane, self._level, region)[inside])
        if all(isinstance(at.get(axis, 0), int) for axis in "TZC"):
            painted = planes[0]
            turned = self._axes.index("Y") > self._axes.index("X")
            return painted.T if turned and painted.ndim == 2 else painted
        whole = np.stack(planes) if planes else np.zeros((0, *self._flat(at)), np.uint32)
        whole = whole.reshape(len(ts), len(zs), 1, *whole.shape[1:])
        # T, Z and C are all there now, rows and columns if they are asked for.
        whole = np.repeat(whole, len(_numbers(at.get("C", 0))), axis=2)
        order = [axis for axis in "TZCYX" if axis in "TZC" or isinstance(at[axis], range)]
        kept = [axis for axis in order if isinstance(at.get(axis, 0), range)]
        whole = whole.reshape([len(_numbers(at[axis])) for axis in kept])
        wanted = [axis for axis in self._axes if axis in kept]
        return whole.transpose([kept.index(axis) for axis in wanted])

    def _flat(self, at: dict[str, range | int]) -> tuple[int, ...]:
        return tuple(len(place) for axis in "YX" if isinstance(place := at[axis], range))


def coarse(region: Region, level: int) -> Region:
    """Return the pixels of a level whose upper left pixels of level 0 may lie in a rectangle."""
    step = 1 << level
    return Region(
        region.row0 // step, region.col0 // step, -(-region.row1 // step), -(-region.col1 // step)
    )


def _span(place: range | int) -> range:
    """Return all from the first to the last."""
    if isinstance(place, int):
        return range(place, place + 1)
    if not place:
        return range(0, 0)
    return range(min(place[0], place[-1]), max(place[0], place[-1]) + 1)


def _numbers(place: range | int) -> Sequence[int]:
    return [place] if isinstance(place, int) else place
