"""Crops of pictures with outlines and clicks drawn into them, for people to look at."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

if TYPE_CHECKING:
    from src_model.training.evaluation.clicks import Click
    from src_model.training.pictures import ObjectMask

__all__ = [
    "CLICK_COLOURS",
    "PREDICTION_COLOUR",
    "TRUTH_COLOUR",
    "Crop",
    "crop_around",
    "png_data_uri",
]

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
class Crop:
    """A part of a picture, enlarged, with stretched contrast.

    Attributes
    ----------
    rows, cols : slice
        The part.
    drawing : ndarray
        uint8 RGB.
    """

    rows: slice
    cols: slice
    drawing: np.ndarray

    @property
    def scale(self) -> float:
        """Pixels of the drawing per pixel of the picture."""
        return max(self.drawing.shape[:2]) / max(
            self.rows.stop - self.rows.start, self.cols.stop - self.cols.start
        )

    def with_outline(self, mask: ObjectMask, colour: tuple[int, int, int]) -> Crop:
        """Draw the outline of a mask of the picture; an empty one leaves no trace."""
        height, width = self.drawing.shape[:2]
        inside = Image.fromarray(mask.inside(self.rows, self.cols))
        enlarged = np.array(inside.resize((width, height), Image.Resampling.NEAREST))
        drawing = self.drawing.copy()
        drawing[_outline(enlarged)] = colour
        return Crop(self.rows, self.cols, drawing)

    def with_clicks(self, clicks: Sequence[Click]) -> Crop:
        """Draw clicks as numbered dots, green on the object and red beside it."""
        canvas = Image.fromarray(self.drawing)
        pen = ImageDraw.Draw(canvas)
        for number, click in enumerate(clicks, start=1):
            x = (click.x - self.cols.start + 0.5) * self.scale
            y = (click.y - self.rows.start + 0.5) * self.scale
            dot = (x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS)
            pen.ellipse(dot, fill=CLICK_COLOURS[click.foreground], outline="white", width=1)
            pen.text((x, y), str(number), fill="white", anchor="mm")
        return Crop(self.rows, self.cols, np.array(canvas))


def crop_around(image: np.ndarray, truth: ObjectMask, clicks: Sequence[Click], side: int) -> Crop:
    """Cut an object and its surroundings out of a picture.

    Parameters
    ----------
    image : ndarray
        (H, W, 3) uint8 RGB.
    truth : ObjectMask
        The object.
    clicks : sequence of Click
        All are inside the crop.
    side : int
        Longer side of the drawing in pixels.

    Returns
    -------
    Crop
    """
    across, down = [click.x for click in clicks], [click.y for click in clicks]
    margin = max(LEAST_SURROUNDINGS, int(SURROUNDINGS * max(truth.mask.shape)))
    rows, cols = (
        slice(max(0, min(part.start - margin, *at)), min(length, max(part.stop + margin, *at)))
        for part, at, length in zip(truth.window, (down, across), image.shape[:2], strict=True)
    )
    crop = _stretched(image[rows, cols])
    scale = side / max(crop.shape[:2])
    height, width = (max(1, round(scale * length)) for length in crop.shape[:2])
    enlarged = Image.fromarray(crop).resize((width, height), Image.Resampling.BICUBIC)
    return Crop(rows, cols, np.array(enlarged))


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
