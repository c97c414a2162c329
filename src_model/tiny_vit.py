"""MobileSAM's image encoder: TinyViT, convolutional at first, then windowed attention."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .image_encoder import window_partition, window_unpartition
from .layers import BlockSequence, LayerNorm2d, Neck
from .variants import Variant

__all__ = ["TinyViT"]


class TinyViT(nn.Module):
    """Hierarchical encoder of four stages; the last three work on windows of tokens.

    The frame is reduced 4x by the stem and 2x after the first and the second stage, so the
    embedding is 1/16 of the frame on a side. ``norm_head`` and ``head`` belong to TinyViT's
    classifier: they are in the published weights and not used here.

    Parameters
    ----------
    variant : Variant
        Dimensions; ``variant.encoder`` is ``"tiny_vit"``.

    References
    ----------
    .. [1] Wu et al., "TinyViT: Fast Pretraining Distillation for Small Vision Transformers", 2022.
       https://arxiv.org/abs/2207.10666
    .. [2] Zhang et al., "Faster Segment Anything" (MobileSAM), 2023. https://arxiv.org/abs/2306.14289
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.img_size = variant.image_size
        dims = variant.stage_dims
        self.patch_embed = Stem(dims[0])
        self.layers = nn.ModuleList(
            Stage(
                [
                    MBConv(dims[i])
                    if i == 0
                    else TinyViTBlock(dims[i], variant.stage_heads[i], variant.stage_windows[i])
                    for _ in range(variant.stage_depths[i])
                ],
                PatchMerging(dims[i], dims[i + 1], stride=2 if i < 2 else 1) if i < 3 else None,
            )
            for i in range(4)
        )
        if variant.num_classes:
            self.norm_head = nn.LayerNorm(dims[-1])
            self.head = nn.Linear(dims[-1], variant.num_classes)
        self.neck = Neck(dims[-1], variant.out_chans)
        self.detail = Detail(dims, variant.detail_dim) if variant.detail_dim else None

    def forward(self, x: Tensor) -> Tensor:
        """Encode a batch of frames.

        Parameters
        ----------
        x : Tensor
            (B, 3, image_size, image_size), normalised.

        Returns
        -------
        Tensor
            float32 (B, out_chans + 16 * detail_dim, image_size / 16, image_size / 16).
        """
        x = self.patch_embed(x.to(next(self.parameters()).dtype))
        scales = []
        for stage in self.layers:
            assert isinstance(stage, Stage)  # for the type checker
            scales.append(stage.blocks(x))
            x = stage.reduce(scales[-1])
        embedding = self.neck(x)
        if self.detail is not None:
            embedding = torch.cat([embedding, self.detail(scales[0], scales[1], x)], dim=1)
        return embedding.float()


class ConvBN(nn.Sequential):
    """Convolution without bias, then batch normalisation.

    In evaluation both are one convolution: the normalisation, always kept in float32, is multiplied
    into the kernel.
    """

    c: nn.Conv2d
    bn: nn.BatchNorm2d

    def __init__(
        self, in_chans: int, out_chans: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        conv = nn.Conv2d(
            in_chans, out_chans, kernel, stride, padding=kernel // 2, groups=groups, bias=False
        )
        super().__init__(OrderedDict(c=conv, bn=nn.BatchNorm2d(out_chans)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_chans, H, W) to (B, out_chans, H / stride, W / stride)."""
        conv, bn = self.c, self.bn
        if self.training:
            return bn(conv(x))
        assert bn.running_var is not None  # for the type checker
        assert bn.running_mean is not None
        gain = bn.weight * (bn.running_var + bn.eps).rsqrt()
        weight = conv.weight * gain.view(-1, 1, 1, 1)
        bias = bn.bias - bn.running_mean * gain
        return F.conv2d(
            x, weight.to(x.dtype), bias.to(x.dtype), conv.stride, conv.padding, groups=conv.groups
        )


class Stem(nn.Module):
    """Two strided convolutions: (B, 3, H, W) to (B, dim, H / 4, W / 4)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvBN(3, dim // 2, 3, stride=2), nn.GELU(), ConvBN(dim // 2, dim, 3, stride=2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Reduce the frame four times on a side."""
        return self.seq(x)


class Stage(nn.Module):
    """Blocks, then an optional reduction to the next stage's width."""

    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = BlockSequence(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H', W')."""
        return self.reduce(self.blocks(x))

    def reduce(self, x: Tensor) -> Tensor:
        """Map what the blocks give, (B, C, H, W), to (B, C', H', W')."""
        return x if self.downsample is None else self.downsample(x)


class Detail(nn.Module):
    """Features at a quarter of the frame: the first stage's, told by later ones what they are of.

    Parameters
    ----------
    dims : tuple of int
        Widths of the encoder's stages.
    detail_dim : int
        Channels to give.

    References
    ----------
    .. [1] Lin et al., "Feature Pyramid Networks for Object Detection", 2017.
       https://arxiv.org/abs/1612.03144
    """

    def __init__(self, dims: tuple[int, ...], detail_dim: int) -> None:
        super().__init__()
        width = dims[0]
        self.fine = nn.Conv2d(width, width, kernel_size=1)
        self.middle = nn.Conv2d(dims[1], width, kernel_size=1)
        self.coarse = nn.Conv2d(dims[3], width, kernel_size=1)
        self.norm = LayerNorm2d(width)
        self.mix = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.out = nn.Conv2d(width, detail_dim, kernel_size=1)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        """Give what is to be added to an embedding's channels.

        Parameters
        ----------
        fine, middle, coarse : Tensor
            Of the first, the second and the last stage: (B, dims[0], 4 h, 4 w),
            (B, dims[1], 2 h, 2 w) and (B, dims[3], h, w).

        Returns
        -------
        Tensor
            (B, 16 * detail_dim, h, w).
        """
        x = self.middle(middle) + _twice(self.coarse(coarse))
        x = self.norm(self.fine(fine) + _twice(x))
        return F.pixel_unshuffle(self.out(F.gelu(self.mix(F.gelu(x)))), 4)


def _twice(x: Tensor) -> Tensor:
    """Repeat each pixel, (B, C, H, W) to (B, C, 2 H, 2 W)."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class MBConv(nn.Module):
    """Inverted bottleneck: widen four times, depth-wise 3x3, narrow, add."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = 4 * dim
        self.conv1 = ConvBN(dim, hidden, 1)
        self.conv2 = ConvBN(hidden, hidden, 3, groups=hidden)
        self.conv3 = ConvBN(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, dim, H, W) to the same shape."""
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(x + self.conv3(hidden))


class PatchMerging(nn.Module):
    """Widen, then a depth-wise 3x3 convolution that may halve the resolution."""

    def __init__(self, in_chans: int, out_chans: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvBN(in_chans, out_chans, 1)
        self.conv2 = ConvBN(out_chans, out_chans, 3, stride=stride, groups=out_chans)
        self.conv3 = ConvBN(out_chans, out_chans, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_chans, H, W) to (B, out_chans, H / stride, W / stride)."""
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class TinyViTBlock(nn.Module):
    """Windowed attention, a depth-wise convolution that crosses the windows, and an MLP."""

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.attn = WindowAttention(dim, num_heads, window_size)
        self.local_conv = ConvBN(dim, dim, 3, groups=dim)
        self.mlp = PreNormMLP(dim, 4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, dim, H, W) to the same shape."""
        tokens = x.permute(0, 2, 3, 1)
        tokens = tokens + self.attn(tokens)
        tokens = self.local_conv(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return (tokens + self.mlp(tokens)).permute(0, 3, 1, 2)


class WindowAttention(nn.Module):
    """Multi-head attention in square windows with a learned bias per distance.

    ``attention_biases`` holds, for each head, one number per (|row - row'|, |col - col'|).
    """

    def __init__(self, dim: int, num_heads: int, size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.size = size
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, size * size))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, dim) to the same shape."""
        windows = window_partition(x, self.size)
        qkv = self.qkv(self.norm(windows)).flatten(1, 2).unflatten(2, (self.num_heads, 3, -1))
        # Each (windows, heads, size * size, head_dim).
        q, k, v = qkv.permute(3, 0, 2, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self._bias())
        out = out.transpose(1, 2).reshape(windows.shape)
        return self.proj(window_unpartition(out, self.size, x.shape[1:3]))

    def _bias(self) -> Tensor:
        """Return the bias of every pair of positions, (1, heads, size * size, size * size)."""
        position = torch.arange(self.size, device=self.attention_biases.device)
        distance = (position[:, None] - position[None, :]).abs()
        index = distance[:, None, :, None] * self.size + distance[None, :, None, :]
        return self.attention_biases[:, index.flatten(2).flatten(0, 1)][None]


class PreNormMLP(nn.Module):
    """Layer normalisation, then two linear layers with GELU between them."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to (..., dim)."""
        return self.fc2(F.gelu(self.fc1(self.norm(x))))
