"""A scene for tests of encoding, and a store for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr.storage import MemoryStore

from napari_sam.scene import Scene
from napari_sam.tiles import frames, pipeline
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.store import (
    EmbeddingStore,
    ModelInfo,
    SceneInfo,
)
from src_model import Sam

PIXELS = np.random.default_rng(4).integers(0, 256, (150, 200, 3), dtype=np.uint8)


def make_store(
    scene: Scene, sam: Sam, where: Any = None, tile: int = 64, **options: Any
) -> EmbeddingStore:
    geometry = TileGeometry(scene.shape, tile=tile, halo=8)
    return EmbeddingStore.create(
        MemoryStore() if where is None else where,
        SceneInfo.of(scene),
        ModelInfo.of(sam),
        geometry,
        **options,
    )


def all_tiles(store: EmbeddingStore) -> list[TileId]:
    return [tile for level in store.levels for tile in store.geometry.tiles(level)]


def chunks(folder: Path) -> dict[str, bytes]:
    """All files but the journal, whose ids are by chance."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "journal" not in path.parts
    }


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[TileId]:
    """Return a list to which every tile that is read is added."""
    read: list[TileId] = []

    def reading(scene: Scene, geometry: TileGeometry, tile: TileId, size: int) -> Any:
        read.append(tile)
        return frames.read_frame(scene, geometry, tile, size)

    monkeypatch.setattr(pipeline, "read_frame", reading)
    return read
