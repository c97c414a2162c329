"""What is measured on masks and done to them: stability, boxes, NMS, small regions.

Boxes here are (x0, y0, x1, y1) in pixels, the last pixels included, so a one-pixel mask has a box
of zero area.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "batched_mask_to_box",
    "box_nms",
    "box_xyxy_to_xywh",
    "calculate_stability_score",
    "remove_small_regions",
]

# Boxes that box_nms compares with all others at once: few enough that the overlaps with thousands
# stay in cache.
_NMS_BLOCK = 64

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


def calculate_stability_score(
    masks: Tensor, mask_threshold: float, threshold_offset: float
) -> Tensor:
    """Compute how little masks change when the threshold moves up and down.

    Parameters
    ----------
    masks : Tensor
        (..., height, width) logits.
    mask_threshold : float
        The logit above which a pixel is in the mask.
    threshold_offset : float
        How far the threshold moves either way.

    Returns
    -------
    Tensor
        (...,) float32: the IoU of the smaller mask (higher threshold) with the larger; NaN where
        both are empty.

    Examples
    --------
    >>> calculate_stability_score(torch.tensor([[[-3.0, -0.5, 0.5, 3.0]]]), 0.0, 1.0)
    tensor([0.3333])
    """
    smaller = (masks > mask_threshold + threshold_offset).sum(dim=(-1, -2))
    larger = (masks > mask_threshold - threshold_offset).sum(dim=(-1, -2))
    return smaller / larger


def batched_mask_to_box(masks: Tensor) -> Tensor:
    """Find the bounding boxes of masks.

    Parameters
    ----------
    masks : Tensor
        (..., height, width) bool.

    Returns
    -------
    Tensor
        (..., 4) int64 boxes (x0, y0, x1, y1), the last pixels included; all 0 for an empty mask.

    Examples
    --------
    >>> batched_mask_to_box(torch.tensor([[[False, False, False], [False, True, True]]]))
    tensor([[1, 1, 2, 1]])
    """
    if min(masks.shape[-2:]) == 0:
        return torch.zeros(*masks.shape[:-2], 4, dtype=torch.int64, device=masks.device)
    x0, x1 = _first_and_last(masks.any(dim=-2))
    y0, y1 = _first_and_last(masks.any(dim=-1))
    empty = ~masks.flatten(-2).any(dim=-1, keepdim=True)
    return torch.stack([x0, y0, x1, y1], dim=-1).masked_fill(empty, 0)


def _first_and_last(line: Tensor) -> tuple[Tensor, Tensor]:
    # argmax gives the first of equal values.
    marks = line.to(torch.uint8)
    return marks.argmax(dim=-1), line.shape[-1] - 1 - marks.flip(-1).argmax(dim=-1)


def box_xyxy_to_xywh(box_xyxy: Tensor) -> Tensor:
    """Turn corners into corner and extent.

    Parameters
    ----------
    box_xyxy : Tensor
        (..., 4) boxes (x0, y0, x1, y1).

    Returns
    -------
    Tensor
        (..., 4) boxes (x0, y0, x1 - x0, y1 - y0).

    Examples
    --------
    >>> box_xyxy_to_xywh(torch.tensor([1, 2, 4, 8]))
    tensor([1, 2, 3, 6])
    """
    return torch.cat([box_xyxy[..., :2], box_xyxy[..., 2:] - box_xyxy[..., :2]], dim=-1)


def box_nms(
    boxes: NDArray[np.generic], scores: NDArray[np.generic], iou_threshold: float
) -> NDArray[np.int64]:
    """Keep the best of boxes that overlap (greedy non-maximum suppression).

    Parameters
    ----------
    boxes : np.ndarray
        (n, 4) boxes (x0, y0, x1, y1), compared in float32; area is (x1 - x0) * (y1 - y0).
    scores : np.ndarray
        (n,) scores; of equal ones the earlier goes first.
    iou_threshold : float
        A box is dropped when its IoU with a better, kept one is above this. Boxes of zero area
        only meet others with IoU 0 (or undefined), so they stay.

    Returns
    -------
    np.ndarray
        (k,) int64 indices of kept boxes, best first.

    Examples
    --------
    >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [5, 5, 20, 20]])
    >>> box_nms(boxes, np.array([0.5, 0.9, 0.7]), iou_threshold=0.7)
    array([1, 2])
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    corners = np.asarray(boxes, dtype=np.float32)[order].reshape(-1, 4)
    kept: list[NDArray[np.int64]] = []
    while len(order):
        head, rest = corners[:_NMS_BLOCK], corners[_NMS_BLOCK:]
        # Among the best boxes the decision is one after the other ...
        suppresses = np.triu(_overlap_above(head, head, iou_threshold), k=1)
        alive = np.ones(len(head), dtype=bool)
        for index in np.flatnonzero(suppresses.any(axis=1)):
            if alive[index]:
                alive &= ~suppresses[index]
        kept.append(order[:_NMS_BLOCK][alive])
        # ... and those left of them suppress all others at once.
        free = ~_overlap_above(head[alive], rest, iou_threshold).any(axis=0)
        order, corners = order[_NMS_BLOCK:][free], rest[free]
    return np.concatenate(kept) if kept else np.zeros(0, dtype=np.int64)


def _overlap_above(
    first: NDArray[np.float32], second: NDArray[np.float32], iou_threshold: float
) -> NDArray[np.bool_]:
    """(n, 4) and (m, 4) boxes -> (n, m) bool, whether IoU exceeds the threshold."""
    a, b = first[:, None], second[None]
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    shared = width.clip(min=0) * height.clip(min=0)
    area_a = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    area_b = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, above nothing
        iou = shared / (area_a + area_b - shared)
    # The quotient is float32 and the threshold is not rounded to it, as in torchvision's nms.
    above: NDArray[np.bool_] = iou > np.float64(iou_threshold)
    return above


def remove_small_regions(
    mask: NDArray[np.bool_], area_thresh: float, mode: Literal["holes", "islands"]
) -> tuple[NDArray[np.bool_], bool]:
    """Fill small holes of a mask or remove its small islands (8-connected regions).

    Parameters
    ----------
    mask : np.ndarray
        (height, width) bool.
    area_thresh : float
        Regions of fewer pixels are small.
    mode : {"holes", "islands"}
        Whether background regions (also those at the image's border) are filled or foreground
        regions removed. If all islands are small, the largest stays.

    Returns
    -------
    mask : np.ndarray
        (height, width) bool; `mask` itself if no region is small.
    changed : bool
        Whether any region is small (also if, as the largest of small islands, it stays).

    Raises
    ------
    ValueError
        For another `mode`.

    Examples
    --------
    >>> mask = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [1, 1, 1, 0, 0]], dtype=bool)
    >>> filled, changed = remove_small_regions(mask, 2, "holes")
    >>> filled.astype(int)
    array([[1, 1, 1, 0, 0],
           [1, 1, 1, 0, 1],
           [1, 1, 1, 0, 0]])
    >>> remove_small_regions(filled, 2, "islands")[0].astype(int)
    array([[1, 1, 1, 0, 0],
           [1, 1, 1, 0, 0],
           [1, 1, 1, 0, 0]])
    """
    from scipy import ndimage

    if mode not in ("holes", "islands"):
        raise ValueError(f'mode must be "holes" or "islands", not {mode!r}.')
    holes = mode == "holes"
    window, beyond = _surroundings(mask)
    labels, n = ndimage.label(mask[window] != holes, structure=_EIGHT_NEIGHBOURS)
    sizes = np.bincount(labels.ravel(), minlength=n + 1)
    for corner, band in beyond:
        sizes[labels[corner]] += mask[band].size
    small = sizes < area_thresh
    small[0] = False
    if not small.any():
        return mask, False
    if not holes and small[1:].all():
        small[1 + sizes[1:].argmax()] = False
    changed = mask.copy()
    changed[window] ^= small[labels]
    for corner, band in beyond:
        changed[band] ^= small[labels[corner]]
    return changed, True


_Window = tuple[slice, slice]


def _surroundings(
    mask: NDArray[np.bool_],
) -> tuple[_Window, list[tuple[tuple[int, int], _Window]]]:
    """Find the window that is enough to label a mask's regions: its box and one more pixel.

    Returns
    -------
    window : tuple of slice
        Row and column ranges; the whole image for an empty mask.
    beyond : list
        The four bands around the window, each with the corner of the window (as an index into it)
        that belongs to the same region of background, if the band has pixels at all.
    """
    height, width = mask.shape
    rows, cols = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return (slice(0, height), slice(0, width)), []
    top, bottom = max(int(rows[0]) - 1, 0), min(int(rows[-1]) + 2, height)
    left, right = max(int(cols[0]) - 1, 0), min(int(cols[-1]) + 2, width)
    inner, every = slice(top, bottom), slice(0, width)
    return (inner, slice(left, right)), [
        ((0, 0), (slice(0, top), every)),
        ((-1, 0), (slice(bottom, height), every)),
        ((0, 0), (inner, slice(0, left))),
        ((0, -1), (inner, slice(right, width))),
    ]
