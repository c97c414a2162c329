"""All objects and prompts of a session as they are now; steps change it, nothing else does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_sam.errors import InputError
from napari_sam.tiles.regions import Region

from .index import BoxIndex
from .prompts import Plane, Prompts
from .records import ObjectChange, ObjectInfo, PromptChange, Step
from .runs import NOTHING, Runs

__all__ = ["MOST", "Placed", "State", "paint"]

MOST = 2**32 - 1
"""The largest id that a label image holds."""


Seen = Sequence[tuple[int, Runs]]
"""Ids, and the pixels of each."""


@dataclass(frozen=True)
class Placed:
    """An object with its pixels.

    Parameters
    ----------
    info : ObjectInfo
        What is known of it.
    runs : Runs
        Its pixels; those of two objects of a plane never overlap.
    """

    info: ObjectInfo
    runs: Runs


class State:
    """What a step changes."""

    def __init__(self) -> None:
        self.objects: dict[int, Placed] = {}
        self.prompts: dict[int, Prompts] = {}
        self.highest = 0
        """The largest id ever used: none is given twice."""
        self._indexes: dict[Plane, BoxIndex] = {}
        self._tracks: dict[int, dict[Plane, int]] = {}

    def copy(self) -> State:
        """Return one that later steps do not reach."""
        copied = State()
        copied.objects, copied.prompts = dict(self.objects), dict(self.prompts)
        copied.highest = self.highest
        copied._indexes = {plane: index.copy() for plane, index in self._indexes.items()}
        copied._tracks = {track: dict(slices) for track, slices in self._tracks.items()}
        return copied

    @property
    def tracks(self) -> Mapping[int, Mapping[Plane, int]]:
        """The objects of each track, by plane."""
        return self._tracks

    def is_taken(self, number: int) -> bool:
        """Tell whether a number is the id of an object, or that of a track."""
        return number in self.objects or number in self._tracks

    def apply(self, step: Step) -> None:
        """Do a step; `step.inverse` takes it back."""
        for change in step.objects:
            self.change_object(change)
        for prompted in step.prompts:
            self.change_prompts(prompted)

    def change_object(self, change: ObjectChange) -> None:
        """Do what a change of an object says."""
        old = self.objects.pop(change.id, None)
        runs = NOTHING
        if old is not None:
            runs = old.runs
            self._index(change.plane).drop(change.id)
            self._leave(old.info)
        info = old.info if change.info is None and old is not None else None
        if change.info is not None:
            info = change.info[1]
        if info is None:
            return
        runs = (runs | change.added) - change.removed
        self.objects[info.id] = Placed(info, runs)
        self._index(change.plane).add(info.id, runs.box)
        if info.track is not None:
            self._tracks.setdefault(info.track, {})[info.plane] = info.id
        self.highest = max(self.highest, info.id)

    def change_prompts(self, change: PromptChange) -> None:
        """Do what a change of prompts says."""
        if change.after is None:
            self.prompts.pop(change.id, None)
        else:
            self.prompts[change.id] = change.after
        self.highest = max(self.highest, change.id)

    def get(self, number: int) -> Placed:
        """Return an object.

        Raises
        ------
        InputError
            If there is none with this id.
        """
        if number not in self.objects:
            raise InputError(f"There is no object {number}: it was never made, or was deleted.")
        return self.objects[number]

    def near(self, plane: Plane, region: Region) -> Iterator[tuple[int, Runs]]:
        """Give the objects whose box shares a pixel with a rectangle, by id."""
        for number in self._index(plane).near(region):
            yield number, self.objects[number].runs

    def object_at(self, plane: Plane, row: int, col: int) -> int | None:
        """Return which object a pixel belongs to."""
        for number, runs in self.near(plane, Region(row, col, row + 1, col + 1)):
            if runs.holds(row, col):
                return number
        return None

    def paint(self, plane: Plane, region: Region, level: int = 0) -> np.ndarray:
        """Paint a rectangle of a level: uint32 ids, 0 where there is no object.

        A pixel of a coarser level is the upper left of those of level 0 that it covers.
        """
        return paint(*self.seen(plane, region, level))

    def seen(self, plane: Plane, region: Region, level: int) -> tuple[Seen, Region, int]:
        """Return what `paint` needs, and no later step reaches."""
        step = 1 << level
        corners = (region.row0, region.col0, region.row1, region.col1)
        fine = Region(*(corner * step for corner in corners))
        return list(self.near(plane, fine)), region, level

    def _leave(self, info: ObjectInfo) -> None:
        """Take an object out of its track; without any, that is gone."""
        slices = self._tracks.get(info.track, {}) if info.track is not None else {}
        # A step may have put another one in its place already.
        if slices.get(info.plane) == info.id:
            del slices[info.plane]
            if not slices:
                del self._tracks[info.track]  # type: ignore[arg-type]

    def _index(self, plane: Plane) -> BoxIndex:
        return self._indexes.setdefault(plane, BoxIndex())


def paint(seen: Seen, region: Region, level: int) -> np.ndarray:
    """Paint a rectangle of a level, all objects at once; see `State.paint`."""
    labels = np.zeros(region.shape, np.uint32)
    parts = [runs.in_rows(region.row0 << level, region.row1 << level) for _, runs in seen]
    if not any(map(len, parts)):
        return labels
    numbers = np.array([number for number, _ in seen], np.uint32)
    numbers = np.repeat(numbers, [len(part) // 2 for part in parts])
    rows, starts, stops = Runs(np.concatenate(parts)).parts()
    starts = np.maximum(-(-starts >> level), region.col0)
    stops = np.minimum(-(-stops >> level), region.col1)
    some = (rows % (1 << level) == 0) & (starts < stops)
    rows, starts, lengths = rows[some] >> level, starts[some], (stops - starts)[some]
    first = (rows - region.row0) * region.shape[1] + starts - region.col0
    before = np.cumsum(lengths) - lengths
    places = np.repeat(first - before, lengths) + np.arange(lengths.sum())
    labels.reshape(-1)[places] = np.repeat(numbers[some], lengths)
    return labels
