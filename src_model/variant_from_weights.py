"""Finding the architecture a set of weights belongs to, from its keys and shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt
from typing import Any

from torch import Tensor

from .errors import CheckpointError
from .variants import VARIANTS, Variant

__all__ = ["find_variant"]


def find_variant(state_dict: Mapping[str, Tensor]) -> Variant:
    """Find the variant whose network has these keys and shapes.

    Some fields leave no trace in the weights: `decoder_heads`, `part_size`, the normalisation,
    `mask_threshold`, and the `image_size` of a TinyViT. They are taken from the table's variant
    that agrees in everything else, and from the defaults of `Variant` where none does; files
    written by `save_checkpoint` say them outright. A ViT without windowed blocks is given the
    default `window_size`, which nothing uses then.

    Parameters
    ----------
    state_dict : mapping of str to Tensor
        Weights under the official keys, on any device ("meta" included).

    Returns
    -------
    Variant
        One of `VARIANTS`, or a new one named ``"custom"``.

    Raises
    ------
    CheckpointError
        If these are not the weights of a Segment Anything model.

    Examples
    --------
    >>> import torch
    >>> find_variant({"conv1.weight": torch.zeros(3, 3)})
    Traceback (most recent call last):
        ...
    src_model.errors.CheckpointError: These are not the weights of a Segment Anything model: ...
    """
    shapes = {key: tuple(tensor.shape) for key, tensor in state_dict.items()}
    try:
        encoder = _vit if "image_encoder.pos_embed" in shapes else _tiny_vit
        fields = encoder(shapes) | _decoder(shapes)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        missing = f"they lack {error}" if isinstance(error, KeyError) else "a shape makes no sense"
        raise CheckpointError(
            f"These are not the weights of a Segment Anything model: {missing} (the first of their "
            f"{len(shapes)} keys are {', '.join(list(shapes)[:3]) or 'none'})."
        ) from error
    for variant in VARIANTS.values():
        if all(getattr(variant, field) == value for field, value in fields.items()):
            return variant
    try:
        return Variant(**fields)
    except ValueError as error:
        raise CheckpointError(
            f"These weights do not fit the default variant ({str(error).rstrip('.')}): pass their "
            f"Variant explicitly."
        ) from error


def _vit(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Read the fields of a plain ViT encoder."""
    prefix = "image_encoder."
    _, grid, _, embed_dim = shapes[prefix + "pos_embed"]
    patch_size = shapes[prefix + "patch_embed.proj.weight"][-1]
    depth = _count(shapes, prefix + "blocks")
    tables = [shapes[f"{prefix}blocks.{i}.attn.rel_pos_h"] for i in range(depth)]
    # One row for each offset between two positions: 2 * side - 1 of them.
    sides = [(rows + 1) // 2 for rows, _ in tables]
    windows = [side for side in sides if side != grid]
    fields: dict[str, Any] = {
        "encoder": "vit",
        "image_size": grid * patch_size,
        "patch_size": patch_size,
        "depth": depth,
        "embed_dim": embed_dim,
        "num_heads": embed_dim // tables[0][1],
        "mlp_ratio": shapes[prefix + "blocks.0.mlp.lin1.weight"][0] / embed_dim,
        "global_attn_indexes": tuple(i for i, side in enumerate(sides) if side == grid),
        "out_chans": shapes[prefix + "neck.0.weight"][0],
    }
    return fields | ({"window_size": windows[0]} if windows else {})


def _tiny_vit(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Read the fields of a TinyViT encoder."""
    prefix = "image_encoder."
    stage = [f"{prefix}layers.{i}.blocks" for i in range(4)]
    dims = [shapes[stage[0] + ".0.conv3.c.weight"][0]]
    dims += [shapes[stage[i] + ".0.attn.norm.weight"][0] for i in (1, 2, 3)]
    biases = [shapes[stage[i] + ".0.attn.attention_biases"] for i in (1, 2, 3)]
    heads = [bias[0] for bias in biases]
    windows = [isqrt(bias[1]) for bias in biases]
    return {
        "encoder": "tiny_vit",
        "stage_dims": tuple(dims),
        "stage_depths": tuple(_count(shapes, blocks) for blocks in stage),
        # The first stage has neither heads nor windows; the table continues the second one's
        # downwards.
        "stage_heads": (max(1, dims[0] * heads[0] // dims[1]), *heads),
        "stage_windows": (windows[0], *windows),
        "out_chans": shapes[prefix + "neck.0.weight"][0],
        "detail_dim": shapes.get(prefix + "detail.out.weight", (0,))[0],
    }


def _decoder(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Read the fields of the prompt encoder and the mask decoder."""
    prefix = "mask_decoder."
    return {
        "mask_in_chans": shapes["prompt_encoder.mask_downscaling.3.weight"][0],
        "prompt_map_dim": _prompt_map_dim(shapes),
        "refine_dim": shapes.get(prefix + "refinement.first.weight", (0,))[0],
        "decoder_depth": _count(shapes, prefix + "transformer.layers"),
        "decoder_mlp_dim": shapes[prefix + "transformer.layers.0.mlp.lin1.weight"][0],
        "iou_head_depth": _count(shapes, prefix + "iou_prediction_head.layers"),
        "iou_head_hidden_dim": shapes[prefix + "iou_prediction_head.layers.0.weight"][0],
        "num_multimask_outputs": shapes[prefix + "mask_tokens.weight"][0] - 1,
    }


def _prompt_map_dim(shapes: dict[str, tuple[int, ...]]) -> int:
    """Return the width of the prompt maps' network, 0 without one."""
    return shapes.get("prompt_encoder.prompt_maps.layers.0.weight", (0,))[0]


def _count(shapes: dict[str, tuple[int, ...]], prefix: str) -> int:
    """Return how many numbered modules there are under `prefix`."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    return len({match[1] for key in shapes if (match := pattern.match(key))})
