"""Pictures kept away from training, and the few figures that are measured on them during a run."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_sam.errors import InputError
from napari_sam.finetune.checking import (
    check_pictures,
    describe_problems,
    refuse_bad_pictures,
)
from napari_sam.finetune.data import open_pictures
from napari_sam.finetune.settings import RunSettings
from napari_sam.finetune.stored import StoredPictures
from src_model import Sam
from src_model.training.evaluation.prompted import CLICK_COUNTS, choose_objects, score_prompts
from src_model.training.pictures import Picture, PictureSource

__all__ = ["Split", "Subset", "split_pictures", "validate"]

# So many pictures and objects of each say which weights are better, in little time.
PICTURES, OBJECTS = 24, 8

_FIGURES = {
    "click": ("1 click", "best of three"),
    "click_shown": ("1 click", "best predicted"),
    "five_clicks": ("5 clicks", "best predicted"),
    "box": ("box", "best predicted"),
    "jittered_box": ("jittered box", "best predicted"),
}


class Subset(Sequence[Picture]):
    """Some pictures of a source.

    Parameters
    ----------
    source : PictureSource
        All pictures.
    indices : sequence of int
        Which.
    """

    def __init__(self, source: PictureSource, indices: Sequence[int]) -> None:
        self.source, self.indices = source, list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Picture:  # type: ignore[override]  # no slices
        return self.source[self.indices[index]]


@dataclass(frozen=True)
class Split:
    """Pictures to learn from, others to measure on, if any, and what is odd about them."""

    training: PictureSource
    validation: PictureSource | None
    warnings: str


def split_pictures(settings: RunSettings) -> Split:
    """Open the data of a run and keep pictures for validation.

    Pictures are held out whole, drawn by the run's seed: the same in every resumption.

    Raises
    ------
    InputError
        If the data cannot be used.
    """
    source, warnings = _checked(settings, settings.images, settings.labels)
    if settings.validation_images is not None:
        others, more = _checked(settings, settings.validation_images, settings.validation_labels)
        return Split(source, others, f"{warnings}\n{more}".strip())
    held_out = round(len(source) * settings.validation_share)
    if settings.validation_share and held_out == 0 and len(source) > 1:
        held_out = 1
    if held_out == len(source):
        raise InputError(
            f"{settings.images} holds {len(source)} picture(s), too few to keep some for "
            "validation: add pictures, or set validation_share to 0."
        )
    if not held_out:
        return Split(source, None, warnings)
    order = np.random.default_rng(settings.training.seed).permutation(len(source)).tolist()
    return Split(
        Subset(source, sorted(order[held_out:])),
        Subset(source, sorted(order[:held_out])),
        warnings,
    )


def _checked(
    settings: RunSettings, images: Path, labels: Path | None
) -> tuple[StoredPictures, str]:
    """Open pictures, refuse what cannot be used, and describe what is worth a look."""
    source = open_pictures(images, labels, settings.instances, settings.axis)
    problems = check_pictures(source)
    refuse_bad_pictures(problems)
    return source, describe_problems(problems)


def validate(sam: Sam, pictures: PictureSource) -> dict[str, float]:
    """Measure a model on up to ``PICTURES`` pictures, spread evenly over all.

    Returns
    -------
    dict of float
        Mean IoU over objects after one click (best of three, and best predicted), after five, with
        exact and jittered boxes; and ``score``, the mean of one click (best predicted) and the
        jittered box, by which weights are compared.
    """
    count = min(PICTURES, len(pictures))
    places = np.linspace(0, len(pictures) - 1, count).round().astype(int)
    scores: dict[str, list[float]] = defaultdict(list)
    for place in places.tolist():
        picture = pictures[place]
        rng = np.random.default_rng(place)
        if len(picture.objects) == 0:
            continue
        chosen = choose_objects(rng, len(picture.objects), OBJECTS)
        values = score_prompts(sam, picture, chosen, rng, max_clicks=max(CLICK_COUNTS)).values
        for name, key in _FIGURES.items():
            scores[name].extend(values[key].tolist())
    figures = {name: float(np.mean(values)) for name, values in scores.items()}
    if not figures:
        raise InputError("There is no object in the validation pictures: add some that have.")
    return figures | {"score": (figures["click_shown"] + figures["jittered_box"]) / 2}
