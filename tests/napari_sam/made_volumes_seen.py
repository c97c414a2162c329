"""Volumes of which a network sees each slice perfectly."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from everything_scenes import perfect, pixels_of

from napari_sam.segment.everything import running
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.geometry import TileId

SHAPE = (8, 96, 96)


def balls() -> np.ndarray:
    """Return labels of three objects, one in the lowest slices only."""
    grid = np.stack(np.indices(SHAPE), axis=-1) * (4, 1, 1)
    labels = np.zeros(SHAPE, np.uint32)
    for number, (middle, radius) in enumerate(
        [((14, 28, 30), 16), ((18, 66, 62), 18), ((0, 20, 74), 12)], 1
    ):
        labels[((grid - middle) ** 2).sum(-1) <= radius**2] = number
    return labels


def pixels(labels: np.ndarray) -> np.ndarray:
    return np.stack([pixels_of(plane) for plane in labels])


def see(patch: pytest.MonkeyPatch, labels: np.ndarray) -> list[tuple[str, int, TileId]]:
    """Let any network find the objects of each slice; return axes, slice and tile of each look."""
    looks: list[tuple[str, int, TileId]] = []

    def ready(embeddings: Embeddings, tile: TileId) -> Any:
        scene = embeddings.store.scene
        window = embeddings.store.geometry.window(tile)
        return SimpleNamespace(tile=tile, window=window, scene=scene)

    def click(ready: Any, *given: Any) -> Any:
        axes, z = ready.scene.axes, ready.scene.z
        looks.append((axes, z, ready.tile))
        return perfect(np.take(labels, z, axis=axes.index("Z")))(ready, *given)

    patch.setattr(Embeddings, "at", ready)
    patch.setattr(running, "click_tile", click)
    return looks
