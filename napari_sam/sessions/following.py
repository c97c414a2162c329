"""Things of several planes: objects that are one through depth or time, and what they share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_sam.errors import InputError
from napari_sam.segment.objects import Candidate, MaskLike

from .core import SessionCore
from .draft import Draft
from .importing import known_of
from .overlap import share
from .prompts import Plane
from .records import ObjectInfo
from .runs import NOTHING, Runs
from .state import State
from .subject import SessionModel

if TYPE_CHECKING:
    from napari_sam.segment.propagation.followed import Followed
    from napari_sam.tiles.subjects import SceneInfo

__all__ = ["Following"]


class Following(SessionCore):
    """The part of `Session` that knows which objects are one thing through depth or time.

    Such objects, one in a plane, are the slices of a track. They share class, colour and parent,
    and each has an id and pixels of its own. A slice that was propagated, and that nobody changed
    since, may be replaced by another propagation; all others are fixed.
    """

    def track(self, track: int) -> dict[Plane, int]:
        """Return the slices of a thing: the object in each plane, by (t, z).

        Parameters
        ----------
        track : int
            Its number: `ObjectInfo.track`, or the id of an object of one plane only.

        Raises
        ------
        InputError
            If there is none.
        """
        with self._lock:
            if track in self._state.tracks:
                return dict(sorted(self._state.tracks[track].items()))
            info = self._state.get(track).info
            if info.track is not None:
                raise InputError(f"Object {track} is a slice of {info.track}: ask for that.")
            return {info.plane: track}

    def tracks(self) -> dict[int, dict[Plane, int]]:
        """Return all things of several planes: the object in each plane, by (t, z)."""
        with self._lock:
            there = self._state.tracks
            return {track: dict(sorted(there[track].items())) for track in sorted(there)}

    def propagate(
        self,
        object_id: int,
        found: Mapping[Plane, Candidate | Followed | MaskLike],
        infos: Mapping[Plane, SceneInfo] | None = None,
        *,
        gone: Collection[Plane] = (),
        stops: Mapping[Plane, str] | None = None,
        skipped: Mapping[Plane, str] | None = None,
    ) -> dict[Plane, int]:
        """Take in where an object was found in other planes, in one step.

        What belongs to other objects stays with them. Slices that a person made or changed stay as
        they are, and propagated ones are replaced.

        Parameters
        ----------
        object_id : int
            Any slice of it.
        found : mapping
            Its mask in each plane, (t, z); an empty one is as none.
        infos : mapping, optional
            The planes that were not worked on before, described: `SceneInfo.of` their scenes.
        gone : collection of (int, int)
            Planes in which it is not any more, if it was propagated there.
        stops : mapping, optional
            Why it was followed no further, in a sentence, by the last plane of `found`.
        skipped : mapping, optional
            Why a mask is only the shape between those of its neighbours, likewise.

        Returns
        -------
        dict
            The objects that were made or replaced, by plane; where others have all of its pixels
            there is none.

        Raises
        ------
        InputError
            If there is no such object, a plane is unknown or of another image, or a mask reaches
            out of the scene.
        """
        number, described = int(object_id), infos or {}
        made: dict[Plane, int] = {}
        with self._changing():
            self._state.get(number)
            unknown = [p for p in found if p not in self._planes and p not in described]
            if unknown:
                t, z = unknown[0]
                raise InputError(
                    f"The plane t={t}, z={z} was never worked on: describe it in infos."
                )
            for plane in found:
                if plane in described:
                    self._enter(described[plane])
            with self._drafting("propagate", id=number) as draft:
                info = draft.state.get(number).info
                like = replace(info, track=info.track or number)
                for plane in dict.fromkeys([*found, *gone]):
                    mask = found.get(plane)
                    why = {
                        "stopped": (stops or {}).get(plane),
                        "skipped": (skipped or {}).get(plane),
                    }
                    if plane != info.plane or not info.is_fixed:
                        there = _take(draft, like, plane, mask, why, self._model)
                        made |= {} if there is None else {plane: there}
                if made and info.track is None:
                    draft.begin_track(number)
        return made

    def forget_propagated(self, track: int, planes: Collection[Plane] | None = None) -> list[int]:
        """Remove slices that were propagated and that nobody changed since, in one step.

        Parameters
        ----------
        track : int
            Of which thing.
        planes : collection of (int, int), optional
            In which planes; by default in all.

        Returns
        -------
        list of int
            The objects that are gone.

        Raises
        ------
        InputError
            If there is no such thing.
        """
        with self._changing():
            slices = self.track(track)
            wanted = [
                number
                for plane, number in slices.items()
                if (planes is None or plane in planes) and not self._state.get(number).info.is_fixed
            ]
            with self._drafting("forget_propagated", ids=wanted) as draft:
                for number in wanted:
                    draft.delete(number)
        return wanted

    def join_track(self, object_id: int, others: Sequence[int]) -> None:
        """Say that objects of several planes are one thing; they get the track of the first.

        Each brings the other slices of its own track along, and all get the first one's class and
        colour.

        Raises
        ------
        InputError
            If one does not exist, or two of them lie in the same plane.
        """
        number = int(object_id)
        joined = [other for other in dict.fromkeys(map(int, others)) if other != number]
        if not joined:
            raise InputError("One object alone is no track: give the ids of others to join it to.")
        with self._drafting("join_track", id=number, others=joined) as draft:
            track = draft.begin_track(number)
            first = draft.state.get(number).info
            for other in joined:
                info = draft.state.get(other).info
                if info.track == track:
                    continue
                slices = draft.state.tracks.get(info.track or 0, {info.plane: other})
                taken = sorted(set(slices) & set(draft.state.tracks[track]))
                if taken:
                    t, z = taken[0]
                    raise InputError(
                        f"Object {other} cannot be joined to {track}, which has another slice in "
                        f"the plane t={t}, z={z}: merge or delete one of them first."
                    )
                shared = replace(info, track=track, parent=first.parent, colour=first.colour)
                draft.relabel(other, replace(shared, class_name=first.class_name))

    def set_parent(self, track: int, parent: int | None) -> None:
        """Say which track a track divided from, as a cell from its mother.

        Parameters
        ----------
        track, parent : int
            Numbers as `track` takes them; without a parent it came by itself.

        Raises
        ------
        InputError
            If there is no such track, or it would descend from itself.
        """
        with self._drafting("set_parent", track=int(track), parent=parent) as draft:
            slices = self.track(int(track))
            above = parent
            while above is not None:
                if above == track:
                    raise InputError(f"{track} cannot descend from itself.")
                above = draft.state.get(next(iter(self.track(above).values()))).info.parent
            if parent is not None:
                draft.begin_track(next(iter(self.track(int(parent)).values())))
            number = next(iter(slices.values()))
            draft.begin_track(number)
            draft.relabel(number, replace(draft.state.get(number).info, parent=parent))

    def now(self) -> State:
        """Return all objects as they are now; no later step reaches them."""
        with self._lock:
            return self._state.copy()


def _take(
    draft: Draft,
    like: ObjectInfo,
    plane: Plane,
    found: Candidate | Followed | MaskLike | None,
    why: Mapping[str, str | None],
    model: SessionModel | None,
) -> int | None:
    """Make or replace one slice of a thing; where nothing of it was found none is left."""
    assert like.track is not None
    there = draft.state.tracks.get(like.track, {}).get(plane)
    if there is not None and draft.state.get(there).info.is_fixed:
        return None
    runs, known = (NOTHING, {}) if found is None else _known(found)
    wanted = draft.check_inside(runs) if runs else runs
    if there is not None and not share(draft.state, plane, wanted, there, "keep_old")[0]:
        draft.delete(there)
        return None
    if not wanted:
        return None
    origin = draft.provenance("propagated", model=model and model.hash, **why, **known)
    if there is None:
        return draft.make(wanted, "keep_old", origin, plane=plane, like=like)
    info = replace(draft.state.get(there).info, provenance=origin)
    draft.reshape(there, wanted, "keep_old", info)
    return there


def _known(found: Candidate | Followed | MaskLike) -> tuple[Runs, dict[str, Any]]:
    """Return the pixels, and what the provenance takes from what was found."""
    confidence = getattr(found, "confidence", None)
    mask: Any = found if confidence is None else found.mask
    known = known_of(mask) if isinstance(mask, Candidate) else {}
    if confidence is not None:
        known["confidence"] = float(confidence)
    return (Runs.of(mask) if mask.mask.any() else NOTHING), known
