"""A store of embeddings gives back what was written, and finds what is damaged."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from embedding_stores import (
    FIRST,
    GEOMETRY,
    MODEL,
    SCENE,
    SECOND,
    SHAPE,
    FailingStore,
    assert_one_sentence,
    embedding,
    flip_byte,
    make,
)
from zarr.core.buffer import BufferPrototype
from zarr.storage import LocalStore, MemoryStore, WrapperStore

from napari_sam.errors import InputError
from napari_sam.scene import open_scene
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.rounding import HalfType
from napari_sam.tiles.store import (
    EmbeddingStore,
    Failure,
    ModelInfo,
    SceneInfo,
    State,
    StoreMismatch,
    StoreUnusable,
    TileDamaged,
    TileNotThere,
)
from src_model import Variant, build_sam


@pytest.mark.parametrize(("dtype", "bound"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_embeddings_come_back_rounded_once(tmp_path: Path, dtype: HalfType, bound: float) -> None:
    store = make(tmp_path / "store", dtype=dtype)
    values = embedding() * 10.0 ** np.linspace(-7, 4, 48, dtype=np.float32).reshape(SHAPE)
    error = store.write(FIRST, values)
    read = EmbeddingStore.open(tmp_path / "store").read(FIRST)
    assert read.dtype == np.float32
    expected = torch.from_numpy(values).to(getattr(torch, dtype))
    np.testing.assert_array_equal(read, expected.float().numpy())
    assert torch.equal(store.read_tensor(FIRST), expected)
    assert 0 < error <= bound
    # What was rounded is stored without any further error, as a tensor too.
    assert store.write(FIRST, expected) == 0
    np.testing.assert_array_equal(store.read(FIRST), read)


def test_values_of_any_size_become_the_nearest() -> None:
    from napari_sam.tiles.rounding import rounded

    bits = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    # bfloat16 is the upper half of float32: just under half a step is added, a little more if odd.
    whole = values.view(np.uint32)
    expected = ((whole + (0x7FFF + ((whole >> 16) & 1))) >> 16).astype(np.uint16)
    np.testing.assert_array_equal(rounded(values, "bfloat16")[0], expected)
    halves, error = rounded(values[np.abs(values) < 6e4], "float16")
    np.testing.assert_array_equal(halves, values[np.abs(values) < 6e4].astype(np.float16))
    assert 2**-12 < error < 2**-11
    assert not np.isfinite(rounded(np.float32([1.0, np.nan]), "bfloat16")[1])


def test_what_a_store_says_of_itself(tmp_path: Path) -> None:
    make(tmp_path / "store", levels=[2, 0], dtype="bfloat16")
    store = EmbeddingStore.open(tmp_path / "store")
    assert store.scene == SCENE
    assert (store.geometry, store.levels) == (GEOMETRY, (0, 2))
    assert (store.model.hash, store.model.embedding_shape) == (MODEL.hash, SHAPE)
    # Anyone can read it with zarr alone.
    group = zarr.open_group(tmp_path / "store", mode="r")
    said: Any = group.attrs["napari_sam_embedding_store"]
    assert said["format_version"] == 1
    store.write(SECOND, embedding())
    array = group["level_0"]
    assert isinstance(array, zarr.Array)
    bits = np.asarray(array[1, 2])
    np.testing.assert_array_equal((bits.astype("u4") << 16).view("f4"), store.read(SECOND))


def test_a_real_scene_and_model() -> None:
    scene = open_scene(np.random.default_rng(0).integers(0, 4000, (100, 300), dtype=np.uint16))
    sam = build_sam(
        Variant(
            image_size=64,
            depth=1,
            embed_dim=16,
            num_heads=2,
            out_chans=16,
            decoder_heads=2,
            global_attn_indexes=(0,),
        )
    )
    info, model = SceneInfo.of(scene), ModelInfo.of(sam)
    store = EmbeddingStore.create(MemoryStore(), info, model, TileGeometry(scene.shape))
    store.check(scene=SceneInfo.of(scene), model=ModelInfo.of(sam))
    assert model.embedding_shape == (16, 4, 4)
    with torch.no_grad():
        sam.mask_decoder.iou_token.weight += 1
    store.check(model=ModelInfo.of(sam))  # it changes no embedding
    with torch.no_grad():
        sam.image_encoder.pos_embed += 1
    with pytest.raises(StoreMismatch, match="another model"):
        store.check(model=ModelInfo.of(sam))


def test_states() -> None:
    store = make(MemoryStore())
    store.write(FIRST, embedding())
    store.mark_empty(SECOND, "no data")
    failed = TileId(1, 0, 0)
    store.mark_failed(failed, "out of memory")
    store.mark_failed(failed, "no luck")
    expected = np.zeros((2, 6), np.uint8)
    expected[0, 0], expected[1, 2] = State.DONE, State.EMPTY
    np.testing.assert_array_equal(store.states(0), expected)
    assert [store.state(tile) for tile in (FIRST, SECOND, failed)] == [1, 2, 3]
    assert store.why_empty(SECOND) == "no data"
    assert store.failures() == [Failure(failed, "no luck", 2)]
    assert len(list(store.missing(0))) == 10
    assert SECOND not in set(store.missing(0))
    progress = store.progress()
    assert (progress.done, progress.empty, progress.failed) == (1, 1, 1)
    assert progress.total == sum(np.prod(GEOMETRY.grid(n)) for n in range(GEOMETRY.levels))
    for tile, message in [
        (TileId(0, 0, 1), "not encoded yet"),
        (SECOND, r"empty \(no data\)"),
        (failed, r"failed to be encoded \(no luck\)"),
    ]:
        with pytest.raises(TileNotThere, match=message):
            store.read(tile)
    store.write(failed, embedding())
    assert store.failures() == []
    store.mark_missing(SECOND, "looked at again")
    assert store.state(SECOND) == State.MISSING


def test_a_flipped_byte_is_found_and_the_tile_encoded_again(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    for tile in (FIRST, SECOND):
        store.write(tile, embedding())
    path = tmp_path / "store/level_0/c.1.2.0.0.0"
    for place in (0, 40, -1):
        flip_byte(path, place)
        with pytest.raises(TileDamaged) as error:
            store.read(SECOND)
        assert_one_sentence(error, "tile 1, 2 of level 0")
        # Everyone hears of it, and a new embedding stays.
        assert EmbeddingStore.open(tmp_path / "store").state(SECOND) == State.MISSING
        store.write(SECOND, embedding(1))
        assert EmbeddingStore.open(tmp_path / "store").state(SECOND) == State.DONE
    path.unlink()
    seen: list[tuple[int, int]] = []
    assert store.verify(lambda *numbers: seen.append(numbers)) == [SECOND]
    assert seen == [(1, 2), (2, 2)]
    assert store.state(SECOND) == State.MISSING
    assert store.verify() == []


def test_damage_where_nothing_can_be_written(tmp_path: Path) -> None:
    disk = FailingStore(tmp_path / "store")
    store = make(disk)
    store.write(FIRST, embedding())
    flip_byte(tmp_path / "store/level_0/c.0.0.0.0.0")
    store.save_zip(tmp_path / "store.zip")
    disk.word = "journal"
    for reader in (store, EmbeddingStore.open(tmp_path / "store.zip")):
        with pytest.raises(TileDamaged):
            reader.read(FIRST)
        assert reader.progress().done == 0
        with pytest.raises(TileNotThere):
            reader.read(FIRST)
    disk.word = ""
    store.write(FIRST, embedding())
    assert store.state(FIRST) == State.DONE


def test_a_damaged_record_counts_for_nothing(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    store.mark_empty(FIRST, "constant")
    store.mark_empty(SECOND, "constant")
    (journal,) = (tmp_path / "store/journal").iterdir()
    flip_byte(journal)
    again = EmbeddingStore.open(tmp_path / "store")
    assert [again.state(tile) for tile in (FIRST, SECOND)] == [State.EMPTY, State.MISSING]


@pytest.mark.parametrize("change", ["size", "channels", "t", "normalisation", "pixels"])
def test_another_scene_is_refused(change: str) -> None:
    given = {
        "size": replace(SCENE, shape=(100, 301), fingerprint="a" * 32),
        "channels": replace(SCENE, channels=("red",), fingerprint="a" * 32),
        "t": replace(SCENE, t=3, fingerprint="a" * 32),
        "normalisation": replace(
            SCENE,
            normalisation={**SCENE.normalisation, "high": [800.0]},
            fingerprint="a" * 32,
        ),
        "pixels": replace(SCENE, fingerprint="a" * 32),
    }
    said = {
        "size": "another size (it has 100 × 300 pixels, not 100 × 301)",
        "channels": "other channels (it has grey, not red)",
        "t": "other t (it has 0, not 3)",
        "normalisation": "(it has percentile 1..900.5, not percentile 1..800; open the scene with",
        "pixels": "other pixels (fingerprint ffffffff, not aaaaaaaa)",
    }
    store = make(MemoryStore())
    store.check(scene=replace(SCENE, name="moved"), model=MODEL, geometry=GEOMETRY)
    with pytest.raises(StoreMismatch) as error:
        store.check(scene=given[change])
    assert_one_sentence(error, said[change])
    assert ("other pixels" in str(error.value)) == (change == "pixels")


def test_all_differences_are_listed() -> None:
    with pytest.raises(StoreMismatch) as error:
        make(MemoryStore()).check(
            scene=replace(SCENE, fingerprint="a" * 32),
            model=replace(MODEL, hash="1" * 64, variant={"name": "vit_b"}),
            geometry=TileGeometry((100, 300), tile=64, halo=16),
        )
    assert_one_sentence(error, "other pixels")
    assert "encoded with custom 00000000, this is vit_b 11111111" in str(error.value)
    assert "tiles of 64 with a halo of 8" in str(error.value)


def test_zip(tmp_path: Path) -> None:
    store = make(tmp_path / "store", shard_above=1, shard=2)
    for number, tile in enumerate(GEOMETRY.tiles(0)):
        store.write(tile, embedding(number))
    store.compact()
    store.write(TileId(1, 0, 0), embedding())
    store.save_zip(tmp_path / "store.zip")
    kept = EmbeddingStore.open(tmp_path / "store.zip")
    assert kept.progress() == store.progress()
    for tile in (*GEOMETRY.tiles(0), TileId(1, 0, 0)):
        np.testing.assert_array_equal(kept.read(tile), store.read(tile))
    assert kept.size_on_disk() > store.size_on_disk() > 0
    with pytest.raises(StoreUnusable) as error:
        kept.write(FIRST, embedding())
    assert_one_sentence(error, "opened for reading only")
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []
    for name, expected in [("none/store.zip", "could not be written"), ("store", "end in .zip")]:
        with pytest.raises(InputError) as refused:
            store.save_zip(tmp_path / name)
        assert_one_sentence(refused, expected)


def test_a_store_can_be_sent_to_another_process(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    store.write(FIRST, embedding())
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).read(FIRST), store.read(FIRST))


class CountingStore(WrapperStore[LocalStore]):
    """Counts what is read."""

    def __init__(self, store: LocalStore) -> None:
        super().__init__(store)
        self.read: Counter[str] = Counter()

    async def get(self, key: str, prototype: BufferPrototype, byte_range: Any = None) -> Any:
        self.read[key.split("/")[0]] += 1
        return await super().get(key, prototype, byte_range)


def test_opening_reads_one_key_and_asking_a_few(tmp_path: Path) -> None:
    geometry = TileGeometry((7200, 7200), tile=88, halo=8)
    model = replace(MODEL, embedding_shape=(1, 1, 1))
    scene = replace(SCENE, shape=geometry.shape)
    store = EmbeddingStore.create(tmp_path / "store", scene, model, geometry, levels=[0])
    tiles = list(geometry.tiles(0))
    assert len(tiles) == 10_000
    for tile in tiles[:3000]:
        store.mark_empty(tile, "constant")
    counting = CountingStore(LocalStore(tmp_path / "store"))
    again = EmbeddingStore.open(counting)
    assert counting.read == {"zarr.json": 1}
    assert again.progress().empty == 3000
    assert counting.read["journal"] == 3  # 1024 records in each
    assert len(list(again.missing(0))) == 7000
    assert sum(counting.read.values()) < 10


def test_chunks_are_those_of_zarr(tmp_path: Path) -> None:
    """They are put together without it."""
    store = make(tmp_path / "store")
    store.write(SECOND, embedding())
    [chunk] = (tmp_path / "store" / "level_0").glob("c.*")
    ours = chunk.read_bytes()
    array = zarr.open_array(tmp_path / "store" / "level_0", mode="r+")
    array[SECOND.row, SECOND.col] = array[SECOND.row, SECOND.col]
    assert chunk.read_bytes() == ours
