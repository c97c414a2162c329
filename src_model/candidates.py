"""Candidates of the mask generator: from low-resolution logits to encoded masks worth keeping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .crops import is_box_near_crop_edge, uncrop_boxes_xyxy
from .masks import box_nms, remove_small_regions
from .rle import Rle, box_from_rle, mask_to_rle, rle_from_window, rle_to_mask
from .upsample import MaskUpsampler, Window

__all__ = ["Candidates", "MaskMeasurement", "concatenate", "measure_mask"]


@dataclass
class MaskMeasurement:
    """The part of a mask in which it may be foreground.

    Attributes
    ----------
    columns : np.ndarray
        (window width, window height) bool, the window transposed, as `rle_from_window` reads it.
    window : Window
        Where it lies.
    stability : float
        As `calculate_stability_score` gives it for the whole mask; NaN if no logit reaches even
        the lower threshold.
    """

    columns: NDArray[np.bool_]
    window: Window
    stability: np.float32


def measure_mask(
    low_res: Tensor, upsampler: MaskUpsampler, mask_threshold: float, stability_offset: float
) -> MaskMeasurement:
    """Threshold a mask at full size and compute its stability, looking only where it can be.

    Parameters
    ----------
    low_res : Tensor
        (height, width) float32 low-resolution logits on the CPU.
    upsampler : MaskUpsampler
        Of the image the mask belongs to.
    mask_threshold : float
        The logit above which a pixel is in the mask.
    stability_offset : float
        How far the threshold moves for the stability score, at least 0.

    Returns
    -------
    MaskMeasurement
        Equal to what the full-size logits would give.

    Examples
    --------
    >>> upsampler = MaskUpsampler((4, 4), 16, input_size=(16, 12), original_size=(32, 24))
    >>> low_res = torch.full((4, 4), -1.5)
    >>> low_res[1, 1] = 5.0
    >>> mask = measure_mask(low_res, upsampler, mask_threshold=0.0, stability_offset=1.0)
    >>> mask.window.shape, int(mask.columns.sum()), round(float(mask.stability), 2)
    ((18, 18), 112, 0.31)
    """
    lower, upper = mask_threshold - stability_offset, mask_threshold + stability_offset
    window = upsampler.active_window(low_res, lower)
    if window is None:
        nowhere = Window(slice(0, 0), slice(0, 0))
        return MaskMeasurement(np.zeros((0, 0), bool), nowhere, np.float32(np.nan))
    columns = np.empty(window.shape[::-1], dtype=bool)
    smaller = larger = done = 0
    for strip in upsampler.column_strips(low_res, window):
        logits = strip.numpy()
        smaller += int(np.count_nonzero(logits > upper))
        larger += int(np.count_nonzero(logits > lower))
        np.greater(logits, mask_threshold, out=columns[done : done + len(logits)])
        done += len(logits)
    stability = np.float32(smaller) / np.float32(larger) if larger else np.float32(np.nan)
    return MaskMeasurement(columns, window, stability)


@dataclass
class Candidates:
    """Masks of one image with what is known of each; all fields have one entry per mask.

    Attributes
    ----------
    rles : list of Rle
        Masks of the whole image.
    boxes : np.ndarray
        (n, 4) int64 (x0, y0, x1, y1) in the image, the last pixels included.
    predicted_ious : np.ndarray
        (n,) float32, the model's own estimate.
    stabilities : np.ndarray
        (n,) float32.
    points : np.ndarray
        (n, 2) float64 (x, y), the click that gave the mask.
    crop_boxes : np.ndarray
        (n, 4) int64 (x0, y0, x1, y1), the crop it was found in, x1 and y1 exclusive.
    """

    rles: list[Rle]
    boxes: NDArray[np.int64]
    predicted_ious: NDArray[np.float32]
    stabilities: NDArray[np.float32]
    points: NDArray[np.float64]
    crop_boxes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rles)

    @classmethod
    def empty(cls) -> Candidates:
        """Return no candidates."""
        return cls(
            rles=[],
            boxes=np.zeros((0, 4), np.int64),
            predicted_ious=np.zeros(0, np.float32),
            stabilities=np.zeros(0, np.float32),
            points=np.zeros((0, 2)),
            crop_boxes=np.zeros((0, 4), np.int64),
        )

    @classmethod
    def from_logits(
        cls,
        low_res: Tensor,
        predicted_ious: Tensor,
        points: NDArray[np.float64],
        *,
        upsampler: MaskUpsampler,
        crop_box: Sequence[int],
        image_size: tuple[int, int],
        mask_threshold: float,
        stability_offset: float,
        stability_thresh: float,
    ) -> Candidates:
        """Keep the masks that are stable and not cut off by their crop.

        Parameters
        ----------
        low_res : Tensor
            (n, height, width) float32 low-resolution logits on the CPU.
        predicted_ious : Tensor
            (n,) float32 on the CPU.
        points : np.ndarray
            (n, 2) float64 (x, y) in the image.
        upsampler : MaskUpsampler
            Of the crop.
        crop_box : sequence of int
            (x0, y0, x1, y1) of the crop in the image.
        image_size : tuple of int
            (height, width) of the image.
        mask_threshold, stability_offset : float
            As for `measure_mask`.
        stability_thresh : float
            Least stability to keep; 0 or less keeps all.

        Returns
        -------
        Candidates
            In the order of `low_res`.
        """
        x0, y0 = crop_box[:2]
        height, width = image_size
        rles, crop_relative, stabilities, chosen = [], [], [], []
        for index, logits in enumerate(low_res):
            mask = measure_mask(logits, upsampler, mask_threshold, stability_offset)
            if stability_thresh > 0 and not mask.stability >= stability_thresh:
                continue
            offset = (y0 + mask.window.rows.start, x0 + mask.window.cols.start)
            rle = rle_from_window(mask.columns, offset, image_size)
            box = np.array(box_from_rle(rle))
            # The published convention: the box of an empty mask is 0 in its crop, not in the image.
            crop_relative.append(box - [x0, y0, x0, y0] if mask.columns.any() else box)
            rles.append(rle)
            stabilities.append(mask.stability)
            chosen.append(index)
        boxes = torch.tensor(np.reshape(crop_relative, (-1, 4)), dtype=torch.int64)
        kept = cls(
            rles=rles,
            boxes=uncrop_boxes_xyxy(boxes, crop_box).numpy(),
            predicted_ious=predicted_ious.numpy()[chosen],
            stabilities=np.array(stabilities, dtype=np.float32),
            points=points[chosen],
            crop_boxes=np.tile(np.array(crop_box, dtype=np.int64), (len(rles), 1)),
        )
        cut_off = is_box_near_crop_edge(boxes, crop_box, [0, 0, width, height])
        return kept.select(np.flatnonzero(~cut_off.numpy()))

    def select(self, indices: NDArray[np.int64]) -> Candidates:
        """Return the candidates at `indices`, in that order."""
        return Candidates(
            [self.rles[i] for i in indices],
            self.boxes[indices],
            self.predicted_ious[indices],
            self.stabilities[indices],
            self.points[indices],
            self.crop_boxes[indices],
        )

    def without_duplicates(self, scores: ArrayLike, iou_threshold: float) -> Candidates:
        """Return what `box_nms` keeps, best score first."""
        return self.select(box_nms(self.boxes, np.asarray(scores), iou_threshold))

    def without_small_regions(self, min_area: float, nms_thresh: float) -> Candidates:
        """Fill small holes, remove small islands, then drop duplicates that this made.

        Works through one full-size mask at a time.

        Parameters
        ----------
        min_area : float
            Regions of fewer pixels are small.
        nms_thresh : float
            Of two masks whose boxes overlap by more than this IoU, the one that needed no change
            stays.

        Returns
        -------
        Candidates
            Unchanged masks first.
        """
        rles, boxes, unchanged = list(self.rles), self.boxes.copy(), np.ones(len(self))
        for index, rle in enumerate(self.rles):
            mask, filled = remove_small_regions(rle_to_mask(rle), min_area, "holes")
            mask, cleared = remove_small_regions(mask, min_area, "islands")
            if filled or cleared:
                rles[index] = mask_to_rle(mask)
                boxes[index] = box_from_rle(rles[index])
                unchanged[index] = 0
        cleaned = Candidates(
            rles, boxes, self.predicted_ious, self.stabilities, self.points, self.crop_boxes
        )
        return cleaned.without_duplicates(unchanged, nms_thresh)


def concatenate(parts: Sequence[Candidates]) -> Candidates:
    """Join candidates of the same image, in order.

    Parameters
    ----------
    parts : sequence of Candidates

    Returns
    -------
    Candidates
    """
    parts = [Candidates.empty(), *parts]
    arrays = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Candidates)
        if field.name != "rles"
    }
    return Candidates(rles=[rle for part in parts for rle in part.rles], **arrays)
