"""The loop that pre-training and distillation share: fit an encoder to pictures without labels.

Every step draws its randomness from the seed and its own number, so a run that goes on from a saved
state needs no state of any random generator to come to the same result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .config import TrainingConfig
from .optimizer import Optimizer, learning_rate

__all__ = ["FitConfig", "FitStep", "Images", "draw_images", "fit", "set_training_precision"]

Images = Sequence[NDArray[np.uint8]] | Callable[[np.random.Generator], NDArray[np.uint8]]
"""Pictures, (H, W, 3) uint8: anything with a length and indices, or a function of a numpy random
generator that returns one."""


@dataclass(frozen=True)
class FitConfig:
    """How an encoder is fitted.

    Parameters
    ----------
    steps : int
        Steps of the optimiser.
    batch : int
        Pictures a step.
    lr, warmup, weight_decay
        Peak learning rate, steps of linear warm-up before it falls as a cosine, and AdamW's decay
        of weight matrices.
    precision : {"float32", "bfloat16"}
        Of weights and activations; the optimiser always works in float32.
    seed : int
        Of all randomness.

    Raises
    ------
    ValueError
        If a value is out of range; the sentence names it.
    """

    steps: int = 1000
    batch: int = 4
    lr: float = 3e-4
    warmup: int = 50
    weight_decay: float = 0.05
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("warmup", "weight_decay", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}.")
        if not self.lr > 0:
            raise ValueError(f"lr must be positive, not {self.lr}.")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be float32 or bfloat16, not {self.precision!r}.")


@dataclass(frozen=True)
class FitStep:
    """What is known after a step.

    Parameters
    ----------
    step : int
        Steps made so far.
    loss, learning_rate : float
        Of this step.
    module : nn.Module
        What is being fitted; for pre-training a
        :class:`~src_model.training.mae.MaePretraining`.
    state : callable
        Returns a dict to be written with ``torch.save`` and given as ``resume`` later. Its tensors
        are the live ones: write it, or copy it, before the next step.
    """

    step: int
    loss: float
    learning_rate: float
    module: nn.Module
    state: Callable[[], dict[str, Any]]


def fit(
    module: nn.Module,
    batch_loss: Callable[[np.random.Generator, torch.Generator], Tensor],
    config: FitConfig,
    on_step: Callable[[FitStep], None] | None = None,
    resume: Mapping[str, Any] | None = None,
) -> None:
    """Make the steps of a run, or those that are left of it.

    Parameters
    ----------
    module : nn.Module
        Its parameters that require gradients are trained, in place. In float32 and evaluation mode
        afterwards, whether the run ends or is interrupted.
    batch_loss : callable
        Draws a batch with a numpy and a torch (CPU) generator and returns its loss, a scalar.
    config : FitConfig
        The schedule.
    on_step : callable, optional
        Called after every step. An exception it raises ends the run.
    resume : dict, optional
        What :class:`FitStep`'s ``state`` gave in an earlier run with the same config.

    Raises
    ------
    ValueError
        If a weight is not in float32, the state belongs to another config, or the loss is no
        longer finite.
    """
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    for name, parameter in parameters.items():
        if parameter.dtype != torch.float32:
            raise ValueError(
                f"The weights to be trained must be float32, but {name} is {parameter.dtype}: load "
                f"the model with precision='float32'."
            )
    frozen = {name: p.data for name, p in module.named_parameters() if not p.requires_grad}
    device = next(iter(parameters.values())).device
    schedule = TrainingConfig(
        steps=config.steps,
        lr=config.lr,
        warmup=config.warmup,
        weight_decay=config.weight_decay,
        ema=0.0,
    )
    optimizer = Optimizer(parameters, schedule, {})
    first = 0
    if resume is not None:
        first = _restore(module, optimizer, config, resume)

    def state(step: int) -> dict[str, Any]:
        return {
            "config": asdict(config),
            "step": step,
            # What is not trained is only rounded for the time being, and saved as it was.
            "module": module.state_dict() | frozen,
            "optimizer": optimizer.state_dict(),
        }

    forked = [device] if device.type == "cuda" else []
    set_training_precision(module, getattr(torch, config.precision))
    module.train()
    try:
        for step in range(first, config.steps):
            seeds = np.random.SeedSequence((config.seed, step)).generate_state(3)
            # What the network itself draws (drop path) comes from torch's own generator.
            with torch.random.fork_rng(forked):
                torch.manual_seed(int(seeds[0]))
                generator = torch.Generator().manual_seed(int(seeds[1]))
                loss = batch_loss(np.random.default_rng(seeds[2]), generator)
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise ValueError(
                        f"The loss is {value} at step {step + 1}: go on from an earlier state with "
                        f"a lower lr than {config.lr}, or look for broken pictures."
                    )
                loss.backward()
            optimizer.step(step)
            if on_step is not None:
                rate = learning_rate(schedule, step)
                on_step(FitStep(step + 1, value, rate, module, partial(state, step + 1)))
    finally:
        set_training_precision(module, torch.float32)
        optimizer.show(optimizer.master)
        for name, weights in frozen.items():
            module.get_parameter(name).data = weights
        module.eval()


def set_training_precision(module: nn.Module, dtype: torch.dtype) -> None:
    """Round all weights but those of batch normalisation, as ``Sam.set_precision`` does."""
    for part in module.modules():
        if not isinstance(part, nn.BatchNorm2d):
            for parameter in part.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)


def draw_images(
    images: Images, rng: np.random.Generator, count: int
) -> list[tuple[int | None, NDArray[np.uint8]]]:
    """Draw pictures at random, each with its index where they have indices.

    Raises
    ------
    ValueError
        If there are none, or one is not (H, W, 3) uint8 with pixels.
    """
    chosen: list[tuple[int | None, NDArray[np.uint8]]] = []
    if not callable(images) and not len(images):
        raise ValueError("There are no pictures to train on: give at least one.")
    for _ in range(count):
        if callable(images):
            index, image = None, images(rng)
        else:
            index = int(rng.integers(len(images)))
            image = images[index]
        if (
            not isinstance(image, np.ndarray)
            or image.ndim != 3
            or image.shape[2] != 3
            or image.dtype != np.uint8
            or not image.size
        ):
            what = f"{image.shape} {image.dtype}" if isinstance(image, np.ndarray) else type(image)
            raise ValueError(
                f"Picture {'' if index is None else index} must be an (H, W, 3) uint8 array, not "
                f"{what}: stretch it to 0-255 and repeat a grey channel three times."
            )
        chosen.append((index, image))
    return chosen


def _restore(
    module: nn.Module, optimizer: Optimizer, config: FitConfig, resume: Mapping[str, Any]
) -> int:
    """Bring module and optimiser to a saved state; returns the steps made."""
    saved, own = resume["config"], asdict(config)
    differing = [name for name in own if saved.get(name) != own[name]]
    if differing:
        name = differing[0]
        raise ValueError(
            f"The saved run has {name} {saved.get(name)!r}, not {own[name]!r}: go on with the same "
            f"settings, or begin a new run."
        )
    module.load_state_dict(resume["module"])
    optimizer.load_state_dict(resume["optimizer"])
    return int(resume["step"])
