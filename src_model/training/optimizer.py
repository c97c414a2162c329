"""AdamW on float32 copies of the trained weights, their schedule, and their moving average."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .config import TrainingConfig

__all__ = ["Optimizer", "learning_rate"]


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Return the rate of a step (0 is the first): linear warm-up, then cosine or steps.

    Examples
    --------
    >>> config = TrainingConfig(steps=100, warmup=10, lr=1.0)
    >>> [round(learning_rate(config, step), 2) for step in (0, 9, 50, 99)]
    [0.1, 0.98, 0.51, 0.01]
    """
    rate = config.lr * min(1.0, (step + 1) / max(1, config.warmup))
    progress = step / config.steps
    if config.schedule == "cosine":
        return rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
    # The paper's 60,000 and 86,666 of 90,000 steps.
    return rate * 0.1 ** sum(progress >= place for place in (60 / 90, 86.666 / 90))


class Optimizer:
    """Update trained weights through float32 copies, whatever precision the network has.

    Weights in bfloat16 cannot take steps smaller than 1/256 of themselves, so the steps are made
    on float32 copies, which are then rounded into the network. The moving average follows the
    copies.

    Parameters
    ----------
    parameters : mapping of str to Parameter
        Trained parameters by name.
    config : TrainingConfig
        Rates, decay and average.
    layers : mapping of str to int
        Layer of each parameter, counted from the input; higher learns faster with
        ``config.layer_decay`` below 1. Names that are not in it count as the last layer.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        config: TrainingConfig,
        layers: Mapping[str, int],
    ) -> None:
        self.config = config
        self.parameters = dict(parameters)
        self.master = {name: p.detach().float().clone() for name, p in parameters.items()}
        self.average = {name: p.clone() for name, p in self.master.items()}
        last = max(layers.values(), default=0)
        groups: dict[tuple[int, bool], list[Tensor]] = {}
        for name, master in self.master.items():
            # Biases and gains are not decayed: pulling them to zero means nothing.
            key = (layers.get(name, last), master.ndim > 1)
            groups.setdefault(key, []).append(master)
        self.scales = [config.layer_decay ** (last - layer) for layer, _ in groups]
        self.adam = torch.optim.AdamW(
            [
                {"params": members, "weight_decay": config.weight_decay if decayed else 0.0}
                for (_, decayed), members in groups.items()
            ],
            lr=config.lr,
        )

    def step(self, step: int) -> float:
        """Apply the gradients that have gathered and clear them; returns their norm.

        ``step`` is the number of steps made before.
        """
        for name, parameter in self.parameters.items():
            gradient = parameter.grad
            self.master[name].grad = None if gradient is None else gradient.float()
            parameter.grad = None
        norm = nn.utils.clip_grad_norm_(self.master.values(), self.config.clip)
        rate = learning_rate(self.config, step)
        for group, scale in zip(self.adam.param_groups, self.scales, strict=True):
            group["lr"] = rate * scale
        self.adam.step()
        # An average of few steps must not hold on to the start.
        keep = min(self.config.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, master in self.master.items():
                master.grad = None
                self.parameters[name].copy_(master)
                self.average[name].lerp_(master, 1 - keep)
        return float(norm)

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to go on."""
        return {"master": self.master, "average": self.average, "adam": self.adam.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; the network's weights are set too."""
        with torch.no_grad():
            for name, master in self.master.items():
                master.copy_(state["master"][name])
                self.average[name].copy_(state["average"][name])
                self.parameters[name].copy_(master)
        self.adam.load_state_dict(state["adam"])

    def show(self, weights: Mapping[str, Tensor]) -> None:
        """Put ``self.average`` or ``self.master`` into the network, rounded to its precision."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(weights[name])
