"""A start from random weights from which the decoder listens to its prompt early."""

from __future__ import annotations

import torch

from ..sam import Sam, build_sam
from ..transformer import CrossAttention

__all__ = ["attend_to_positions", "forget_weights"]


def forget_weights(sam: Sam) -> None:
    """Replace all weights, and all statistics, by those of a new network of the same variant."""
    sam.load_state_dict(build_sam(sam.variant).state_dict())


def attend_to_positions(sam: Sam) -> None:
    """Let cross-attention begin by looking where the prompt is.

    Keys and queries start with the same projection, so that their product is the similarity of
    positions, and what the prompt's type adds starts small beside its position. From independent
    random projections the decoder needs hundreds of steps to notice the prompt.
    """
    with torch.no_grad():
        for parameter in sam.prompt_encoder.point_embeddings.parameters():
            parameter.mul_(0.1)
        sam.prompt_encoder.no_mask_embed.weight.mul_(0.1)
        for module in sam.mask_decoder.modules():
            if isinstance(module, CrossAttention):
                # Sharpened: products of independent projections would all be about equal.
                module.q_proj.weight.mul_(2.5)
                module.k_proj.weight.copy_(module.q_proj.weight)
