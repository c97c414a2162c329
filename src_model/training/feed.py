"""The endless stream of training samples, each a function of the seed and its number.

A run that is resumed at a step therefore sees what it would have seen, whatever the number of
processes that prepare samples.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .augment import Sample, make_sample
from .config import TrainingConfig
from .pictures import ObjectMasks, Picture, PictureSource
from .scenes import generate_scene

__all__ = ["WHOLE_SHARE", "BadSample", "Feed", "sample_batches"]

# Part of the steps, at the end, that sees whole frames instead of windows.
WHOLE_SHARE = 0.02
# How often another picture is tried when a sample shows no object at all.
_TRIES = 50


class BadSample(ValueError):
    """A picture cannot be read, or shows nothing to learn from; the sentence says which."""


class Feed(torch.utils.data.Dataset[Sample]):
    """Samples by number, from a source's pictures and generated scenes.

    Parameters
    ----------
    source : PictureSource
        Pictures with objects.
    config : TrainingConfig
        Window, share of generated scenes, curriculum, augmentation, seed.
    frame : int
        Side of the model's frame in pixels.
    textures : sequence of (H, W, 3) uint8 arrays
        For generated scenes.
    ranks : int
        Processes that share the samples: each step of the run takes so many times more.
    """

    def __init__(
        self,
        source: PictureSource,
        config: TrainingConfig,
        frame: int,
        textures: Sequence[NDArray[np.uint8]] = (),
        ranks: int = 1,
    ) -> None:
        self.source, self.config, self.frame, self.textures = source, config, frame, textures
        self._samples_a_step = config.batch * config.accumulate * ranks
        if len(source) == 0 and config.generated < 1:
            raise ValueError("There are no pictures to train on.")

    def side(self, step: int) -> int:
        """Return the side of the windows of a step's samples."""
        config = self.config
        if config.window is None or step >= (1 - WHOLE_SHARE) * config.steps:
            return self.frame
        return config.window

    def __getitem__(self, number: int) -> Sample:
        """Return a sample.

        Raises
        ------
        BadSample
            If its picture cannot be read, or none of many shows an object.
        """
        try:
            return self._sample(number)
        except (ValueError, OSError) as error:
            raise BadSample(str(error)) from error

    def _sample(self, number: int) -> Sample:
        rng = np.random.default_rng((self.config.seed, number))
        side = self.side(number // self._samples_a_step)
        for attempt in range(_TRIES):
            sample = self._draw(rng, number, side, attempt)
            if len(sample.objects):
                return sample
        raise ValueError(
            f"No object was visible in any of {_TRIES} samples, the last from {sample.name}: "
            "the labels may be empty, or the objects far too small for the model's frame."
        )

    def _draw(self, rng: np.random.Generator, number: int, side: int, attempt: int) -> Sample:
        config = self.config
        augmentation = config.augmentation
        step = number // self._samples_a_step
        if rng.random() < config.generated:
            image, labels = generate_scene(rng, side, self.textures)
            picture = Picture("a generated scene", image, ObjectMasks.from_labels(labels))
            return make_sample(rng, picture, side, augmentation, frame=side)
        if step < config.curriculum:
            enlarged = 3 ** (1 - step / config.curriculum)
            low, high = augmentation.scale
            augmentation = dataclasses.replace(
                augmentation, scale=(low * enlarged, high * enlarged)
            )
        # Every picture once before any comes twice.
        epoch, place = divmod(number + attempt * 7919, len(self.source))
        order = np.random.default_rng((config.seed, epoch, 1)).permutation(len(self.source))
        picture = self.source[int(order[place])]
        return make_sample(rng, picture, side, augmentation, frame=self.frame)


def sample_batches(feed: Feed, start: int, rank: int = 0, ranks: int = 1) -> Iterator[list[Sample]]:
    """Yield batches for ever, beginning with batch number ``start``.

    Parameters
    ----------
    feed : Feed
        The samples.
    start : int
        Number of batches already used, by this process.
    rank, ranks : int
        Every process of a distributed run takes its own batches.
    """
    images = feed.config.batch

    def numbers() -> Iterator[list[int]]:
        for batch in itertools.count(start):
            first = (batch * ranks + rank) * images
            yield list(range(first, first + images))

    loader: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(
        _Tolerant(feed),
        batch_sampler=numbers(),
        num_workers=feed.config.workers,
        collate_fn=list,
        prefetch_factor=4 if feed.config.workers else None,
        worker_init_fn=_leave_group,
        # Of its own, or the loader would draw from the generator that the network draws from.
        generator=torch.Generator(),
    )
    for batch in loader:
        for sample in batch:
            if isinstance(sample, BadSample):
                raise sample
        yield batch


class _Tolerant(torch.utils.data.Dataset[Any]):
    """Hand errors over as values: raised in a worker they arrive wrapped in its traceback."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed

    def __getitem__(self, number: int) -> Sample | BadSample:
        try:
            return self.feed[number]
        except BadSample as error:
            return error


def _leave_group(worker: int) -> None:
    """Leave it to the main process when a worker ends, and the cores to the network.

    Ctrl-C, and often SIGTERM, goes to a whole process group; without its workers the main process
    could not end the step it is in.
    """
    torch.set_num_threads(1)
    if hasattr(os, "setpgrp"):  # Windows has no process groups of this kind
        os.setpgrp()
