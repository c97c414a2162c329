"""One training step after another, from any point on the same.

All randomness of a step is drawn from the seed and the step's number, so a state that was saved
and loaded goes on exactly as if nothing had happened (bitwise on a CPU with one thread).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..layers import BlockSequence
from ..loading import multiplies_bfloat16
from ..sam import Sam
from .augment import Sample
from .auxiliary import DenseHead, dense_loss, dense_targets
from .config import TrainingConfig
from .distributed import average_gradients, process_rank
from .drop_path import set_drop_path
from .feed import Feed, sample_batches
from .initialise import attend_to_positions, forget_weights
from .interactive import backward_objects
from .layer_decay import layer_ids
from .lora import LoraConfig, add_lora, hold_batch_norm
from .optimizer import Optimizer
from .pictures import PictureSource

__all__ = ["NotFinite", "StepReport", "Trainer", "check_config", "frames"]


class NotFinite(ArithmeticError):
    """The loss is no number any more.

    Parameters
    ----------
    step : int
        The step that failed.
    samples : list of Sample
        What it was computed from.
    """

    def __init__(self, step: int, samples: list[Sample]) -> None:
        names = ", ".join(sample.name for sample in samples)
        super().__init__(
            f"The loss of step {step} is not a finite number (images: {names}): try a lower "
            "learning rate, or precision float32."
        )
        self.step, self.samples = step, samples


@dataclass(frozen=True)
class StepReport:
    """What one step did.

    Parameters
    ----------
    step : int
        Steps made so far.
    figures : dict of float
        Means over the step's objects, by name; ``loss`` and ``gradient`` (its norm) always.
    """

    step: int
    figures: dict[str, float]


class Trainer:
    """Train a model on pictures.

    Parameters
    ----------
    sam : Sam
        The model; it is changed.
    source : PictureSource
        Pictures with objects.
    config : TrainingConfig
        How to train.
    textures : sequence of (H, W, 3) uint8 arrays
        For generated scenes.
    embed : callable, optional
        Returns the (1, C, h, w) embedding of a sample's image instead of the encoder, for
        ``method="decoder"``: a cache.

    Raises
    ------
    ValueError
        If the config does not suit the model.
    """

    def __init__(
        self,
        sam: Sam,
        source: PictureSource,
        config: TrainingConfig,
        textures: Sequence[NDArray[np.uint8]] = (),
        embed: Callable[[Sample], Tensor] | None = None,
    ) -> None:
        frame = sam.variant.image_size
        check_config(config, sam)
        torch.manual_seed(config.seed)
        self.sam, self.config, self.embed = sam, config, embed
        _, ranks = process_rank()
        self.feed = Feed(source, config, frame, textures, ranks)
        channels = sam.variant.embedding_shape[0]
        self.head = DenseHead(channels).to(sam.device) if config.auxiliary else None
        if config.start == "random":
            forget_weights(sam)
            attend_to_positions(sam)
        _choose_parameters(sam, config)
        sam.train()
        if config.start == "base" or config.method != "full":
            # A few images a step say too little about the statistics: keep those there are.
            hold_batch_norm(sam)
        set_drop_path(sam.image_encoder, config.drop_path)
        for module in sam.image_encoder.modules():
            if isinstance(module, BlockSequence):
                module.recompute = config.checkpointing
        parameters = {n: p for n, p in sam.named_parameters() if p.requires_grad}
        if self.head is not None:
            parameters |= {f"head.{n}": p for n, p in self.head.named_parameters()}
        self.optimizer = Optimizer(parameters, config, layer_ids(sam))
        if _use_bfloat16(config, sam):
            # On a CPU the decoder's many small products and their gradients are faster in float32.
            sam.set_precision(torch.bfloat16, decoder=sam.device.type != "cpu")
        sam.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.step_count = 0
        self._batches: Iterator[list[Sample]] | None = None

    @property
    def trains_encoder(self) -> bool:
        """Whether any weight of the encoder is trained."""
        return any(p.requires_grad for p in self.sam.image_encoder.parameters())

    def step(self) -> StepReport:
        """Make one step.

        Raises
        ------
        NotFinite
            If the loss is not a number; the weights are those before the step.
        """
        rank, ranks = process_rank()
        key = (self.config.seed, self.step_count, rank, 2)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        rng = np.random.default_rng(key)
        if self._batches is None:
            start = self.step_count * self.config.accumulate
            self._batches = sample_batches(self.feed, start, rank, ranks)
        sums: dict[str, list[float]] = defaultdict(list)
        for _ in range(self.config.accumulate):
            samples = next(self._batches)
            for name, value in self._backward(rng, samples).items():
                sums[name].append(value)
            if not math.isfinite(sums["loss"][-1]):
                raise NotFinite(self.step_count + 1, samples)
        average_gradients(self.optimizer.parameters.values(), ranks)
        norm = self.optimizer.step(self.step_count)
        self.step_count += 1
        figures = {name: float(np.mean(values)) for name, values in sums.items()}
        return StepReport(self.step_count, figures | {"gradient": norm})

    def _backward(self, rng: np.random.Generator, samples: list[Sample]) -> dict[str, float]:
        """Add the gradients of one batch of images."""
        share = 1 / (len(samples) * self.config.accumulate)
        embedding = self._embed(samples)
        figures: dict[str, list[float]] = defaultdict(list)
        gradients = []
        for sample, embedded in zip(samples, embedding.detach().split(1), strict=True):
            leaf = embedded.clone().requires_grad_(self.trains_encoder)
            interaction = self.config.interaction(leaf.device.type)
            measured = backward_objects(rng, self.sam, leaf, sample.objects, interaction, share)
            for name, value in measured.items():
                figures[name].append(value)
            gradients.append(leaf.grad)
        if self.trains_encoder:
            heads, grads = [embedding], [torch.cat([g for g in gradients if g is not None])]
            if self.head is not None:
                auxiliary = self._auxiliary_loss(embedding, samples)
                figures["dense"] = [float(auxiliary.detach())]
                progress = self.step_count / self.config.steps
                factor = self.config.auxiliary * (1 - 0.8 * progress) / self.config.accumulate
                heads, grads = [*heads, auxiliary * factor], [*grads, torch.ones_like(auxiliary)]
            torch.autograd.backward(heads, grads)
        return {name: float(np.mean(values)) for name, values in figures.items()}

    def _embed(self, samples: list[Sample]) -> Tensor:
        """Encode the samples' frames, (B, C, h, w), or look their embeddings up."""
        if self.embed is not None:
            return torch.cat([self.embed(sample) for sample in samples]).to(self.sam.device)
        with torch.set_grad_enabled(self.trains_encoder):
            side = self.feed.side(self.step_count)
            return self.sam.image_encoder(frames(self.sam, samples, side))

    def _auxiliary_loss(self, embedding: Tensor, samples: list[Sample]) -> Tensor:
        assert self.head is not None
        h, w = embedding.shape[2:]
        stride = self.sam.variant.patch_size // 4
        targets = [dense_targets(sample.objects, (4 * h, 4 * w), stride) for sample in samples]
        return dense_loss(self.head(embedding), torch.stack(targets).to(embedding.device))

    def averaged(self) -> AbstractContextManager[Sam]:
        """Return a context in which the network has the averaged weights and is in evaluation."""
        return _Averaged(self)

    def export(self, base: Sam) -> Sam:
        """Put what was learned (averaged) into a float32 copy of the base model.

        A network that runs in bfloat16 holds rounded weights, also where it was not trained; the
        copy has the base's own there. With ``method="lora"`` it has adapters, not merged yet.
        """
        if self.config.method == "lora":
            add_lora(base, _lora_config(self.config))
        parameters, buffers = dict(base.named_parameters()), dict(base.named_buffers())
        learned = self.optimizer.average if self.config.ema else self.optimizer.master
        with torch.no_grad():
            for name, value in learned.items():
                if not name.startswith("head."):
                    parameters[name].copy_(value)
            for name, value in self.sam.named_buffers():
                buffers[name].copy_(value)
        return base.eval()

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to go on, as tensors and plain values."""
        return {
            "step": self.step_count,
            "optimizer": self.optimizer.state_dict(),
            "buffers": {n: b.clone() for n, b in self.sam.named_buffers()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.optimizer.load_state_dict(state["optimizer"])
        buffers = dict(self.sam.named_buffers())
        for name, value in state["buffers"].items():
            buffers[name].copy_(value)
        self.step_count = state["step"]
        self._batches = None


class _Averaged(AbstractContextManager[Sam]):
    """Show the averaged weights for a while."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def __enter__(self) -> Sam:
        trainer = self.trainer
        self.modes = {m: m.training for m in trainer.sam.modules()}
        if trainer.config.ema:
            trainer.optimizer.show(trainer.optimizer.average)
        return trainer.sam.eval()

    def __exit__(self, *args: object) -> None:
        self.trainer.optimizer.show(self.trainer.optimizer.master)
        for module, mode in self.modes.items():
            module.training = mode


def frames(sam: Sam, samples: Sequence[Sample], side: int) -> Tensor:
    """Return normalised, padded frames (B, 3, side, side) on the model's device."""
    batch = torch.zeros(len(samples), 3, side, side)
    mean, std = sam.pixel_mean.cpu(), sam.pixel_std.cpu()
    for frame, sample in zip(batch, samples, strict=True):
        height, width = sample.image.shape[:2]
        pixels = torch.from_numpy(np.ascontiguousarray(sample.image)).permute(2, 0, 1)
        # Padding comes after normalisation: it is the mean colour, not black.
        frame[:, :height, :width] = (pixels - mean) / std
    return batch.to(sam.device).contiguous(memory_format=torch.channels_last)


def _choose_parameters(sam: Sam, config: TrainingConfig) -> None:
    """Let exactly the parameters that the method trains require gradients."""
    sam.requires_grad_(config.method == "full")
    if config.method == "decoder":
        sam.prompt_encoder.requires_grad_(True)
        sam.mask_decoder.requires_grad_(True)
    elif config.method == "lora":
        add_lora(sam, _lora_config(config))


def _lora_config(config: TrainingConfig) -> LoraConfig:
    return LoraConfig(config.lora_rank, float(config.lora_rank), config.lora_targets)


def check_config(config: TrainingConfig, sam: Sam) -> None:
    """Raise ValueError, in one sentence, if the settings do not suit the model."""
    variant = sam.variant
    if config.window is None:
        return
    if variant.encoder != "tiny_vit":
        raise ValueError(
            f"window: {variant.name}'s encoder has absolute positions and sees whole frames only; "
            "leave the setting out."
        )
    if config.window % variant.patch_size or not 0 < config.window <= variant.image_size:
        raise ValueError(
            f"window must be a multiple of {variant.patch_size} and at most "
            f"{variant.image_size}, not {config.window}."
        )


def _use_bfloat16(config: TrainingConfig, sam: Sam) -> bool:
    if config.precision == "auto":
        return multiplies_bfloat16(sam.device)
    return config.precision == "bfloat16"
