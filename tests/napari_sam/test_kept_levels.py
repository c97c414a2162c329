"""Coarse levels that a store keeps: the same pixels, read from the image once."""

from __future__ import annotations

import errno
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from napari_sam.cli import main
from napari_sam.errors import InputError
from napari_sam.scene import Scene, open_scene
from napari_sam.tiles import kept_levels
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.encoding import encode
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.kept_levels import keep_levels, kept_sizes
from napari_sam.tiles.planning import plan
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo
from src_model import Sam

ALL = slice(None)
RNG = np.random.default_rng(8)
PIXELS = RNG.integers(0, 256, (130, 177, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def small_blocks() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_levels, "_BLOCK", 16)
        patch.setattr(kept_levels, "_SMALL", 100)
        yield


class Counted:
    """An array that counts the pixels taken from it."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, self.shape, self.dtype, self.taken = pixels, pixels.shape, pixels.dtype, 0

    def __getitem__(self, selection: Any) -> np.ndarray:
        block: np.ndarray = self.pixels[selection]
        self.taken += block.shape[0] * block.shape[1]
        return block


def make_store(scene: Scene, where: Any = None, sam: Sam | None = None) -> EmbeddingStore:
    model = ModelInfo("0" * 64, {"name": "custom"}, (2, 4, 4)) if sam is None else ModelInfo.of(sam)
    return EmbeddingStore.create(
        MemoryStore() if where is None else where,
        SceneInfo.of(scene),
        model,
        TileGeometry(scene.shape, tile=64, halo=8),
    )


def assert_same(one: Scene, other: Scene) -> None:
    for level in range(len(one.levels)):
        np.testing.assert_array_equal(one.read(level, ALL, ALL), other.read(level, ALL, ALL))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_the_pixels_are_the_same_whatever_is_read_first(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 3])))
    dtype = data.draw(st.sampled_from(["u1", "i2", "f4", "f8", "u8", "?"]))
    image = RNG.integers(0, 3, shape).astype(dtype)
    nodata = data.draw(st.sampled_from([None, 1]))
    scene = open_scene(image, axes="YXS", nodata=None if dtype == "?" else nodata)
    fast = keep_levels(scene, make_store(scene))
    for _ in range(3):
        level = data.draw(st.integers(0, len(scene.levels) - 1))
        rows, cols = (
            slice(*sorted(data.draw(st.sets(st.integers(0, size), min_size=2, max_size=2))))
            if size > 1
            else ALL
            for size in scene.levels[level].shape
        )
        np.testing.assert_array_equal(fast.read(level, rows, cols), scene.read(level, rows, cols))
    assert_same(fast, scene)


def test_the_image_is_read_once() -> None:
    array = Counted(PIXELS)
    scene = open_scene(array)
    store = make_store(scene)
    fast = keep_levels(scene, store)
    assert [level.kept for level in fast.levels] == [False, *[True] * 4, *[False] * 4]
    array.taken = 0
    for level in reversed(range(1, 5)):
        fast.read(level, ALL, ALL)
    assert array.taken == 130 * 177
    again = keep_levels(keep_levels(scene, store), store)
    again.read(3, ALL, ALL)
    assert array.taken == 130 * 177
    assert list(kept_sizes(store)) == [1, 2, 3, 4]
    assert all(kept_sizes(store).values())


def test_only_what_is_asked_is_computed() -> None:
    array = Counted(PIXELS)
    scene = open_scene(array)
    fast = keep_levels(scene, make_store(scene))
    array.taken = 0
    fast.read(2, slice(9, 14), slice(17, 30))
    assert array.taken == 64 * 64


def test_encoding_is_the_same_to_the_byte_with_and_without(
    tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = Counted(PIXELS)
    scene = open_scene(array)
    kept = make_store(scene, sam=tiny_sam)
    array.taken = 0
    encode(scene, tiny_sam, kept)
    # For the fingerprint, for the tiles of level 0, and once for those of all other levels.
    assert array.taken == 130 * 177 + (3 * 64) * (4 * 64) + 130 * 177
    monkeypatch.setattr(kept_levels, "_SMALL", 1 << 30)
    plain = make_store(scene, sam=tiny_sam)
    encode(scene, tiny_sam, plain)
    assert kept_sizes(plain) == {}
    for level in kept.levels:
        for tile in kept.geometry.tiles(level):
            np.testing.assert_array_equal(kept.read(tile), plain.read(tile))


def test_prompting_keeps_them_too(tiny_sam: Sam) -> None:
    scene = open_scene(PIXELS)
    store = make_store(scene, sam=tiny_sam)
    Embeddings(store, tiny_sam, scene).at(TileId(2, 0, 0))
    assert list(kept_sizes(store)) == [1, 2]


def test_a_damaged_or_half_known_block_is_computed_again(tmp_path: Path) -> None:
    scene = open_scene(PIXELS)
    store = make_store(scene, tmp_path / "store")
    assert_same(keep_levels(scene, store), scene)
    blocks = sorted((tmp_path / "store").glob("pixels_*/c.*"))
    whole = [path.read_bytes() for path in blocks]
    for number, path in enumerate(blocks):
        content = bytearray(whole[number])
        content[number % len(content)] ^= 1
        path.write_bytes(bytes(content) if number % 3 else bytes(content[:5]))
    assert_same(keep_levels(scene, store), scene)
    assert [path.read_bytes() for path in blocks] == whole
    (tmp_path / "store" / "pixels_1" / "zarr.json").write_text("{}")
    assert_same(keep_levels(scene, store), scene)


def test_two_writers_and_many_threads(tmp_path: Path) -> None:
    scene = open_scene(PIXELS)
    store = make_store(scene, tmp_path / "store")
    readers = [keep_levels(scene, EmbeddingStore.open(tmp_path / "store")) for _ in range(2)]
    expected = scene.read(3, ALL, ALL)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: readers[n % 2].read(3, ALL, ALL), range(12)))
    for read in found:
        np.testing.assert_array_equal(read, expected)
    sent: Scene = pickle.loads(pickle.dumps(readers[0]))
    np.testing.assert_array_equal(sent.read(3, ALL, ALL), expected)
    store.save_zip(tmp_path / "store.zip")
    zipped = keep_levels(scene, EmbeddingStore.open(tmp_path / "store.zip"))
    assert_same(zipped, scene)
    assert kept_sizes(EmbeddingStore.open(tmp_path / "store.zip"))[1] > 0


def test_a_full_disk_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = open_scene(PIXELS)
    fast = keep_levels(scene, make_store(scene, tmp_path / "store"))

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert_same(fast, scene)
    assert not list((tmp_path / "store").glob("pixels_*/c.*"))


def test_damage_of_the_image_is_told_as_before(tmp_path: Path) -> None:
    class Broken(Counted):
        def __getitem__(self, selection: Any) -> np.ndarray:
            if selection[0].start >= 64:
                raise OSError("the tape ends here")
            return super().__getitem__(selection)

    fast_of = open_scene(Broken(PIXELS))
    store = EmbeddingStore.create(
        MemoryStore(),
        SceneInfo("it", (130, 177), "YXS", fast_of.channels, "", {"kind": "as_is"}),
        ModelInfo("0" * 64, {"name": "custom"}, (2, 4, 4)),
        TileGeometry((130, 177), tile=64, halo=8),
    )
    fast = keep_levels(fast_of, store)
    assert fast.read(2, slice(0, 16), ALL).shape == (16, 45, 3)
    with pytest.raises(InputError, match="the tape ends here") as caught:
        fast.read(3, ALL, ALL)
    assert str(caught.value).count("cannot be read") == 1


def test_their_size_is_planned_and_told(
    tiny_sam: Sam, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = open_scene(PIXELS)
    store = make_store(scene, tmp_path / "store", tiny_sam)
    before = store.size_on_disk()
    planned = plan(scene, store, tiny_sam)
    raw = sum(np.prod(level.shape) * 3 for level in scene.levels[1:3])
    tiles = plan(scene, store, tiny_sam, levels=[0]).bytes
    assert planned.bytes is not None
    assert tiles is not None
    assert planned.bytes == pytest.approx(raw + tiles / 12 * planned.to_do, rel=0.05)
    encode(scene, tiny_sam, store)
    assert planned.bytes == pytest.approx(store.size_on_disk() - before, rel=0.2)
    assert main(["info", str(tmp_path / "store")]) == 0
    assert "pixels of levels 1, 2, computed and kept, in" in capsys.readouterr().out
