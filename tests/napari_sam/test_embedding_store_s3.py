"""A store in an object store: the same as in a folder, and its troubles are told as plainly."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from napari_sam.errors import InputError
from napari_sam.tiles.geometry import TileGeometry
from napari_sam.tiles.store import (
    EmbeddingStore,
    ModelInfo,
    SceneInfo,
    State,
    StoreUnusable,
    TileDamaged,
)

GEOMETRY = TileGeometry((160, 208), tile=64, halo=8)  # (3, 4) tiles
SHAPE = (2, 4, 4)


def make(where: str) -> EmbeddingStore:
    scene = SceneInfo("the array", GEOMETRY.shape, "YX", ("grey",), "f" * 32, {"kind": "as_is"})
    model = ModelInfo("0" * 64, {"name": "custom"}, SHAPE)
    return EmbeddingStore.create(
        where, scene, model, GEOMETRY, levels=[0, 1], shard_above=11, shard=2
    )


def test_a_store_in_a_bucket(bucket: str, tmp_path: Any) -> None:
    import s3fs

    where = f"{bucket}/some/store"
    store, other = make(where), EmbeddingStore.open(where)
    assert store.layout.sharded == (0,)
    tiles = list(GEOMETRY.tiles(0))
    for number, tile in enumerate(tiles):
        writer = (store, other)[number % 2]
        assert writer.write(tile, np.full(SHAPE, number)) == 0
    # Each sees what the other wrote, at once.
    assert store.progress() == other.progress()
    assert [int(store.read(tile)[0, 0, 0]) for tile in tiles] == list(range(12))
    assert store.compact() == 4
    again = pickle.loads(pickle.dumps(other))
    assert [int(again.read(tile)[0, 0, 0]) for tile in tiles] == list(range(12))
    assert store.size_on_disk() > 0
    store.save_zip(tmp_path / "copy.zip")
    assert EmbeddingStore.open(tmp_path / "copy.zip").progress() == store.progress()

    files = s3fs.S3FileSystem(use_listings_cache=False)
    assert not [path for path in files.ls("bucket/some/store/spool_0") if "/c." in path]
    for path in files.ls("bucket/some/store/level_0"):
        if path.endswith("/c.0.0.0.0.0"):
            content = bytearray(files.cat_file(path))
            content[3] ^= 1
            files.pipe_file(path, bytes(content))
    with pytest.raises(TileDamaged):
        store.read(tiles[0])
    assert other.states(0)[0, 0] == State.MISSING
    other.write(tiles[0], np.full(SHAPE, 7))
    assert store.read(tiles[0])[0, 0, 0] == 7


def test_troubles_are_told(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    def refused(where: str, act: Any) -> None:
        with pytest.raises(StoreUnusable) as error:
            act()
        assert where in str(error.value)
        assert "\n" not in str(error.value)
        assert str(error.value).endswith(".")

    make(f"{bucket}/store")
    refused(f"{bucket}/store", lambda: make(f"{bucket}/store"))
    refused(f"{bucket}/none", lambda: EmbeddingStore.open(f"{bucket}/none"))
    refused("s3://nobodys/store", lambda: make("s3://nobodys/store"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    refused(f"{bucket}/store", lambda: EmbeddingStore.open(f"{bucket}/store"))
    with pytest.raises(InputError, match="cannot be opened"):
        EmbeddingStore.open("unknown-protocol://bucket/store")
