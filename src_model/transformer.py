"""The two-way transformer: prompt tokens and image positions attend to each other.

Cross-attention is written so that nothing of the image's size is computed twice:

* While all prompts of a batch still see the same image (the first layer, no mask prompts), keys,
  values and queries of the image are computed once for the whole batch.
* Afterwards every prompt has an image of its own, but only a handful of tokens. Projecting a token
  through the image's weight matrix, ``(q W) . x`` instead of ``q . (W x)``, gives the same logits
  for less than half the work and without copies of the image's size. The biases of keys vanish in
  the softmax and those of values pass through it, because its weights sum to one.
* The position part of keys and queries depends on the weights alone and is shared by all prompts.

What prompts share is computed once, by :meth:`TwoWayTransformer.project_image`, however many
batches of prompts then follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import MLPBlock

__all__ = [
    "Attention",
    "ImageProjection",
    "TwoWayAttentionBlock",
    "TwoWayTransformer",
    "cache_parts",
]

# Bytes of a block of positions that several steps take in turn: it stays in a core's cache.
BLOCK_BYTES = 2**20


def cache_parts(total: int, size: int, device: torch.device) -> Iterator[slice]:
    """Cut 0..``total`` into parts of ``size`` where that helps: on a CPU without gradients.

    What one step writes is then still in cache when the next one reads it. Elsewhere all is one
    part.

    Examples
    --------
    >>> with torch.no_grad():
    ...     list(cache_parts(5, 2, torch.device("cpu")))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    if torch.is_grad_enabled() or device.type != "cpu":
        size = total
    size = max(1, size)
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


@dataclass(frozen=True)
class ImageProjection:
    """What one layer's cross-attention computes from the image alone, per head.

    While prompts share the image (``values`` is given), it is of the image; otherwise ``keys`` and
    ``queries`` are of its positions only.

    Parameters
    ----------
    keys : Tensor
        (heads, N, head_dim), for tokens that look at the image.
    values : Tensor or None
        (heads, N, head_dim), likewise.
    queries : Tensor or None
        (heads, head_dim, N), for positions that look at tokens; the last attention has none.
    """

    keys: Tensor
    values: Tensor | None = None
    queries: Tensor | None = None


class TwoWayTransformer(nn.Module):
    """Layers of two-way attention, then a last attention from the tokens to the image.

    Parameters
    ----------
    depth, embedding_dim, num_heads, mlp_dim : int
        Layers, width, heads, and width of the token MLPs.

    References
    ----------
    .. [1] Kirillov et al., "Segment Anything", 2023, appendix A, "Lightweight mask decoder".
    """

    def __init__(self, depth: int, embedding_dim: int, num_heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(embedding_dim, num_heads, mlp_dim, skip_first_layer_pe=i == 0)
            for i in range(depth)
        )
        self.final_attn_token_to_image = CrossAttention(embedding_dim, num_heads)
        self.norm_final_attn = nn.LayerNorm(embedding_dim)

    def project_image(self, image: Tensor | None, image_pe: Tensor) -> list[ImageProjection]:
        """Compute what all prompts share, for each layer and the last attention.

        ``image`` (1, N, C) is given when all prompts share it; ``image_pe``, the encoding of its
        positions, is (1, N, C).
        """
        pe = image_pe[0]
        shared = None if image is None else image[0]
        projections = []
        for layer in self.layers:
            assert isinstance(layer, TwoWayAttentionBlock)  # for the type checker
            projections.append(layer.project_image(shared, pe))
            shared = None  # after its first layer every prompt has an image of its own
        last = self.final_attn_token_to_image
        return [*projections, ImageProjection(last.image_heads(pe, last.k_proj))]

    def forward(
        self,
        image: Tensor,
        projections: list[ImageProjection],
        tokens: Tensor,
        wanted: Sequence[int],
    ) -> tuple[Tensor, Tensor]:
        """Let tokens and image attend to each other.

        Parameters
        ----------
        image : Tensor
            (1, N, C) when all prompts share the image, else (B, N, C), then overwritten when no
            gradients are asked for; N positions.
        projections : list of ImageProjection
            From :meth:`project_image`.
        tokens : Tensor
            (B, T, C) output and prompt tokens.
        wanted : sequence of int
            The tokens to return; only these take part in the last attention.

        Returns
        -------
        tokens : Tensor
            (B, len(wanted), C).
        image : Tensor
            (B, N, C).
        """
        queries = tokens
        for layer, projection in zip(self.layers, projections[:-1], strict=True):
            queries, image = layer(queries, image, tokens, projection)
        queries, tokens = queries[:, wanted], tokens[:, wanted]
        attended = self.final_attn_token_to_image.tokens_to_image(
            queries + tokens, image, projections[-1]
        )
        return self.norm_final_attn(queries + attended), image


class TwoWayAttentionBlock(nn.Module):
    """Four steps: tokens to tokens, tokens to image, an MLP on the tokens, image to tokens.

    The prompt's own embedding is added again to the queries (and the position to the keys) at
    every attention, so that neither forgets where it is.
    """

    def __init__(
        self, embedding_dim: int, num_heads: int, mlp_dim: int, skip_first_layer_pe: bool
    ) -> None:
        super().__init__()
        self.self_attn = Attention(embedding_dim, num_heads)
        self.norm1 = nn.LayerNorm(embedding_dim)
        self.cross_attn_token_to_image = CrossAttention(embedding_dim, num_heads)
        self.norm2 = nn.LayerNorm(embedding_dim)
        self.mlp = MLPBlock(embedding_dim, mlp_dim, nn.ReLU)
        self.norm3 = nn.LayerNorm(embedding_dim)
        self.norm4 = nn.LayerNorm(embedding_dim)
        self.cross_attn_image_to_token = CrossAttention(embedding_dim, num_heads)
        self.skip_first_layer_pe = skip_first_layer_pe

    def project_image(self, image: Tensor | None, image_pe: Tensor) -> ImageProjection:
        """Compute what all prompts share: of the image (N, C) if they share it, and positions."""
        to_image, to_token = self.cross_attn_token_to_image, self.cross_attn_image_to_token
        placed = image_pe if image is None else image + image_pe
        return ImageProjection(
            keys=to_image.image_heads(placed, to_image.k_proj),
            values=None if image is None else to_image.image_heads(image, to_image.v_proj),
            queries=to_token.image_heads(placed, to_token.q_proj, to_token.q_proj.bias)
            .transpose(1, 2)
            .contiguous(),
        )

    def forward(
        self, queries: Tensor, image: Tensor, tokens: Tensor, projection: ImageProjection
    ) -> tuple[Tensor, Tensor]:
        """Return updated ``queries`` (B, T, C) and ``image`` (B, N, C); see the transformer."""
        if self.skip_first_layer_pe:
            queries = self.self_attn(queries, queries, queries)
        else:
            placed = queries + tokens
            queries = queries + self.self_attn(placed, placed, queries)
        queries = self.norm1(queries)
        queries = queries + self.cross_attn_token_to_image.tokens_to_image(
            queries + tokens, image, projection
        )
        queries = self.norm2(queries)
        queries = self.norm3(queries + self.mlp(queries))
        image = self.cross_attn_image_to_token.image_to_tokens(
            image, projection, queries + tokens, queries
        )
        return queries, _normalise(image, self.norm4)


class Attention(nn.Module):
    """Multi-head attention with separate projections.

    Parameters
    ----------
    embedding_dim : int
        Width of inputs and output.
    num_heads : int
        Number of heads.
    downsample_rate : int
        How many times narrower the attention is inside.
    """

    def __init__(self, embedding_dim: int, num_heads: int, downsample_rate: int = 1) -> None:
        super().__init__()
        internal_dim = embedding_dim // downsample_rate
        self.num_heads = num_heads
        self.q_proj = nn.Linear(embedding_dim, internal_dim)
        self.k_proj = nn.Linear(embedding_dim, internal_dim)
        self.v_proj = nn.Linear(embedding_dim, internal_dim)
        self.out_proj = nn.Linear(internal_dim, embedding_dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from ``q`` (B, T, C) to ``k``, ``v`` (B, S, C); returns (B, T, C)."""
        out = F.scaled_dot_product_attention(
            self._heads(self.q_proj(q)), self._heads(self.k_proj(k)), self._heads(self.v_proj(v))
        )
        return self.out_proj(out.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        """Split (B, T, internal) into (B, heads, T, head_dim)."""
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class CrossAttention(Attention):
    """Attention between a few tokens (B, T, C) and an image (1 or B, N, C), at half the width."""

    def __init__(self, embedding_dim: int, num_heads: int) -> None:
        super().__init__(embedding_dim, num_heads, downsample_rate=2)
        self.scale = (embedding_dim // 2 // num_heads) ** -0.5

    def tokens_to_image(self, tokens: Tensor, image: Tensor, projection: ImageProjection) -> Tensor:
        """Attend from ``tokens`` (B, T, C) to the image and its positions; returns (B, T, C)."""
        q = self._heads(self.q_proj(tokens)) * self.scale  # (B, heads, T, head_dim)
        logits = self._against_shared(q, projection.keys.transpose(1, 2))
        if projection.values is not None:
            out = self._against_shared(logits.softmax(dim=-1), projection.values)
        else:
            q = self._through_weight(q, self.k_proj)
            logits = _against_own(q, image.transpose(1, 2), logits)
            out = _against_own(logits.softmax(dim=-1), image)  # (B, heads, T, C)
            out = torch.einsum("bhtc,hdc->bhtd", out, self._head_weights(self.v_proj))
        out = out.transpose(1, 2).flatten(2) + self.v_proj.bias
        return self.out_proj(out)

    def image_to_tokens(
        self, image: Tensor, projection: ImageProjection, tokens: Tensor, values: Tensor
    ) -> Tensor:
        """Add to ``image`` what its positions find among the tokens; returns (B, N, C).

        Keys are ``tokens``, values ``values``, both (B, T, C). Without gradients, an image that
        prompts do not share is overwritten.
        """
        assert projection.queries is not None  # for the type checker
        k = self._heads(self.k_proj(tokens)) * self.scale
        v = self._heads(self.v_proj(values))
        logits = self._against_shared(k, projection.queries)  # (B, heads, T, N)
        if projection.values is None:
            logits = _against_own(
                self._through_weight(k, self.q_proj), image.transpose(1, 2), logits
            )
        weights = logits.softmax(dim=2).flatten(1, 2)  # (B, heads * T, N)
        out_weights = self.out_proj.weight.unflatten(1, (self.num_heads, -1))
        v = torch.einsum("bhtd,chd->bhtc", v, out_weights).flatten(1, 2)
        # Each head's weights sum to one, so this share adds the output's bias to every position.
        v = v + self.out_proj.bias / self.num_heads
        weights = weights.transpose(1, 2)
        if projection.values is None and not torch.is_grad_enabled():
            return image.baddbmm_(weights, v)
        return torch.baddbmm(image.expand(len(v), -1, -1), weights, v)

    def image_heads(
        self, image: Tensor, projection: nn.Linear, bias: Tensor | None = None
    ) -> Tensor:
        """Project (N, C), without the projection's bias, and split it: (heads, N, head_dim)."""
        projected = F.linear(image, projection.weight, bias)
        return projected.unflatten(1, (self.num_heads, -1)).transpose(0, 1).contiguous()

    def _head_weights(self, projection: nn.Linear) -> Tensor:
        """Return the projection's weight per head, (heads, head_dim, C)."""
        return projection.weight.unflatten(0, (self.num_heads, -1))

    def _through_weight(self, x: Tensor, projection: nn.Linear) -> Tensor:
        """Map (B, heads, T, head_dim) to (B, heads, T, C) through the image's weights."""
        return torch.einsum("bhtd,hdc->bhtc", x, self._head_weights(projection))

    @staticmethod
    def _against_shared(x: Tensor, shared: Tensor) -> Tensor:
        """Multiply (B, heads, T, K) by (heads, K, M), one product per head for the whole batch."""
        batch, _, tokens, _ = x.shape
        out = torch.bmm(x.transpose(0, 1).flatten(1, 2), shared)
        return out.unflatten(1, (batch, tokens)).transpose(0, 1)


def _normalise(image: Tensor, norm: nn.Module) -> Tensor:
    """Normalise (B, N, C), on a CPU without gradients in place."""
    if torch.is_grad_enabled() or image.device.type != "cpu":
        return norm(image)
    rows = image.view(-1, image.shape[2])
    for part in cache_parts(len(rows), BLOCK_BYTES // rows[:1].nbytes, image.device):
        rows[part] = norm(rows[part])
    return image


def _against_own(x: Tensor, own: Tensor, addend: Tensor | None = None) -> Tensor:
    """Multiply (B, heads, T, K) by (B, K, M), one product per prompt, and add it to ``addend``."""
    flat = x.flatten(1, 2)
    out = torch.bmm(flat, own) if addend is None else addend.flatten(1, 2).baddbmm_(flat, own)
    return out.unflatten(1, x.shape[1:3])
