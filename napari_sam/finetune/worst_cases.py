"""Pictures of the objects that a model outlines worst."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

if TYPE_CHECKING:
    from src_model.training.evaluation.prompted import Trace
    from src_model.training.pictures import Picture

__all__ = ["WorstCase", "draw_case", "png_data_uri"]

SIDE = 320
"""Longer side of a drawn crop, in pixels."""

SURROUNDINGS = 1.0
"""How much is shown on each side of an object, as a part of its longer side."""

LEAST_SURROUNDINGS = 12
"""The same in pixels, for small objects."""

RADIUS = 8
"""Of the dot that is a click, in pixels of the drawing."""

TRUTH_COLOUR = (0, 213, 255)
PREDICTION_COLOUR = (255, 176, 0)
CLICK_COLOURS = {True: (30, 170, 70), False: (215, 40, 60)}


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
    across, down = [click.x for click in trace.clicks], [click.y for click in trace.clicks]
    margin = max(LEAST_SURROUNDINGS, int(SURROUNDINGS * max(truth.mask.shape)))
    rows, cols = (
        slice(max(0, min(part.start - margin, *at)), min(side, max(part.stop + margin, *at)))
        for part, at, side in zip(truth.window, (down, across), picture.objects.shape, strict=True)
    )
    crop = _stretched(picture.image[rows, cols])
    scale = SIDE / max(crop.shape[:2])
    height, width = (max(1, round(scale * side)) for side in crop.shape[:2])
    drawing = np.array(Image.fromarray(crop).resize((width, height), Image.Resampling.BICUBIC))
    for mask, colour in ((truth, TRUTH_COLOUR), (trace.mask, PREDICTION_COLOUR)):
        inside = mask.inside(rows, cols)
        enlarged = np.array(
            Image.fromarray(inside).resize((width, height), Image.Resampling.NEAREST)
        )
        drawing[_outline(enlarged)] = colour
    canvas = Image.fromarray(drawing)
    pen = ImageDraw.Draw(canvas)
    for number, click in enumerate(trace.clicks, start=1):
        x, y = (click.x - cols.start + 0.5) * scale, (click.y - rows.start + 0.5) * scale
        dot = (x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS)
        pen.ellipse(dot, fill=CLICK_COLOURS[click.foreground], outline="white", width=1)
        pen.text((x, y), str(number), fill="white", anchor="mm")
    first = trace.clicks[0]
    return WorstCase(picture.name, first.y, first.x, truth.area, trace.ious, np.array(canvas))


def png_data_uri(image: np.ndarray) -> str:
    """Encode a uint8 RGB picture so that it can stand in a page.

    Examples
    --------
    >>> png_data_uri(np.zeros((1, 1, 3), np.uint8))[:32]
    'data:image/png;base64,iVBORw0KGg'
    """
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _stretched(crop: np.ndarray) -> np.ndarray:
    """Stretch a crop so that its darkest pixels are black and its brightest white."""
    low, high = np.percentile(crop, (0.5, 99.5))
    stretched = (crop.astype(float) - low) * (255 / max(1.0, high - low))
    return np.clip(stretched + 0.5, 0, 255).astype(np.uint8)


def _outline(mask: np.ndarray) -> np.ndarray:
    """Mark the outer two pixels of a mask; where the crop ends there is no outline."""
    return mask & ~ndimage.binary_erosion(mask, iterations=2, border_value=1)
