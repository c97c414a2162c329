"""Architectures: one frozen dataclass of dimensions and one table of the known variants."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["VARIANTS", "Variant", "get_variant"]


@dataclass(frozen=True)
class Variant:
    """Dimensions of one Segment Anything architecture.

    The defaults are those of the paper's smallest model, vit_b. Sequences are stored as tuples, so
    a variant read from JSON equals the one that was written.

    Parameters
    ----------
    name : str
        What the variant is called in the registry, in messages and in saved files.
    encoder : {"vit", "tiny_vit"}
        ``"vit"`` is the paper's MAE-style vision transformer, ``"tiny_vit"`` the hierarchical
        encoder that MobileSAM uses.
    image_size : int
        Side of the square frame the encoder sees, in pixels.
    patch_size : int
        Pixels of the frame per embedding position; the embedding is
        ``image_size / patch_size`` on a side. Always 16 for ``"tiny_vit"``.
    depth, embed_dim, num_heads, mlp_ratio, window_size, global_attn_indexes
        The ViT: number of blocks, width, heads, width of the MLP relative to ``embed_dim``, side of
        an attention window in patches, and the blocks that attend globally. Unused by
        ``"tiny_vit"``.
    stage_dims, stage_depths, stage_heads, stage_windows : tuple of int
        The TinyViT: width, blocks, heads and window side of each of its four stages. The first
        stage is convolutional, so its heads and window are not used. Unused by ``"vit"``.
    num_classes : int
        Outputs of the classifier that TinyViT's published weights carry along; 0 for none.
    out_chans : int
        Channels of the embedding, and width of the prompt encoder and mask decoder.
    mask_in_chans : int
        Hidden channels of the convolutions that read a mask prompt.
    prompt_map_dim : int
        Hidden width of the network that draws points and boxes onto the embedding's grid; 0 for
        none, as in the published models.
    detail_dim : int
        Channels of fine features, at a quarter of the frame, that a ``"tiny_vit"`` encoder hands to
        the decoder for sharp outlines; 0 for none, as in the published models. They lie in the
        embedding's last ``16 * detail_dim`` channels, 4 x 4 of them at each position.
    refine_dim : int
        Width of the convolutions that look once more at each pixel of a mask, at a quarter of the
        frame, with the prompts drawn beside it; a multiple of 2. 0 for none, as in the published
        models.
    part_size : int
        Side, in positions, of the part of the embedding around a prompt that the decoder looks at
        first: see :mod:`src_model.decoding`. 0 for always the whole, as in the published models.
    decoder_depth, decoder_mlp_dim, decoder_heads
        The two-way transformer: layers, MLP width, heads.
    iou_head_depth, iou_head_hidden_dim
        The MLP that predicts each mask's IoU.
    num_multimask_outputs : int
        Masks offered for an ambiguous prompt (the single-mask token comes on top).
    pixel_mean, pixel_std : tuple of float
        Per-channel (R, G, B) normalisation on the 0-255 scale.
    mask_threshold : float
        Logit above which a pixel belongs to the mask.

    Raises
    ------
    ValueError
        If the dimensions do not fit together; the sentence names the field.

    References
    ----------
    .. [1] Kirillov et al., "Segment Anything", 2023, appendix A. https://arxiv.org/abs/2304.02643
    .. [2] Zhang et al., "Faster Segment Anything" (MobileSAM), 2023. https://arxiv.org/abs/2306.14289

    Examples
    --------
    >>> tiny = Variant(image_size=256, depth=4, embed_dim=64, num_heads=4, out_chans=32,
    ...                global_attn_indexes=(1, 3))
    >>> tiny.grid_size
    16
    """

    name: str = "custom"
    encoder: Literal["vit", "tiny_vit"] = "vit"
    image_size: int = 1024
    patch_size: int = 16
    depth: int = 12
    embed_dim: int = 768
    num_heads: int = 12
    mlp_ratio: float = 4.0
    window_size: int = 14
    global_attn_indexes: tuple[int, ...] = (2, 5, 8, 11)
    stage_dims: tuple[int, ...] = (64, 128, 160, 320)
    stage_depths: tuple[int, ...] = (2, 2, 6, 2)
    stage_heads: tuple[int, ...] = (2, 4, 5, 10)
    stage_windows: tuple[int, ...] = (7, 7, 14, 7)
    num_classes: int = 1000
    out_chans: int = 256
    mask_in_chans: int = 16
    prompt_map_dim: int = 0
    detail_dim: int = 0
    refine_dim: int = 0
    part_size: int = 0
    decoder_depth: int = 2
    decoder_mlp_dim: int = 2048
    decoder_heads: int = 8
    iou_head_depth: int = 3
    iou_head_hidden_dim: int = 256
    num_multimask_outputs: int = 3
    pixel_mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    pixel_std: tuple[float, ...] = (58.395, 57.12, 57.375)
    mask_threshold: float = 0.0

    def __post_init__(self) -> None:
        for field, value in asdict(self).items():
            if isinstance(value, list):
                object.__setattr__(self, field, tuple(value))
        if self.encoder not in ("vit", "tiny_vit"):
            raise ValueError(f"encoder must be 'vit' or 'tiny_vit', not {self.encoder!r}.")
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size {self.image_size} must be a multiple of patch_size {self.patch_size}."
            )
        # The attention inside the decoder works at half the embedding's width.
        if self.out_chans % (2 * self.decoder_heads) or self.out_chans % 8:
            raise ValueError(
                f"out_chans {self.out_chans} must be a multiple of 8 and of twice decoder_heads "
                f"({self.decoder_heads})."
            )
        if self.mask_in_chans % 4:
            raise ValueError(f"mask_in_chans {self.mask_in_chans} must be a multiple of 4.")
        if self.detail_dim and self.encoder != "tiny_vit":
            raise ValueError("detail_dim needs a tiny_vit encoder: set it to 0, or the encoder.")
        if self.refine_dim % 2:
            raise ValueError(f"refine_dim {self.refine_dim} must be a multiple of 2.")
        if not 0 <= self.part_size <= self.grid_size:
            raise ValueError(
                f"part_size {self.part_size} must lie between 0 and the embedding's side, "
                f"{self.grid_size}."
            )
        if self.encoder == "vit":
            self._check_vit()
        else:
            self._check_tiny_vit()

    def _check_vit(self) -> None:
        if self.embed_dim % self.num_heads:
            raise ValueError(
                f"embed_dim {self.embed_dim} must be a multiple of num_heads {self.num_heads}."
            )
        if any(not 0 <= i < self.depth for i in self.global_attn_indexes):
            raise ValueError(
                f"global_attn_indexes {self.global_attn_indexes} must lie between 0 and "
                f"depth - 1 = {self.depth - 1}."
            )

    def _check_tiny_vit(self) -> None:
        if self.patch_size != 16:
            raise ValueError(f"a tiny_vit encoder has patch_size 16, not {self.patch_size}.")
        stages = (self.stage_dims, self.stage_depths, self.stage_heads, self.stage_windows)
        if any(len(stage) != 4 for stage in stages):
            raise ValueError("stage_dims, stage_depths, stage_heads, stage_windows need 4 entries.")
        for dim, heads in list(zip(self.stage_dims, self.stage_heads, strict=True))[1:]:
            if dim % heads:
                raise ValueError(f"stage width {dim} must be a multiple of its {heads} heads.")

    @property
    def grid_size(self) -> int:
        """Side of the embedding, in positions."""
        return self.image_size // self.patch_size

    @property
    def embedding_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of an image's embedding, fine features included."""
        return self.out_chans + 16 * self.detail_dim, self.grid_size, self.grid_size

    @property
    def low_res_size(self) -> int:
        """Side of the low-resolution mask logits, in pixels: four per embedding position."""
        return 4 * self.grid_size

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready dict; ``Variant(**d)`` gives the variant back."""
        return asdict(self)


VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(
            name="vit_h",
            depth=32,
            embed_dim=1280,
            num_heads=16,
            global_attn_indexes=(7, 15, 23, 31),
        ),
        Variant(
            name="vit_l",
            depth=24,
            embed_dim=1024,
            num_heads=16,
            global_attn_indexes=(5, 11, 17, 23),
        ),
        Variant(name="vit_b"),
        Variant(name="vit_t", encoder="tiny_vit"),
        Variant(
            name="vit_nano",
            encoder="tiny_vit",
            stage_dims=(32, 64, 128, 192),
            stage_depths=(1, 2, 4, 2),
            stage_heads=(1, 2, 4, 6),
            stage_windows=(8, 8, 16, 8),
            num_classes=0,
            out_chans=128,
            decoder_mlp_dim=512,
            iou_head_hidden_dim=128,
            prompt_map_dim=64,
            detail_dim=8,
            refine_dim=16,
            part_size=20,
        ),
    )
}


def get_variant(variant: str | Variant) -> Variant:
    """Return a variant given by name, or the variant itself.

    Raises
    ------
    ValueError
        If the name is not in :data:`VARIANTS`.

    Examples
    --------
    >>> get_variant("vit_h").depth
    32
    """
    if isinstance(variant, Variant):
        return variant
    if variant not in VARIANTS:
        raise ValueError(f"Unknown variant {variant!r}: choose one of {', '.join(VARIANTS)}.")
    return VARIANTS[variant]
