"""The whole model: image encoder, prompt encoder and mask decoder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .automatic_thresholds import AutomaticThresholds
from .decoding import decode, offered
from .image_encoder import ImageEncoderViT
from .mask_decoder import MaskDecoder
from .prompt_encoder import PromptEncoder
from .tiny_vit import TinyViT
from .variants import VARIANTS, Variant, get_variant

__all__ = ["Sam", "build_sam", "sam_model_registry"]


class Sam(nn.Module):
    """Segment Anything.

    The three parts take and give float32; inside, each works in the precision of its weights.

    Parameters
    ----------
    variant : Variant
        Dimensions.

    References
    ----------
    .. [1] Kirillov et al., "Segment Anything", 2023. https://arxiv.org/abs/2304.02643
    """

    image_format = "RGB"
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.variant = variant
        self.mask_threshold = variant.mask_threshold
        self.automatic: AutomaticThresholds | None = None
        """For finding everything, where its weights were taught others than the variant has."""
        encoder = ImageEncoderViT if variant.encoder == "vit" else TinyViT
        self.image_encoder = encoder(variant)
        self.prompt_encoder = PromptEncoder(variant)
        self.mask_decoder = MaskDecoder(variant)
        for name, values in (("pixel_mean", variant.pixel_mean), ("pixel_std", variant.pixel_std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.pixel_mean.device

    def set_precision(self, dtype: torch.dtype, decoder: bool = True) -> Sam:
        """Let the image encoder, and the mask decoder unless not wanted, work in ``dtype``.

        Returns the model. The prompt encoder (but for what draws prompts, which goes with the
        decoder) and batch normalisation stay in float32: they cost nothing, and
        coordinates and statistics do not survive rounding.
        """
        if decoder:
            self.mask_decoder.to(dtype)
            for drawn in (self.prompt_encoder.prompt_maps, self.prompt_encoder.fine_prompts):
                if drawn is not None:
                    drawn.to(dtype)
        for module in self.image_encoder.modules():
            if not isinstance(module, nn.BatchNorm2d):
                for parameter in module.parameters(recurse=False):
                    parameter.data = parameter.data.to(dtype)
        return self

    @torch.no_grad()
    def forward(
        self, batched_input: list[dict[str, Any]], multimask_output: bool
    ) -> list[dict[str, Tensor]]:
        """Segment several images, each with several prompts.

        Parameters
        ----------
        batched_input : list of dict
            Per image: ``image`` (3, H, W), already resized to the frame; ``original_size`` (H, W);
            and, optionally, ``point_coords`` (B, N, 2) with ``point_labels`` (B, N), ``boxes``
            (B, 4), ``mask_inputs`` (B, 1, low_res, low_res), all in the resized image's (x, y)
            pixels.
        multimask_output : bool
            Three masks a prompt or one.

        Returns
        -------
        list of dict
            Per image: ``masks`` bool (B, masks, H, W), ``iou_predictions`` (B, masks) and
            ``low_res_logits`` (B, masks, low_res, low_res).
        """
        frames = torch.stack([self.preprocess(record["image"]) for record in batched_input])
        outputs = []
        for record, embedding in zip(batched_input, self.image_encoder(frames), strict=True):
            points = None
            if "point_coords" in record:
                points = (record["point_coords"], record["point_labels"])
            low_res, iou = decode(
                self,
                embedding.unsqueeze(0),
                points,
                record.get("boxes"),
                record.get("mask_inputs"),
                offered(multimask_output),
            )
            masks = self.postprocess_masks(
                low_res, record["image"].shape[-2:], record["original_size"]
            )
            outputs.append(
                {
                    "masks": masks > self.mask_threshold,
                    "iou_predictions": iou,
                    "low_res_logits": low_res,
                }
            )
        return outputs

    def preprocess(self, x: Tensor) -> Tensor:
        """Normalise (..., 3, H, W) pixels from 0-255 and pad to the frame, below and right."""
        x = (x - self.pixel_mean) / self.pixel_std
        size = self.image_encoder.img_size
        return F.pad(x, (0, size - x.shape[-1], 0, size - x.shape[-2]))

    def postprocess_masks(
        self, masks: Tensor, input_size: tuple[int, ...], original_size: tuple[int, ...]
    ) -> Tensor:
        """Bring low-resolution logits to the original image.

        Parameters
        ----------
        masks : Tensor
            (B, masks, low_res, low_res) logits.
        input_size : tuple of int
            (H, W) of the resized image in the frame, without padding.
        original_size : tuple of int
            (H, W) of the image before resizing.

        Returns
        -------
        Tensor
            (B, masks, H, W) logits.
        """
        size = self.image_encoder.img_size
        masks = F.interpolate(masks, (size, size), mode="bilinear", align_corners=False)
        masks = masks[..., : input_size[0], : input_size[1]]
        return F.interpolate(masks, tuple(original_size), mode="bilinear", align_corners=False)


def build_sam(variant: str | Variant = "vit_h", checkpoint: str | Path | None = None) -> Sam:
    """Build a model in evaluation mode.

    Parameters
    ----------
    variant : str or Variant
        A name in :data:`~src_model.variants.VARIANTS`, or dimensions of your own.
    checkpoint : path, optional
        Weights to load; random without.

    Raises
    ------
    ValueError
        If the variant is unknown, or the checkpoint is not one for this variant.

    Examples
    --------
    >>> sam = build_sam(Variant(image_size=64, depth=2, embed_dim=32, num_heads=2, out_chans=32,
    ...                         global_attn_indexes=(1,)))
    >>> sam.image_encoder(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 32, 4, 4])
    """
    sam = Sam(get_variant(variant)).eval()
    if checkpoint is not None:
        from .checkpoints import load_weights

        load_weights(sam, checkpoint)
    return sam


#: Builders by variant name, as scripts expect: ``sam_model_registry["vit_b"](checkpoint=path)``.
sam_model_registry: dict[str, Callable[..., Sam]] = {
    "default": partial(build_sam, "vit_h"),
    **{name: partial(build_sam, name) for name in VARIANTS},
}
