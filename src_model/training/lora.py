"""Low-rank adapters (LoRA): fine-tune the attention with a few thousandths of the weights.

A layer's weight becomes ``W + alpha / rank * B A`` with a small ``A`` (rank, in) and ``B`` (out,
rank); only these are trained. The sum is a parametrisation of ``layer.weight``, because our decoder
reads weights directly instead of calling its projections.

References
----------
.. [1] Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021.
   https://arxiv.org/abs/2106.09685
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .. import image_encoder, tiny_vit, transformer
from ..sam import Sam, build_sam

__all__ = [
    "LoraConfig",
    "LowRank",
    "add_lora",
    "base_model",
    "hold_batch_norm",
    "lora_layers",
    "lora_parameters",
    "merge_lora",
]


@dataclass(frozen=True)
class LoraConfig:
    """Which layers get adapters, and how large.

    Parameters
    ----------
    rank : int
        Rank of each update.
    alpha : float
        The update is scaled by ``alpha / rank``.
    targets : tuple of str
        ``"encoder.qkv"`` (one update for queries, keys and values together), ``"encoder.q"``,
        ``"encoder.k"``, ``"encoder.v"`` (one for each part of the fused layer),
        ``"encoder.proj"``; ``"decoder.q_proj"``, ``"decoder.k_proj"``, ``"decoder.v_proj"``,
        ``"decoder.out_proj"``; or names of linear layers such as
        ``"image_encoder.blocks.3.mlp.lin1"``. ``*``, ``?`` and ``[...]`` match as in file names,
        dots included: ``"image_encoder.*.mlp.*"``.

    Raises
    ------
    ValueError
        If a number is out of range or there are no targets.

    Examples
    --------
    >>> LoraConfig(rank=4).targets
    ('encoder.q', 'encoder.v', 'decoder.q_proj', 'decoder.v_proj')
    """

    rank: int = 8
    alpha: float = 8.0
    targets: tuple[str, ...] = ("encoder.q", "encoder.v", "decoder.q_proj", "decoder.v_proj")

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(self.targets))
        if self.rank < 1 or not self.alpha > 0:
            raise ValueError(
                f"LoRA needs a rank of at least 1 and a positive alpha, not {self.rank} and "
                f"{self.alpha}."
            )
        if not self.targets:
            raise ValueError("LoRA needs at least one target, for instance 'encoder.qkv'.")


class LowRank(nn.Module):
    """Add a low-rank update to a weight, or to some of its rows.

    It begins as no change at all: ``lora_a`` is random and ``lora_b`` zero. Both are float32
    whatever the weight's precision.

    Parameters
    ----------
    weight : Tensor
        (out, in), the weight to be adapted.
    config : LoraConfig
        Rank and scale.
    part : {"weight", "q", "k", "v"}
        What of the weight is adapted.
    rows : Tensor or None
        int64, the rows of that part; None for all.
    """

    rows: Tensor | None

    def __init__(self, weight: Tensor, config: LoraConfig, part: str, rows: Tensor | None) -> None:
        super().__init__()
        self.config = config
        self.part = part
        out_features = len(weight) if rows is None else len(rows)
        a = torch.empty(config.rank, weight.shape[1], device=weight.device)
        self.lora_a = nn.Parameter(nn.init.normal_(a, std=weight.shape[1] ** -0.5))
        self.lora_b = nn.Parameter(torch.zeros(out_features, config.rank, device=weight.device))
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the adapted weight, of the same shape and precision."""
        scale = self.config.alpha / self.config.rank
        update = (scale * (self.lora_b @ self.lora_a)).to(weight.dtype)
        return weight + update if self.rows is None else weight.index_add(0, self.rows, update)


def add_lora(sam: Sam, config: LoraConfig) -> None:
    """Adapt a model's layers in place and freeze everything else.

    The model computes what it did before until it is trained. Set its precision first if it is to
    train in bfloat16: the adapters then stay in float32.

    Parameters
    ----------
    sam : Sam
        Changed in place. Adapters are initialised from torch's own random numbers. Everything but
        the adapters has ``requires_grad = False`` afterwards. Batch normalisation is no parameter:
        see :func:`hold_batch_norm`.
    config : LoraConfig
        Which layers, and how.

    Raises
    ------
    ValueError
        If the model already has adapters, or a target matches no layer of it.

    Examples
    --------
    >>> sam = build_sam("vit_nano")
    >>> add_lora(sam, LoraConfig(rank=4))
    >>> sum(p.numel() for p in lora_parameters(sam)) < 0.02 * sum(
    ...     p.numel() for p in sam.parameters())
    True
    """
    if any(lora_layers(sam)):
        raise ValueError("This model already has LoRA adapters: merge them before adding others.")
    chosen = _choose_layers(sam, config.targets)
    sam.requires_grad_(False)
    for linear, part in chosen:
        rows = None if part is None else part[1].to(linear.weight.device)
        low_rank = LowRank(linear.weight, config, part[0] if part else "weight", rows)
        parametrize.register_parametrization(linear, "weight", low_rank)


def lora_layers(sam: Sam) -> Iterator[tuple[str, nn.Linear, list[LowRank]]]:
    """Yield the adapted layers: name in the model, layer, its adapters."""
    for name, module in sam.named_modules():
        if isinstance(module, nn.Linear) and parametrize.is_parametrized(module, "weight"):
            parts = module.parametrizations["weight"]  # type: ignore[index]
            yield name, module, [part for part in parts if isinstance(part, LowRank)]


def lora_parameters(sam: Sam) -> list[nn.Parameter]:
    """Return the parameters of all adapters; empty for a model without."""
    return [
        p for _, _, adapters in lora_layers(sam) for part in adapters for p in part.parameters()
    ]


def merge_lora(sam: Sam) -> None:
    """Add the adapters' updates to the weights and remove them: a plain model again, in place.

    Keys and their order are those of the unadapted model, and all weights require gradients as in
    one newly built. In bfloat16 the sums are rounded; merge in float32 before saving.
    """
    for _, linear, _ in list(lora_layers(sam)):
        parametrize.remove_parametrizations(linear, "weight", leave_parametrized=True)
        bias = linear.bias
        del linear.bias  # the weight came back at the end; now the bias follows it again
        linear.bias = bias
    sam.requires_grad_(True)


def base_model(sam: Sam) -> Sam:
    """Return the model without its adapters; the weights are shared, not copied.

    Parameters
    ----------
    sam : Sam
        With or without adapters; it stays as it is.

    Returns
    -------
    Sam
        In evaluation mode, with the official keys.
    """
    state = {
        key.replace("parametrizations.weight.original", "weight"): tensor
        for key, tensor in sam.state_dict().items()
        if not key.endswith((".lora_a", ".lora_b"))
    }
    with torch.device("meta"):
        base = build_sam(sam.variant)
    base.load_state_dict(state, assign=True)
    base.pixel_mean, base.pixel_std = sam.pixel_mean, sam.pixel_std  # in no state dict
    return base


def hold_batch_norm(module: nn.Module) -> None:
    """Put batch normalisation into evaluation mode, so that training leaves its statistics alone.

    Needed after every ``sam.train()`` while only adapters are trained: they change if the base
    does, and an adapter file does not hold them.
    """
    for part in module.modules():
        if isinstance(part, tiny_vit.ConvBN):
            part.eval()


_Part = tuple[str, Tensor]


def _choose_layers(sam: Sam, targets: tuple[str, ...]) -> list[tuple[nn.Linear, _Part | None]]:
    """Return layers to adapt, each as a whole (None) or by a part's name and rows."""
    chosen: list[tuple[nn.Linear, _Part | None]] = []
    unmatched = set(targets)
    known: dict[str, None] = {}
    for name, layer in sam.named_modules():
        # TinyViT's classifier is in the weights, but computes nothing here.
        if not isinstance(layer, nn.Linear) or name == "image_encoder.head":
            continue
        parent = sam.get_submodule(name.rpartition(".")[0])
        alias = _alias(parent, name)
        parts = _parts_of_qkv(parent, layer) if alias == "encoder.qkv" else {}
        known |= dict.fromkeys([*([alias] if alias else []), *(f"encoder.{p}" for p in parts)])
        whole = {t for t in targets if fnmatchcase(name, t) or (alias and fnmatchcase(alias, t))}
        unmatched -= whole
        if whole:
            chosen.append((layer, None))
        for part in parts.items():
            matching = {t for t in targets if fnmatchcase(f"encoder.{part[0]}", t)}
            unmatched -= matching
            if matching and not whole:
                chosen.append((layer, part))
    if unmatched:
        raise ValueError(
            f"The LoRA target {min(unmatched)!r} matches no linear layer of {sam.variant.name}: "
            f"choose from {', '.join(known)}, or a pattern such as 'image_encoder.*.mlp.*'."
        )
    return chosen


def _alias(parent: nn.Module, name: str) -> str | None:
    """Return an attention layer's short name."""
    last = name.rpartition(".")[2]
    if isinstance(parent, image_encoder.Attention | tiny_vit.WindowAttention):
        return f"encoder.{last}"
    return f"decoder.{last}" if isinstance(parent, transformer.Attention) else None


def _parts_of_qkv(attention: nn.Module, qkv: nn.Linear) -> dict[str, Tensor]:
    """Return the rows of queries, keys and values in a fused layer."""
    rows = torch.arange(qkv.out_features)
    if isinstance(attention, tiny_vit.WindowAttention):
        parts = rows.view(attention.num_heads, 3, -1).transpose(0, 1)  # head by head
    else:
        parts = rows.view(3, -1)
    return {name: part.flatten() for name, part in zip("qkv", parts, strict=True)}
