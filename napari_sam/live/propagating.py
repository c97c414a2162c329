"""An object followed through depth or time beside a person: plane by plane, kept in one step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_sam.errors import InputError
from napari_sam.segment.propagation import Followed, Plane, Propagation, Settings, affected
from napari_sam.segment.propagation import propagate as follow

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from napari_sam.segment.propagation.asking import PlaneSegmenter
    from napari_sam.session import MaskLike, Session
    from napari_sam.tiles.subjects import SceneInfo

    from .workplace import Workplace

__all__ = [
    "Axis",
    "Direction",
    "Outcome",
    "Progress",
    "Reach",
    "axes_there",
    "first_axis",
    "planes_along",
    "propagate_object",
    "recompute",
]

Axis = Literal["z", "t"]
Direction = Literal["both", "forward", "backward"]


@dataclass(frozen=True)
class Reach:
    """How far an object is followed.

    Parameters
    ----------
    axis : {"z", "t"}
        Through depth or through time.
    planes : int, optional
        How many each way; by default until it is lost.
    direction : {"both", "forward", "backward"}
        To higher numbers, to lower ones, or both.

    Raises
    ------
    InputError
        If one of them makes no sense.
    """

    axis: Axis = "z"
    planes: int | None = None
    direction: Direction = "both"

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.axis not in ("z", "t") or self.direction not in ("both", "forward", "backward"):
            raise InputError(
                f"An object cannot be followed along {self.axis!r}, {self.direction!r}: choose z "
                f"or t, and both, forward or backward."
            )
        if self.planes is not None and self.planes < 1:
            raise InputError(
                f"An object cannot be followed for {self.planes} planes: give 1 or more."
            )


@dataclass(frozen=True)
class Progress:
    """How far it is.

    Parameters
    ----------
    plane : (int, int)
        (t, z) of the one that is looked at next, or was found.
    looked, total : int
        Looks at planes until now, and at the most; between two fixed planes it is two at each.
    seconds_left : float, optional
        If all of these are needed.
    found : Followed, optional
        What was found in the plane.
    """

    plane: Plane
    looked: int
    total: int
    seconds_left: float | None = None
    found: Followed | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of it.

    Parameters
    ----------
    track : int
        The thing.
    made : mapping
        The objects that were made or replaced, by plane.
    lost : mapping
        Why it was not found in a plane, and no farther: a sentence by that plane.
    skipped : mapping
        Why a plane has the shape between those of its neighbours, likewise.
    stopped : bool
        Whether a person stopped it.
    """

    track: int
    made: Mapping[Plane, int]
    lost: Mapping[Plane, str]
    skipped: Mapping[Plane, str]
    stopped: bool = False

    @property
    def sentence(self) -> str:
        """All this in words."""
        count = len(self.made)
        planes = f"{count or 'no'} other plane{'s'[: count > 1]}"
        said = f"Object {self.track} was found in {planes}."
        if self.stopped:
            said = f"Stopped: {said[0].lower()}{said[1:]}"
        if self.lost:
            said += " It ends here: " + "; ".join(
                reason.rstrip(".") for _, reason in sorted(self.lost.items())
            )
            said += "."
        return said


def axes_there(scene: Scene) -> tuple[Axis, ...]:
    """Return along which axes there are several planes, depth first."""
    there: tuple[tuple[Axis, int], ...] = (("z", scene.planes), ("t", scene.times))
    return tuple(axis for axis, count in there if count > 1)


def planes_along(scene: Scene, axis: Axis, plane: Plane) -> list[Plane]:
    """Return all planes through one of them, in order."""
    t, z = plane
    if axis == "z":
        return [(t, number) for number in range(scene.planes)]
    return [(number, z) for number in range(scene.times)]


def propagate_object(
    workplace: Workplace,
    object_id: int,
    reach: Reach | None = None,
    *,
    on_progress: Callable[[Progress], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Follow an object from its plane, and keep what is found in one step.

    Slices that a person made or changed are what it goes by, and stay as they are.

    Parameters
    ----------
    workplace : Workplace
        Where it is.
    object_id : int
        The slice to begin with.
    reach : Reach, optional
        How far; by default both ways until it is lost, along the first axis that there is.
    on_progress : callable, optional
        Called before each look at a plane, and with what was found.
    should_stop : callable, optional
        Asked before each plane; what was found until then is kept.

    Raises
    ------
    InputError
        If there is no such object or axis, or it cannot be asked for in its plane.
    """
    session, scene = workplace.session, workplace.scene
    info = session.info(object_id)
    reach = Reach(first_axis(scene)) if reach is None else reach
    _check_axis(scene, reach.axis)
    planes = planes_along(scene, reach.axis, info.plane)
    here = planes.index(info.plane)
    far = len(planes) if reach.planes is None else reach.planes
    first = here if reach.direction == "forward" else max(0, here - far)
    last = here if reach.direction == "backward" else min(len(planes) - 1, here + far)
    work = _Work(workplace, object_id, on_progress, should_stop)
    return work.run(planes[first : last + 1], info.plane, reach.axis)


def recompute(
    workplace: Workplace,
    track: int,
    plane: Plane,
    reach: Reach | None = None,
    *,
    on_progress: Callable[[Progress], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Follow an object again where that depends on one plane, and keep it in one step.

    That is from the fixed slice before it to the one after it. Where there is none it goes as far
    as the object does now, or without `reach.planes` until it is lost.

    Parameters
    ----------
    workplace : Workplace
        Where it is.
    track : int
        Which thing.
    plane : (int, int)
        (t, z) of a slice that was corrected, or of one to be found again.
    reach, on_progress, should_stop
        As for `propagate_object`.

    Raises
    ------
    InputError
        If there is no such thing or axis, or no slice of it is fixed.
    """
    session, scene = workplace.session, workplace.scene
    reach = Reach(first_axis(scene)) if reach is None else reach
    _check_axis(scene, reach.axis)
    slices, along = session.track(track), planes_along(scene, reach.axis, plane)
    fixed = [one for one in along if one in slices and session.info(slices[one]).is_fixed]
    if not fixed:
        raise InputError(f"No slice of object {track} was made by you: correct one first.")
    if reach.planes is not None:
        there = [along.index(one) for one in [*slices, plane] if one in along]
        along = along[min(there) : max(there) + 1]
    span = affected(along, fixed, plane)
    start = plane if plane in fixed else next(one for one in span if one in fixed)
    work = _Work(workplace, slices[start], on_progress, should_stop)
    return work.run(span, start, reach.axis)


class _Work:
    """One object that is followed; counts the planes that are looked at."""

    def __init__(
        self,
        workplace: Workplace,
        object_id: int,
        on_progress: Callable[[Progress], object] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self._workplace, self._number = workplace, object_id
        self._session: Session = workplace.session
        self._tell = on_progress or (lambda told: None)
        self._asked_to_stop, self._stopped = should_stop, False
        self._infos: dict[Plane, SceneInfo] = {}
        self._known: dict[Plane, MaskLike] = {}
        self._looked, self._total, self._began = 0, 0, time.monotonic()

    def run(self, planes: Sequence[Plane], start: Plane, axis: Axis) -> Outcome:
        session, number = self._session, self._number
        track, model = session.info(number).track or number, session.model
        there = session.track(track)
        self._known = {
            plane: session.mask(one)
            for plane, one in there.items()
            if plane in planes and (plane == start or session.info(one).is_fixed)
        }
        self._total = _looks(planes, self._known)
        scene = self._workplace.scene
        through_depth = Settings.through_depth(scene)
        found = follow(
            self._segmenter,
            start,
            self._known[start],
            planes,
            fixed=self._known,
            settings=through_depth if axis == "z" else Settings.through_time(),
            on_slice=self._found,
            should_stop=self._must_stop,
        )
        if session.model != model:
            raise InputError(f"The model was changed while object {track} was followed: repeat it.")
        known = {*self._infos, *session.planes}
        masks = {one.plane: one for one in found.followed if one.plane in known}
        lost = {} if self._stopped else _lost(found, planes, self._known)
        gone = () if self._stopped else [plane for plane in planes if plane in there]
        reached = {_before(planes, plane, masks): reason for plane, reason in lost.items()}
        made = session.propagate(
            number,
            masks,
            {plane: self._infos[plane] for plane in masks if plane in self._infos},
            gone=[plane for plane in gone if plane not in self._known],
            stops={plane: reason for plane, reason in reached.items() if plane is not None},
            skipped=found.skipped,
        )
        return Outcome(track, made, lost, found.skipped, self._stopped)

    def _segmenter(self, plane: Plane) -> PlaneSegmenter:
        if plane not in self._known:
            left = None
            if not self._looked:
                self._began = time.monotonic()
            else:
                each = (time.monotonic() - self._began) / self._looked
                left = each * (self._total - self._looked)
            self._tell(Progress(plane, self._looked, self._total, left))
            self._looked += 1
        opened = self._workplace.slice(*plane)
        self._infos[plane] = opened.info
        return opened.segmenter

    def _found(self, one: Followed) -> None:
        self._tell(Progress(one.plane, self._looked, self._total, None, one))

    def _must_stop(self) -> bool:
        self._stopped = self._stopped or (self._asked_to_stop is not None and self._asked_to_stop())
        return self._stopped


def _looks(planes: Sequence[Plane], known: Mapping[Plane, MaskLike]) -> int:
    """Count the looks at planes: between two known ones there are two at each."""
    places = [index for index, plane in enumerate(planes) if plane in known]
    between = places[-1] - places[0] + 1 - len(places)
    return len(planes) - len(places) + between


def _lost(
    found: Propagation, planes: Sequence[Plane], known: Mapping[Plane, MaskLike]
) -> dict[Plane, str]:
    """Say in which planes it was lost, and why; nothing where all was looked at to the end."""
    there = {one.plane for one in found.followed} | set(known)
    places = [index for index, plane in enumerate(planes) if plane in there]
    lost = {}
    for direction, place in (("forward", places[-1] + 1), ("backward", places[0] - 1)):
        if 0 <= place < len(planes):
            reason = found.stops.get(direction, "")
            lost[planes[place]] = f"{reason[:1].upper()}{reason[1:].rstrip('.')}."
    return lost


def _before(planes: Sequence[Plane], lost: Plane, masks: Mapping[Plane, Followed]) -> Plane | None:
    """Return the plane beside that one in which it was still found; None if it was known there."""
    place = list(planes).index(lost)
    beside = [planes[i] for i in (place - 1, place + 1) if 0 <= i < len(planes)]
    return next((plane for plane in beside if plane in masks), None)


def first_axis(scene: Scene) -> Axis:
    """Return the axis to follow objects along where nobody names one."""
    return (*axes_there(scene), "z")[0]


def _check_axis(scene: Scene, axis: Axis) -> None:
    if axis not in axes_there(scene):
        what = "time" if axis == "t" else "depth"
        raise InputError(
            f"{scene.name} has one plane only through {what}: nothing can be followed."
        )
