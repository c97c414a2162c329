"""A dense head on the embedding for training only: what every pixel belongs to.

Prompts teach the encoder about a few objects of an image; this head teaches it about all of them
at once, within the first hundred steps, while the decoder still learns to listen to the prompt.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from .pictures import ObjectMasks

__all__ = ["DenseHead", "dense_loss", "dense_targets"]


class DenseHead(nn.Module):
    """Foreground, border, depth and offsets (down, right) to the centre, four times as fine.

    Parameters
    ----------
    channels : int
        Channels of the embedding.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 5 * 16, 1)

    def forward(self, embedding: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, 5, 4 h, 4 w)."""
        return F.pixel_shuffle(self.conv(embedding), 4)


def dense_targets(objects: ObjectMasks, size: tuple[int, int], stride: int = 4) -> Tensor:
    """Draw the head's targets of one image.

    Parameters
    ----------
    objects : ObjectMasks
        Where they overlap, the smaller one is in front.
    size : (int, int)
        Height and width of the result.
    stride : int
        Pixels of the image per pixel of the result.

    Returns
    -------
    Tensor
        float32 (5, *size): foreground and border (0 or 1), depth and offsets relative to the
        object's size.
    """
    from scipy import ndimage

    labels = _paint(objects, size, stride)
    border = _borders(labels)
    depth = ndimage.distance_transform_edt((labels > 0) & ~border)
    maps = np.zeros((5, *size), np.float32)
    maps[0], maps[1] = labels > 0, border & (labels > 0)
    for label, window in enumerate(ndimage.find_objects(labels), start=1):
        if window is None:  # hidden behind smaller ones, or too small to be seen here
            continue
        inside = labels[window] == label
        rows, cols = np.nonzero(inside)
        reach = 0.5 * math.sqrt(len(rows)) + 1
        maps[2][window][inside] = np.minimum(depth[window][inside] / reach, 1.5)
        maps[3][window][inside] = (rows - rows.mean()) / reach
        maps[4][window][inside] = (cols - cols.mean()) / reach
    return torch.from_numpy(maps)


def dense_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy on foreground and border, squared error on depth and offsets inside.

    Both arguments are (B, 5, h, w); the result is a scalar.
    """
    entropy = F.binary_cross_entropy_with_logits(predicted[:, :2], target[:, :2])
    inside = target[:, :1]
    error = ((predicted[:, 2:] - target[:, 2:]) ** 2 * inside).sum() / (inside.sum() + 1)
    return entropy + 0.3 * error


def _paint(objects: ObjectMasks, size: tuple[int, int], stride: int) -> NDArray[np.int32]:
    """Return a label map of every ``stride``-th pixel, large objects first."""
    labels = np.zeros(size, np.int32)
    order = sorted(range(len(objects)), key=lambda i: -objects.items[i].area)
    for label, index in enumerate(order, start=1):
        item = objects.items[index]
        # First sampled row and column inside the window; samples lie in the middle of a stride.
        row = (stride // 2 - item.top) % stride
        col = (stride // 2 - item.left) % stride
        part = item.mask[row::stride, col::stride]
        top, left = (item.top + row) // stride, (item.left + col) // stride
        labels[top : top + part.shape[0], left : left + part.shape[1]][part] = label
    return labels


def _borders(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return the two-pixel seams between different labels."""
    border = np.zeros(labels.shape, bool)
    rows, cols = labels[:-1] != labels[1:], labels[:, :-1] != labels[:, 1:]
    border[:-1] |= rows
    border[1:] |= rows
    border[:, :-1] |= cols
    border[:, 1:] |= cols
    return border
