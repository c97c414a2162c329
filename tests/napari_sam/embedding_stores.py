"""A store for tests, what is written into it, and how it is damaged."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from napari_sam.errors import InputError
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.store import (
    EmbeddingStore,
    ModelInfo,
    SceneInfo,
)

GEOMETRY = TileGeometry((100, 300), tile=64, halo=8)  # (2, 6) tiles at level 0
SHAPE = (3, 4, 4)
SCENE = SceneInfo(
    "the array",
    GEOMETRY.shape,
    "YX",
    ("grey",),
    "f" * 32,
    {"kind": "percentile", "low": [1.0], "high": [900.5]},
)
MODEL = ModelInfo("0" * 64, {"name": "custom", "pixel_mean": (1.0, 2.0, 3.0)}, SHAPE)
FIRST, SECOND = TileId(0, 0, 0), TileId(0, 1, 2)


def make(where: Any, **options: Any) -> EmbeddingStore:
    return EmbeddingStore.create(where, SCENE, MODEL, GEOMETRY, **options)


def embedding(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def assert_one_sentence(error: pytest.ExceptionInfo[InputError], expected: str) -> None:
    sentence = str(error.value)
    assert expected in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


def flip_byte(path: Path, place: int = -20) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


class FailingStore(LocalStore):
    """A disk that is full from some write on, for keys that contain a word."""

    word, number = "", errno.ENOSPC

    async def set(self, key: str, value: Buffer) -> None:
        if self.word and self.word in key:
            raise OSError(self.number, "No space left on device")
        await super().set(key, value)
