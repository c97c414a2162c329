"""Boxes of a detector to masks, on a Scene of any size: one for each, many at once.

A box that a tile of level 0 holds is answered there, with all others of that tile. Larger ones go
through `Segmenter`, one by one, as does one whose mask the tile's border cuts off.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.boxes import DetectedBox
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.encoded_once import EncodedOnce, ReadyTiles
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo
from napari_sam.tiles.store_errors import StoreUnusable
from napari_sam.tiles.tile_predictor import TilePredictor

from .everything.clicking import cut_sides
from .everything.found import FoundObjects
from .image import STABILITY_OFFSET
from .routing import tile_holding
from .segmenter import Segmenter

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from src_model import Sam

__all__ = ["BoxObjects", "segment_boxes"]

_BATCH = 64
"""Boxes that are decoded at once."""

_LOGIT = 4
"""Pixels of the frame along a low-resolution logit: a mask that comes so near to a border is cut
off there."""


@dataclass(frozen=True, eq=False)
class BoxObjects:
    """What was found for boxes.

    Parameters
    ----------
    objects : FoundObjects
        One for each box with a mask, in the order of the boxes.
    boxes : tuple of DetectedBox
        Those of `objects`.
    without : tuple of (DetectedBox, str)
        Those without a mask, and why.
    """

    objects: FoundObjects
    boxes: tuple[DetectedBox, ...]
    without: tuple[tuple[DetectedBox, str], ...]


@dataclass(frozen=True, eq=False)
class _Mask:
    """A mask of level 0 as runs: a large part of what a bool array takes is spared."""

    row: int
    col: int
    shape: tuple[int, int]
    runs: np.ndarray
    predicted_iou: float
    stability: float

    @classmethod
    def of(cls, mask: np.ndarray, row: int, col: int, iou: float, stability: float) -> _Mask:
        from src_model.rle import mask_to_rle

        runs = np.array(mask_to_rle(mask)["counts"], np.uint32)
        return cls(row, col, (mask.shape[0], mask.shape[1]), runs, iou, stability)

    def draw(self) -> np.ndarray:
        rows, cols = self.shape
        inside = np.arange(len(self.runs)) % 2 == 1
        return np.repeat(inside, self.runs).reshape(cols, rows).T


def segment_boxes(
    scene: Scene,
    sam: Sam,
    boxes: Sequence[DetectedBox],
    store: EmbeddingStore | None = None,
    on_progress: Callable[[int, int], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> BoxObjects | None:
    """Find the object in each box.

    Memory holds a tile, what the network needs for it, and the masks as runs. Without a store, what
    boxes larger than a tile need is for the time in a temporary folder.

    Parameters
    ----------
    scene : Scene
        The image.
    sam : Sam
        The network.
    boxes : sequence of DetectedBox
        In the Scene: see `clip_boxes`.
    store : EmbeddingStore, optional
        Of the Scene and the network; tiles that are missing are added to it.
    on_progress : callable, optional
        Called with the number of boxes that are done, and of all.
    should_stop : callable, optional
        Asked before every tile and every large box.

    Returns
    -------
    BoxObjects or None
        None if it was asked to stop.

    Raises
    ------
    StoreMismatch, StoreUnusable
        If the store is of something else, or cannot be read.

    Examples
    --------
    >>> from napari_sam.scene import open_scene
    >>> from src_model import load_model
    >>> pixels = np.full((900, 1500), 40, np.uint8)
    >>> pixels[300:400, 700:800] = 200
    >>> found = segment_boxes(
    ...     open_scene(pixels),
    ...     load_model("vit_nano", "cpu"),
    ...     [DetectedBox((299.5, 699.5, 399.5, 799.5), "a", "square")],
    ... )
    >>> bool(0.8 < found.objects.areas[0] / 100**2 < 1.2), found.boxes[0].label
    (True, 'square')
    """
    if store is None:
        size = sam.variant.image_size
        geometry = TileGeometry(scene.shape, size, size // 8)
    else:
        geometry = store.geometry
    by_tile, one_by_one = _grouped(geometry, boxes, store)
    done = 0
    masks: dict[int, _Mask] = {}
    without: dict[int, str] = {}
    with tempfile.TemporaryDirectory(prefix="napari-sam-") as folder:
        tiles: ReadyTiles
        if store is None:
            tiles = EncodedOnce(scene, geometry, sam)
        else:
            tiles = Embeddings(store, sam, scene, max_bytes=0)
        for tile, numbers in by_tile.items():
            if should_stop is not None and should_stop():
                return None
            try:
                answers = _answer(tiles.at(tile), [boxes[number].corners for number in numbers])
            except StoreUnusable:
                raise
            except InputError as error:
                without.update(dict.fromkeys(numbers, str(error)))
                answers = []
            for number, answer in zip(numbers, answers, strict=False):
                if answer is None or _is_cut(answer, geometry, tile):
                    one_by_one.append(number)
                else:
                    masks[number] = answer
            done = len(masks) + len(without)
            if on_progress is not None:
                on_progress(done, len(boxes))
        segmenter: Segmenter | None = None
        for number in one_by_one:
            if should_stop is not None and should_stop():
                return None
            if segmenter is None:
                place = store or EmbeddingStore.create(
                    f"{folder}/store", SceneInfo.of(scene), ModelInfo.of(sam), geometry
                )
                segmenter = Segmenter(scene, place, sam)
            try:
                (found,) = segmenter.prompt(box=boxes[number].corners)
            except StoreUnusable:
                raise
            except InputError as error:
                without[number] = str(error)
            else:
                masks[number] = _Mask.of(
                    found.mask, found.row, found.col, found.predicted_iou, found.stability
                )
            if on_progress is not None:
                on_progress(len(masks) + len(without), len(boxes))
    for number, mask in masks.items():
        if not mask.runs[1::2].any():
            without[number] = "The network sees no object in it."
    kept = [number for number in sorted(masks) if number not in without]
    return BoxObjects(
        _described([masks[number] for number in kept], scene.shape),
        tuple(boxes[number] for number in kept),
        tuple((boxes[number], without[number]) for number in sorted(without)),
    )


def _grouped(
    geometry: TileGeometry, boxes: Sequence[DetectedBox], store: EmbeddingStore | None
) -> tuple[dict[TileId, list[int]], list[int]]:
    """Find the tile of each box; boxes that no tile of level 0 holds come second."""
    found: dict[TileId, list[int]] = {}
    large: list[int] = []
    there = store is None or 0 in store.levels
    for number, box in enumerate(boxes):
        tile = tile_holding(geometry, 0, box.corners) if there else None
        if tile is None:
            large.append(number)
        else:
            found.setdefault(tile, []).append(number)
    return dict(sorted(found.items())), large


def _answer(
    tile: TilePredictor, boxes: Sequence[tuple[float, float, float, float]]
) -> list[_Mask | None]:
    """Return a mask for each box; None where the network draws nothing."""
    import torch

    from src_model.candidates import measure_mask
    from src_model.decoding import decode, offered
    from src_model.upsample import MaskUpsampler

    predictor, window = tile.predictor, tile.window
    sam = predictor.model
    frame = sam.image_encoder.img_size
    upsampler = MaskUpsampler(
        sam.prompt_encoder.mask_input_size,
        frame,
        predictor.transform.get_preprocess_shape(*window.shape, frame),
        window.shape,
    )
    in_frame = predictor.transform.apply_boxes(tile.to_box(np.array(boxes)), window.shape)
    corners = torch.as_tensor(in_frame, dtype=torch.float32, device=sam.device)
    answers: list[_Mask | None] = []
    for batch in corners.split(_BATCH):
        with torch.no_grad():
            low_res, ious = decode(
                sam, predictor.get_image_embedding(), boxes=batch, wanted=offered(ambiguous=False)
            )
        for logits, iou in zip(low_res[:, 0].cpu(), ious[:, 0].tolist(), strict=True):
            measured = measure_mask(logits, upsampler, sam.mask_threshold, STABILITY_OFFSET)
            mask = measured.columns.T
            rows, cols = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
            if not rows.size:
                answers.append(None)
                continue
            cut = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
            row = window.row0 + measured.window.rows.start + int(rows[0])
            col = window.col0 + measured.window.cols.start + int(cols[0])
            answers.append(_Mask.of(cut, row, col, float(iou), float(measured.stability)))
    return answers


def _is_cut(mask: _Mask, geometry: TileGeometry, tile: TileId) -> bool:
    """Tell whether a mask comes to a border of its tile that is none of the Scene."""
    window, (rows, cols) = geometry.window(tile), geometry.shape
    row, col = mask.row - window.row0, mask.col - window.col0
    box = row, col, row + mask.shape[0], col + mask.shape[1]
    ends = (window.row0 == 0, window.col0 == 0, window.row1 == rows, window.col1 == cols)
    return cut_sides(box, window.shape, ends, _LOGIT - 1) != 0


def _described(masks: Sequence[_Mask], shape: tuple[int, int]) -> FoundObjects:
    """Bring masks into the form that labels and table are written from."""
    count = len(masks)
    areas, centroids = np.zeros(count, np.int64), np.zeros((count, 2))
    for index, mask in enumerate(masks):
        drawn = mask.draw()
        down, across = drawn.sum(1), drawn.sum(0)
        areas[index] = down.sum()
        centroids[index] = (
            mask.row + down @ np.arange(len(down)) / areas[index],
            mask.col + across @ np.arange(len(across)) / areas[index],
        )
    corners = [(m.row, m.col, m.row + m.shape[0], m.col + m.shape[1]) for m in masks]
    return FoundObjects(
        shape=shape,
        levels=np.zeros(count, np.int32),
        boxes=np.array(corners, np.int64).reshape(-1, 4),
        areas=areas,
        centroids=centroids,
        predicted_ious=np.array([mask.predicted_iou for mask in masks], np.float32),
        stabilities=np.array([mask.stability for mask in masks], np.float32),
        cuts=np.zeros(count, bool),
        pieces=np.ones(count, np.int64),
        _mask=lambda index: masks[index].draw(),
    )
