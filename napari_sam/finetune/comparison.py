"""A model before and after it was taught, on the same objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import InputError
from napari_sam.finetune.automatic import score_automatic
from napari_sam.finetune.before_after import BeforeAfterPaths, write_comparison
from napari_sam.finetune.changed_objects import ChangedObject, Extremes, MaskPair, draw_changed
from napari_sam.finetune.changes import (
    Change,
    Group,
    PictureChange,
    compare_groups,
    picture_change,
)
from napari_sam.finetune.verdict import HEADLINE, NOT_WORSE, Verdict, judge
from src_model.training.evaluation import prompt_picture
from src_model.training.evaluation.calibration import Calibration, calibrate

if TYPE_CHECKING:
    from napari_sam.finetune.stored import StoredPictures
    from src_model import Sam
    from src_model.training.evaluation.prompted import PromptScores
    from src_model.training.pictures import Picture

__all__ = ["BeforeAfterPaths", "Comparison", "ComparisonStopped", "compare", "write_comparison"]

EXTREMES = 10
"""So many of the most improved, and of the most worsened objects are drawn."""


class ComparisonStopped(Exception):
    """Somebody asked to stop; nothing was found."""


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Attributes
    ----------
    groups : tuple of Group
        All objects first, then those of each class and of each size.
    calibration : (Calibration, Calibration)
        Of the three masks after one click, before and after.
    improved, worsened : tuple of ChangedObject
        The objects whose mask after one click changed most, the most changed first.
    notes : tuple of str
        Sentences about what was left out, and why.
    """

    groups: tuple[Group, ...]
    calibration: tuple[Calibration, Calibration]
    improved: tuple[ChangedObject, ...]
    worsened: tuple[ChangedObject, ...]
    notes: tuple[str, ...]

    @property
    def overall(self) -> Group:
        """The figures of all objects."""
        return self.groups[0]

    @cached_property
    def verdict(self) -> Verdict:
        """Whether the new model is better, if it was not trained on these pictures."""
        return judge(self.overall)

    @property
    def figures(self) -> dict[str, Change]:
        """The few figures that decide: "1 click", "5 clicks", "box", and "AP@50" if scored."""
        keys = [HEADLINE, *NOT_WORSE]
        changes = self.overall.changes
        return {key[0]: changes[key] for key in keys if key in changes}


def compare(
    base: Sam,
    new: Sam,
    pictures: StoredPictures,
    *,
    known: Callable[[str], np.ndarray | None] | None = None,
    classes: Callable[[str], Mapping[int, str]] | None = None,
    objects: int = 24,
    automatic: bool = True,
    on_progress: Callable[[int, int], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Comparison:
    """Measure two models on the same objects, by the same clicks' protocol and the same boxes.

    Parameters
    ----------
    base, new : Sam
        Before and after.
    pictures : StoredPictures
        With outlined objects, and not trained on. Pictures without objects are left aside.
    known : callable, optional
        Takes a picture's name, gives (H, W) bool, True where everything is outlined, or None for
        a picture that is outlined completely; by default all are. Automatic masks are scored only
        there.
    classes : callable, optional
        Takes a picture's name, gives classes by the object's place in `read_objects`, from 0 on.
    objects : int
        So many are prompted for in each picture, at most; see
        `src_model.training.evaluation.prompt_picture` for which.
    automatic : bool
        Also find all objects without prompts, which takes longer.
    on_progress : callable, optional
        Called with the number of pictures measured and of all; each is measured twice.
    should_stop : callable, optional
        Asked now and then.

    Returns
    -------
    Comparison

    Raises
    ------
    ComparisonStopped
        If `should_stop` said so.
    InputError
        If a picture cannot be used, or no object is outlined in any.
    """

    def check(*progress: int) -> None:
        if should_stop is not None and should_stop():
            raise ComparisonStopped

    extremes = Extremes(EXTREMES)
    found: list[PictureChange] = []
    unscored = 0
    for index in range(len(pictures)):
        check()
        picture = pictures[index]
        if len(picture.objects):
            area = _known_area(picture, known)
            sides = []
            for number, model in enumerate((base, new), start=1):
                scores = prompt_picture(model, picture, objects)
                check()
                masks = score_automatic(model, picture, area, check) if automatic else {}
                sides.append((scores, masks))
                if on_progress is not None:
                    on_progress(2 * index + number, 2 * len(pictures))
            (before, masks_before), (after, masks_after) = sides
            unscored += not masks_before
            chosen = [trace.index for trace in before.traces]
            names = _classes(pictures, index, picture.name, classes)
            areas = [picture.objects.items[i].area for i in chosen]
            found.append(
                picture_change(
                    before,
                    after,
                    areas,
                    [names[i] if names else "" for i in chosen],
                    (masks_before, masks_after),
                )
            )
            _watch(extremes, index, before, after)
        elif on_progress is not None:
            on_progress(2 * index + 2, 2 * len(pictures))
    if not found:
        raise InputError(
            "No object of more than one pixel is outlined in any of the pictures to compare on: "
            "outline some."
        )
    return Comparison(
        compare_groups(found),
        _calibrations(found),
        _drawn(extremes.improved, pictures),
        _drawn(extremes.worsened, pictures),
        _notes(len(pictures), len(found), unscored, automatic),
    )


def _known_area(
    picture: Picture, known: Callable[[str], np.ndarray | None] | None
) -> np.ndarray | None:
    area = None if known is None else known(picture.name)
    if area is not None and area.shape != picture.objects.shape:
        raise InputError(
            f"{picture.name}: the area that is known has the shape {area.shape}, the picture "
            f"{picture.objects.shape}; make them the same."
        )
    return area if area is None else area.astype(bool, copy=False)


def _classes(
    pictures: StoredPictures,
    index: int,
    name: str,
    classes: Callable[[str], Mapping[int, str]] | None,
) -> list[str] | None:
    """Return the class of each object as `pictures[index]` has them."""
    if classes is None:
        return None
    by_place = classes(name)
    items = pictures.read_objects(index).items
    return [by_place.get(place, "") for place, item in enumerate(items) if item.area > 1]


def _watch(extremes: Extremes, picture: int, before: PromptScores, after: PromptScores) -> None:
    ious = (scores.values[HEADLINE].tolist() for scores in (before, after))
    objects = (trace.index for trace in before.traces)
    for index, one, other, *two in zip(
        objects, before.first_masks, after.first_masks, *ious, strict=True
    ):
        extremes.add(MaskPair(picture, index, one, other, *two))


def _drawn(pairs: list[MaskPair], pictures: StoredPictures) -> tuple[ChangedObject, ...]:
    return tuple(draw_changed(pictures[pair.picture], pair) for pair in pairs)


def _calibrations(found: list[PictureChange]) -> tuple[Calibration, Calibration]:
    predicted = np.concatenate([picture.predicted for picture in found], axis=1)
    measured = np.concatenate([picture.measured for picture in found], axis=1)
    before, after = (calibrate(*both) for both in zip(predicted, measured, strict=True))
    return before, after


def _notes(count: int, measured: int, unscored: int, automatic: bool) -> tuple[str, ...]:
    notes = []
    if measured < count:
        notes.append(f"{count - measured} of {count} pictures have no objects: left aside.")
    if not automatic:
        notes.append("What the models find without a prompt was not asked for.")
    elif unscored == measured:
        notes.append(
            "What the models find without a prompt is not scored: nowhere is everything known to "
            "be outlined, so that masks beside the outlines may be right."
        )
    elif unscored:
        notes.append(
            f"What the models find without a prompt is scored in {measured - unscored} of "
            f"{measured} pictures: in the others no object lies where everything is known to be "
            "outlined."
        )
    return tuple(notes)
