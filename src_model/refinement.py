"""A second look at every pixel of a mask, at a quarter of the frame, with the prompts beside it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Refinement"]


class Refinement(nn.Module):
    """Let neighbouring pixels, and prompts drawn finely, have a say in what a pixel is.

    The paper's decoder upscales each position of the embedding by itself: a correction a few pixels
    wide can only be told to it through a position of 16 pixels. Two small convolutions on what was
    upscaled see the click itself, the box's edges and the mask before, and close gaps.

    Parameters
    ----------
    channels : int
        Of the upscaled pixels.
    refine_dim : int
        Width of the convolutions; half as many channels are drawn of the prompts.

    References
    ----------
    .. [1] Sofiiuk et al., "Reviving Iterative Training with Mask Guidance for Interactive
       Segmentation", 2021: clicks and the mask before as maps beside the image.
       https://arxiv.org/abs/2102.06583
    """

    def __init__(self, channels: int, refine_dim: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels + refine_dim // 2, refine_dim, kernel_size=3, padding=1)
        self.second = nn.Conv2d(refine_dim, channels, kernel_size=3, padding=2, dilation=2)
        # At first nothing changes, so that weights trained without it stay good.
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor, prompts: Tensor) -> Tensor:
        """Refine upscaled pixels.

        Parameters
        ----------
        pixels : Tensor
            (B, channels, H, W).
        prompts : Tensor
            (1 or B, refine_dim / 2, H, W), drawn by
            :class:`~src_model.prompt_encoder.FinePrompts`.

        Returns
        -------
        Tensor
            Like ``pixels``.
        """
        prompts = prompts.contiguous(memory_format=torch.channels_last)
        seen = torch.cat([pixels, prompts.expand(len(pixels), -1, -1, -1)], dim=1)
        return pixels + self.second(F.gelu(self.first(seen)))
