"""Objects linked from frame to frame, with divisions, gaps, coming and leaving."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from napari_sam.errors import InputError

from .costs import link_costs, radii
from .lineage import LineageGraph, Track
from .measures import Objects, measure

__all__ = ["LinkSettings", "link"]

_IMPOSSIBLE = 1e6


@dataclass(frozen=True)
class LinkSettings:
    """What may be the same object, or the child of one.

    Parameters
    ----------
    reach : float
        How far an object moves from frame to frame at most, in its own radii.
    gap : int
        Frames in a row in which an object may be missing.
    divide : bool
        Whether objects divide.
    conserved : (float, float)
        Least and greatest sum of the areas of two children, as a share of their parent's.
    alike : float
        How many times as large as the other one child may be.

    Raises
    ------
    InputError
        If they make no sense.
    """

    reach: float = 2.5
    gap: int = 1
    divide: bool = True
    conserved: tuple[float, float] = (0.5, 1.6)
    alike: float = 2.5

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if not self.reach > 0 or self.gap < 0 or self.alike < 1:
            raise InputError(
                f"reach {self.reach} must be positive, gap {self.gap} 0 or more, and alike "
                f"{self.alike} 1 or more."
            )
        if not 0 < self.conserved[0] < self.conserved[1]:
            raise InputError(
                f"conserved must be a least and a greatest share, not {self.conserved}."
            )


@dataclass
class _Open:
    """A track that may go on."""

    id: int
    objects: dict[int, int]
    parent: int | None
    area: float
    centre: np.ndarray
    velocity: np.ndarray
    label: int
    frame: int


@dataclass
class _Work:
    settings: LinkSettings
    frames: dict[int, Objects] = field(default_factory=dict)  # the last few
    open: list[_Open] = field(default_factory=list)
    ended: list[_Open] = field(default_factory=list)
    count: int = 0


def link(frames: Iterable[np.ndarray], settings: LinkSettings | None = None) -> LineageGraph:
    """Link the objects of a film's frames into tracks.

    From frame to frame objects are assigned so that all together fit best, by place, overlap and
    size. Then what is new beside an object becomes the other half of it, if both are about alike
    and together as large as it was; else it came. What finds nothing for a few frames has left.

    Parameters
    ----------
    frames : iterable of ndarray
        Labels of each frame, (row, col) or (z, row, col), 0 is none; all of one shape. They are
        read once, one after another; only the last few are in memory.
    settings : LinkSettings, optional
        What may be the same.

    Returns
    -------
    LineageGraph

    Raises
    ------
    InputError
        If the frames differ in shape, or are no labels.

    References
    ----------
    .. [1] Jaqaman et al., "Robust single-particle tracking in live-cell time-lapse sequences",
       2008: linear assignment from frame to frame, divisions and gaps afterwards.

    Examples
    --------
    A cell moves to the right and divides; another one comes:

    >>> frames = np.zeros((3, 6, 12), int)
    >>> frames[0, :, 1:5] = 7
    >>> frames[1, :, 2:6] = 3
    >>> frames[2, :3, 3:7], frames[2, 3:, 3:7], frames[2, 2:4, 10:] = 1, 2, 3
    >>> graph = link(frames)
    >>> [(one.id, dict(one.objects), one.parent) for one in graph.tracks]
    [(1, {0: 7, 1: 3}, None), (2, {2: 1}, 1), (3, {2: 2}, 1), (4, {2: 3}, None)]
    """
    work = _Work(LinkSettings() if settings is None else settings)
    count, shape = 0, None
    for frame, labels in enumerate(frames):
        objects = measure(labels, frame)
        if shape is not None and objects.labels.shape != shape:
            raise InputError(
                f"Frame {frame} has shape {objects.labels.shape}, those before {shape}: give "
                f"frames of one film."
            )
        shape = objects.labels.shape
        _step(work, frame, objects)
        count += 1
    tracks = sorted([*work.open, *work.ended], key=lambda one: one.id)
    return LineageGraph(tuple(Track(o.id, dict(o.objects), o.parent) for o in tracks), count)


def _step(work: _Work, frame: int, objects: Objects) -> None:
    """Take one frame in."""
    settings = work.settings
    free = np.ones(len(objects), bool)
    linked: dict[int, _Open] = {}  # by index of the object
    for missed in range(settings.gap + 1):
        waiting = [one for one in work.open if one.frame == frame - 1 - missed]
        if waiting and free.any():
            linked |= _assign(work, waiting, objects, free, missed + 1)
    born = _divide(work, frame, objects, free, linked) if settings.divide else set()
    for index, track in linked.items():
        if index not in born:
            _go_on(track, frame, objects, index)
    for index in np.flatnonzero(free).tolist():
        _begin(work, frame, objects, index, None)
    still = [one for one in work.open if frame - one.frame <= settings.gap]
    work.ended += [one for one in work.open if frame - one.frame > settings.gap]
    work.open = still
    work.frames[frame] = objects
    work.frames.pop(frame - settings.gap - 1, None)


def _assign(
    work: _Work, waiting: list[_Open], objects: Objects, free: np.ndarray, steps: int
) -> dict[int, _Open]:
    """Assign tracks of one earlier frame to objects that are free."""
    from scipy.optimize import linear_sum_assignment

    before = _as_objects(waiting, work.frames[waiting[0].frame])
    velocities = np.stack([one.velocity for one in waiting])
    costs = link_costs(before, velocities, objects, work.settings.reach, steps)
    costs[:, ~free] = np.inf
    # Leaving alone what does not fit must be possible, and cost more than any fit.
    costs = np.where(np.isfinite(costs), costs, _IMPOSSIBLE)
    found = {}
    for row, col in zip(*linear_sum_assignment(costs), strict=True):
        if costs[row, col] < _IMPOSSIBLE:
            found[int(col)] = waiting[row]
            free[col] = False
    return found


def _as_objects(tracks: list[_Open], frame: Objects) -> Objects:
    """Return the objects of a frame that tracks ended with, in their order."""
    index = np.searchsorted(frame.ids, [one.label for one in tracks])
    order = np.argsort(index)
    if (order == np.arange(len(order))).all() and len(index) == len(frame):
        return frame
    kept = np.isin(frame.labels, frame.ids[index])
    labels = np.where(kept, frame.labels, 0)
    tracks[:] = [tracks[i] for i in order]
    index = index[order]
    return Objects(frame.ids[index], frame.areas[index], frame.centres[index], labels)


def _divide(
    work: _Work, frame: int, objects: Objects, free: np.ndarray, linked: dict[int, _Open]
) -> set[int]:
    """Find pairs of which one was taken for the parent and the other is new; begin tracks of both.

    Returns which of the linked objects are children.
    """
    settings, reach = work.settings, work.settings.reach
    pairs: list[tuple[float, int, int]] = []
    for index, parent in linked.items():
        if parent.frame != frame - 1:
            continue
        before = work.frames[parent.frame]
        radius = max(1.0, float(radii(before)[np.searchsorted(before.ids, parent.label)]))
        for other in np.flatnonzero(free).tolist():
            cost = _cost_of_division(settings, parent, objects, (index, other))
            away = float(np.linalg.norm(objects.centres[other] - parent.centre)) / (reach * radius)
            if cost is not None and away <= 1:
                pairs.append((cost + away, index, other))
    born: set[int] = set()
    for _, index, other in sorted(pairs):
        if index in born or not free[other]:
            continue
        parent = linked[index]
        free[other] = False
        born.add(index)
        for child in sorted((index, other)):
            _begin(work, frame, objects, child, parent.id)
        work.open.remove(parent)
        work.ended.append(parent)
    return born


def _cost_of_division(
    settings: LinkSettings, parent: _Open, objects: Objects, children: tuple[int, int]
) -> float | None:
    """Say how unlike two halves of an object two others are; None if they cannot be."""
    areas = objects.areas[list(children)]
    share = areas.sum() / parent.area
    ratio = areas.max() / areas.min()
    low, high = settings.conserved
    if not low <= share <= high or ratio > settings.alike or areas.max() > 0.9 * parent.area:
        return None
    return float(abs(np.log(share)) + np.log(ratio))


def _go_on(track: _Open, frame: int, objects: Objects, index: int) -> None:
    steps = frame - track.frame
    velocity = (objects.centres[index] - track.centre) / steps
    track.velocity = (track.velocity + velocity) / 2 if len(track.objects) > 1 else velocity
    track.area, track.centre = float(objects.areas[index]), objects.centres[index]
    track.label, track.frame = int(objects.ids[index]), frame
    track.objects[frame] = track.label


def _begin(work: _Work, frame: int, objects: Objects, index: int, parent: int | None) -> None:
    work.count += 1
    label = int(objects.ids[index])
    work.open.append(
        _Open(
            work.count,
            {frame: label},
            parent,
            float(objects.areas[index]),
            objects.centres[index],
            np.zeros(objects.labels.ndim),
            label,
            frame,
        )
    )
