"""Pictures of the objects whose masks a new model has improved or worsened most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.finetune.drawing import PREDICTION_COLOUR, TRUTH_COLOUR, crop_around
from src_model.training.evaluation.clicks import Click, first_click

if TYPE_CHECKING:
    from src_model.training.pictures import ObjectMask, Picture

__all__ = ["ChangedObject", "Extremes", "MaskPair", "draw_before_after", "draw_changed"]

SIDE = 240
"""Longer side of each of the three parts of a drawing, in pixels."""

GAP = 6
"""Between two of them."""


@dataclass(frozen=True)
class MaskPair:
    """Two masks of one object, after one click.

    Attributes
    ----------
    picture, index : int
        Which picture, and which object of it.
    before, after : ObjectMask
        The masks shown.
    iou_before, iou_after : float
        Their IoU with the truth.
    """

    picture: int
    index: int
    before: ObjectMask
    after: ObjectMask
    iou_before: float
    iou_after: float

    @property
    def gain(self) -> float:
        """IoU after minus IoU before."""
        return self.iou_after - self.iou_before


class Extremes:
    """The objects that changed most so far; masks of the others are not kept.

    Parameters
    ----------
    count : int
        How many to keep of each.

    Attributes
    ----------
    improved, worsened : list of MaskPair
        The most changed first; none that did not change.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.improved: list[MaskPair] = []
        self.worsened: list[MaskPair] = []

    def add(self, pair: MaskPair) -> None:
        """Look at one more object."""
        if pair.gain > 0:
            more = sorted([*self.improved, pair], key=lambda each: -each.gain)
            self.improved = more[: self.count]
        elif pair.gain < 0:
            less = sorted([*self.worsened, pair], key=lambda each: each.gain)
            self.worsened = less[: self.count]


@dataclass(frozen=True)
class ChangedObject:
    """An object and its masks before and after, drawn.

    Attributes
    ----------
    picture : str
        Name of the picture it is from.
    row, col : int
        The click, in pixels.
    area : int
        Its pixels.
    iou_before, iou_after : float
        IoU of the mask shown after the click.
    drawing : ndarray
        uint8 RGB: the truth, the mask before, the mask after, side by side.
    """

    picture: str
    row: int
    col: int
    area: int
    iou_before: float
    iou_after: float
    drawing: np.ndarray

    @property
    def caption(self) -> str:
        """What to write below the drawing."""
        return (
            f"{self.picture}, row {self.row}, column {self.col}, {self.area} px: "
            f"IoU {self.iou_before:.2f} before, {self.iou_after:.2f} after"
        )


def draw_changed(picture: Picture, pair: MaskPair) -> ChangedObject:
    """Draw an object of a picture with its masks before and after."""
    truth = picture.objects.items[pair.index]
    click = first_click(truth)
    return ChangedObject(
        picture.name,
        click.y,
        click.x,
        truth.area,
        pair.iou_before,
        pair.iou_after,
        draw_before_after(picture.image, truth, pair.before, pair.after, click),
    )


def draw_before_after(
    image: np.ndarray,
    truth: ObjectMask,
    before: ObjectMask,
    after: ObjectMask,
    click: Click,
    side: int = SIDE,
) -> np.ndarray:
    """Draw truth, the mask before, and the mask after, side by side.

    Parameters
    ----------
    image : ndarray
        (H, W, 3) uint8 RGB.
    truth, before, after : ObjectMask
        One object; the masks may be empty.
    click : Click
        That was answered.
    side : int
        Longer side of each part in pixels.

    Returns
    -------
    ndarray
        uint8 RGB. The truth is outlined in `TRUTH_COLOUR` in all three, the masks in
        `PREDICTION_COLOUR`; the surroundings' contrast is stretched.
    """
    crop = crop_around(image, truth, [click], side)
    outlined = crop.with_outline(truth, TRUTH_COLOUR)
    parts = [
        outlined.drawing,
        *(
            outlined.with_outline(mask, PREDICTION_COLOUR).with_clicks([click]).drawing
            for mask in (before, after)
        ),
    ]
    height, width = crop.drawing.shape[:2]
    drawing = np.full((height, 3 * width + 2 * GAP, 3), 128, np.uint8)
    for number, part in enumerate(parts):
        left = number * (width + GAP)
        drawing[:, left : left + width] = part
    return drawing
