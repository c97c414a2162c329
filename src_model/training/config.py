"""Everything that decides how a training run goes, in one flat dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from .augment import Augmentation
from .interactive import Interaction

__all__ = ["TrainingConfig", "checked_values"]

Method = Literal["full", "decoder", "lora"]


@dataclass(frozen=True)
class TrainingConfig:
    """How to train; the defaults suit fine-tuning on some dozens of images.

    Parameters
    ----------
    method : {"full", "decoder", "lora"}
        Train everything; prompt encoder and mask decoder on embeddings computed once; or low-rank
        additions to the attention.
    start : {"base", "random"}
        Go on from the base model's weights, or take its architecture alone.
    steps : int
        Steps of the optimiser.
    batch, accumulate : int
        Images encoded together, and how many such batches make one step.
    window : int or None
        Side in frame pixels of the part of the frame shown to the encoder, so that a step costs
        less while objects keep the size they will have. Only encoders without absolute positions
        (``tiny_vit``) can; the last ``WHOLE_SHARE`` of the steps sees whole frames. None for whole
        frames throughout.
    error_points, box_share, objects, chunk, local
        See :class:`~src_model.training.interactive.Interaction`.
    lr, warmup, schedule, weight_decay, layer_decay, clip
        Peak learning rate; steps of linear warm-up; ``"cosine"`` or ``"step"`` (a tenth after two
        thirds of the steps and again after 96 %, the paper's places); AdamW's decay of weight
        matrices; factor of the rate per encoder layer below the last; largest gradient norm.
    drop_path : float
        Chance to skip the encoder's last block; falls linearly to 0 at the first.
    ema : float
        Decay of the moving average of the weights, which is what is evaluated and saved. 0 for
        none.
    lora_rank, lora_targets
        See :class:`~src_model.training.lora.LoraConfig`; used by ``method="lora"``.
    auxiliary : float
        Weight of the dense head's loss (:mod:`~src_model.training.auxiliary`) at the start; a fifth
        of it at the end. For ``method="full"``.
    generated : float
        Share of generated scenes among the samples.
    curriculum : int
        Number of steps during which objects are shown enlarged, three times at first.
    augmentation : Augmentation
        What is varied; not used by ``method="decoder"``, whose embeddings are computed once.
    checkpointing : bool
        Recompute the encoder's blocks in the backward pass instead of keeping their activations.
    precision : {"auto", "float32", "bfloat16"}
        Of the network's weights and activations; the optimiser always works in float32.
    seed, workers : int
        Of all randomness; processes that prepare samples.

    Raises
    ------
    ValueError
        If a value is out of range; the sentence names it.

    References
    ----------
    .. [1] Kirillov et al., "Segment Anything", 2023, appendix A, "Training recipe".
    """

    method: Method = "full"
    start: Literal["base", "random"] = "base"
    steps: int = 1000
    batch: int = 2
    accumulate: int = 1
    window: int | None = None
    error_points: int = 8
    box_share: float = 0.5
    objects: int = 32
    chunk: int | None = None
    local: float = 0.75
    lr: float = 2e-4
    warmup: int = 50
    schedule: Literal["cosine", "step"] = "cosine"
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    clip: float = 1.0
    drop_path: float = 0.0
    ema: float = 0.998
    lora_rank: int = 8
    lora_targets: tuple[str, ...] = ("encoder.qkv", "decoder.q_proj", "decoder.v_proj")
    auxiliary: float = 0.0
    generated: float = 0.0
    curriculum: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    checkpointing: bool = False
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "objects", "lora_rank"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"chunk must be at least 1, not {self.chunk}.")
        for name in ("warmup", "curriculum", "workers", "seed", "error_points", "auxiliary"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}.")
        for name in ("box_share", "local", "generated", "drop_path", "ema"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {getattr(self, name)}.")
        for name in ("lr", "clip", "layer_decay"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}.")
        if self.ema == 1:
            raise ValueError("ema 1 would never learn: choose 0 (none) or e.g. 0.998.")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}."
                )
        if self.method == "decoder" and self.generated:
            raise ValueError("generated scenes cannot be embedded once: use method: full or lora.")
        if self.start == "random" and self.method != "full":
            raise ValueError(f"start: random needs method: full, not {self.method}.")
        object.__setattr__(self, "lora_targets", tuple(self.lora_targets))

    def interaction(self, device: str) -> Interaction:
        """How prompts are simulated on a type of device ("cpu", "cuda")."""
        # A CPU is fastest where one step's results are still in cache for the next; a GPU, where
        # there is much to do at once.
        chunk = self.chunk or (4 if device == "cpu" else 32)
        return Interaction(self.error_points, self.box_share, self.objects, chunk, self.local)

    def to_dict(self) -> dict[str, Any]:
        """Return a dict of plain values, from which :meth:`from_dict` makes the same config."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """Make a config from a mapping, as read from a file.

        Raises
        ------
        ValueError
            If a name is unknown, a value has the wrong type or is out of range.

        Examples
        --------
        >>> TrainingConfig.from_dict({"steps": 10}).steps
        10
        >>> TrainingConfig.from_dict({"stepz": 10})
        Traceback (most recent call last):
        ...
        ValueError: Unknown setting 'stepz': did you mean 'steps'?
        """
        values = dict(values)
        augmentation = values.pop("augmentation", {})
        known = checked_values(cls, values)
        if not isinstance(augmentation, Augmentation):
            if not isinstance(augmentation, Mapping):
                raise ValueError("augmentation must be a mapping of its settings.")
            augmentation = Augmentation(**checked_values(Augmentation, augmentation))
        return cls(**known, augmentation=augmentation)


_CHOICES = {
    "method": ("full", "decoder", "lora"),
    "start": ("base", "random"),
    "schedule": ("cosine", "step"),
    "precision": ("auto", "float32", "bfloat16"),
}


def checked_values(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values from a file, checked against a dataclass's fields.

    Raises
    ------
    ValueError
        If a name is unknown or a value has the wrong type; the sentence names it.
    """
    import difflib

    names = {f.name: f for f in fields(cls)}
    result = {}
    for name, value in values.items():
        if name not in names:
            near = difflib.get_close_matches(str(name), names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}."
            raise ValueError(f"Unknown setting {name!r}: {hint}")
        result[name] = _as_type(name, value, str(names[name].type))
    return result


def _as_type(name: str, value: Any, annotation: str) -> Any:
    """Check a value from a file against an annotation; "1e-4" is text in YAML, but a number."""
    if isinstance(value, list):
        return tuple(value)
    if annotation == "float" and not isinstance(value, bool):
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ValueError(f"{name} must be a number, not {value!r}.") from None
    if annotation == "bool" and not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {value!r}.")
    whole = annotation == "int" or (annotation == "int | None" and value is not None)
    if whole and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError(f"{name} must be a whole number, not {value!r}.")
    return value
