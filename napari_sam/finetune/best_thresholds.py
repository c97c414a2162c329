"""Thresholds for finding everything, chosen for the weights that a run made.

How sure a network is of its masks changes with what it is taught, and much: thresholds that suit
the base let nothing of a taught model pass, or everything.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from napari_sam.finetune.automatic import average_precision_of, has_known_objects
from napari_sam.finetune.datasets.reading import HEAD, Dataset
from napari_sam.finetune.settings import RunSettings
from napari_sam.finetune.tiled import origin_of
from napari_sam.finetune.validation import Split, Subset
from napari_sam.loading import load
from src_model.automatic_thresholds import AutomaticThresholds, write_thresholds
from src_model.training.pictures import Picture

if TYPE_CHECKING:
    from napari_sam.finetune.datasets.reading import Part
    from src_model import Sam

__all__ = ["choose_thresholds", "keep_thresholds", "spread"]

Known = Callable[[str], np.ndarray | None]
"""Takes a picture's name; gives (H, W) bool, True where everything is outlined, None for all."""

_LEAST = AutomaticThresholds(0.2, 0.2, 0.7)
"""What is looked at: below, there is only noise."""

_STEPS = np.arange(0.2, 0.95, 0.1).round(2).tolist()

_GAIN = 0.02
"""By how much AP@50 must rise for other thresholds to be better than those there are."""


def spread(count: int, most: int) -> list[int]:
    """Return the places of some of many pictures, evenly over all.

    Examples
    --------
    >>> spread(10, 4), spread(3, 4)
    ([0, 3, 6, 9], [0, 1, 2])
    """
    return np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()


def choose_thresholds(
    model: Sam,
    pictures: Sequence[Picture],
    known: Known | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> AutomaticThresholds | None:
    """Find the thresholds that give the best objects on pictures that are outlined.

    All masks of which the network is at all sure are found once for each picture, and filtered
    with each pair of least predicted IoU and stability.

    Parameters
    ----------
    model : Sam
        The network.
    pictures : sequence of Picture
        It may have been taught with them.
    known : callable, optional
        Where everything is outlined; by default everywhere.
    should_stop : callable, optional
        Asked before each picture.

    Returns
    -------
    AutomaticThresholds or None
        None if those that the model has are about as good, nothing can be told, or it was stopped.
    """
    from napari_sam.segment.image import automatic_thresholds, segment_everything
    from napari_sam.segment.objects import without_duplicates

    now = automatic_thresholds(model.variant.name, model.automatic)
    choices = [
        AutomaticThresholds(iou, stability, now.overlap)
        for iou, stability in itertools.product(_STEPS, _STEPS)
    ]
    scores: dict[AutomaticThresholds, list[float]] = {choice: [] for choice in (*choices, now)}
    for picture in pictures:
        if should_stop is not None and should_stop():
            return None
        area = None if known is None else known(picture.name)
        if area is not None:  # of a tile as much as there is of it
            area = area[: picture.image.shape[0], : picture.image.shape[1]]
        if not has_known_objects(picture, area):
            continue
        found = segment_everything(model, picture.image, thresholds=_LEAST)
        seen: dict[tuple[int, ...], float] = {}
        for choice, of_pictures in scores.items():
            passing = tuple(
                index
                for index, each in enumerate(found)
                if each.predicted_iou >= choice.predicted_iou and each.stability >= choice.stability
            )
            if passing not in seen:  # many pairs let the same pass
                kept = without_duplicates([found[index] for index in passing], now.overlap)
                seen[passing] = average_precision_of(kept, picture, area)
            of_pictures.append(seen[passing])
    if not scores[now]:
        return None
    means = {choice: float(np.mean(values)) for choice, values in scores.items()}
    best = max(choices, key=lambda choice: (round(means[choice], 3), -_distance(choice, now)))
    return best if means[best] >= means[now] + _GAIN else None


def keep_thresholds(
    settings: RunSettings,
    split: Split,
    weights: Path,
    device: str = "auto",
    should_stop: Callable[[], bool] | None = None,
) -> AutomaticThresholds | None:
    """Choose thresholds for weights that a run made, and write them into their files.

    The pictures are those that the weights were chosen by; if there are none, those they were
    taught with.

    Parameters
    ----------
    settings : RunSettings
        Of the run.
    split : Split
        Its pictures.
    weights : Path
        What it made; the small file of an adapter or a decoder lies beside it.
    device : str
        As `src_model.load_model` takes it.
    should_stop : callable, optional
        Asked before each picture.

    Returns
    -------
    AutomaticThresholds or None
        As `choose_thresholds`.
    """
    if not settings.threshold_pictures:
        return None
    model = load(str(weights), device)
    images = settings.validation_images or settings.images
    pictures = split.training if split.validation is None else split.validation
    some = Subset(pictures, spread(len(pictures), settings.threshold_pictures))
    chosen = choose_thresholds(model, some, _known_in(images), should_stop)
    if chosen is not None:
        for path in (weights, weights.with_name(f"{weights.stem}_adapter.safetensors")):
            if path.is_file():
                write_thresholds(path, chosen)
    return chosen


def _known_in(images: Path) -> Known | None:
    """Tell where the pictures of a dataset's part are outlined; those of other folders are."""
    folder, part = images.parent.parent, images.parent.name
    if images.name != "images" or not (folder / HEAD).is_file():
        return None
    dataset = Dataset.open(folder)

    def known(name: str) -> np.ndarray | None:
        picture, (top, left) = origin_of(name)
        area = dataset.known(cast("Part", part), picture)
        return None if area is None else area[top:, left:]

    return known


def _distance(one: AutomaticThresholds, other: AutomaticThresholds) -> float:
    return abs(one.predicted_iou - other.predicted_iou) + abs(one.stability - other.stability)
