"""One tile: a click on each point, one more deep inside each mask, and what is worth keeping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.tiles.tile_predictor import TilePredictor

from .raw import CUT_BOTTOM, CUT_LEFT, CUT_RIGHT, CUT_TOP, RawCandidates

if TYPE_CHECKING:
    from torch import Tensor

    from src_model import Sam
    from src_model.upsample import MaskUpsampler

__all__ = ["RawThresholds", "click_tile", "cut_sides"]

_BATCH = 64
"""Clicks that are decoded at once."""

_SMALL_PART = 0.1
"""Islands and holes of less than this share of a mask are specks."""

_COPY = 0.9
"""Masks of a tile with a larger IoU are copies, of which the best is kept: the many clicks on one
object would otherwise fill the store."""

_SAME = 0.5
"""Least IoU of a mask and of what a click deep inside of it gives, for that to take its place."""

_LOGIT = 4
"""Pixels of the frame along a low-resolution logit: a mask that comes so near to a border is cut
off there."""


@dataclass(frozen=True)
class RawThresholds:
    """What masks need to be kept at all; later filters can only be stricter.

    Parameters
    ----------
    predicted_iou, stability : float
        Least values.
    offset : float
        Distance in logits of the two thresholds whose masks stability compares.
    """

    predicted_iou: float
    stability: float
    offset: float = 1.0


@dataclass
class _Found:
    mask: np.ndarray
    row: int
    col: int
    predicted_iou: float
    stability: float
    point: tuple[float, float]

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.row, self.col, self.row + self.mask.shape[0], self.col + self.mask.shape[1]


def click_tile(
    tile: TilePredictor,
    points: np.ndarray,
    thresholds: RawThresholds,
    level_shape: tuple[int, int],
    progress: Callable[[int, int], object] | None = None,
) -> RawCandidates:
    """Click on each point of a tile.

    Each click gives three masks. Those stay that are good and stable enough; specks are removed
    from them, and of masks that are about the same the best is kept.

    Parameters
    ----------
    tile : TilePredictor
        With its embedding.
    points : (n, 2) ndarray
        (row, col) in pixels of level 0.
    thresholds : RawThresholds
        What masks need.
    level_shape : (int, int)
        Rows and columns of the tile's level: what ends there is not cut off.
    progress : callable, optional
        Called with the number of clicks done and of all clicks, which grows by the second ones.

    Returns
    -------
    RawCandidates
        The best first.
    """
    from src_model.upsample import MaskUpsampler

    predictor = tile.predictor
    sam, window = predictor.model, tile.window
    frame = sam.image_encoder.img_size
    size = window.shape
    upsampler = MaskUpsampler(
        sam.prompt_encoder.mask_input_size,
        frame,
        predictor.transform.get_preprocess_shape(*size, frame),
        size,
    )
    clicker = _Clicker(tile, thresholds, upsampler, progress)
    found = [one for one, _ in clicker.click(points)]
    kept = _without_copies(_settled(_without_copies(found), clicker))
    near = math.ceil(_LOGIT * max(size) / frame) - 1
    return RawCandidates.of(
        [
            (
                one.mask,
                (one.row + window.row0, one.col + window.col0),
                one.predicted_iou,
                one.stability,
                one.point,
                cut_sides(
                    one.box,
                    size,
                    (
                        window.row0 == 0,
                        window.col0 == 0,
                        window.row1 == level_shape[0],
                        window.col1 == level_shape[1],
                    ),
                    near,
                ),
            )
            for one in kept
        ]
    )


def cut_sides(
    box: tuple[int, int, int, int],
    size: tuple[int, int],
    ends: tuple[bool, bool, bool, bool],
    near: int = 0,
) -> int:
    """Tell at which sides of a window a mask is cut off.

    Parameters
    ----------
    box : tuple of int
        Of the mask, in pixels of the window, the ends exclusive.
    size : (int, int)
        Rows and columns of the window.
    ends : tuple of bool
        Whether the scene ends at its top, left, bottom, right.
    near : int
        Pixels that may lie between.

    Examples
    --------
    >>> cut_sides((0, 3, 8, 9), (20, 9), (False, False, False, False)) == CUT_TOP | CUT_RIGHT
    True
    >>> cut_sides((0, 3, 8, 9), (20, 9), (True, True, True, True))
    0
    """
    row0, col0, row1, col1 = box
    touched = (row0 <= near, col0 <= near, row1 >= size[0] - near, col1 >= size[1] - near)
    sides = (CUT_TOP, CUT_LEFT, CUT_BOTTOM, CUT_RIGHT)
    return sum(
        side for side, there, end in zip(sides, touched, ends, strict=True) if there and not end
    )


def _settled(found: list[_Found], clicker: _Clicker) -> list[_Found]:
    """Click once more, deep inside each mask, and take the answer that is most like it.

    Where the grid's points happen to lie in an object, near its border or not, decides how sure the
    network is of it: a little more on one side, and a threshold is passed or not. From deep inside
    it says nearly the same whatever it sees around.
    """
    tile = clicker.tile
    level = tile.tile.level
    inside = [_deepest(one.mask) for one in found]
    places = [
        (
            (one.row + tile.window.row0 + row + 0.5) * (1 << level) - 0.5,
            (one.col + tile.window.col0 + col + 0.5) * (1 << level) - 0.5,
        )
        for one, (row, col) in zip(found, inside, strict=True)
    ]
    answers: dict[int, _Found] = {}
    likeness: dict[int, float] = {}
    points = np.array(places, np.float64).reshape(-1, 2)
    for answer, number in clicker.click(points):
        alike = _iou(found[number], answer)
        if alike > max(_SAME, likeness.get(number, 0.0)):
            answers[number], likeness[number] = answer, alike
    return [answers.get(number, one) for number, one in enumerate(found)]


def _deepest(mask: np.ndarray) -> tuple[int, int]:
    """Return the pixel farthest from what is outside of a mask; of several the middle one."""
    from scipy.ndimage import distance_transform_edt

    depths = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    deepest = np.argwhere(depths >= depths.max() - 0.5)
    middle = deepest.mean(0)
    row, col = deepest[((deepest - middle) ** 2).sum(1).argmin()].tolist()
    return row, col


@dataclass
class _Clicker:
    """Clicks in a tile; ``thresholds`` and ``progress`` as of `click_tile`."""

    tile: TilePredictor
    thresholds: RawThresholds
    upsampler: MaskUpsampler
    progress: Callable[[int, int], object] | None
    done: int = 0

    def click(self, points: np.ndarray) -> Iterator[tuple[_Found, int]]:
        """Give the masks that are good and stable enough, without specks; and which click's."""
        transform, size = self.tile.predictor.transform, self.tile.window.shape
        in_frame = transform.apply_coords(self.tile.to_xy(points), size)
        total = self.done + len(points)
        for start in range(0, len(points), _BATCH):
            batch = slice(start, start + _BATCH)
            for one, number in self._click_batch(in_frame[batch], points[batch]):
                yield one, start + number
            self.done += len(points[batch])
            if self.progress is not None:
                self.progress(self.done, total)

    def _click_batch(self, in_frame: np.ndarray, points: np.ndarray) -> list[tuple[_Found, int]]:
        """Do as `click` for clicks that are decoded at once."""
        from src_model.candidates import measure_mask
        from src_model.masks import remove_small_regions

        sam, thresholds = self.tile.predictor.model, self.thresholds
        low_res, ious, clicked = _decode(sam, self.tile, in_frame, thresholds.predicted_iou)
        found = []
        for logits, iou, click in zip(low_res, ious.tolist(), clicked.tolist(), strict=True):
            measured = measure_mask(logits, self.upsampler, sam.mask_threshold, thresholds.offset)
            if not measured.stability >= thresholds.stability:
                continue
            mask = np.ascontiguousarray(measured.columns.T)
            least = _SMALL_PART * np.count_nonzero(mask)
            if not least:
                continue
            mask, _ = remove_small_regions(mask, least, "islands")
            mask, _ = remove_small_regions(mask, least, "holes")
            rows, cols = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
            cut = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1].copy()
            row = measured.window.rows.start + int(rows[0])
            col = measured.window.cols.start + int(cols[0])
            point = (float(points[click][0]), float(points[click][1]))
            one = _Found(cut, row, col, iou, float(measured.stability), point)
            found.append((one, int(click)))
        return found


def _decode(
    sam: Sam, tile: TilePredictor, in_frame: np.ndarray, least: float
) -> tuple[list[Tensor], np.ndarray, np.ndarray]:
    """Return logits, predicted IoU and click of the good masks of some clicks (x, y)."""
    import torch

    from src_model.decoding import decode_good

    with torch.no_grad():
        coords = torch.as_tensor(in_frame, dtype=torch.float32, device=sam.device)[:, None]
        labels = torch.ones(coords.shape[:2], dtype=torch.int64, device=sam.device)
        low_res, ious, clicked = decode_good(
            sam, tile.predictor.get_image_embedding(), (coords, labels), least
        )
    return list(low_res.cpu()), ious.cpu().numpy(), clicked.cpu().numpy()


def _without_copies(found: list[_Found]) -> list[_Found]:
    """Keep the best of masks that are about the same; the best first, ties by place."""
    ordered = sorted(found, key=lambda one: (-one.predicted_iou * one.stability, one.box))
    boxes = np.array([one.box for one in ordered], np.int64).reshape(-1, 4)
    areas = np.array([np.count_nonzero(one.mask) for one in ordered], np.int64)
    kept: list[int] = []
    for index, one in enumerate(ordered):
        others = np.array(kept, np.int64)
        sizes = np.minimum(areas[others], areas[index]), np.maximum(areas[others], areas[index])
        alike = others[sizes[0] > _COPY * sizes[1]]
        row0, col0 = np.maximum(boxes[alike, :2], boxes[index, :2]).T
        row1, col1 = np.minimum(boxes[alike, 2:], boxes[index, 2:]).T
        shared = (row1 - row0).clip(min=0) * (col1 - col0).clip(min=0)
        alike = alike[shared > _COPY * np.minimum(areas[alike], areas[index])]
        if not any(_iou(one, ordered[other]) > _COPY for other in alike):
            kept.append(index)
    return [ordered[index] for index in kept]


def _iou(one: _Found, other: _Found) -> float:
    row0, col0 = max(one.row, other.row), max(one.col, other.col)
    row1, col1 = min(one.box[2], other.box[2]), min(one.box[3], other.box[3])
    if row0 >= row1 or col0 >= col1:
        return 0.0
    parts = [
        part.mask[row0 - part.row : row1 - part.row, col0 - part.col : col1 - part.col]
        for part in (one, other)
    ]
    shared = np.count_nonzero(parts[0] & parts[1])
    return float(shared / (np.count_nonzero(one.mask) + np.count_nonzero(other.mask) - shared))
