"""Thresholds that suit a model: for what is kept, and for what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam.segment.image import SINGLE_MASK_VARIANTS, automatic_thresholds

from .clicking import RawThresholds
from .filtering import Thresholds

if TYPE_CHECKING:
    from src_model import Sam
    from src_model.automatic_thresholds import AutomaticThresholds

__all__ = ["default_thresholds", "raw_thresholds", "thresholds_of"]

_MARGIN = 0.2
"""How much less is asked of raw candidates than of objects: the room of a slider."""


def default_thresholds(
    sam: Sam, sizes: tuple[float | None, float | None] = (None, None)
) -> Thresholds:
    """Return the thresholds that give the best objects of a model."""
    return thresholds_of(sam.variant.name, sam.automatic, sizes)


def thresholds_of(
    variant: str,
    own: AutomaticThresholds | None = None,
    sizes: tuple[float | None, float | None] = (None, None),
) -> Thresholds:
    """Return the thresholds for a variant, or those that were found best for some weights.

    Examples
    --------
    >>> thresholds_of("vit_b", sizes=(8, None))  # doctest: +NORMALIZE_WHITESPACE
    Thresholds(predicted_iou=0.88, stability=0.95, overlap=0.7, joining=0.6, smallest=8,
               largest=None, nested=True, stitch=True)
    """
    best = automatic_thresholds(variant, own)
    return Thresholds(
        best.predicted_iou,
        best.stability,
        best.overlap,
        smallest=sizes[0],
        largest=sizes[1],
        nested=variant not in SINGLE_MASK_VARIANTS,
    )


def raw_thresholds(sam: Sam) -> RawThresholds:
    """Return the thresholds from which on candidates are kept."""
    best = automatic_thresholds(sam.variant.name, sam.automatic)
    return RawThresholds(
        round(max(0.0, best.predicted_iou - _MARGIN), 6),
        round(max(0.0, best.stability - _MARGIN), 6),
    )
