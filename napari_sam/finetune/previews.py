"""A few objects of the hold-out as pictures: the truth, the model before training, and now."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from napari_sam.files.outputs import write_png, written_together
from src_model import Sam
from src_model.training.evaluation.clicks import Click, first_click
from src_model.training.evaluation.conversation import Conversation, answer_clicks
from src_model.training.evaluation.encoded import EncodedPicture
from src_model.training.pictures import ObjectMask, PictureSource

__all__ = ["Previews"]

ROWS = 6
"""Objects shown at most."""

CELL = 240
"""Side of one picture, in pixels."""

# An object is shown with so much around it, relative to its longer side; at least so many pixels.
_CONTEXT, _LEAST = 2.5, 48
_MARGIN, _HEAD = 6, 28

_TRUTH_COLOUR, _MASK_COLOUR, _CLICK_COLOUR = (255, 190, 11), (0, 200, 255), (40, 205, 80)


@dataclass(frozen=True)
class _Shown:
    """One object, what was clicked, and what the model made of it before training."""

    place: int
    index: int
    window: tuple[slice, slice]
    before: tuple[ObjectMask, float]


class Previews:
    """Rows of pictures of some objects, the same ones every time.

    Parameters
    ----------
    pictures : PictureSource
        The hold-out; objects are chosen from pictures spread evenly over it.
    base : Sam
        The model before training; only used now.
    """

    def __init__(self, pictures: PictureSource, base: Sam) -> None:
        self._pictures = pictures
        self._shown: list[_Shown] = []
        for place, indices in _choose(pictures).items():
            picture = pictures[place]
            answers = _answer(base, pictures, place, indices)
            for index, before in zip(indices, answers, strict=True):
                window = _window(picture.objects.items[index], picture.objects.shape)
                self._shown.append(_Shown(place, index, window, before))

    def draw(self, sam: Sam, step: int) -> np.ndarray:
        """Draw the image, the truth's outline, and the mask after one click, before and now.

        Parameters
        ----------
        sam : Sam
            The model as it is now.
        step : int
            Steps made, for the heading.

        Returns
        -------
        ndarray
            uint8 RGB of shape (row, col, 3).
        """
        width = 4 * CELL + 5 * _MARGIN
        canvas = Image.new("RGB", (width, _HEAD + len(self._shown) * (CELL + _MARGIN)), "white")
        drawing, font = ImageDraw.Draw(canvas), ImageFont.load_default(15)
        for column, title in enumerate(("image", "truth", "before", f"after {step} steps")):
            drawing.text((_MARGIN + column * (CELL + _MARGIN), 5), title, "black", font)
        top = _HEAD
        for place in dict.fromkeys(shown.place for shown in self._shown):
            rows = [shown for shown in self._shown if shown.place == place]
            now = _answer(sam, self._pictures, place, [shown.index for shown in rows])
            for shown, answer in zip(rows, now, strict=True):
                for column, cell in enumerate(self._cells(shown, answer)):
                    canvas.paste(cell, (_MARGIN + column * (CELL + _MARGIN), top))
                top += CELL + _MARGIN
        return np.asarray(canvas)

    def write(self, path: Path, sam: Sam, step: int) -> None:
        """Draw as :meth:`draw` does into a PNG; its folder is made."""
        path.parent.mkdir(exist_ok=True)
        with written_together(path) as (part,):
            write_png(part, self.draw(sam, step))

    def _cells(self, shown: _Shown, now: tuple[ObjectMask, float]) -> list[Image.Image]:
        """Return the four pictures of a row."""
        picture = self._pictures[shown.place]
        truth = picture.objects.items[shown.index]
        pixels, click = picture.image[shown.window], first_click(truth)
        cells = [_enlarged(pixels), _outlined(pixels, truth, shown.window, _TRUTH_COLOUR)]
        for mask, iou in (shown.before, now):
            cell = _outlined(pixels, mask, shown.window, _MASK_COLOUR)
            _mark(cell, click, shown.window)
            drawing, font = ImageDraw.Draw(cell), ImageFont.load_default(16)
            drawing.text((6, 4), f"IoU {iou:.2f}", "white", font, stroke_width=2, stroke_fill=0)
            cells.append(cell)
        return cells


def _choose(pictures: PictureSource) -> dict[int, list[int]]:
    """Choose objects by picture: as many pictures as there can be, then more of each."""
    rng = np.random.default_rng(0)
    # More pictures than rows, because some may be without objects.
    places = np.unique(np.linspace(0, len(pictures) - 1, 2 * ROWS).round().astype(int)).tolist()
    waiting = {
        place: rng.permutation(count).tolist()
        for place in places
        if (count := len(pictures[place].objects))
    }
    if len(waiting) > ROWS:
        kept = np.linspace(0, len(waiting) - 1, ROWS).round().astype(int)
        waiting = {place: waiting[place] for place in np.array(list(waiting))[kept].tolist()}
    chosen: dict[int, list[int]] = {place: [] for place in waiting}
    left = ROWS
    while left and any(waiting.values()):
        for place, indices in waiting.items():
            if indices and left:
                chosen[place].append(indices.pop())
                left -= 1
    return chosen


def _answer(
    sam: Sam, pictures: PictureSource, place: int, indices: list[int]
) -> list[tuple[ObjectMask, float]]:
    """Click once into each object; returns the masks shown and their IoU."""
    picture = pictures[place]
    talks = [Conversation(picture.objects.items[index]) for index in indices]
    answer_clicks(EncodedPicture(sam, picture.image), talks)
    return [(talk.masks[0], talk.ious[0]) for talk in talks]


def _window(item: ObjectMask, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return rows and columns of a square around an object, inside the picture."""
    side = max(_LEAST, round(_CONTEXT * max(item.mask.shape)))
    corners = (item.top, item.left)
    window = []
    for first, length, whole in zip(corners, item.mask.shape, shape, strict=True):
        start = max(0, min(round(first + length / 2 - side / 2), whole - side))
        window.append(slice(start, min(start + side, whole)))
    return window[0], window[1]


def _scale(window: tuple[slice, slice]) -> float:
    """Return pixels of a cell per pixel of the picture."""
    return CELL / max(part.stop - part.start for part in window)


def _enlarged(pixels: np.ndarray) -> Image.Image:
    """Return a part of a picture as a cell; what it does not fill is grey."""
    scale = CELL / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    cell = Image.new("RGB", (CELL, CELL), (230, 230, 230))
    cell.paste(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BICUBIC))
    return cell


def _outlined(
    pixels: np.ndarray,
    mask: ObjectMask,
    window: tuple[slice, slice],
    colour: tuple[int, int, int],
) -> Image.Image:
    """Return a cell with a mask's outline, two pixels wide."""
    from scipy import ndimage

    cell, scale = np.array(_enlarged(pixels)), _scale(window)
    inside = Image.fromarray(mask.inside(*window).astype(np.uint8) * 255)
    size = (max(1, round(inside.width * scale)), max(1, round(inside.height * scale)))
    drawn = np.zeros((CELL, CELL), bool)
    large = np.asarray(inside.resize(size, Image.Resampling.BILINEAR)) > 127
    drawn[: large.shape[0], : large.shape[1]] = large[:CELL, :CELL]
    edge = drawn & ~ndimage.binary_erosion(drawn, iterations=2, border_value=1)
    cell[ndimage.binary_dilation(edge) & ~drawn] = 0
    cell[edge] = colour
    return Image.fromarray(cell)


def _mark(cell: Image.Image, click: Click, window: tuple[slice, slice]) -> None:
    """Draw the click as a dot."""
    scale = _scale(window)
    x, y = (click.x - window[1].start + 0.5) * scale, (click.y - window[0].start + 0.5) * scale
    ImageDraw.Draw(cell).ellipse((x - 5, y - 5, x + 5, y + 5), _CLICK_COLOUR, "white", 2)
