"""Scenes whose objects are known, and a network that sees them perfectly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from zarr.storage import MemoryStore

from napari_sam.scene import Scene, open_scene
from napari_sam.segment.everything import (
    EverythingResult,
    FoundObjects,
    Thresholds,
    segment_everything,
)
from napari_sam.segment.everything.clicking import RawThresholds, cut_sides
from napari_sam.segment.everything.label_pyramid import paint
from napari_sam.segment.everything.raw import RawCandidates
from napari_sam.tiles.geometry import TileGeometry
from napari_sam.tiles.regions import Region
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo
from napari_sam.tiles.tile_predictor import TilePredictor
from src_model import Sam

TILE = 64
THRESHOLDS = Thresholds(0.88, 0.8, overlap=0.7)
Click = Callable[[TilePredictor, np.ndarray, RawThresholds, tuple[int, int]], RawCandidates]


def discs(shape: tuple[int, int], radii: tuple[int, int], count: int, seed: int = 0) -> np.ndarray:
    """Return labels of discs that do not touch."""
    random = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    rows, cols = np.indices(shape)
    number = 0
    for _ in range(50 * count):
        radius = random.integers(*radii)
        row, col = (random.integers(radius, side - radius) for side in shape)
        distance = np.hypot(rows - row, cols - col)
        if number == count or labels[distance <= radius + 3].any():
            continue
        number += 1
        labels[distance <= radius] = number
    return labels


def pixels_of(labels: np.ndarray) -> np.ndarray:
    """Return an image of labels in which no tile is empty."""
    random = np.random.default_rng(1)
    image = random.integers(0, 60, labels.shape, dtype=np.uint8)
    image[labels > 0] += 150
    return image


def make_store(
    scene: Scene, sam: Sam, where: Any = None, tile: int = TILE, halo: int = 16
) -> EmbeddingStore:
    geometry = TileGeometry(scene.shape, tile=tile, halo=halo)
    return EmbeddingStore.create(
        MemoryStore() if where is None else where,
        SceneInfo.of(scene),
        ModelInfo.of(sam),
        geometry,
    )


def perfect(labels: np.ndarray) -> Click:
    """Return what clicks as `click_tile` does and finds the true objects, as far as a tile sees."""

    def click(
        ready: TilePredictor,
        points: np.ndarray,
        thresholds: RawThresholds,
        level_shape: tuple[int, int],
    ) -> RawCandidates:
        level, window = ready.tile.level, ready.window
        step = 1 << level
        # A pixel of a coarser level has the label at its middle, or at the scene's border.
        rows = np.minimum(np.arange(level_shape[0]) * step + step // 2, labels.shape[0] - 1)
        cols = np.minimum(np.arange(level_shape[1]) * step + step // 2, labels.shape[1] - 1)
        seen = labels[np.ix_(rows[window.rows], cols[window.cols])]
        places = np.floor(points + 0.5).astype(int)
        found = []
        for number in sorted(set(labels[tuple(places.T)].tolist()) - {0}):
            mask = seen == number
            if not mask.any():
                continue
            row, col = (int(np.flatnonzero(mask.any(axis))[0]) for axis in (1, 0))
            height, width = (int(np.flatnonzero(mask.any(axis))[-1]) + 1 for axis in (1, 0))
            ends = (
                window.row0 == 0,
                window.col0 == 0,
                window.row1 == level_shape[0],
                window.col1 == level_shape[1],
            )
            cut = cut_sides((row, col, height, width), window.shape, ends)
            corner = row + window.row0, col + window.col0
            found.append((mask[row:height, col:width], corner, 0.9, 0.9, (0.0, 0.0), cut))
        return RawCandidates.of(found)

    return click


def scene_of(labels: np.ndarray) -> Scene:
    return open_scene(pixels_of(labels))


def whole(objects: FoundObjects) -> np.ndarray:
    """Return the labels of all of a scene."""
    return paint(objects, Region(0, 0, *objects.shape))


def find(labels: np.ndarray, sam: Sam, **options: Any) -> tuple[EverythingResult, EmbeddingStore]:
    """Find everything in a scene of these labels."""
    scene = scene_of(labels)
    halo = options.pop("halo", 16)
    store = make_store(scene, sam, options.pop("where", None), halo=halo)
    options = {"thresholds": THRESHOLDS, "sizes": (10, None)} | options
    return segment_everything(scene, store, sam, **options), store
