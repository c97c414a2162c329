"""Our weights under the names that `transformers` gives them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from torch import Tensor

from src_model import Sam, Variant

if TYPE_CHECKING:
    from transformers import SamModel

_RENAMED = (
    (r"^image_encoder\.", "vision_encoder."),
    (r"vision_encoder\.blocks\.", "vision_encoder.layers."),
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"neck\.0\.", "neck.conv1."),
    (r"neck\.1\.", "neck.layer_norm1."),
    (r"neck\.2\.", "neck.conv2."),
    (r"neck\.3\.", "neck.layer_norm2."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
    (r"prompt_encoder\.point_embeddings\.", "prompt_encoder.point_embed."),
    (r"mask_downscaling\.0\.", "mask_embed.conv1."),
    (r"mask_downscaling\.1\.", "mask_embed.layer_norm1."),
    (r"mask_downscaling\.3\.", "mask_embed.conv2."),
    (r"mask_downscaling\.4\.", "mask_embed.layer_norm2."),
    (r"mask_downscaling\.6\.", "mask_embed.conv3."),
    (r"output_upscaling\.0\.", "upscale_conv1."),
    (r"output_upscaling\.1\.", "upscale_layer_norm."),
    (r"output_upscaling\.3\.", "upscale_conv2."),
    (r"(mlps\.\d|iou_prediction_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(mlps\.\d|iou_prediction_head)\.layers\.1\.", r"\1.layers.0."),
    (r"(mlps\.\d|iou_prediction_head)\.layers\.2\.", r"\1.proj_out."),
)
_POSITIONS = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"


def transformers_state_dict(sam: Sam) -> dict[str, Tensor]:
    """Return the model's weights with the keys of ``transformers.SamModel``."""
    renamed = {}
    for key, tensor in sam.state_dict().items():
        if key == _POSITIONS:
            renamed["shared_image_embedding.positional_embedding"] = tensor
            renamed["prompt_encoder.shared_embedding.positional_embedding"] = tensor
            continue
        name = key
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def transformers_model(sam: Sam) -> SamModel:
    """Build ``transformers.SamModel`` with the dimensions and weights of our model."""
    from transformers import SamConfig, SamModel

    v: Variant = sam.variant
    config = SamConfig(
        vision_config={
            "hidden_size": v.embed_dim,
            "output_channels": v.out_chans,
            "num_hidden_layers": v.depth,
            "num_attention_heads": v.num_heads,
            "image_size": v.image_size,
            "patch_size": v.patch_size,
            "window_size": v.window_size,
            "global_attn_indexes": list(v.global_attn_indexes),
            "mlp_dim": int(v.embed_dim * v.mlp_ratio),
            "num_pos_feats": v.out_chans // 2,
        },
        prompt_encoder_config={
            "hidden_size": v.out_chans,
            "image_size": v.image_size,
            "patch_size": v.patch_size,
            "mask_input_channels": v.mask_in_chans,
        },
        mask_decoder_config={
            "hidden_size": v.out_chans,
            "mlp_dim": v.decoder_mlp_dim,
            "num_hidden_layers": v.decoder_depth,
            "num_attention_heads": v.decoder_heads,
            "num_multimask_outputs": v.num_multimask_outputs,
            "iou_head_depth": v.iou_head_depth,
            "iou_head_hidden_dim": v.iou_head_hidden_dim,
        },
    )
    model = SamModel(config).eval()
    model.load_state_dict(transformers_state_dict(sam), strict=True)
    return model
