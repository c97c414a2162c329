"""A model whose tiles have 64 pixels, so that a small image has many."""

from __future__ import annotations

from pathlib import Path

import torch

from src_model import Variant, build_sam
from src_model.weight_files import save_checkpoint


def save_small_model(folder: Path) -> Path:
    """Write one with seeded random weights, good for nothing."""
    torch.manual_seed(0)
    variant = Variant(
        image_size=64, depth=2, embed_dim=32, num_heads=2, out_chans=32, global_attn_indexes=(1,)
    )
    path = folder / "small.safetensors"
    save_checkpoint(build_sam(variant), path)
    return path
