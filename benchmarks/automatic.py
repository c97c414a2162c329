"""A whole automatic run: 32 x 32 clicks, filters, duplicates removed."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from models import picture
from report import Figure

from src_model import Sam, SamAutomaticMaskGenerator, SamPredictor
from src_model.masks import box_nms

GOAL = 6.0


def _thresholds(sam: Sam, image: np.ndarray) -> dict[str, float]:
    """Let one mask in five pass the predicted IoU, though these weights are random.

    So many pass with vit_nano's trained weights and thresholds on the demo's picture (553 of
    3,072, from 229 of 1,024 clicks), and how many do decides how much work there is. The logits
    of random weights are small, so the offset of the stability score is too. Nearly all their
    masks have the same box, so duplicates by box are kept, or a single mask would remain.
    """
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    points = torch.rand(64, 1, 2, generator=torch.Generator().manual_seed(1)) * 1024
    _, iou, _ = predictor.predict_torch(points, torch.ones(64, 1))
    return {
        "pred_iou_thresh": float(iou.quantile(0.8)),
        "stability_score_thresh": 0.5,
        "stability_score_offset": 0.01,
    }


def _pipeline(model: torch.nn.Module) -> Any:
    """Return `transformers`' pipeline; its last step, which needs torchvision, gets our NMS."""
    from transformers import SamImageProcessorPil, pipeline

    class Processor(SamImageProcessorPil):
        def post_process_for_mask_generation(
            self, masks: Any, scores: Any, boxes: Any, threshold: float
        ) -> Any:
            keep = torch.as_tensor(box_nms(boxes.float().numpy(), scores.numpy(), threshold))
            return [masks[i] for i in keep], scores[keep], None, boxes[keep]

    return pipeline("mask-generation", model=model, image_processor=Processor(), device="cpu")


def figures(theirs: torch.nn.Module, ours: dict[str, Sam], points_per_side: int) -> list[Figure]:
    """Compare one run each: theirs takes minutes."""
    from PIL import Image

    image = picture()
    thresholds = _thresholds(ours["torch float32"], image)
    generate = _pipeline(theirs)
    start = time.perf_counter()
    found = generate(
        Image.fromarray(image),
        points_per_crop=points_per_side,
        points_per_batch=64,
        crops_nms_thresh=1.0,
        **thresholds,
    )
    their_seconds, their_count = time.perf_counter() - start, len(found["masks"])
    results = []
    for name, sam in ours.items():
        generator = SamAutomaticMaskGenerator(
            sam, points_per_side=points_per_side, box_nms_thresh=1.0, **thresholds
        )
        start = time.perf_counter()
        records = generator.generate(image)
        results.append(
            Figure(
                f"automatic {points_per_side}×{points_per_side}, {name}",
                their_seconds,
                time.perf_counter() - start,
                GOAL,
                f"{their_count} and {len(records)} of {3 * points_per_side**2} masks kept",
            )
        )
    return results
