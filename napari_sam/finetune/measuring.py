"""Make a few steps of a run, to know what all of it will take.

``python -m napari_sam.finetune.measuring SETTINGS.yaml FOLDER DEVICE RESULT.json``, because the
most memory that was ever used can only be measured of a process that did nothing else.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor

from napari_sam.allocator import keep_freed_memory
from napari_sam.finetune.control import Control
from napari_sam.finetune.embedding_cache import EmbeddingCache
from napari_sam.finetune.encoder_run import open_fitting
from napari_sam.finetune.previews import ROWS, Previews
from napari_sam.finetune.process_child import sentence
from napari_sam.finetune.run import make_trainer, open_run
from napari_sam.finetune.run_folder import RunFolder
from napari_sam.finetune.settings import ENCODER_METHODS, RunSettings, read_settings
from napari_sam.finetune.stages import pretraining_stage
from napari_sam.finetune.validation import PICTURES, Split, Subset, validate
from src_model.training.augment import Sample
from src_model.training.encoder_fitting import FitStep
from src_model.training.feed import WHOLE_SHARE
from src_model.training.pictures import PictureSource
from src_model.training.trainer import Trainer
from src_model.weight_files import model_hash

__all__ = ["measure"]

# Steps that are measured; one before them pays for what is made once.
_STEPS = 2


def measure(settings: RunSettings, folder: RunFolder, device: str) -> dict[str, float]:
    """Make a few steps of a run; nothing of it is kept.

    Parameters
    ----------
    settings : RunSettings
        What the run is to do.
    folder : RunFolder
        Where it will be: the disk there must have room for it.
    device : str
        As `src_model.load_model` takes it.

    Returns
    -------
    dict of float
        ``seconds`` of the whole run, ``seconds_per_step``, and ``memory_bytes``: the most this
        process used, or took of a graphics card.

    Raises
    ------
    InputError
        As the run would.
    """
    began = time.perf_counter()
    total = pretraining = 0.0
    if settings.method in ENCODER_METHODS:
        step = _measure_fit(settings, device)
    else:
        step, total = _measure_labels(settings, folder, device)
        if settings.pretraining_images is not None:
            pretraining = _measure_fit(pretraining_stage(settings), device)
    total += step * settings.training.steps + pretraining * settings.pretraining.steps
    # What was measured was not only steps: models are loaded, pictures are read.
    startup = max(0.0, time.perf_counter() - began - (1 + _STEPS) * (step + pretraining))
    return {
        "seconds": total + startup,
        "seconds_per_step": step,
        "memory_bytes": _peak_memory(),
    }


def _measure_labels(settings: RunSettings, folder: RunFolder, device: str) -> tuple[float, float]:
    """Return the seconds of a step, and those that everything but steps takes."""
    sam, split = open_run(settings, folder, Control(), device)
    with tempfile.TemporaryDirectory() as place:
        embed = None
        if settings.method == "decoder":
            cache = EmbeddingCache(Path(place) / "embeddings.zarr", sam, model_hash(sam))
            embed = _Timed(cache)
        trainer = make_trainer(settings, sam, split, embed)
        seconds = []
        for _ in range(1 + _STEPS):
            seconds.append(_timed(trainer.step) - (embed.take() if embed else 0.0))
        step = float(np.mean(seconds[1:]))
        if trainer.config.window is not None:  # whole frames at the end need the most memory
            step += WHOLE_SHARE * (_whole_step(trainer) - step)
        more = _measure_looks(settings, trainer, split)
        if embed is not None:
            more += embed.each * len(split.training)
    return step, more


def _measure_looks(settings: RunSettings, trainer: Trainer, split: Split) -> float:
    """Return the seconds of all validations, and looks at the hold-out."""
    looks = -(-settings.training.steps // settings.validate_every)
    example = _with_objects(split.watched or split.validation)
    if example is None:
        return 0.0
    seconds = 0.0
    with trainer.averaged() as averaged:
        one = Subset(*example)
        each = _timed(lambda: validate(averaged, one))
        if split.validation:
            seconds += looks * each * min(PICTURES, len(split.validation))
        if split.watched:
            drawn = _timed(lambda: Previews(one, averaged)) * min(ROWS, len(split.watched))
            seconds += (looks + 1) * (each * min(PICTURES, len(split.watched)) + drawn)
    return seconds


def _with_objects(pictures: PictureSource | None) -> tuple[PictureSource, list[int]] | None:
    """Return a source with the number of its first picture that shows an object."""
    if pictures is None:
        return None
    places = (place for place in range(len(pictures)) if len(pictures[place].objects))
    place = next(places, None)
    return None if place is None else (pictures, [place])


class _Timed:
    """A cache of embeddings, and how long it took to fill it."""

    def __init__(self, cache: EmbeddingCache) -> None:
        self._cache = cache
        self._seconds: list[float] = []
        self._since = 0.0

    def __call__(self, sample: Sample) -> Tensor:
        began = time.perf_counter()
        embedding = self._cache(sample)
        self._seconds.append(time.perf_counter() - began)
        self._since += self._seconds[-1]
        return embedding

    def take(self) -> float:
        """Return the seconds since this was last asked."""
        since, self._since = self._since, 0.0
        return since

    @property
    def each(self) -> float:
        """Seconds that a picture takes: the most, because most were there already, or the first."""
        return max(self._seconds[1:], default=self._seconds[0])


def _whole_step(trainer: Trainer) -> float:
    """Return the seconds of a step that sees whole frames: the last one."""
    trainer.load_state_dict(trainer.state_dict() | {"step": trainer.config.steps - 1})
    return _timed(trainer.step)


def _measure_fit(settings: RunSettings, device: str) -> float:
    """Return the seconds of a step of pre-training or distillation."""
    times: list[float] = []

    def follow(report: FitStep) -> None:
        times.append(time.perf_counter())
        if len(times) > _STEPS:
            raise _Enough

    fitting = open_fitting(settings, device)
    config = replace(fitting.config, steps=2 + _STEPS)
    with suppress(_Enough):
        replace(fitting, config=config).make_steps(follow)
    return (times[-1] - times[0]) / _STEPS


class _Enough(Exception):
    """Ends a run that was only measured."""


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _peak_memory() -> float:
    """Return the most bytes that were in use, with those of processes that prepare samples."""
    if torch.cuda.is_available() and torch.cuda.max_memory_reserved():
        return float(torch.cuda.max_memory_reserved())
    process = psutil.Process()
    if sys.platform == "win32":
        peak = process.memory_info().peak_wset
    else:
        import resource  # which Windows does not have

        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    helpers = [child.memory_full_info().uss for child in process.children(recursive=True)]
    return float(peak + sum(helpers))


def main(arguments: Sequence[str]) -> None:
    """Measure, and write the figures, or the sentence why that cannot be, to a file."""
    settings, folder, device, result = arguments
    try:
        found: dict[str, Any] = {}
        found |= measure(read_settings(Path(settings)), RunFolder(Path(folder)), device)
    except Exception as error:
        problem = sentence(error, Path(folder))
        if problem is None:
            raise
        found = {"problem": problem}
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    keep_freed_memory()
    main(sys.argv[1:])
