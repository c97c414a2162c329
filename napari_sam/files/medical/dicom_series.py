"""The frames of one series -> where each lies: by its position, never by its number or name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.medical.dicom_headers import Frame

__all__ = ["Arrangement", "arrange", "same_kind"]

_SAME_DIRECTION = 1e-3
"""How far direction cosines of one volume may differ: writers round them."""

_OFF = 0.05
"""How far a slice may lie from its regular place, in slice distances."""

_WORDS = {
    "TemporalPositionIndex": "time",
    "TemporalPositionIdentifier": "time",
    "TriggerTime": "trigger time",
    "EchoTime": "echo time",
    "EffectiveEchoTime": "echo time",
    "DiffusionBValue": "b-value",
    "AcquisitionNumber": "number of acquisition",
    "AcquisitionTime": "time of acquisition",
    "ContentTime": "time",
    "InstanceNumber": "number",
    "frame": "number",
}


@dataclass(frozen=True)
class Arrangement:
    """Frames in order.

    Parameters
    ----------
    frames : tuple of tuple of (Frame or None)
        For each time, for each slice; None where a slice is missing.
    affine : ndarray or None
        4 x 4, from (slice, row, col) to the patient; None where nothing tells.
    has_depth, has_times : bool
        Whether there are several slices, or several times.
    notes : tuple of str
        What is odd.
    """

    frames: tuple[tuple[Frame | None, ...], ...]
    affine: np.ndarray | None
    has_depth: bool
    has_times: bool
    notes: tuple[str, ...] = field(default=())


def same_kind(one: Frame, other: Frame) -> bool:
    """Tell whether two frames may be of one volume: sizes, colours, directions, pixel size."""
    a, b = one.form, other.form
    if (a.rows, a.cols, a.in_colour) != (b.rows, b.cols, b.in_colour):
        return False
    if (a.photometric == "MONOCHROME1") != (b.photometric == "MONOCHROME1"):
        return False
    for left, right, tolerance in (
        (one.orientation, other.orientation, _SAME_DIRECTION),
        (one.spacing, other.spacing, 1e-4),
    ):
        if left is None or right is None:
            if left is not right:
                return False
        elif not np.allclose(left, right, rtol=0, atol=tolerance):
            return False
    return (one.position is None) == (other.position is None)


def arrange(
    frames: Sequence[Frame],
    name: str,
    thickness: float | None,
    same_pixels: Callable[[Frame, Frame], bool],
) -> Arrangement:
    """Find the order of frames, and the grid that they lie on.

    Slices are sorted along the normal of their plane. Where slices are missing the grid goes on,
    so that all others stay where they are. Two equal slices at one place count once; where there
    are as many at each place, they are times.

    Parameters
    ----------
    frames : sequence of Frame
        Of one kind, see `same_kind`; one at least.
    name : str
        What messages call them.
    thickness : float or None
        What lends a single slice its depth.
    same_pixels : callable
        Tells whether the pixels of two frames are equal.

    Raises
    ------
    InputError
        If the slices do not lie on a regular grid, even a sheared one.
    """
    first = frames[0]
    if first.position is None or first.orientation is None or first.spacing is None:
        return _without_place(frames)
    across, down = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    normal = np.cross(across, down)
    if abs(np.linalg.norm(normal) - 1) > 0.01 or abs(np.linalg.norm(across) - 1) > 0.01:
        raise InputError(f"{name} is damaged: its rows and columns are at no right angle.")
    places, times, notes = _one_each(_places(frames, normal), name, same_pixels)
    corners = np.array([place[0].position for place in places])
    heights = corners @ normal
    slots = _slots(heights, name)
    step = (corners[-1] - corners[0]) / max(1, slots[-1])
    if len(places) > 1:
        notes += _check_line(corners, slots, step, normal, first.spacing, name)
    else:
        step = normal * (thickness or 1.0)
    missing = int(slots[-1]) + 1 - len(places)
    if missing:
        notes.append(
            f"{missing} of {slots[-1] + 1} slices are missing and are shown empty, so that all "
            "others are where they belong."
        )
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 3] = step, corners[0]
    affine[:3, 1], affine[:3, 2] = down * first.spacing[0], across * first.spacing[1]
    where = dict(zip(slots.tolist(), places, strict=True))
    ordered = tuple(
        tuple(where[slot][time] if slot in where else None for slot in range(int(slots[-1]) + 1))
        for time in range(times)
    )
    return Arrangement(ordered, affine, len(ordered[0]) > 1, times > 1, tuple(notes))


def _without_place(frames: Sequence[Frame]) -> Arrangement:
    """Put frames that lie nowhere in the order of their numbers."""
    ordered = sorted(frames, key=lambda frame: (_number(frame), frame.number, str(frame.form.path)))
    notes: tuple[str, ...] = ()
    if len(ordered) > 1:
        notes = (
            f"The files do not say where their {len(ordered)} pictures lie: they are shown as "
            "times, in the order of their numbers.",
        )
    return Arrangement(tuple((frame,) for frame in ordered), None, False, len(ordered) > 1, notes)


def _number(frame: Frame) -> float:
    return dict(frame.order).get("InstanceNumber", 0.0)


def _places(frames: Sequence[Frame], normal: np.ndarray) -> list[list[Frame]]:
    """Put the frames that lie at one height together, ascending."""
    heights = [float(np.dot(frame.position or (), normal)) for frame in frames]
    assert frames[0].spacing is not None
    tolerance = 0.01 * min(frames[0].spacing)
    places: list[list[Frame]] = []
    last = -np.inf
    for number in np.argsort(heights, kind="stable"):
        if heights[number] - last > tolerance:
            places.append([])
            last = heights[number]
        places[-1].append(frames[number])
    return places


def _one_each(
    places: list[list[Frame]], name: str, same_pixels: Callable[[Frame, Frame], bool]
) -> tuple[list[list[Frame]], int, list[str]]:
    """Drop what is there twice, and find what tells several at one place apart."""
    if all(len(place) == 1 for place in places):
        return places, 1, []
    single, notes = places, []
    # Of series over time one place is looked at, and not the pixels of all.
    if len({len(place) for place in places}) > 1 or len(_once(places[0], same_pixels)) == 1:
        single = [_once(place, same_pixels) for place in places]
    dropped = sum(map(len, places)) - sum(map(len, single))
    if dropped:
        notes.append(
            "1 slice is there twice and counts once."
            if dropped == 1
            else f"{dropped} slices are there several times and count once."
        )
    counts = {len(place) for place in single}
    if counts == {1}:
        return single, 1, notes
    if len(counts) > 1:
        raise InputError(
            f"{name} has {min(counts)} to {max(counts)} different slices at one place, and nothing "
            "tells which belong together: put the files of one volume into a folder of their own."
        )
    count = counts.pop()
    what = _telling(single)
    ordered = [sorted(place, key=lambda frame: dict(frame.order)[what]) for place in single]
    notes.append(
        f"There are {count} slices at each place: they are shown as times, in the order of their "
        f"{_WORDS[what]}."
    )
    return ordered, count, notes


def _once(frames: list[Frame], same_pixels: Callable[[Frame, Frame], bool]) -> list[Frame]:
    """Leave out what is there before."""
    kept: list[Frame] = []
    for frame in frames:
        if not any(same_pixels(frame, other) for other in kept):
            kept.append(frame)
    return kept


def _telling(places: list[list[Frame]]) -> str:
    """Return what tells the frames at each place apart, best what is alike at all places."""
    names = [name for name, _ in places[0][0].order]
    tables = [[dict(frame.order) for frame in place] for place in places]
    distinct = [
        name
        for name in names
        if all(
            all(name in frame for frame in place) and len({f[name] for f in place}) == len(place)
            for place in tables
        )
    ]
    alike = [
        name for name in distinct if len({tuple(sorted(f[name] for f in p)) for p in tables}) == 1
    ]
    if not distinct:
        raise InputError(
            "There are several different slices at each place, and nothing tells them apart: put "
            "the files of one volume into a folder of their own."
        )
    return (alike or distinct)[0]


def _slots(heights: np.ndarray, name: str) -> np.ndarray:
    """Return the number of each slice on a regular grid, which leaves out those missing."""
    if len(heights) == 1:
        return np.zeros(1, int)
    gaps = np.diff(heights)
    # The smallest distance may be a little too small; the others say how much.
    usual = float(np.median(gaps[gaps < 1.5 * gaps.min()]))
    slots = np.concatenate([[0], np.cumsum(np.maximum(1, np.rint(gaps / usual)))]).astype(int)
    step = (heights[-1] - heights[0]) / slots[-1]
    off = np.abs(heights - heights[0] - slots * step).max()
    if off > _OFF * step or len(heights) * 2 < slots[-1]:
        raise InputError(
            f"{name} has slices at irregular distances ({gaps.min():.3g} to {gaps.max():.3g} mm), "
            "which is no volume of one grid: have it made anew with equal distances, or put the "
            "slices of one distance into a folder of their own."
        )
    return slots


def _check_line(
    corners: np.ndarray,
    slots: np.ndarray,
    step: np.ndarray,
    normal: np.ndarray,
    spacing: tuple[float, float],
    name: str,
) -> list[str]:
    """Refuse slices that are shifted irregularly, and tell of those shifted regularly."""
    off = np.linalg.norm(corners - corners[0] - slots[:, np.newaxis] * step, axis=1).max()
    if off > max(_OFF * float(np.linalg.norm(step)), 0.5 * min(spacing)):
        raise InputError(
            f"{name} has slices that are shifted sideways irregularly, by up to {off:.3g} mm: it "
            "is no volume of one grid."
        )
    cosine = min(1.0, float(np.dot(step, normal) / np.linalg.norm(step)))
    angle = float(np.degrees(np.arccos(cosine)))
    if angle < 0.1:
        return []
    return [
        f"Its slices are tilted by {angle:.1f} degrees (a tilted gantry): positions are true, the "
        "picture is shown without the tilt."
    ]
