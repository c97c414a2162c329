"""Pictures kept away from training, and the few figures that are measured on them during a run."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_sam.errors import InputError
from napari_sam.finetune.checking import open_checked_pictures
from napari_sam.finetune.settings import RunSettings
from napari_sam.finetune.stored import StoredPictures
from napari_sam.finetune.tiled import TiledPictures
from src_model import Sam
from src_model.training.evaluation.prompted import CLICK_COUNTS, choose_objects, score_prompts
from src_model.training.pictures import Picture, PictureSource

__all__ = ["Data", "Split", "Subset", "open_data", "split_pictures", "validate"]

# So many pictures and objects of each say which weights are better, in little time.
PICTURES, OBJECTS = 24, 8

_FIGURES = {
    "click": ("1 click", "best of three"),
    "click_shown": ("1 click", "best predicted"),
    "three_clicks": ("3 clicks", "best predicted"),
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
class Data:
    """What a run is given: pictures, others to measure on if any, and what is odd about them."""

    pictures: StoredPictures
    validation: StoredPictures | None
    warnings: str
    watched: StoredPictures | None = None


@dataclass(frozen=True)
class Split:
    """Pictures to learn from, to choose weights by, and only to look at; the latter if any."""

    training: PictureSource
    validation: PictureSource | None
    watched: PictureSource | None = None


def open_data(settings: RunSettings) -> Data:
    """Open the data of a run and check all of it.

    Raises
    ------
    InputError
        If something in it cannot be used; everything that cannot is named.
    """
    cut = settings.instances, settings.axis
    opened: list[StoredPictures | None] = []
    warnings = []
    for images, labels in (
        (settings.images, settings.labels),
        (settings.validation_images, settings.validation_labels),
        (settings.watched_images, settings.watched_labels),
    ):
        if images is None:
            opened.append(None)
            continue
        part, odd = open_checked_pictures(images, labels, *cut)
        opened.append(part)
        warnings.append(odd)
    pictures, validation, watched = opened
    assert pictures is not None
    return Data(pictures, validation, "\n".join(filter(None, warnings)), watched)


def split_pictures(settings: RunSettings, data: Data, frame: int) -> Split:
    """Keep pictures for validation.

    Pictures are held out whole, drawn by the run's seed: the same in every resumption. If there is
    but one large picture, tiles of it are.

    Parameters
    ----------
    settings : RunSettings
        How many.
    data : Data
        The pictures.
    frame : int
        Side of the model's frame in pixels; much larger pictures are cut into tiles.

    Raises
    ------
    InputError
        If there are too few pictures to keep any away.
    """
    tiled = TiledPictures(data.pictures, frame)
    watched = None if data.watched is None else TiledPictures(data.watched, frame)
    if data.validation is not None:
        return Split(tiled, TiledPictures(data.validation, frame), watched)
    # Tiles of one picture overlap: they are held out together, unless there is no other way.
    whole = len(data.pictures) > 1
    groups = [number if whole else tile for tile, (number, _) in enumerate(tiled.tiles)]
    names = sorted(set(groups))
    held_out = round(len(names) * settings.validation_share)
    if settings.validation_share and held_out == 0:
        held_out = 1
    if held_out == len(names):
        raise InputError(
            f"{settings.images} holds {len(names)} picture(s), too few to keep some for "
            "validation: add pictures, or set validation_share to 0."
        )
    if not held_out:
        return Split(tiled, None, watched)
    order = np.random.default_rng(settings.training.seed).permutation(len(names)).tolist()
    kept_away = {names[place] for place in order[:held_out]}
    training = [tile for tile, group in enumerate(groups) if group not in kept_away]
    validation = [tile for tile, group in enumerate(groups) if group in kept_away]
    return Split(Subset(tiled, training), Subset(tiled, validation), watched)


def validate(sam: Sam, pictures: PictureSource, part: str = "validation") -> dict[str, float]:
    """Measure a model on up to ``PICTURES`` pictures, spread evenly over all.

    Parameters
    ----------
    sam : Sam
        The model.
    pictures : PictureSource
        What it is measured on.
    part : str
        What to call these pictures if there is nothing in them.

    Returns
    -------
    dict of float
        Mean IoU over objects after one click (best of three, and best predicted), after three and
        five, with exact and jittered boxes; and ``score``, the mean of one click (best
        predicted) and the jittered box, by which weights are compared.
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
        raise InputError(f"There is no object in the {part} pictures: add some that have.")
    return figures | {"score": (figures["click_shown"] + figures["jittered_box"]) / 2}
