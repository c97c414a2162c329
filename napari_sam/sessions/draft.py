"""A step while it is made: each change is done at once, and all are taken back if one fails."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from napari_sam.errors import InputError
from napari_sam.tiles.regions import Region

from .overlap import Overlap, share
from .prompts import Plane, Prompts
from .records import ObjectChange, ObjectInfo, PromptChange, Provenance, Step, default_colour
from .runs import NOTHING, Runs
from .state import MOST, State

__all__ = ["Draft"]


class Draft:
    """What a method of a session does to its state.

    Parameters
    ----------
    state : State
        Changed as the draft is.
    plane : (int, int)
        Where new objects go.
    shape : (int, int)
        Rows and columns of the scene.
    user : str
        Who.
    name : str
        The method.
    **arguments
        Those that a script needs.
    """

    def __init__(
        self,
        state: State,
        plane: Plane,
        shape: tuple[int, int],
        user: str,
        name: str,
        **arguments: Any,
    ) -> None:
        self.state, self.plane, self.user = state, plane, user
        self._scene = Region(0, 0, *shape)
        self._name, self.arguments = name, arguments
        self._objects: list[ObjectChange] = []
        self._prompts: list[PromptChange] = []

    @property
    def step(self) -> Step:
        """All that was done."""
        return Step(self._name, self.arguments, tuple(self._objects), tuple(self._prompts))

    def take_back(self) -> None:
        """Undo all that was done."""
        self.state.apply(self.step.inverse)

    def provenance(self, source: str, **known: Any) -> Provenance:
        """Say where an object comes from, now."""
        return Provenance(source, round(time.time(), 3), self.user, **known)

    def new_id(self, wanted: int | None = None) -> int:
        """Return an id that no object has.

        Raises
        ------
        InputError
            If the wanted one is taken, or is none.
        """
        wanted = self.state.highest + 1 if wanted is None else int(wanted)
        if not 1 <= wanted <= MOST:
            raise InputError(f"{wanted} is no id: ids go from 1 to {MOST}.")
        if self.state.is_taken(wanted):
            what = "an object" if wanted in self.state.objects else "a thing of several planes"
            raise InputError(f"There is {what} {wanted} already: choose another id.")
        return wanted

    def check_inside(self, runs: Runs) -> Runs:
        """Return a mask, or refuse it where it is empty or leaves the scene.

        Raises
        ------
        InputError
            If it is or does.
        """
        if not runs:
            raise InputError("The mask is empty: give one with at least one pixel.")
        if runs.box not in self._scene:
            box, (rows, cols) = runs.box, self._scene.shape
            raise InputError(
                f"The mask covers rows {box.row0} to {box.row1 - 1} and columns {box.col0} to "
                f"{box.col1 - 1}, but the scene has {rows} rows and {cols} columns."
            )
        return runs

    def make(
        self,
        wanted: Runs,
        overlap: Overlap,
        provenance: Provenance,
        number: int | None = None,
        class_name: str | None = None,
        colour: str | None = None,
        plane: Plane | None = None,
        like: ObjectInfo | None = None,
    ) -> int | None:
        """Make an object of what it gets of a mask; None if that is nothing.

        With `like` it becomes another slice of the same thing: of its track, class and colour.
        """
        number, plane = self.new_id(number), plane or self.plane
        granted, lost = share(self.state, plane, wanted, number, overlap)
        if not granted:
            return None
        self._take_away(lost)
        info = ObjectInfo(number, plane, provenance, class_name, colour or default_colour(number))
        if like is not None:
            info = replace(info, **_shared(like))
        self.change(ObjectChange(number, plane, (None, info), granted))
        return number

    def reshape(
        self, number: int, wanted: Runs, overlap: Overlap, info: ObjectInfo | None = None
    ) -> None:
        """Give an object other pixels; `info` replaces what is known of it.

        Raises
        ------
        InputError
            If nothing would be left.
        """
        old = self.state.get(number)
        granted, lost = share(self.state, old.info.plane, wanted, number, overlap)
        if not granted:
            raise InputError(
                f"Nothing would be left of object {number}: delete it, or give it other pixels."
            )
        self._take_away(lost)
        added, removed = granted - old.runs, old.runs - granted
        self._alter(number, added, removed, info)
        if info is not None:
            self._tell_slices(old.info, info)

    def add_pixels(self, number: int, wanted: Runs, overlap: Overlap) -> None:
        """Give an object more pixels."""
        old = self.state.get(number)
        granted, lost = share(self.state, old.info.plane, wanted, number, overlap)
        self._take_away(lost)
        self._alter(number, granted - (old.runs & granted), NOTHING, None)

    def remove_pixels(self, number: int, unwanted: Runs) -> None:
        """Take pixels from an object; without any it is gone."""
        old = self.state.get(number)
        removed = old.runs & unwanted
        if removed.area == old.runs.area:
            self.delete(number)
        else:
            self._alter(number, NOTHING, removed, None)

    def delete(self, number: int) -> None:
        """Remove an object."""
        old = self.state.get(number)
        gone = (old.info, None)
        self.change(ObjectChange(old.info.id, old.info.plane, gone, removed=old.runs))

    def relabel(self, number: int, info: ObjectInfo) -> None:
        """Replace what is known of an object, its id too.

        The other slices of the same thing follow: they share its track, parent, class and colour.
        """
        old = self.state.get(number).info
        if info.id != number:
            self.new_id(info.id)
            if info.track == number:  # the thing goes by the id of the slice that it began with
                info = replace(info, track=info.id)
        if info != old:
            self.change(ObjectChange(old.id, old.plane, (old, info)))
            self._tell_slices(old, info)

    def begin_track(self, number: int) -> int:
        """Return the track of an object; one that has none begins one."""
        info = self.state.get(number).info
        if info.track is None:
            self.relabel(number, replace(info, track=number))
        return number if info.track is None else info.track

    def fix(self, number: int) -> None:
        """Note that a person answers for an object from here on, if this step changed it."""
        if not self._objects or number not in self.state.objects:
            return
        info = self.state.get(number).info
        if not info.is_fixed:
            origin = self.provenance("corrected", model=info.provenance.model)
            self.relabel(number, replace(info, provenance=origin))

    def set_prompts(self, number: int, prompts: Prompts | None) -> None:
        """Replace the prompts of an object."""
        if not 1 <= number <= MOST:
            raise InputError(f"{number} is no id: ids go from 1 to {MOST}.")
        before, after = self.state.prompts.get(number), prompts or None
        if before != after:
            change = PromptChange(number, before, after)
            self.state.change_prompts(change)
            self._prompts.append(change)

    def change(self, change: ObjectChange) -> None:
        """Do a change of an object."""
        self.state.change_object(change)
        self._objects.append(change)

    def _alter(self, number: int, added: Runs, removed: Runs, info: ObjectInfo | None) -> None:
        old = self.state.get(number).info
        known = None if info is None else (old, info)
        if added or removed or known is not None:
            self.change(ObjectChange(old.id, old.plane, known, added, removed))

    def _tell_slices(self, old: ObjectInfo, info: ObjectInfo) -> None:
        """Let the other slices of a thing have what one of them has now."""
        if old.track is None or _shared(old) == _shared(info):
            return
        for number in list(self.state.tracks.get(old.track, {}).values()):
            known = self.state.get(number).info
            told = replace(known, **_shared(info))
            if told != known:
                self.change(ObjectChange(number, known.plane, (known, told)))
        if info.track != old.track:
            for placed in list(self.state.objects.values()):
                if placed.info.parent == old.track:
                    child = replace(placed.info, parent=info.track)
                    self.change(ObjectChange(child.id, child.plane, (placed.info, child)))

    def _take_away(self, lost: dict[int, Runs]) -> None:
        for number, runs in lost.items():
            self.remove_pixels(number, runs)


def _shared(info: ObjectInfo) -> dict[str, Any]:
    """Return what all slices of a thing have in common."""
    return {name: getattr(info, name) for name in ("track", "parent", "class_name", "colour")}
