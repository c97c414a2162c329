"""Building blocks shared by the encoders, the prompt encoder and the mask decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

__all__ = ["BlockSequence", "LayerNorm2d", "MLPBlock", "Neck", "recomputed"]


def recomputed(module: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """Call a module; with gradients, keep its inputs only and compute the rest again for them.

    For what is quick to compute and large to keep. There must be nothing random in it.
    """
    if not torch.is_grad_enabled():
        return module(*inputs)
    output: Tensor = checkpoint(module, *inputs, use_reentrant=False, preserve_rng_state=False)
    return output


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of an image.

    Parameters
    ----------
    channels : int
        Number of channels.
    eps : float
        Added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (B, C, H, W) over C; same shape out."""
        return self.channels_last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def channels_last(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (..., C) over its last axis; same shape out."""
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)


class MLPBlock(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, dim: int, hidden_dim: int, activation: type[nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden_dim)
        self.lin2 = nn.Linear(hidden_dim, dim)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (..., dim) to (..., dim)."""
        return self.lin2(self.act(self.lin1(x)))


class Neck(nn.Sequential):
    """Project the encoder's last feature map to the embedding: 1x1 then 3x3 convolution.

    Input (B, in_chans, h, w), output (B, out_chans, h, w).
    """

    def __init__(self, in_chans: int, out_chans: int) -> None:
        super().__init__(
            nn.Conv2d(in_chans, out_chans, kernel_size=1, bias=False),
            LayerNorm2d(out_chans),
            nn.Conv2d(out_chans, out_chans, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(out_chans),
        )


class BlockSequence(nn.ModuleList):
    """Blocks one after another.

    With ``recompute`` set, training keeps only what goes into each block and computes the rest
    again in the backward pass: more time, far less memory.
    """

    recompute = False

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` through all blocks."""
        for block in self:
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return x
