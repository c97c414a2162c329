"""What is held out, and which crops are cut: from where objects lie, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_sam.errors import InputError

from .blocks import HOLD_OUT, TRAIN, VALIDATION, Blocks, one_block, plan_blocks
from .crops import LARGEST, Planned, levels_of, plan_crops, whole_picture
from .fixed import still_held_out
from .parting import CROPS, choose_blocks, choose_units
from .places import Place

__all__ = ["Plan", "Surveyed", "plan_dataset"]

GROUPS = 4
"""So many groups or pictures there must be for whole ones to be held out; else blocks are."""

_LEFT = 8
"""Crops that must be left to train on, if some are to be kept for choosing weights."""

_VALIDATION_SHARE, _VALIDATION_CROPS = 0.15, 2


@dataclass(frozen=True, eq=False)
class Surveyed:
    """Where the objects of a place lie.

    Parameters
    ----------
    place : Place
        With at least one object.
    boxes : (n, 4) array
        Around its objects.
    """

    place: Place
    boxes: np.ndarray


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be written.

    Parameters
    ----------
    crops : list of (int, Planned)
        Each with the place it is from.
    notes : list of str
        What a person should know.
    blocks : list of Blocks
        What belongs to which part, of each place.
    """

    crops: list[tuple[int, Planned]]
    notes: list[str]
    blocks: list[Blocks]

    def count(self, part: int) -> int:
        """Count the crops of a part."""
        return sum(crop.part == part for _, crop in self.crops)


@dataclass(frozen=True, eq=False)
class _Ground:
    """All places that show the same pixels, as the planes of a stack do."""

    where: str
    group: str
    shape: tuple[int, int]
    places: tuple[int, ...]
    boxes: np.ndarray
    align: int

    @property
    def small(self) -> bool:
        """Whether it need not be cut."""
        return max(self.shape) <= LARGEST

    def block(self, part: int) -> Blocks:
        """Return all of it as one block."""
        return one_block(self.shape, self.boxes, part, self.align)


def plan_dataset(
    found: Sequence[Surveyed],
    held_out: float,
    seed: int,
    fixed: Mapping[str, Blocks] | None = None,
) -> Plan:
    """Choose what is held out, what weights are chosen by, and the crops of all.

    Parameters
    ----------
    found : sequence of Surveyed
        All places with objects.
    held_out : float
        Share of the objects, between 0 and 1.
    seed : int
        Of the choice.
    fixed : mapping of str to Blocks, optional
        What was held out before, by the names of places; then nothing else is, and of that no
        crops are planned.

    Raises
    ------
    InputError
        If there is nothing to hold out, or nothing else.
    """
    grounds = _grounds(found)
    if fixed is not None:
        return _plan_beside(found, grounds, fixed, seed)
    groups = list(dict.fromkeys(ground.group for ground in grounds))
    notes: list[str] = []
    if len(groups) >= GROUPS:
        blocks = _by_units(grounds, [g.group for g in grounds], HOLD_OUT, held_out, seed, CROPS)
    elif len(grounds) >= GROUPS:
        blocks = _by_units(grounds, [g.where for g in grounds], HOLD_OUT, held_out, seed, CROPS)
        notes.append(
            f"There {'is' if len(groups) == 1 else 'are'} only {len(groups)} "
            f"group{'s' * (len(groups) > 1)}, so that pictures of the same groups are held out: "
            f"how good the model is on a new group is not measured."
        )
    else:
        blocks = _by_blocks(grounds, held_out, seed)
    plan = _plan(found, grounds, blocks)
    if not plan.count(HOLD_OUT) or not plan.count(TRAIN):
        raise InputError(
            f"All objects of {found[0].place.name} lie in one place, so that none can be held out "
            f"to measure on: outline some elsewhere in it, or add another image."
        )
    plan = _choosing_weights(found, grounds, blocks, seed, plan)
    if (count := plan.count(HOLD_OUT)) < CROPS:
        notes.append(
            f"Only {count} crop{'s are' if count > 1 else ' is'} held out, which cannot show that "
            f"a model is better: outline objects in more places, or add images."
        )
    return Plan(plan.crops, [*plan.notes, *notes], plan.blocks)


def _plan_beside(
    found: Sequence[Surveyed],
    grounds: Sequence[_Ground],
    fixed: Mapping[str, Blocks],
    seed: int,
) -> Plan:
    """Plan crops of all that was not held out before."""
    blocks = []
    for ground in grounds:
        before = fixed.get(found[ground.places[0]].place.name)
        whole = ground.block(TRAIN)
        if before is None:
            blocks.append(whole)
        elif before.parts.size == 1:
            blocks.append(ground.block(int(before.parts[0, 0])))
        else:
            blocks.append(still_held_out(before, whole.extent))
    plan = _plan(found, grounds, blocks)
    if not plan.count(TRAIN):
        raise InputError(
            "All that is outlined lies where it is held out to measure on: outline something "
            "elsewhere to learn from."
        )
    plan = _choosing_weights(found, grounds, blocks, seed, plan)
    crops = [(index, crop) for index, crop in plan.crops if crop.part != HOLD_OUT]
    left_out = len(plan.crops) - len(crops)
    note = f"What was held out before still is: {left_out} crops with objects are not learned from."
    return Plan(crops, [*plan.notes, *([note] if left_out else [])], plan.blocks)


def _choosing_weights(
    found: Sequence[Surveyed],
    grounds: Sequence[_Ground],
    blocks: Sequence[Blocks],
    seed: int,
    plan: Plan,
) -> Plan:
    """Return a plan that keeps something to choose weights by, if there is enough."""
    tried = _plan(found, grounds, _with_validation(grounds, blocks, seed))
    if tried.count(VALIDATION) and tried.count(TRAIN) >= _LEFT:
        return tried
    note = (
        "There is too little to keep some away for choosing the best weights: those at the end of "
        "training are taken."
    )
    return Plan(plan.crops, [*plan.notes, note], plan.blocks)


def _grounds(found: Sequence[Surveyed]) -> list[_Ground]:
    by_where: dict[str, list[int]] = {}
    for index, one in enumerate(found):
        by_where.setdefault(one.place.where, []).append(index)
    grounds = []
    for where, indices in by_where.items():
        first = found[indices[0]].place
        boxes = np.concatenate([found[index].boxes for index in indices])
        grounds.append(
            _Ground(
                where,
                first.group,
                first.shape,
                tuple(indices),
                boxes,
                1 << int(levels_of(boxes).max()),
            )
        )
    return grounds


def _by_units(
    grounds: Sequence[_Ground],
    names: Sequence[str],
    part: int,
    share: float,
    seed: int,
    least: int,
    free: Callable[[int], bool] = lambda index: True,
) -> list[Blocks]:
    """Give whole units to a part; the grounds with the same name are one unit."""
    objects: dict[str, int] = {}
    crops: dict[str, int] = {}
    for index, ground in enumerate(grounds):
        if free(index):
            unit = names[index]
            objects[unit] = objects.get(unit, 0) + len(ground.boxes)
            crops[unit] = crops.get(unit, 0) + _crops_of(ground)
    units = list(objects)
    taken = choose_units(list(objects.values()), list(crops.values()), share, seed, least)
    chosen = {units[place] for place in taken}
    return [
        ground.block(part if free(index) and names[index] in chosen else TRAIN)
        for index, ground in enumerate(grounds)
    ]


def _crops_of(ground: _Ground) -> int:
    """Count the crops of a ground that is not divided."""
    if ground.small:
        return len(ground.places)
    return len(plan_crops(ground.block(TRAIN), ground.shape, ground.boxes))


def _by_blocks(grounds: Sequence[_Ground], share: float, seed: int) -> list[Blocks]:
    least = -(-CROPS // len(grounds))
    found = []
    for ground in grounds:
        blocks = plan_blocks(ground.shape, ground.boxes, ground.align)
        found.append(choose_blocks(blocks, ground.boxes, share, HOLD_OUT, seed, least))
    return found


def _with_validation(
    grounds: Sequence[_Ground], blocks: Sequence[Blocks], seed: int
) -> list[Blocks]:
    """Keep some of what is to be trained on for choosing weights."""
    left = [index for index, one in enumerate(blocks) if (one.parts == TRAIN).all()]
    share, least = _VALIDATION_SHARE, _VALIDATION_CROPS
    for names in ([g.group for g in grounds], [g.where for g in grounds]):
        if len({names[index] for index in left}) >= GROUPS:
            chosen = _by_units(grounds, names, VALIDATION, share, seed, least, left.__contains__)
            return [chosen[i] if i in left else blocks[i] for i in range(len(blocks))]
    found = []
    for ground, one in zip(grounds, blocks, strict=True):
        if (one.parts != TRAIN).all():
            found.append(one)
            continue
        whole = one.parts.size == 1
        cut = plan_blocks(ground.shape, ground.boxes, ground.align) if whole else one
        found.append(choose_blocks(cut, ground.boxes, share, VALIDATION, seed, least))
    return found


def _plan(found: Sequence[Surveyed], grounds: Sequence[_Ground], blocks: Sequence[Blocks]) -> Plan:
    """Plan the crops of all places, in their order."""
    planned: dict[int, list[Planned]] = {}
    of_place: dict[int, Blocks] = {}
    crossing, total = 0, sum(len(one.boxes) for one in found)
    for ground, one in zip(grounds, blocks, strict=True):
        for index in ground.places:
            boxes, of_place[index] = found[index].boxes, one
            if ground.small and one.parts.size == 1:
                part = int(one.parts[0, 0])
                planned[index] = [whole_picture(ground.shape, len(boxes), part)]
            else:
                planned[index] = plan_crops(one, ground.shape, boxes)
                crossing += int(np.count_nonzero(one.crossing(boxes)))
    crops = [(index, crop) for index in sorted(planned) for crop in planned[index]]
    notes = []
    if crossing:
        notes.append(
            f"{crossing} of {total} objects lie across the borders between what is trained on and "
            f"what is not, and are left out of both."
        )
    return Plan(crops, notes, [of_place[index] for index in range(len(found))])
