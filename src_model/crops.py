"""Where the mask generator looks: grids of points, overlapping crops, and the way back from a crop.

Layer 0 is the whole image; layer i cuts it into 2**i by 2**i overlapping crops. Boxes are (x0, y0,
x1, y1) and points (x, y), in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "build_all_layer_point_grids",
    "build_point_grid",
    "generate_crop_boxes",
    "is_box_near_crop_edge",
    "uncrop_boxes_xyxy",
    "uncrop_masks",
    "uncrop_points",
]


def build_point_grid(n_per_side: int) -> NDArray[np.float64]:
    """Spread points evenly over the unit square.

    Parameters
    ----------
    n_per_side : int
        Points along a side.

    Returns
    -------
    np.ndarray
        (n_per_side**2, 2) float64 points (x, y) at the centres of equal cells, x running fastest.

    Examples
    --------
    >>> build_point_grid(2)
    array([[0.25, 0.25],
           [0.75, 0.25],
           [0.25, 0.75],
           [0.75, 0.75]])
    """
    half_cell = 1 / (2 * n_per_side)
    side = np.linspace(half_cell, 1 - half_cell, n_per_side)
    x, y = np.meshgrid(side, side)
    return np.stack([x.ravel(), y.ravel()], axis=-1)


def build_all_layer_point_grids(
    n_per_side: int, n_layers: int, scale_per_layer: int
) -> list[NDArray[np.float64]]:
    """Make the point grid of every crop layer.

    Parameters
    ----------
    n_per_side : int
        Points along a side of the whole image (layer 0).
    n_layers : int
        Crop layers beyond layer 0.
    scale_per_layer : int
        Layer i has ``n_per_side / scale_per_layer**i`` points along a side of each crop, rounded
        down.

    Returns
    -------
    list of np.ndarray
        `n_layers` + 1 grids as of `build_point_grid`.

    Examples
    --------
    >>> [len(grid) for grid in build_all_layer_point_grids(8, 2, 2)]
    [64, 16, 4]
    """
    return [
        build_point_grid(int(n_per_side / scale_per_layer**layer)) for layer in range(n_layers + 1)
    ]


def generate_crop_boxes(
    im_size: tuple[int, int], n_layers: int, overlap_ratio: float
) -> tuple[list[list[int]], list[int]]:
    """Cut an image into overlapping crops.

    Parameters
    ----------
    im_size : tuple of int
        (height, width) in pixels.
    n_layers : int
        Crop layers beyond the whole image.
    overlap_ratio : float
        Overlap of neighbouring crops of layer 1 as a fraction of the image's shorter side; halves
        with each layer.

    Returns
    -------
    boxes : list of list of int
        The whole image, then the crops layer by layer, as [x0, y0, x1, y1] with x1 and y1
        exclusive.
    layers : list of int
        The layer of each.

    Examples
    --------
    >>> boxes, layers = generate_crop_boxes((100, 200), n_layers=1, overlap_ratio=0.2)
    >>> boxes[:3]
    [[0, 0, 200, 100], [0, 0, 110, 60], [0, 40, 110, 100]]
    >>> layers
    [0, 1, 1, 1, 1]
    """
    height, width = im_size
    boxes, layers = [[0, 0, width, height]], [0]
    for layer in range(1, n_layers + 1):
        n = 2**layer
        overlap = int(overlap_ratio * min(im_size) * (2 / n))
        crop_width = math.ceil((overlap * (n - 1) + width) / n)
        crop_height = math.ceil((overlap * (n - 1) + height) / n)
        for i, j in product(range(n), range(n)):
            x0, y0 = i * (crop_width - overlap), j * (crop_height - overlap)
            boxes.append([x0, y0, min(x0 + crop_width, width), min(y0 + crop_height, height)])
            layers.append(layer)
    return boxes, layers


def uncrop_boxes_xyxy(boxes: Tensor, crop_box: Sequence[int]) -> Tensor:
    """Move boxes from a crop's pixels to the image's.

    Parameters
    ----------
    boxes : Tensor
        (n, 4) boxes (x0, y0, x1, y1) in the crop.
    crop_box : sequence of int
        The crop in the image.

    Returns
    -------
    Tensor
        (n, 4) boxes in the image.

    Examples
    --------
    >>> uncrop_boxes_xyxy(torch.tensor([[0, 1, 2, 3]]), [10, 20, 50, 60])
    tensor([[10, 21, 12, 23]])
    """
    x0, y0 = crop_box[:2]
    return boxes + torch.tensor([x0, y0, x0, y0], device=boxes.device)


def uncrop_points(points: Tensor, crop_box: Sequence[int]) -> Tensor:
    """Move points (..., 2) from a crop's pixels to the image's, as `uncrop_boxes_xyxy` does boxes.

    Examples
    --------
    >>> uncrop_points(torch.tensor([[1.5, 2.0]]), [10, 20, 50, 60])
    tensor([[11.5000, 22.0000]])
    """
    return points + torch.tensor(crop_box[:2], device=points.device)


def uncrop_masks(masks: Tensor, crop_box: Sequence[int], orig_h: int, orig_w: int) -> Tensor:
    """Put masks of a crop into an otherwise empty full-size image.

    Parameters
    ----------
    masks : Tensor
        (..., crop height, crop width).
    crop_box : sequence of int
        The crop in the image.
    orig_h, orig_w : int
        Size of the image in pixels.

    Returns
    -------
    Tensor
        (..., orig_h, orig_w); `masks` itself if the crop is the whole image.

    Examples
    --------
    >>> uncrop_masks(torch.ones(1, 1, 1, dtype=torch.bool), [1, 0, 2, 1], 1, 3)
    tensor([[[False,  True, False]]])
    """
    x0, y0, x1, y1 = crop_box
    if (x0, y0, x1, y1) == (0, 0, orig_w, orig_h):
        return masks
    return F.pad(masks, (x0, orig_w - x1, y0, orig_h - y1), value=0)


def is_box_near_crop_edge(
    boxes: Tensor, crop_box: Sequence[int], orig_box: Sequence[int], atol: float = 20.0
) -> Tensor:
    """Tell which boxes a crop seems to cut off: near an edge of it that is not the image's.

    Parameters
    ----------
    boxes, crop_box
        As for `uncrop_boxes_xyxy`.
    orig_box : sequence of int
        The whole image, [0, 0, width, height].
    atol : float
        Pixels from an edge that count as near.

    Returns
    -------
    Tensor
        (n,) bool.

    Examples
    --------
    >>> boxes = torch.tensor([[0, 0, 30, 30], [0, 0, 95, 30]])
    >>> is_box_near_crop_edge(boxes, [0, 0, 100, 100], [0, 0, 200, 100])
    tensor([False,  True])
    """
    sides = uncrop_boxes_xyxy(boxes, crop_box).float()
    near_crop = (sides - torch.tensor(crop_box, device=boxes.device)).abs() <= atol
    near_image = (sides - torch.tensor(orig_box, device=boxes.device)).abs() <= atol
    return (near_crop & ~near_image).any(dim=1)
