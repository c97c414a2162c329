"""Where the part of an embedding lies that the decoder is shown around a prompt."""

from __future__ import annotations

import torch
from torch import Tensor

from .variants import Variant

__all__ = ["fits_part", "part_corners", "part_place"]

_MARGIN = 2
"""Positions that a part shows around prompts at least, where the frame goes on."""


def fits_part(variant: Variant, extent: Tensor) -> Tensor:
    """Tell whether prompts that lie so far apart are shown a part of the embedding.

    Parameters
    ----------
    variant : Variant
        With a ``part_size``.
    extent : Tensor
        In positions of the embedding, any shape.

    Returns
    -------
    Tensor
        bool, of the same shape.
    """
    return extent <= variant.part_size - 2 * _MARGIN


def part_corners(middles: Tensor, size: int, shape: tuple[int, int]) -> Tensor:
    """Return the first column and row of the part around each place.

    Parameters
    ----------
    middles : Tensor
        (B, 2), (x, y) in positions of the embedding.
    size : int
        Side of a part in positions.
    shape : (int, int)
        Rows and columns of the embedding; parts lie inside.

    Returns
    -------
    Tensor
        int64 (B, 2).

    Examples
    --------
    >>> part_corners(torch.tensor([[0.0, 30.0], [31.5, 63.9]]), 20, (64, 64))
    tensor([[ 0, 20],
            [22, 44]])
    """
    corners = (middles - size / 2).round().long()
    room = torch.tensor([shape[1] - size, shape[0] - size], device=corners.device)
    return corners.clamp(min=0).minimum(room)


def part_place(variant: Variant) -> int:
    """Return the row, and column, of the frame's grid at which parts are said to begin."""
    return (variant.grid_size - variant.part_size) // 2
