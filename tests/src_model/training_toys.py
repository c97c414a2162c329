"""A tiny model and generated pictures that the tests of training share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from src_model import Sam, Variant, build_sam
from src_model.training.config import TrainingConfig
from src_model.training.pictures import ObjectMasks, Picture
from src_model.training.scenes import generate_scene

TINY = Variant(
    name="toy",
    encoder="tiny_vit",
    image_size=128,
    stage_dims=(16, 32, 32, 32),
    stage_depths=(1, 1, 1, 1),
    stage_heads=(1, 2, 2, 2),
    stage_windows=(4, 4, 4, 4),
    num_classes=0,
    out_chans=32,
    decoder_heads=4,
    decoder_mlp_dim=64,
    iou_head_hidden_dim=32,
)
TINY_VIT = Variant(
    name="toy_vit",
    image_size=128,
    depth=2,
    embed_dim=32,
    num_heads=2,
    window_size=4,
    global_attn_indexes=(1,),
    out_chans=32,
    decoder_heads=4,
    decoder_mlp_dim=64,
    iou_head_hidden_dim=32,
)


def tiny_sam(variant: Variant = TINY) -> Sam:
    """Build a tiny model, the same each time."""
    torch.manual_seed(0)
    return build_sam(variant)


class Scenes:
    """Four generated pictures."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Picture:
        rng = np.random.default_rng(index)
        image, labels = generate_scene(rng, 128, object_size=(0.2, 0.5))
        return Picture(f"scene {index}", image, ObjectMasks.from_labels(labels))


def tiny_config(**changes: Any) -> TrainingConfig:
    """Return settings for a run of a few quick steps."""
    values = {
        "steps": 20,
        "warmup": 5,
        "lr": 1e-3,
        "error_points": 2,
        "precision": "float32",
        "workers": 0,
        "local": 0.5,
    }
    return TrainingConfig(**{**values, **changes})
