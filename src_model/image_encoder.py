"""The paper's image encoder: a plain ViT with windowed and global attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import BlockSequence, MLPBlock, Neck
from .variants import Variant

__all__ = ["Attention", "Block", "ImageEncoderViT", "PatchEmbed"]

# Queries handled at once where the bias is added block by block (see `_attend_in_blocks`): with
# 4,096 keys a float32 block of logits is 16 MB, near the fastest size measured.
_QUERY_BLOCK = 1024


class ImageEncoderViT(nn.Module):
    """MAE-style vision transformer with a neck.

    Most blocks attend inside windows; those in ``variant.global_attn_indexes`` attend to the whole
    frame. All use decomposed relative positions.

    Parameters
    ----------
    variant : Variant
        Dimensions; ``variant.encoder`` is ``"vit"``.

    References
    ----------
    .. [1] Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection", 2022.
       https://arxiv.org/abs/2203.16527
    .. [2] Kirillov et al., "Segment Anything", 2023, appendix A.
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.img_size = variant.image_size
        grid = variant.grid_size
        self.patch_embed = PatchEmbed(variant.patch_size, variant.embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, variant.embed_dim))
        self.blocks = BlockSequence(
            Block(
                variant.embed_dim,
                variant.num_heads,
                variant.mlp_ratio,
                window_size=0 if i in variant.global_attn_indexes else variant.window_size,
                grid_size=grid,
            )
            for i in range(variant.depth)
        )
        self.neck = Neck(variant.embed_dim, variant.out_chans)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Encode a batch of frames.

        Parameters
        ----------
        x : Tensor
            (B, 3, image_size, image_size), normalised.

        Returns
        -------
        Tensor
            float32 (B, out_chans, image_size / patch_size, image_size / patch_size).
        """
        x = self.patch_embed(x.to(self.pos_embed.dtype)) + self.pos_embed
        x = self.blocks(x)
        return self.neck(x.permute(0, 3, 1, 2)).float()


class PatchEmbed(nn.Module):
    """Cut the frame into patches and project each to a vector."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, H / patch, W / patch, embed_dim)."""
        return self.proj(x).permute(0, 2, 3, 1)


class Block(nn.Module):
    """Transformer block: attention inside windows (or over everything), then an MLP.

    Parameters
    ----------
    dim, num_heads, mlp_ratio
        Width, heads, and MLP width relative to ``dim``.
    window_size : int
        Side of a window in patches; 0 attends to the whole grid.
    grid_size : int
        Side of the whole grid in patches.
    """

    def __init__(
        self, dim: int, num_heads: int, mlp_ratio: float, window_size: int, grid_size: int
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads, window_size or grid_size)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLPBlock(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, dim) to the same shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    """Multi-head attention in square windows with decomposed relative positions.

    The logit of a query at (row, col) for a key at (row', col') is
    ``q . k / sqrt(d) + q . rel_pos_h[row - row'] + q . rel_pos_w[col - col']``.

    Parameters
    ----------
    dim : int
        Width of the input and output.
    num_heads : int
        Number of heads.
    size : int
        Side of a window in patches; that of the whole grid for global attention.
    """

    def __init__(self, dim: int, num_heads: int, size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.size = size
        head_dim = dim // num_heads
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size - 1, head_dim))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size - 1, head_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, dim) to the same shape."""
        windows = window_partition(x, self.size)
        qkv = self.qkv(windows).flatten(1, 2).unflatten(2, (3, self.num_heads, -1))
        # Each (windows, heads, size * size, head_dim).
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        out = self.attend(q, k, v)
        out = out.transpose(1, 2).reshape(windows.shape)
        return self.proj(window_unpartition(out, self.size, x.shape[1:3]))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend in the way that suits device and precision; all are (B, heads, N, head_dim).

        Whoever exports the module may set another function in its place on an instance.
        """
        bias_h, bias_w = self._position_bias(q)
        # Wide heads are nearly free for the matrix units behind bfloat16 and for GPUs; for plain
        # float32 arithmetic they are not.
        blockwise = q.dtype == torch.float32 and q.device.type == "cpu"
        attend = _attend_in_blocks if blockwise else _attend_with_wide_heads
        return attend(q, k, v, bias_h, bias_w)

    def _position_bias(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return q . rel_pos for every key row and every key column.

        ``q`` is (B, heads, size * size, head_dim); both results are (B, heads, size * size, size).
        """
        places = torch.arange(self.size, device=q.device)
        offsets = places[:, None] - places[None, :] + self.size - 1
        grid = q.unflatten(2, (self.size, self.size))  # (B, heads, row, col, head_dim)
        bias_h = torch.einsum("bnhwc,hkc->bnhwk", grid, self.rel_pos_h[offsets])
        bias_w = torch.einsum("bnhwc,wkc->bnhwk", grid, self.rel_pos_w[offsets])
        return bias_h.flatten(2, 3), bias_w.flatten(2, 3)


def _attend_in_blocks(q: Tensor, k: Tensor, v: Tensor, bias_h: Tensor, bias_w: Tensor) -> Tensor:
    """Attend block by block of heads and queries, so that logits stay in cache.

    ``q, k, v`` are (B, heads, N, d), ``bias_h, bias_w`` (B, heads, N, size); the result is
    (B, heads, N, d).
    """
    shape, size = q.shape, bias_h.shape[-1]
    tokens = shape[2]
    q = (q * shape[-1] ** -0.5).flatten(0, 1)
    k = k.flatten(0, 1).transpose(1, 2)
    v, bias_h, bias_w = v.flatten(0, 1), bias_h.flatten(0, 1), bias_w.flatten(0, 1)
    heads = max(1, _QUERY_BLOCK // tokens)
    outputs = []
    for h in range(0, len(q), heads):
        rows = []
        for i in range(0, tokens, _QUERY_BLOCK):
            block = (slice(h, h + heads), slice(i, i + _QUERY_BLOCK))
            logits = torch.bmm(q[block], k[block[0]])
            grid = logits.unflatten(2, (size, size))
            grid += bias_h[block].unsqueeze(3)
            grid += bias_w[block].unsqueeze(2)
            rows.append(torch.bmm(logits.softmax(dim=-1), v[block[0]]))
        outputs.append(torch.cat(rows, dim=1))
    return torch.cat(outputs).view(shape)


def _attend_with_wide_heads(
    q: Tensor, k: Tensor, v: Tensor, bias_h: Tensor, bias_w: Tensor
) -> Tensor:
    """Attend with the bias folded into wider heads, so that no bias matrix exists at all.

    Each query carries its two bias vectors and each key the one-hot vectors of its row and column;
    their product is the bias. Shapes as in :func:`_attend_in_blocks`.
    """
    dim, size = q.shape[-1], bias_h.shape[-1]
    width = dim + 2 * size
    padded = -(-width // 8) * 8  # GPU kernels want a multiple of 8
    eye = torch.eye(size, dtype=q.dtype, device=q.device)
    position = torch.cat([eye.repeat_interleave(size, 0), eye.repeat(size, 1)], dim=1)
    position = position.expand(*k.shape[:2], -1, -1)
    q = F.pad(torch.cat([q * dim**-0.5, bias_h, bias_w], dim=-1), (0, padded - width))
    k = F.pad(torch.cat([k, position], dim=-1), (0, padded - width))
    v = F.pad(v, (0, padded - dim))
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., :dim]


def window_partition(x: Tensor, window_size: int) -> Tensor:
    """Cut (B, H, W, C) into windows (B * windows, window_size, window_size, C), zero-padded."""
    _, height, width, channels = x.shape
    x = F.pad(x, (0, 0, 0, -width % window_size, 0, -height % window_size))
    x = x.unflatten(2, (-1, window_size)).unflatten(1, (-1, window_size))
    return x.transpose(2, 3).reshape(-1, window_size, window_size, channels)


def window_unpartition(windows: Tensor, window_size: int, size: torch.Size) -> Tensor:
    """Undo :func:`window_partition`: windows back to (B, H, W, C) with ``size`` = (H, W)."""
    height, width = size
    rows, cols = -(-height // window_size), -(-width // window_size)
    x = windows.view(-1, rows, cols, window_size, window_size, windows.shape[-1])
    x = x.transpose(2, 3).reshape(-1, rows * window_size, cols * window_size, x.shape[-1])
    return x[:, :height, :width]
