"""Who gets the pixels that two objects claim: said each time, never by accident."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from napari_sam.errors import InputError
from napari_sam.tiles.regions import Region

from .prompts import Plane
from .runs import NOTHING, Runs
from .state import State

__all__ = ["Overlap", "check_overlap", "share"]

Overlap = Literal["keep_old", "take_new", "cut"]
"""keep_old: what belongs to another object stays with it. take_new: the new pixels are taken away
from others, and an object that loses all of its own is gone. cut: each pixel that both claim goes
to the one whose undisputed part is nearer; in a tie it stays."""

_LARGEST = 1 << 26
"""Pixels of a window in which distances are measured."""


def check_overlap(overlap: str) -> None:
    """Refuse what is no policy.

    Raises
    ------
    InputError
        If it is none of `Overlap`.
    """
    if overlap not in get_args(Overlap):
        raise InputError(f"overlap is {overlap!r}: choose keep_old, take_new or cut.")


def share(
    state: State, plane: Plane, wanted: Runs, own: int, overlap: Overlap
) -> tuple[Runs, dict[int, Runs]]:
    """Share pixels out between an object that wants them and those that have them.

    Parameters
    ----------
    state : State
        Who has what.
    plane : (int, int)
        Where.
    wanted : Runs
        By one object.
    own : int
        Its id, which may already have some of them.
    overlap : Overlap
        The rule.

    Returns
    -------
    granted : Runs
        What it gets.
    lost : dict
        What others lose, by id.

    Raises
    ------
    InputError
        If two objects are to be cut whose common part is too large for that.
    """
    common = {}
    for number, runs in state.near(plane, wanted.box):
        if number != own and (shared := runs & wanted):
            common[number] = shared
    if overlap == "take_new":
        return wanted, common
    granted = wanted
    for shared in common.values():
        granted -= shared
    if overlap == "keep_old":
        return granted, {}
    lost, undisputed = {}, granted
    for number, shared in common.items():
        taken = _nearer(shared, undisputed, state.objects[number].runs - wanted)
        if taken:
            lost[number] = taken
            granted |= taken
    return granted, lost


def _nearer(common: Runs, one: Runs, other: Runs) -> Runs:
    """Return the pixels that are nearer to one set than to the other.

    Looked at are both sets around the common part, as far as that is long.
    """
    from scipy import ndimage

    box = common.box
    margin = 1 + max(box.shape)
    window = Region(
        max(0, box.row0 - margin), max(0, box.col0 - margin), box.row1 + margin, box.col1 + margin
    )
    if window.area > _LARGEST:
        raise InputError(
            f"The objects have {common.area} pixels in common, too many to be cut: choose "
            f"keep_old or take_new."
        )
    far = np.full(window.shape, np.inf)
    distances = [
        ndimage.distance_transform_edt(~there) if (there := part.within(window)).any() else far
        for part in (one, other)
    ]
    taken = common.within(window) & (distances[0] < distances[1])
    return Runs.of_mask(taken, window.row0, window.col0) if taken.any() else NOTHING
