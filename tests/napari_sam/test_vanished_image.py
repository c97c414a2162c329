"""An image that goes away while it is encoded: one sentence, and nothing is given up."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from napari_sam.errors import InputError
from napari_sam.scene import Scene, open_scene
from napari_sam.tiles.encoding import encode
from napari_sam.tiles.geometry import TileGeometry
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo
from src_model import Sam

PIXELS = np.random.default_rng(4).integers(0, 256, (150, 200), dtype=np.uint8)


def make_store(scene: Scene, sam: Sam) -> EmbeddingStore:
    geometry = TileGeometry(scene.shape, tile=64, halo=8)
    return EmbeddingStore.create(MemoryStore(), SceneInfo.of(scene), ModelInfo.of(sam), geometry)


class Remote:
    """An array behind a network that may be down, and a part of which may be damaged."""

    shape, dtype = PIXELS.shape, PIXELS.dtype

    def __init__(self) -> None:
        self.down = False
        self.damaged = False

    def __getitem__(self, selection: tuple[slice, slice]) -> np.ndarray:
        if self.down or (self.damaged and selection[0].start == selection[1].start == 48):
            raise OSError("no route to host")
        return PIXELS[selection]


def test_a_network_that_is_gone_stops_the_run(tiny_sam: Sam) -> None:
    array = Remote()
    scene = open_scene(array)
    store = make_store(scene, tiny_sam)

    def cut(progress: Any) -> None:
        array.down = progress.settled >= 3

    with pytest.raises(InputError, match="cannot be read any more") as caught:
        encode(scene, tiny_sam, store, on_progress=cut)
    assert str(caught.value).count(".") == 1
    progress = store.progress()
    assert progress.done >= 3
    assert progress.missing > 0
    assert progress.failed == progress.empty == 0
    array.down, array.damaged = False, True
    summary = encode(scene, tiny_sam, store)
    assert len(summary.failed) == 1
    assert store.progress().missing == 0
    whole = make_store(scene, tiny_sam)
    array.damaged = False
    encode(scene, tiny_sam, whole)
    encode(scene, tiny_sam, store, retry_failed=True)
    for level in store.levels:
        for tile in store.geometry.tiles(level):
            np.testing.assert_array_equal(store.read(tile), whole.read(tile))


def test_a_folder_that_is_gone_is_not_taken_for_empty(tiny_sam: Sam, tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "image.zarr", data=PIXELS, chunks=(32, 32))
    scene = open_scene(tmp_path / "image.zarr")
    store = make_store(scene, tiny_sam)

    def delete(progress: Any) -> None:
        if progress.settled == 3:
            shutil.move(tmp_path / "image.zarr", tmp_path / "elsewhere.zarr")

    with pytest.raises(InputError, match="no longer there"):
        encode(scene, tiny_sam, store, on_progress=delete)
    progress = store.progress()
    assert progress.missing > 0
    assert progress.failed == progress.empty == 0
    shutil.move(tmp_path / "elsewhere.zarr", tmp_path / "image.zarr")
    encode(scene, tiny_sam, store)
    assert store.progress().done == store.progress().total
