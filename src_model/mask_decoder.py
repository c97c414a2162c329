"""From an embedding and encoded prompts to masks and their predicted IoU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import LayerNorm2d, recomputed
from .refinement import Refinement
from .transformer import BLOCK_BYTES, TwoWayTransformer, cache_parts
from .variants import Variant

__all__ = ["MaskDecoder"]

# Bytes of one image-sized activation of the prompts that are decoded together on a CPU.
_CHUNK_BYTES = 2**22


@dataclass(frozen=True)
class _Attended:
    """What the transformer leaves of B prompts, before masks are drawn.

    Parameters
    ----------
    pixels : Tensor
        (B, N, C), the image as each prompt has marked it.
    filters : Tensor
        (B, C / 8, masks), which upscaled pixels belong to each mask.
    iou : Tensor
        (B, masks) float32.
    detail : Tensor or None
        (1 or B, N, 16, C / 8), what the encoder's fine features add to the upscaled pixels.
    prompts : Tensor or None
        (1 or B, refine_dim / 2, 4 h, 4 w), the prompts drawn as finely as masks.
    """

    pixels: Tensor
    filters: Tensor
    iou: Tensor
    detail: Tensor | None
    prompts: Tensor | None

    def of(self, prompts: Tensor) -> _Attended:
        """Return only some prompts' share; (B,) bool says whose."""
        if prompts.all():
            return self
        return _Attended(
            self.pixels[prompts],
            self.filters[prompts],
            self.iou[prompts],
            None if self.detail is None else _part(self.detail, prompts),
            None if self.prompts is None else _part(self.prompts, prompts),
        )


class MaskDecoder(nn.Module):
    """Predict masks from an image embedding and prompts.

    Parameters
    ----------
    variant : Variant
        Dimensions.

    References
    ----------
    .. [1] Kirillov et al., "Segment Anything", 2023, appendix A, "Lightweight mask decoder" and
       "Making the model ambiguity-aware".
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        dim = variant.out_chans
        self.transformer_dim = dim
        self.num_multimask_outputs = variant.num_multimask_outputs
        self.num_mask_tokens = variant.num_multimask_outputs + 1
        self.transformer = TwoWayTransformer(
            variant.decoder_depth, dim, variant.decoder_heads, variant.decoder_mlp_dim
        )
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(self.num_mask_tokens, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.detail_dim = variant.detail_dim
        if self.detail_dim:
            self.detail = nn.Linear(self.detail_dim, dim // 8)
        self.refinement = Refinement(dim // 8, variant.refine_dim) if variant.refine_dim else None
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(dim, dim, dim // 8, 3) for _ in range(self.num_mask_tokens)
        )
        self.iou_prediction_head = MLP(
            dim, variant.iou_head_hidden_dim, self.num_mask_tokens, variant.iou_head_depth
        )

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,
    ) -> tuple[Tensor, Tensor]:
        """Decode B prompts.

        Parameters
        ----------
        image_embeddings : Tensor
            (1, C, h, w) for prompts on one image, or (B, C, h, w) with an image per prompt; with
            ``detail_dim`` these have 16 * detail_dim more channels.
        image_pe : Tensor
            (1, C, h, w) from ``PromptEncoder.get_dense_pe``.
        sparse_prompt_embeddings : Tensor
            (B, tokens, C).
        dense_prompt_embeddings : Tensor
            (B, C, h, w); with ``refine_dim`` these have 8 * refine_dim more channels.
        multimask_output : bool
            Three masks for an ambiguous prompt, or the single-mask token's one.

        Returns
        -------
        masks : Tensor
            float32 logits (B, masks, 4 h, 4 w).
        iou : Tensor
            float32 predicted IoU (B, masks).
        """
        return self.predict_masks(
            image_embeddings,
            image_pe,
            sparse_prompt_embeddings,
            dense_prompt_embeddings,
            wanted=slice(1, None) if multimask_output else slice(0, 1),
        )

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        wanted: slice = slice(None),
    ) -> tuple[Tensor, Tensor]:
        """Decode like :meth:`forward`, but choose the mask tokens freely: all by default.

        The single-mask token comes first, then those for ambiguous prompts.
        """
        size = image_embeddings.shape[2:]
        chunks = self._attend(
            image_embeddings, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings, wanted
        )
        drawn = [(self._draw(chunk, size), chunk.iou) for chunk in chunks]
        if len(drawn) == 1:
            return drawn[0]
        masks, iou = zip(*drawn, strict=True)
        return torch.cat(masks), torch.cat(iou)

    def predict_good_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        iou_thresh: float,
        wanted: slice = slice(1, None),
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode masks, those for ambiguous prompts by default, if their predicted IoU is high.

        The predicted IoU is known before a mask is drawn, and drawing is a good part of the work.

        Parameters
        ----------
        image_embeddings, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings : Tensor
            As for :meth:`forward`, for B prompts.
        iou_thresh : float
            Masks with a predicted IoU above it are drawn.
        wanted : slice
            Of which mask tokens; the single mask's is number 0.

        Returns
        -------
        masks : Tensor
            float32 logits (n, 4 h, 4 w).
        iou : Tensor
            float32 predicted IoU (n,).
        which : Tensor
            int64 (n, 2), ascending: the prompt that each mask belongs to, and its token's number.
        """
        size = image_embeddings.shape[2:]
        masks, ious = [], []
        for chunk in self._attend(
            image_embeddings,
            image_pe,
            sparse_prompt_embeddings,
            dense_prompt_embeddings,
            wanted,
        ):
            good = ~(chunk.iou <= iou_thresh)  # no number is above everything
            drawn = good.any(dim=1)
            masks.append(self._draw(chunk.of(drawn), size)[good[drawn]])
            ious.append(chunk.iou)
        iou = torch.cat(ious)
        good = ~(iou <= iou_thresh)
        which = torch.nonzero(good)
        which[:, 1] += range(self.num_mask_tokens)[wanted].start
        return torch.cat(masks), iou[good], which

    def _attend(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse: Tensor,
        dense: Tensor,
        wanted: slice,
    ) -> Iterator[_Attended]:
        """Run the transformer and the heads, a chunk of prompts at a time."""
        dtype = self.iou_token.weight.dtype
        image, image_pe, sparse = image_embeddings.to(dtype), image_pe.to(dtype), sparse.to(dtype)
        # Without mask prompts the dense embedding repeats one prompt's, and the image stays shared.
        if len(dense) > 1 and dense.stride(0) == 0:
            dense = dense[:1]
        image, detail = self._split(image)
        prompts = None
        if self.refinement is not None:
            dense, packed = dense.tensor_split([self.transformer_dim], dim=1)
            prompts = F.pixel_shuffle(packed.to(dtype), 4)
        image, dense = _positions(image), _positions(dense.to(dtype))
        shared = image + dense if len(image) == 1 and len(dense) == 1 else None
        image_pe = _positions(image_pe)
        projections = self.transformer.project_image(shared, image_pe)
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        masks = range(self.num_mask_tokens)[wanted]
        answers = [0, *(1 + mask for mask in masks)]  # the IoU token's, then the masks'
        for part in cache_parts(len(sparse), _CHUNK_BYTES // image[:1].nbytes, image.device):
            tokens = sparse[part]
            tokens = torch.cat([output_tokens.expand(len(tokens), -1, -1), tokens], dim=1)
            seen = shared if shared is not None else _part(image, part) + _part(dense, part)
            tokens, pixels = self.transformer(seen, projections, tokens, answers)
            filters = [
                self.output_hypernetworks_mlps[mask](tokens[:, 1 + i])
                for i, mask in enumerate(masks)
            ]
            iou = self.iou_prediction_head(tokens[:, 0])[:, wanted]
            fine = None if detail is None else _part(detail, part)
            drawn = None if prompts is None else _part(prompts, part)
            yield _Attended(pixels, torch.stack(filters, dim=2), iou.float(), fine, drawn)

    def _split(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Split embeddings into what the transformer sees and what fine features add later.

        Returns (B, C, h, w) and (B, h * w, 16, C / 8), or None without fine features. The 16 are in
        the order of :meth:`_upscale`.
        """
        if not self.detail_dim:
            return image, None
        image, packed = image.split([self.transformer_dim, 16 * self.detail_dim], dim=1)
        fine = packed.unflatten(1, (self.detail_dim, 2, 2, 2, 2)).flatten(6)
        return image, self.detail(fine.permute(0, 6, 2, 4, 3, 5, 1).flatten(2, 5))

    def _draw(self, attended: _Attended, size: tuple[int, ...]) -> Tensor:
        """Upscale the pixels four times on a side and apply the filters.

        Returns float32 logits (B, masks, 4 h, 4 w); ``size`` is (h, w).
        """
        filters = attended.filters
        if self.refinement is None:
            return _in_image_order(self._upscale(attended, filters), size).float()
        assert attended.prompts is not None  # they are drawn for the refinement
        pixels = _in_image_order(self._upscale(attended), size, channels_last=True)
        pixels = recomputed(self.refinement, pixels, attended.prompts)
        height, width = pixels.shape[2:]
        masks = pixels.permute(0, 2, 3, 1).flatten(1, 2) @ filters
        return masks.transpose(1, 2).float().unflatten(2, (height, width))

    def _upscale(self, attended: _Attended, filters: Tensor | None = None) -> Tensor:
        """Upscale pixels, add the fine features, and apply ``filters`` (B, C / 8, masks) if given.

        A transposed convolution whose kernel equals its stride is a matrix product per position.
        Channels therefore stay last throughout, and only what is finished is brought into image
        order: the result is (B, N * 16, masks or C / 8), each position's 2x2 pixels and then
        theirs.
        """
        first, norm, _, second, _ = self.output_upscaling
        assert isinstance(norm, LayerNorm2d)  # for the type checker
        positions, detail = attended.pixels, attended.detail
        rows = BLOCK_BYTES // max(1, positions[:, :1].nbytes)
        blocks = []
        for part in cache_parts(positions.shape[1], rows, positions.device):
            pixels = _upsample_channels_last(positions[:, part], first)
            pixels = F.gelu(norm.channels_last(pixels)).flatten(1, 2)
            pixels = _upsample_channels_last(pixels, second).flatten(1, 2)
            if detail is not None:
                pixels = pixels + detail[:, part].flatten(1, 2)
            pixels = F.gelu(pixels)
            blocks.append(pixels if filters is None else pixels @ filters)
        return torch.cat(blocks, dim=1) if len(blocks) > 1 else blocks[0]


def _in_image_order(pixels: Tensor, size: tuple[int, ...], channels_last: bool = False) -> Tensor:
    """Turn (B, h * w * 16, C) of :meth:`MaskDecoder._upscale` into (B, C, 4 h, 4 w).

    Convolutions want channels last in memory, and so do copies of many channels.
    """
    height, width = size
    pixels = pixels.view(len(pixels), height, width, 2, 2, 2, 2, pixels.shape[2])
    if channels_last:
        rows = pixels.permute(0, 1, 3, 5, 2, 4, 6, 7)
        rows = rows.reshape(len(rows), 4 * height, 4 * width, rows.shape[7])
        return rows.permute(0, 3, 1, 2)
    pixels = pixels.permute(0, 7, 1, 3, 5, 2, 4, 6)
    return pixels.reshape(*pixels.shape[:2], 4 * height, 4 * width)


def _positions(image: Tensor) -> Tensor:
    """Turn (B, C, h, w) into (B, h * w, C)."""
    return image.flatten(2).transpose(1, 2).contiguous()


def _part(x: Tensor, part: slice | Tensor) -> Tensor:
    """Take some prompts' share of what all prompts share, or not."""
    return x if len(x) == 1 else x[part]


def _upsample_channels_last(x: Tensor, conv: nn.Module) -> Tensor:
    """Apply a 2x2, stride 2 transposed convolution to (B, N, C); returns (B, N, 4, C')."""
    assert isinstance(conv, nn.ConvTranspose2d)  # for the type checker
    assert conv.bias is not None
    weight = conv.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (4 * C', C)
    return F.linear(x, weight, conv.bias.repeat(4)).unflatten(2, (4, -1))


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int, num_layers: int) -> None:
        super().__init__()
        dims = [input_dim, *[hidden_dim] * (num_layers - 1), output_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(dims))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., input_dim) to (..., output_dim)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)
