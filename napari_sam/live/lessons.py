"""How a model is taught: the ways that are offered, and what a run is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam.errors import InputError
from napari_sam.loading import check_model

if TYPE_CHECKING:
    from napari_sam.finetune.datasets import Dataset
    from napari_sam.finetune.estimate import Estimate
    from napari_sam.finetune.settings import RunSettings

__all__ = ["METHODS", "Advanced", "Way", "estimate_all", "model_names", "run_settings"]


@dataclass(frozen=True)
class Way:
    """One way to teach.

    Parameters
    ----------
    method : str
        As `RunSettings.method` takes it.
    title, explained : str
        What people read.
    """

    method: str
    title: str
    explained: str


METHODS = (
    Way(
        "decoder",
        "Decoder only",
        "What draws the masks: the encoder stays, so that each picture is encoded only once, and "
        "the embeddings of your images are used on",
    ),
    Way(
        "lora",
        "LoRA",
        "Small additions to the encoder's attention: learns what objects look like; the result is "
        "a file of a few MB, and images are encoded anew",
    ),
    Way(
        "full",
        "Everything",
        "All weights: learns most where there are many objects, and forgets most; images are "
        "encoded anew",
    ),
)
"""What changes least comes first."""


@dataclass(frozen=True)
class Advanced:
    """What a person chose; None where that is left to the program."""

    steps: int | None = None
    rate: float | None = None
    rank: int | None = None
    seed: int = 0

    def values(self, method: str) -> dict[str, Any]:
        """Return them as settings of a run.

        Examples
        --------
        >>> Advanced(steps=50, rank=4).values("decoder")
        {'steps': 50, 'seed': 0}
        """
        given = {"steps": self.steps, "lr": self.rate, "seed": self.seed}
        if method == "lora":
            given["lora_rank"] = self.rank
        return {name: value for name, value in given.items() if value is not None}


def model_names() -> list[str]:
    """Return the models to begin with: those that are published, and those of one's own."""
    from napari_sam.commands.models import model_rows

    return [row.name for row in model_rows()]


def run_settings(
    dataset: Dataset, base: str, method: str, advanced: Advanced, unlabelled: Path | None = None
) -> RunSettings:
    """Return what a run is asked for: what suits method and data, and what a person chose.

    Parameters
    ----------
    dataset : Dataset
        What it learns from.
    base : str
        The model that it begins with.
    method : str
        One of `METHODS`.
    advanced : Advanced
        What a person chose.
    unlabelled : Path, optional
        Images on which the encoder is pre-trained (MAE) before; they need not be there yet.

    Raises
    ------
    InputError
        If there is no such model, or a value is unusable.
    """
    from napari_sam.finetune.suggestions import suggested

    check_model(base, "auto", "float32")
    values = suggested(method, dataset, base)
    if advanced.steps is not None:  # looks and warm-up stay the same parts of the run
        share = advanced.steps / values["steps"]
        for name in ("validate_every", "warmup"):
            values[name] = max(1, math.ceil(values[name] * share))
    values |= advanced.values(method)
    if unlabelled is not None:
        values |= {
            "pretraining_images": unlabelled,
            "pretraining": suggested("mae", dataset, base) | {"seed": advanced.seed},
        }
    return dataset.settings(**values, base=base, method=method)


def estimate_all(
    settings: dict[str, RunSettings],
    report: Callable[[object], None],
    should_stop: Callable[[], bool],
) -> None:
    """Measure what each of some runs takes, and report (method, Estimate or a sentence).

    Parameters
    ----------
    settings : dict
        Of runs, by method.
    report : callable
        Given each as soon as it is measured. Instead of an estimate a sentence may come that says
        why there is none.
    should_stop : callable
        Asked now and then.
    """
    from napari_sam.finetune.estimate import estimate

    for method, asked in settings.items():
        if should_stop():
            return
        found: Estimate | str | None
        try:
            found = estimate(asked, should_stop=should_stop)
        except InputError as error:
            found = str(error)
        if not should_stop():
            report((method, found))
