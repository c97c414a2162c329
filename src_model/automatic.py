"""Masks of everything in one image: a grid of clicks, then filters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypedDict, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .candidates import Candidates, concatenate
from .crops import build_all_layer_point_grids, generate_crop_boxes
from .decoding import decode_good
from .masks import box_xyxy_to_xywh
from .predictor import SamPredictor
from .rle import CocoRle, Rle, area_from_rle, coco_encode_rle, rle_to_mask
from .sam import Sam
from .upsample import MaskUpsampler

__all__ = ["MaskRecord", "OutputMode", "SamAutomaticMaskGenerator"]

OutputMode = Literal["binary_mask", "uncompressed_rle", "coco_rle"]


class MaskRecord(TypedDict):
    """One mask of `SamAutomaticMaskGenerator.generate`.

    Keys
    ----
    segmentation : np.ndarray or dict
        (height, width) bool, or a run-length encoding, as `output_mode` says.
    area : int
        Foreground pixels.
    bbox : list of int
        [x, y, width, height]; width and height are last pixel minus first.
    predicted_iou : float
        The model's estimate of the mask's quality.
    point_coords : list of list of float
        The click [[x, y]] that gave the mask.
    stability_score : float
        See `calculate_stability_score`.
    crop_box : list of int
        [x, y, width, height] of the crop the mask was found in.
    """

    segmentation: NDArray[np.bool_] | Rle | CocoRle
    area: int
    bbox: list[int]
    predicted_iou: float
    point_coords: list[list[float]]
    stability_score: float
    crop_box: list[int]


class SamAutomaticMaskGenerator:
    """Click on every point of a grid and keep the good, stable, distinct masks.

    For the image, and for overlapping crops of it if asked, every point of a grid gives three
    masks. Those stay whose predicted IoU and stability are high and which the crop does not cut
    off; of masks with nearly the same box the one with the highest predicted IoU stays, then,
    between crops, the one from the smaller crop.

    Masks are judged on low-resolution logits and made full-size only in the window where they can
    be foreground, one at a time, and kept run-length encoded.

    Parameters
    ----------
    model : Sam
        The network.
    points_per_side : int or None
        Points along a side of the image's grid. None if `point_grids` is given.
    points_per_batch : int
        Points given to the mask decoder at once: speed against memory.
    pred_iou_thresh : float
        Masks need a predicted IoU above this; 0 turns the filter off.
    stability_score_thresh : float
        Masks need at least this stability; 0 turns the filter off.
    stability_score_offset : float
        How far the mask threshold moves either way for the stability score.
    box_nms_thresh : float
        Box IoU above which two masks of a crop are duplicates.
    crop_n_layers : int
        Layers of crops beyond the image itself; layer i has 4**i crops.
    crop_nms_thresh : float
        Box IoU above which masks of different crops are duplicates.
    crop_overlap_ratio : float
        Overlap of the first layer's crops as a fraction of the image's shorter side; halves with
        each layer.
    crop_n_points_downscale_factor : int
        Layer i's grid has ``points_per_side / factor**i`` points along a side of each crop.
    point_grids : sequence of np.ndarray, optional
        For each layer (the image first) an (n, 2) array of points (x, y) in the unit square,
        instead of `points_per_side`.
    min_mask_region_area : float
        Fill holes and remove islands of fewer pixels; 0 leaves masks as they are.
    output_mode : {"binary_mask", "uncompressed_rle", "coco_rle"}
        What records hold as segmentation. Many binary masks of a large image take much memory.

    Raises
    ------
    ValueError
        If the arguments contradict each other or make no sense.

    References
    ----------
    .. [1] Kirillov et al., "Segment Anything", 2023, appendix B, "Automatic mask generation".
    """

    def __init__(
        self,
        model: Sam,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: Sequence[NDArray[np.floating]] | None = None,
        min_mask_region_area: float = 0,
        output_mode: OutputMode = "binary_mask",
    ) -> None:
        if (points_per_side is None) == (point_grids is None):
            raise ValueError(
                "Give exactly one of points_per_side and point_grids (the other as None)."
            )
        if output_mode not in get_args(OutputMode):
            raise ValueError(
                f"output_mode must be one of {', '.join(get_args(OutputMode))}, "
                f"not {output_mode!r}."
            )
        for name, value, least in (
            ("points_per_side", points_per_side, 1),
            ("points_per_batch", points_per_batch, 1),
            ("stability_score_offset", stability_score_offset, 0),
            ("crop_n_layers", crop_n_layers, 0),
            ("crop_n_points_downscale_factor", crop_n_points_downscale_factor, 1),
            ("min_mask_region_area", min_mask_region_area, 0),
        ):
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}.")
        if points_per_side is not None:
            point_grids = build_all_layer_point_grids(
                points_per_side, crop_n_layers, crop_n_points_downscale_factor
            )
        assert point_grids is not None  # for the type checker: one of the two is given
        self.point_grids = [_checked_grid(grid) for grid in point_grids]
        if len(self.point_grids) <= crop_n_layers:
            raise ValueError(
                f"point_grids must hold one grid for the image and one per crop layer, "
                f"{crop_n_layers + 1} in all, not {len(self.point_grids)}."
            )
        self.predictor = SamPredictor(model)
        self.points_per_batch = points_per_batch
        self.pred_iou_thresh = pred_iou_thresh
        self.stability_score_thresh = stability_score_thresh
        self.stability_score_offset = stability_score_offset
        self.box_nms_thresh = box_nms_thresh
        self.crop_n_layers = crop_n_layers
        self.crop_nms_thresh = crop_nms_thresh
        self.crop_overlap_ratio = crop_overlap_ratio
        self.crop_n_points_downscale_factor = crop_n_points_downscale_factor
        self.min_mask_region_area = min_mask_region_area
        self.output_mode: OutputMode = output_mode

    @torch.no_grad()
    def generate(
        self, image: NDArray[np.uint8], progress: Callable[[int, int], object] | None = None
    ) -> list[MaskRecord]:
        """Find the masks of an image.

        Parameters
        ----------
        image : np.ndarray
            (height, width, 3) uint8, RGB.
        progress : callable, optional
            Called after each batch with the number of points done and of all points; an exception
            that it raises ends the run and reaches the caller.

        Returns
        -------
        list of MaskRecord
            Best predicted IoU first (with crops: masks from smaller crops first; with small
            regions removed: unchanged masks first). Empty if no mask is good enough.

        Raises
        ------
        ValueError
            If `image` is not of that shape and type or has no pixels.
        """
        if (
            not isinstance(image, np.ndarray)
            or image.dtype != np.uint8
            or image.shape[2:] != (3,)
            or image.size == 0
        ):
            found = (
                f"{image.dtype} of shape {image.shape}"
                if isinstance(image, np.ndarray)
                else type(image).__name__
            )
            raise ValueError(f"image must be a (height, width, 3) uint8 RGB array, not {found}.")
        candidates = self._candidates(image, progress)
        if self.min_mask_region_area > 0:
            nms_thresh = max(self.box_nms_thresh, self.crop_nms_thresh)
            candidates = candidates.without_small_regions(self.min_mask_region_area, nms_thresh)
        return [self._record(candidates, index) for index in range(len(candidates))]

    def _candidates(
        self, image: NDArray[np.uint8], progress: Callable[[int, int], object] | None
    ) -> Candidates:
        height, width = image.shape[:2]
        boxes, layers = generate_crop_boxes(
            (height, width), self.crop_n_layers, self.crop_overlap_ratio
        )
        # Many layers of a small image leave crops without pixels.
        crops = [
            (box, self.point_grids[layer])
            for box, layer in zip(boxes, layers, strict=True)
            if box[0] < box[2] and box[1] < box[3]
        ]
        total, done = sum(len(grid) for _, grid in crops), 0
        found = []
        for box, grid in crops:
            in_crop = []
            for n, candidates in self._crop_batches(image, box, grid):
                in_crop.append(candidates)
                done += n
                if progress is not None:
                    progress(done, total)
            merged = concatenate(in_crop)
            found.append(merged.without_duplicates(merged.predicted_ious, self.box_nms_thresh))
        merged = concatenate(found)
        if len(boxes) == 1:
            return merged
        x0, y0, x1, y1 = merged.crop_boxes.T
        smallness = 1 / ((x1 - x0) * (y1 - y0)).astype(np.float32)
        return merged.without_duplicates(smallness, self.crop_nms_thresh)

    def _crop_batches(
        self, image: NDArray[np.uint8], crop_box: list[int], grid: NDArray[np.float64]
    ) -> Iterator[tuple[int, Candidates]]:
        """Yield the number of points and the candidates of each batch of clicks in one crop."""
        x0, y0, x1, y1 = crop_box
        crop_size = (y1 - y0, x1 - x0)
        predictor, model = self.predictor, self.predictor.model
        predictor.set_image(image[y0:y1, x0:x1])
        frame = model.image_encoder.img_size
        upsampler = MaskUpsampler(
            model.prompt_encoder.mask_input_size,
            frame,
            predictor.transform.get_preprocess_shape(*crop_size, frame),
            crop_size,
        )
        points = grid * crop_size[::-1]
        in_frame = predictor.transform.apply_coords(points, crop_size)
        for start in range(0, len(points), self.points_per_batch):
            batch = slice(start, start + self.points_per_batch)
            low_res, ious, clicked = self._decode(in_frame[batch])
            candidates = Candidates.from_logits(
                low_res.cpu(),
                ious.cpu(),
                points[batch][clicked.cpu().numpy()] + np.array([x0, y0]),
                upsampler=upsampler,
                crop_box=crop_box,
                image_size=(image.shape[0], image.shape[1]),
                mask_threshold=model.mask_threshold,
                stability_offset=self.stability_score_offset,
                stability_thresh=self.stability_score_thresh,
            )
            yield len(points[batch]), candidates
        predictor.reset_image()

    def _decode(self, in_frame: NDArray[np.floating]) -> tuple[Tensor, Tensor, Tensor]:
        """Decode clicks (n, 2) in the frame.

        Returns the masks of high predicted IoU: logits (k, height, width), predicted IoUs (k,)
        and the click that each belongs to (k,).
        """
        model = self.predictor.model
        coords = torch.as_tensor(in_frame, dtype=torch.float32, device=model.device)[:, None]
        labels = torch.ones(coords.shape[:2], dtype=torch.int64, device=model.device)
        return decode_good(
            model,
            self.predictor.get_image_embedding(),
            (coords, labels),
            self.pred_iou_thresh if self.pred_iou_thresh > 0 else -math.inf,
        )

    def _record(self, candidates: Candidates, index: int) -> MaskRecord:
        rle = candidates.rles[index]
        segmentation: NDArray[np.bool_] | Rle | CocoRle
        if self.output_mode == "binary_mask":
            segmentation = rle_to_mask(rle)
        elif self.output_mode == "coco_rle":
            segmentation = coco_encode_rle(rle)
        else:
            segmentation = rle
        boxes = np.stack([candidates.boxes[index], candidates.crop_boxes[index]])
        bbox, crop_box = box_xyxy_to_xywh(torch.from_numpy(boxes)).tolist()
        return {
            "segmentation": segmentation,
            "area": area_from_rle(rle),
            "bbox": bbox,
            "predicted_iou": float(candidates.predicted_ious[index]),
            "point_coords": [candidates.points[index].tolist()],
            "stability_score": float(candidates.stabilities[index]),
            "crop_box": crop_box,
        }


def _checked_grid(grid: NDArray[np.floating]) -> NDArray[np.float64]:
    points = np.asarray(grid, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(
            "A grid of points must be an (n, 2) array of x and y in the unit square, "
            f"not of shape {points.shape}."
        )
    return points
