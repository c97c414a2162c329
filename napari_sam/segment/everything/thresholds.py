"""Thresholds that suit a model: for what is kept, and for what is shown."""

from __future__ import annotations

from napari_sam.segment.image import (
    AUTOMATIC_THRESHOLDS,
    DEFAULT_THRESHOLDS,
    SINGLE_MASK_VARIANTS,
)
from napari_sam.tiles.store import ModelInfo

from .clicking import RawThresholds
from .filtering import Thresholds

__all__ = ["default_thresholds", "raw_thresholds"]

_MARGIN = 0.2
"""How much less is asked of raw candidates than of objects: the room of a slider."""


def default_thresholds(
    model: ModelInfo, sizes: tuple[float | None, float | None] = (None, None)
) -> Thresholds:
    """Return the thresholds that give the best objects.

    Examples
    --------
    >>> default_thresholds(ModelInfo("0" * 64, {"name": "vit_b"}, (256, 64, 64)), (8, None))
    ... # doctest: +NORMALIZE_WHITESPACE
    Thresholds(predicted_iou=0.88, stability=0.95, overlap=0.7, joining=0.6, smallest=8,
               largest=None, nested=True, stitch=True)
    """
    predicted_iou, stability, overlap = _of(model)
    nested = model.variant.get("name") not in SINGLE_MASK_VARIANTS
    return Thresholds(
        predicted_iou,
        stability,
        overlap,
        smallest=sizes[0],
        largest=sizes[1],
        nested=nested,
    )


def raw_thresholds(model: ModelInfo) -> RawThresholds:
    """Return the thresholds from which on candidates are kept."""
    predicted_iou, stability, _ = _of(model)
    return RawThresholds(
        round(max(0.0, predicted_iou - _MARGIN), 6), round(max(0.0, stability - _MARGIN), 6)
    )


def _of(model: ModelInfo) -> tuple[float, float, float]:
    return AUTOMATIC_THRESHOLDS.get(str(model.variant.get("name")), DEFAULT_THRESHOLDS)
