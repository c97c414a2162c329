"""Pictures of the objects that a model outlines worst."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.finetune.drawing import PREDICTION_COLOUR, TRUTH_COLOUR, crop_around

if TYPE_CHECKING:
    from src_model.training.evaluation.prompted import Trace
    from src_model.training.pictures import Picture

__all__ = ["WorstCase", "draw_case"]

SIDE = 320
"""Longer side of a drawn crop, in pixels."""


@dataclass(frozen=True)
class WorstCase:
    """An object that was outlined badly, drawn.

    Attributes
    ----------
    picture : str
        Name of the picture it is from.
    row, col : int
        Its first click, in pixels.
    area : int
        Its pixels.
    ious : tuple of float
        IoU of the mask shown after each click.
    drawing : ndarray
        uint8 RGB.
    """

    picture: str
    row: int
    col: int
    area: int
    ious: tuple[float, ...]
    drawing: np.ndarray


def draw_case(picture: Picture, trace: Trace) -> WorstCase:
    """Draw an object's surroundings, its true and its predicted outline, and the clicks.

    Parameters
    ----------
    picture : Picture
        Where the object is.
    trace : Trace
        What happened to it.

    Returns
    -------
    WorstCase
        The truth is outlined in `TRUTH_COLOUR`, the mask shown after the last click in
        `PREDICTION_COLOUR`; clicks are numbered dots, green on the object and red beside it. The
        crop's contrast is stretched.
    """
    truth = picture.objects.items[trace.index]
    crop = crop_around(picture.image, truth, trace.clicks, SIDE)
    drawn = (
        crop.with_outline(truth, TRUTH_COLOUR)
        .with_outline(trace.mask, PREDICTION_COLOUR)
        .with_clicks(trace.clicks)
    )
    first = trace.clicks[0]
    return WorstCase(picture.name, first.y, first.x, truth.area, trace.ious, drawn.drawing)
