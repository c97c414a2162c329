"""What is known of an object in each plane of a stack or a film, for a strip of cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_sam.errors import InputError

from .propagating import Axis, planes_along

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from napari_sam.session import ObjectInfo, Session

__all__ = ["Cell", "Kind", "track_cells", "track_of"]

Plane = tuple[int, int]
Kind = Literal["none", "fixed", "followed", "guessed", "lost"]


@dataclass(frozen=True)
class Cell:
    """An object in one plane.

    Parameters
    ----------
    plane : (int, int)
        (t, z).
    kind : {"none", "fixed", "followed", "guessed", "lost"}
        It is not there; a person answers for it; it was propagated; it is only the shape between
        its neighbours; it was looked for here and not found.
    confidence : float, optional
        Of one that was propagated, 0 to 1.
    note : str
        The same in words, and why.
    """

    plane: Plane
    kind: Kind
    confidence: float | None = None
    note: str = ""


def track_of(session: Session, object_id: int) -> int | None:
    """Return the number of the thing that an object is a slice of; None if there is none."""
    try:
        info = session.info(object_id)
    except InputError:
        return object_id if object_id in session.tracks() else None
    return info.track or object_id


def track_cells(
    session: Session,
    scene: Scene,
    axis: Axis,
    track: int,
    lost: Mapping[Plane, str] | None = None,
) -> list[Cell]:
    """Describe a thing in all planes along an axis, through the plane that is worked on.

    Parameters
    ----------
    session : Session
        Whose it is.
    scene : Scene
        The plane that is worked on.
    axis : {"z", "t"}
        Depth or time.
    track : int
        Which thing; of one that there is not, all cells are empty.
    lost : mapping, optional
        Where it was just looked for and not found, and why.
    """
    planes = planes_along(scene, axis, (scene.t, scene.z))
    known: dict[Plane, ObjectInfo] = {}
    try:
        known = {plane: session.info(one) for plane, one in session.track(track).items()}
    except InputError:
        lost = {}  # it was deleted, perhaps a moment ago
    why = _ends(known, planes) | dict(lost or {})
    number = 1 if axis == "z" else 0
    return [_cell(plane, plane[number], axis, known.get(plane), why.get(plane)) for plane in planes]


def _ends(known: Mapping[Plane, ObjectInfo], planes: list[Plane]) -> dict[Plane, str]:
    """Return the reasons that slices remember, by the plane after them, where there is none."""
    found = {}
    for place, plane in enumerate(planes):
        reason = known[plane].provenance.stopped if plane in known else None
        for beside in (place - 1, place + 1) if reason is not None else ():
            other = planes[beside] if 0 <= beside < len(planes) else None
            back = planes[2 * place - beside] if 0 <= 2 * place - beside < len(planes) else None
            if other is not None and other not in known and back in known:
                found[other] = str(reason)
    return found


def _cell(plane: Plane, number: int, axis: Axis, info: ObjectInfo | None, why: str | None) -> Cell:
    here = f"{'Plane' if axis == 'z' else 'Frame'} {number}"
    if info is None:
        if why is None:
            return Cell(plane, "none", None, f"{here}: it is not here.")
        return Cell(plane, "lost", None, f"{here}: it ends. {why}")
    origin = info.provenance
    if info.is_fixed:
        return Cell(plane, "fixed", None, f"{here}: fixed, {_DONE.get(origin.source, 'made')}.")
    confidence = f"confidence {origin.confidence or 0:.2f}"
    if origin.skipped is not None:
        note = f"{here}: the shape between its neighbours, {confidence}. {origin.skipped}"
        return Cell(plane, "guessed", origin.confidence, note)
    return Cell(plane, "followed", origin.confidence, f"{here}: followed, {confidence}.")


_DONE = {
    "accepted": "accepted by a person",
    "corrected": "corrected by a person",
    "drawn": "drawn by a person",
    "imported": "imported",
    "found": "found by itself",
    "split": "split off by a person",
    "merged": "merged by a person",
}
