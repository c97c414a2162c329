"""Points and boxes drawn onto the grid of the embedding."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from .transformer import cache_parts

__all__ = ["PromptMaps"]

# All distances are in cells of the grid. Near an edge or a point they are told apart finely (a cell
# holds 4 x 4 low-resolution pixels), beyond this they are all the same.
_EDGE_REACH, _POINT_REACH = 2.0, 4.0
# Widths of the spots drawn around points, in cells.
_SPOTS = (0.5, 1.5, 4.0)
_POINT_FEATURES = 2 + len(_SPOTS)
_BOX_FEATURES = 10

# What is drawn has to be as loud as the image it is drawn on, which small weights learn sooner.
_GAIN = 8.0

# Cells that are drawn together on a CPU.
_CHUNK_CELLS = 2**14


class PromptMaps(nn.Module):
    """Tell every cell of the embedding where it lies relative to the prompts.

    A sparse prompt token says where a point or corner is in the whole frame, and a small model
    that has to find out by attention which pixels are inside of a box loses objects of a few
    cells. So the prompt is also drawn: each cell gets its distances to the edges of the box and to
    the nearest foreground and background point, and a small network makes them an embedding that
    is added to the dense one.

    Parameters
    ----------
    hidden : int
        Width of the network.
    dim : int
        Width of the embedding.
    cell : int
        Side of a cell in frame pixels.

    References
    ----------
    .. [1] Liu et al., "Rethinking Interactive Image Segmentation with Low Latency, High Quality,
       and Diverse Prompts", 2024, section 3.2: prompts as maps beside the image's embedding.
       https://arxiv.org/abs/2404.00741
    """

    def __init__(self, hidden: int, dim: int, cell: int) -> None:
        super().__init__()
        self.cell = cell
        self.layers = nn.Sequential(
            nn.Linear(_BOX_FEATURES + 2 * _POINT_FEATURES, hidden),
            nn.GELU(),
            nn.Linear(hidden, dim),
        )
        # At first they say nothing, so that weights trained without them stay good; but they tell
        # places apart.
        nn.init.normal_(self.layers[0].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[2].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[2].bias)  # type: ignore[arg-type]

    def forward(
        self,
        dense: Tensor,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        rows: range,
        cols: range,
    ) -> Tensor:
        """Draw B prompts.

        Parameters
        ----------
        dense : Tensor
            (1 or B, dim, h, w) what to draw on; h and w are 1 or the numbers of rows and columns.
        points : (Tensor, Tensor) or None
            Coordinates (B, N, 2) as (x, y) in frame pixels, and labels (B, N): 1 foreground,
            0 background, -1 padding.
        boxes : Tensor or None
            (B, 4) as (x0, y0, x1, y1) in frame pixels.
        rows, cols : range
            Cells of the grid to draw.

        Returns
        -------
        Tensor
            (B, dim, len(rows), len(cols)), in the precision of the weights. Distances are taken in
            float32.
        """
        reference = boxes if points is None else points[0]
        assert reference is not None  # the caller has a prompt to draw
        device = reference.device
        y, x = self._centres(rows, device), self._centres(cols, device)
        dense = dense.to(self._weight.dtype).permute(0, 2, 3, 1)
        drawn = []
        for part in cache_parts(len(reference), _CHUNK_CELLS // (len(y) * len(x)), device):
            clicks = None if points is None else (points[0][part].float(), points[1][part])
            around = None if boxes is None else boxes[part].float()
            background = dense if len(dense) == 1 else dense[part]
            features = self._features(clicks, around, x, y)
            drawn.append(background + _GAIN * self.layers(features))
        return (torch.cat(drawn) if len(drawn) > 1 else drawn[0]).permute(0, 3, 1, 2)

    def _features(
        self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, x: Tensor, y: Tensor
    ) -> Tensor:
        """Return (B, h, w, features) in the precision of the weights."""
        weight = self._weight
        batch = len(boxes) if points is None else len(points[0])  # type: ignore[arg-type]
        features = weight.new_zeros(batch, len(y), len(x), weight.shape[1])
        if boxes is not None:
            _draw_boxes(features[..., :_BOX_FEATURES], boxes, x, y, self.cell)
        if points is not None:
            coords, labels = points
            for label, first in ((1, _BOX_FEATURES), (0, _BOX_FEATURES + _POINT_FEATURES)):
                chosen = labels == label
                if chosen.any():
                    out = features[..., first : first + _POINT_FEATURES]
                    _draw_points(out, coords, chosen, x, y, self.cell)
        return features

    @property
    def _weight(self) -> Tensor:
        return cast(nn.Linear, self.layers[0]).weight

    def _centres(self, cells: range, device: torch.device) -> Tensor:
        """Return the frame coordinates of the centres of a row or column of cells."""
        index = torch.arange(cells.start, cells.stop, dtype=torch.float32, device=device)
        return index * self.cell + (self.cell - 1) / 2


def _draw_boxes(out: Tensor, boxes: Tensor, x: Tensor, y: Tensor, cell: int) -> None:
    """Write (B, h, w, 10): signed distances to the edges, place within the box, and its size."""
    x0, y0, x1, y1 = boxes.T[:, :, None]
    across, down = _axis_features(x, x0, x1, cell), _axis_features(y, y0, y1, cell)
    out[..., :4] = across[:, None]
    out[..., 4:8] = down[:, :, None]
    radius = across[:, None, :, 2].square() + down[:, :, None, 2].square()
    out[..., 8] = radius.clamp(max=4)
    out[..., 9] = 1  # there is a box


def _axis_features(centres: Tensor, low: Tensor, high: Tensor, cell: int) -> Tensor:
    """Return (B, n, 4) along one axis; ``low`` and ``high`` are the box's sides, (B, 1)."""
    reach = _EDGE_REACH * cell
    half = ((high - low) / 2).clamp(min=0.5)
    inside = ((centres - low) / reach).clamp(-1, 1), ((high - centres) / reach).clamp(-1, 1)
    place = ((centres - (low + high) / 2) / half).clamp(-2, 2)
    return torch.stack([*inside, place, (half / cell).log().expand_as(place) / 2], dim=-1)


def _draw_points(
    out: Tensor, coords: Tensor, chosen: Tensor, x: Tensor, y: Tensor, cell: int
) -> None:
    """Write (B, h, w, 5): offset from the nearest of the ``chosen`` points and spots around it.

    All zero where there is none.
    """
    across = (x - coords[..., :1]) / cell  # (B, N, w)
    down = (y - coords[..., 1:]) / cell  # (B, N, h)
    square = down.square()[..., :, None] + across.square()[..., None, :]
    # What is so far away leaves no spots.
    square, nearest = square.masked_fill(~chosen[..., None, None], 1e6).min(dim=1)  # (B, h, w)
    present = chosen.any(dim=1)[:, None, None]
    across, down = ((place / _POINT_REACH).tanh() * present for place in (across, down))
    out[..., 0] = _take(across[:, :, None, :], nearest)
    out[..., 1] = _take(down[:, :, :, None], nearest)
    for i, width in enumerate(_SPOTS):
        out[..., 2 + i] = (square / (-2 * width**2)).exp()


def _take(offsets: Tensor, nearest: Tensor) -> Tensor:
    """Choose one of N from offsets (B, N, h or 1, w or 1) for each cell; ``nearest`` (B, h, w)."""
    if offsets.shape[1] == 1:
        return offsets[:, 0]
    offsets = offsets.expand(-1, -1, *nearest.shape[1:])
    return offsets.gather(1, nearest[:, None])[:, 0]
