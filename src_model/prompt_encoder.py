"""Points, boxes and masks as embeddings for the mask decoder."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import LayerNorm2d, recomputed
from .prompt_maps import PromptMaps
from .variants import Variant

__all__ = ["PositionEmbeddingRandom", "PromptEncoder"]


class PromptEncoder(nn.Module):
    """Encode prompts given in frame coordinates.

    Sparse prompts (points, box corners) become one vector each: the random Fourier features of the
    position plus a learned embedding of the type. A mask prompt becomes a dense embedding.

    Coordinates are always encoded in float32, whatever precision the rest of the model uses: in
    bfloat16 two points three pixels apart would be the same point.

    Parameters
    ----------
    variant : Variant
        Dimensions.

    References
    ----------
    .. [1] Kirillov et al., "Segment Anything", 2023, appendix A, "Prompt encoder".
    .. [2] Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions in Low
       Dimensional Domains", 2020. https://arxiv.org/abs/2006.10739
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        dim, hidden = variant.out_chans, variant.mask_in_chans
        self.embed_dim = dim
        self.input_image_size = (variant.image_size, variant.image_size)
        self.image_embedding_size = (variant.grid_size, variant.grid_size)
        self.mask_input_size = (variant.low_res_size, variant.low_res_size)
        self.pe_layer = PositionEmbeddingRandom(dim // 2)
        # Background point, foreground point, first and second corner of a box.
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, hidden // 4, kernel_size=2, stride=2),
            LayerNorm2d(hidden // 4),
            nn.GELU(),
            nn.Conv2d(hidden // 4, hidden, kernel_size=2, stride=2),
            LayerNorm2d(hidden),
            nn.GELU(),
            nn.Conv2d(hidden, dim, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, dim)
        self.prompt_maps = (
            PromptMaps(variant.prompt_map_dim, dim, variant.patch_size)
            if variant.prompt_map_dim
            else None
        )
        self.fine_prompts = (
            FinePrompts(variant.refine_dim, variant.patch_size // 4) if variant.refine_dim else None
        )

    def forward(
        self,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        masks: Tensor | None,
        part: tuple[range, range] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode B prompts; each may combine points, a box and a mask.

        Parameters
        ----------
        points : (Tensor, Tensor) or None
            Coordinates (B, N, 2) as (x, y) in frame pixels, and labels (B, N): 1 foreground,
            0 background, -1 padding.
        boxes : Tensor or None
            (B, 4) as (x0, y0, x1, y1) in frame pixels.
        masks : Tensor or None
            Low-resolution logits (B, 1, 4 * grid, 4 * grid).
        part : (range, range), optional
            Rows and columns of the grid that the mask prompts and the dense embedding are of, when
            only a part of an image is decoded; everything by default.

        Returns
        -------
        sparse : Tensor
            float32 (B, tokens, out_chans).
        dense : Tensor
            (B, out_chans, grid, grid), float32; with neither mask prompts nor prompt maps, a view
            in which all B share one vector. With prompt maps in the precision of the mask decoder.
            With ``refine_dim`` 8 * refine_dim more channels: the prompts drawn four times as fine.
        """
        sparse = []
        if points is not None:
            # A box brings two tokens of its own; points alone are followed by one padding token.
            sparse.append(self._embed_points(*points, pad=boxes is None))
        if boxes is not None:
            sparse.append(self._embed_boxes(boxes))
        batch = self._batch_size(points, boxes, masks)
        rows, cols = part or tuple(range(side) for side in self.image_embedding_size)
        if masks is not None:
            dense = self.mask_downscaling(masks)
        else:
            dense = self.no_mask_embed.weight.view(1, -1, 1, 1)
        if self.prompt_maps is not None and (points is not None or boxes is not None):
            dense = self.prompt_maps(dense, points, boxes, rows, cols)
        dense = dense.expand(batch, -1, len(rows), len(cols))
        if self.fine_prompts is not None:
            fine = recomputed(self.fine_prompts, points, boxes, masks, rows, cols)
            dense = torch.cat([dense, fine.to(dense.dtype).expand(batch, -1, -1, -1)], dim=1)
        if not sparse:
            return dense.new_empty(batch, 0, self.embed_dim), dense
        return torch.cat(sparse, dim=1), dense

    def get_dense_pe(self) -> Tensor:
        """Return the position of every embedding cell, float32 (1, out_chans, grid, grid)."""
        return self.pe_layer(self.image_embedding_size).unsqueeze(0)

    def _embed_points(self, coords: Tensor, labels: Tensor, pad: bool) -> Tensor:
        coords = coords + 0.5  # to the pixel's centre
        if pad:
            coords = torch.cat([coords, coords.new_zeros(len(coords), 1, 2)], dim=1)
            labels = torch.cat([labels, -labels.new_ones(len(labels), 1)], dim=1)
        labels = labels.unsqueeze(-1)
        embedding = self.pe_layer.forward_with_coords(coords, self.input_image_size)
        embedding = embedding.where(labels != -1, self.not_a_point_embed.weight)
        for label in (0, 1):
            embedding = embedding + self._type_embedding(label) * (labels == label)
        return embedding

    def _embed_boxes(self, boxes: Tensor) -> Tensor:
        corners = (boxes + 0.5).reshape(-1, 2, 2)
        embedding = self.pe_layer.forward_with_coords(corners, self.input_image_size)
        return embedding + torch.stack([self._type_embedding(2), self._type_embedding(3)], dim=1)

    def _type_embedding(self, index: int) -> Tensor:
        return cast(nn.Embedding, self.point_embeddings[index]).weight

    @staticmethod
    def _batch_size(
        points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> int:
        for prompt in (points[0] if points is not None else None, boxes, masks):
            if prompt is not None:
                return len(prompt)
        return 1


class FinePrompts(nn.Module):
    """Draw prompts at a quarter of the frame, for :class:`~src_model.refinement.Refinement`.

    Parameters
    ----------
    refine_dim : int
        Half as many channels are drawn.
    cell : int
        Side of what one position is of, in frame pixels.
    """

    def __init__(self, refine_dim: int, cell: int) -> None:
        super().__init__()
        self.maps = PromptMaps(refine_dim, refine_dim // 2, cell)
        self.mask = nn.Conv2d(1, refine_dim // 2, kernel_size=1)

    def forward(
        self,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        masks: Tensor | None,
        rows: range,
        cols: range,
    ) -> Tensor:
        """Draw the prompts of :meth:`PromptEncoder.forward` on a part of the grid.

        Returns
        -------
        Tensor
            (1 or B, 8 * refine_dim, len(rows), len(cols)): 4 x 4 of them at each position.
        """
        weight = self.mask.weight
        fine = weight.new_zeros(1, len(weight), 4 * len(rows), 4 * len(cols))
        if masks is not None:
            # How sure a mask is says little beyond a few logits.
            fine = self.mask((masks / 4).tanh().to(weight.dtype))
        if points is not None or boxes is not None:
            fine_rows, fine_cols = (range(4 * part.start, 4 * part.stop) for part in (rows, cols))
            fine = self.maps(fine, points, boxes, fine_rows, fine_cols)
        return F.pixel_unshuffle(fine, 4)


class PositionEmbeddingRandom(nn.Module):
    """Positions as sines and cosines of random projections.

    Parameters
    ----------
    num_pos_feats : int
        Number of random frequencies; the encoding has twice as many numbers.
    scale : float
        Standard deviation of the frequencies.
    """

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, num_pos_feats: int, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer(
            "positional_encoding_gaussian_matrix", scale * torch.randn(2, num_pos_feats)
        )

    def forward(self, size: tuple[int, int]) -> Tensor:
        """Return the encoding of the cell centres of a grid, (2 * num_pos_feats, h, w)."""
        h, w = size
        device = self.positional_encoding_gaussian_matrix.device
        y = (torch.arange(h, device=device) + 0.5) / h
        x = (torch.arange(w, device=device) + 0.5) / w
        grid = torch.stack([x.expand(h, w), y[:, None].expand(h, w)], dim=-1)
        return self._encode(grid).permute(2, 0, 1)

    def forward_with_coords(self, coords: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Encode ``coords`` (B, N, 2), (x, y) in pixels of an (h, w) image, as (B, N, C)."""
        h, w = image_size
        return self._encode(coords.float() / torch.tensor([w, h], device=coords.device))

    def _encode(self, coords: Tensor) -> Tensor:
        angles = 2 * math.pi * ((2 * coords - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)
