"""Drop path (stochastic depth): residual branches skipped at random while training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..image_encoder import Block
from ..tiny_vit import MBConv, TinyViTBlock

__all__ = ["set_drop_path"]


def set_drop_path(encoder: nn.Module, rate: float) -> None:
    """Let an image encoder skip residual branches at random while it is trained.

    The chance grows linearly from 0 at the first block to ``rate`` at the last. Each frame of a
    batch draws for itself, and the branches that stay are scaled up, so that their expectation is
    what evaluation computes. Randomness is torch's own. Nothing about weights, keys or evaluation
    changes, and a rate of 0 takes everything away again.

    Parameters
    ----------
    encoder : nn.Module
        ``sam.image_encoder``.
    rate : float
        Chance to skip a branch of the last block, at least 0 and below 1.

    Raises
    ------
    ValueError
        If the rate is out of range.

    References
    ----------
    .. [1] Huang et al., "Deep Networks with Stochastic Depth", 2016.
       https://arxiv.org/abs/1603.09382
    """
    if not 0 <= rate < 1:
        raise ValueError(f"drop_path must be at least 0 and below 1, not {rate}.")
    blocks = [m for m in encoder.modules() if isinstance(m, Block | TinyViTBlock | MBConv)]
    for index, block in enumerate(blocks):
        chance = rate * index / max(1, len(blocks) - 1)
        for branch in _branches(block):
            # Hooks instead of code in the blocks: the network stays free of what only training
            # needs.
            for key, hook in list(branch._forward_hooks.items()):
                if isinstance(hook, _DropPath):
                    del branch._forward_hooks[key]
            if chance > 0:
                branch.register_forward_hook(_DropPath(chance))


def _branches(block: nn.Module) -> tuple[nn.Module, ...]:
    """Return the modules whose output a block adds to what it was given."""
    if isinstance(block, MBConv):
        return (block.conv3,)
    assert isinstance(block, Block | TinyViTBlock)  # for the type checker
    return block.attn, block.mlp


class _DropPath:
    """Forward hook of a residual branch; a class of its own so that it is found again."""

    def __init__(self, chance: float) -> None:
        self.chance = chance

    def __call__(self, module: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
        """Zero the output (B, ...) of some frames while training; None leaves it as it is."""
        if not module.training:
            return None
        keep = 1 - self.chance
        kept = torch.rand(len(output), *[1] * (output.ndim - 1), device=output.device) < keep
        return output * (kept / keep).to(output.dtype)
