"""A store of embeddings says in one sentence what is wrong."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from embedding_stores import (
    FIRST,
    SECOND,
    SHAPE,
    FailingStore,
    assert_one_sentence,
    embedding,
    make,
)
from zarr.storage import MemoryStore

from napari_sam.errors import InputError
from napari_sam.tiles.geometry import TileId
from napari_sam.tiles.store import (
    EmbeddingStore,
    State,
    StoreMismatch,
    StoreUnusable,
    TileRefused,
)


def test_what_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    (tmp_path / "bad.zip").write_text("text")
    zarr.create_group(tmp_path / "group")
    for name, expected in [
        ("none", "does not exist"),
        ("none.zip", "does not exist"),
        ("empty", "is no store"),
        ("file", "is a file"),
        ("bad.zip", "cannot be read"),
        ("group", "not that of a store"),
    ]:
        with pytest.raises(StoreUnusable) as error:
            EmbeddingStore.open(tmp_path / name)
        assert_one_sentence(error, expected)
        assert str(tmp_path / name) in str(error.value)
    assert not (tmp_path / "none").exists()
    with pytest.raises(StoreUnusable) as error:
        EmbeddingStore.open("nothing-knows-this://bucket/store")
    assert_one_sentence(error, "cannot be opened")


@pytest.mark.parametrize("change", ["newer", "damaged", "array"])
def test_descriptions_that_cannot_be_used(tmp_path: Path, change: str) -> None:
    make(tmp_path / "store")
    path = tmp_path / "store/zarr.json"
    saved = json.loads(path.read_text())
    said = saved["attributes"]["napari_sam_embedding_store"]
    if change == "newer":
        said["format_version"] = 2
    elif change == "damaged":
        del said["scene"]["channels"]
    else:
        said["embedding_shape"] = [3, 4, 5]
    path.write_text(json.dumps(saved))
    expected = {
        "newer": "version 2 of the format",
        "damaged": "restore its zarr.json",
        "array": "level_0",
    }
    with pytest.raises(InputError) as error:
        EmbeddingStore.open(tmp_path / "store").write(FIRST, np.zeros((3, 4, 5)))
    assert_one_sentence(error, expected[change])
    assert isinstance(error.value, StoreMismatch) == (change == "newer")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    store.write(FIRST, embedding())
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("text")
    (tmp_path / "file").write_text("text")
    for name, expected in [
        ("store", "exists already"),
        ("other", "is not empty"),
        ("file", "is a file"),
        ("store.zip", "save_zip"),
    ]:
        with pytest.raises(StoreUnusable) as error:
            make(tmp_path / name)
        assert_one_sentence(error, expected)
    assert store.state(FIRST) == State.DONE


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"levels": []}, "levels [] cannot be stored"),
        ({"levels": [0, 9]}, "give some of 0 to 3"),
        ({"levels": [0, 0]}, "each once"),
        ({"dtype": "float8"}, "give 'float16' or 'bfloat16'"),
        ({"shard": 0}, "must be 1 or more"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as error:
        make(MemoryStore(), **options)
    assert_one_sentence(error, expected)


def test_embeddings_that_cannot_be_stored() -> None:
    store = make(MemoryStore(), levels=[0])
    large = np.full(SHAPE, 1e5)
    with pytest.raises(TileRefused) as refused:
        store.write(FIRST, large)
    assert_one_sentence(refused, "make the store with dtype='bfloat16'")
    with pytest.raises(TileRefused) as refused:
        store.write(FIRST, embedding() * np.nan)
    assert_one_sentence(refused, "not finite")
    for tile, values, expected in [
        (FIRST, np.zeros((3, 4, 5)), "has shape (3, 4, 5)"),
        (TileId(1, 0, 0), embedding(), "level 1 is not in the store"),
        (TileId(0, 2, 0), embedding(), "there is none at 2, 0"),
    ]:
        with pytest.raises(InputError) as error:
            store.write(tile, values)
        assert_one_sentence(error, expected)
    assert store.progress().done == 0
    assert make(MemoryStore(), dtype="bfloat16").write(FIRST, large) < 2**-8


@pytest.mark.parametrize("word", ["level_0", "journal"])
def test_a_full_disk(tmp_path: Path, word: str) -> None:
    disk = FailingStore(tmp_path / "store")
    store = make(disk)
    store.write(FIRST, embedding())
    disk.word = word
    with pytest.raises(StoreUnusable) as error:
        store.write(SECOND, embedding())
    assert_one_sentence(error, "make room on that disk")
    assert store.state(SECOND) == State.MISSING
    disk.word = ""
    store.write(TileId(0, 1, 1), embedding())
    again = EmbeddingStore.open(tmp_path / "store")
    assert (again.progress().done, again.state(SECOND)) == (2, State.MISSING)


@pytest.mark.parametrize("word", ["level_0", "level_2", "zarr.json"])
def test_a_full_disk_leaves_no_half_of_a_store(tmp_path: Path, word: str) -> None:
    disk = FailingStore(tmp_path / "new")
    disk.word = word
    with pytest.raises(StoreUnusable, match="make room"):
        make(disk)
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    disk = FailingStore(tmp_path / "old")
    disk.word = word
    with pytest.raises(StoreUnusable, match="make room"):
        make(disk)
    make(tmp_path / "old")


def test_a_place_that_may_not_be_written(tmp_path: Path) -> None:
    disk = FailingStore(tmp_path / "store")
    store = make(disk)
    disk.word, disk.number = "c.", errno.EACCES
    with pytest.raises(StoreUnusable) as error:
        store.write(FIRST, embedding())
    assert_one_sentence(error, "choose a place that you may use")


def test_a_folder_that_vanished_is_not_made_again(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    store.write(FIRST, embedding())
    (tmp_path / "store").rename(tmp_path / "moved")
    for act in (
        lambda: store.write(SECOND, embedding()),
        lambda: store.read(FIRST),
        lambda: store.mark_empty(SECOND, "constant"),
    ):
        with pytest.raises(StoreUnusable) as error:
            act()
        assert_one_sentence(error, "is no longer there")
    assert not (tmp_path / "store").exists()
    assert EmbeddingStore.open(tmp_path / "moved").read(FIRST).shape == SHAPE
