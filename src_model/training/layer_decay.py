"""Layers counted from the input, for learning rates that fall towards it."""

from __future__ import annotations

from ..sam import Sam

__all__ = ["layer_ids"]


def layer_ids(sam: Sam) -> dict[str, int]:
    """Return the layer of every parameter, counted from the image.

    Patch embedding (or stem) and positions are layer 0, the encoder's blocks follow one by one,
    and its neck, the prompt encoder and the mask decoder are the last layer together. A TinyViT's
    reduction between stages belongs to the block before it.

    Parameters
    ----------
    sam : Sam
        The network, with or without adapters.

    Returns
    -------
    dict of str to int
        By the names of ``sam.named_parameters()``. With layer-wise decay ``d`` a parameter learns
        at ``d ** (last - layer)`` times the full rate.

    References
    ----------
    .. [1] Clark et al., "ELECTRA", 2020, appendix B. https://arxiv.org/abs/2003.10555
    .. [2] Bao et al., "BEiT", 2021, appendix H. https://arxiv.org/abs/2106.08254

    Examples
    --------
    >>> from src_model import build_sam
    >>> ids = layer_ids(build_sam("vit_nano"))
    >>> ids["image_encoder.layers.1.blocks.0.attn.qkv.weight"], max(ids.values())
    (2, 10)
    """
    variant = sam.variant
    vit = variant.encoder == "vit"
    depths = (variant.depth,) if vit else variant.stage_depths
    last = sum(depths) + 1
    ids = {}
    for name, _ in sam.named_parameters():
        parts = name.split(".")
        if parts[0] != "image_encoder":
            ids[name] = last
        elif parts[1] in ("patch_embed", "pos_embed"):
            ids[name] = 0
        elif parts[1] == "blocks":
            ids[name] = int(parts[2]) + 1
        elif parts[1] == "layers":
            stage = int(parts[2])
            block = int(parts[4]) if parts[3] == "blocks" else depths[stage] - 1
            ids[name] = sum(depths[:stage]) + block + 1
        else:
            ids[name] = last
    return ids
