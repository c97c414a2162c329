"""Weights from a seed, so that recorded outputs need no weights file."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from src_model import Sam, Variant

SMALL_VIT = Variant(
    name="small_vit",
    image_size=128,
    depth=3,
    embed_dim=48,
    num_heads=3,
    window_size=3,
    global_attn_indexes=(1,),
    out_chans=32,
    decoder_mlp_dim=48,
    decoder_heads=2,
    iou_head_hidden_dim=32,
)
SMALL_TINY_VIT = Variant(
    name="small_tiny_vit",
    encoder="tiny_vit",
    image_size=128,
    stage_dims=(16, 24, 32, 48),
    stage_depths=(1, 1, 2, 1),
    stage_heads=(1, 2, 2, 3),
    stage_windows=(7, 5, 3, 7),
    num_classes=10,
    out_chans=32,
    decoder_mlp_dim=48,
    decoder_heads=2,
    iou_head_hidden_dim=32,
)


TINIEST = Variant(
    name="tiniest",
    encoder="tiny_vit",
    image_size=128,
    stage_dims=(4, 8, 8, 8),
    stage_depths=(1, 1, 1, 1),
    stage_heads=(1, 1, 1, 1),
    stage_windows=(4, 4, 4, 4),
    num_classes=0,
    out_chans=16,
    decoder_mlp_dim=32,
    decoder_heads=2,
    iou_head_hidden_dim=16,
)


def load_seeded_weights(sam: Sam, seed: int = 11) -> Sam:
    """Fill the model with the recipe of ../shared/golden/README.md."""
    rng = np.random.default_rng(seed)
    state = sam.state_dict()
    for key in sorted(state):
        shape = tuple(state[key].shape)
        values = _values(key, shape, rng.standard_normal(shape))
        state[key] = torch.as_tensor(np.asarray(values)).to(state[key].dtype)
    sam.load_state_dict(state, strict=True)
    return sam


def _values(key: str, shape: tuple[int, ...], x: NDArray[np.float64]) -> NDArray[np.float64]:
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape)
    if key.endswith("positional_encoding_gaussian_matrix"):
        return x
    if key.endswith("running_var"):
        return 1 + 0.1 * abs(x)
    if "rel_pos" in key or key.endswith("pos_embed"):
        return 0.2 * x
    if len(shape) == 1:
        return 1 + 0.1 * x if key.endswith(".weight") else 0.02 * x
    return x / np.sqrt(np.prod(shape[1:]))


def made_image(height: int, width: int) -> NDArray[np.uint8]:
    """Return a smooth coloured picture with a bright disc, without any file."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 / width, y * 255 / height, (x + y) % 64 * 2.0], axis=-1)
    image[np.hypot(y - height / 2, x - width / 3) < height / 4] = (230, 200, 120)
    return image.astype(np.uint8)
