"""Tiles of a store are prompted as if their pixels had just been encoded."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from zarr.storage import MemoryStore

from napari_sam.errors import InputError
from napari_sam.scene import Scene, open_scene
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.frames import embed
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.regions import Region
from napari_sam.tiles.rounding import HalfType
from napari_sam.tiles.store import (
    EmbeddingStore,
    ModelInfo,
    SceneInfo,
    State,
    StoreMismatch,
    TileDamaged,
    TileNotThere,
)
from napari_sam.tiles.tile_predictor import TilePredictor, to_level
from src_model import Sam, SamPredictor, Variant, build_sam, load_model

FIRST, SECOND, THIRD, EMPTY = TileId(0, 0, 0), TileId(0, 1, 1), TileId(1, 0, 1), TileId(0, 0, 5)


@pytest.fixture(scope="module")
def scene() -> Scene:
    pixels = np.random.default_rng(0).integers(0, 4000, (100, 300), dtype=np.uint16)
    pixels[:64, 236:] = 7
    return open_scene(pixels)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Record the shape of every tile that is encoded."""
    shapes: list[tuple[int, ...]] = []

    def recording(sam: Sam, frames: Sequence[np.ndarray]) -> torch.Tensor:
        shapes.extend(frame.shape for frame in frames)
        return embed(sam, frames)

    monkeypatch.setattr("napari_sam.tiles.embeddings.embed", recording)
    return shapes


def make(scene: Scene, sam: Sam, where: Any = None, **options: Any) -> EmbeddingStore:
    return EmbeddingStore.create(
        MemoryStore() if where is None else where,
        SceneInfo.of(scene),
        ModelInfo.of(sam),
        TileGeometry(scene.shape, tile=64, halo=8),
        **options,
    )


def direct(scene: Scene, sam: Sam, level: int, window: Region) -> SamPredictor:
    predictor = SamPredictor(sam)
    predictor.set_image(scene.read_rgb(level, window.rows, window.cols))
    return predictor


def fill(store: EmbeddingStore, scene: Scene, sam: Sam, *tiles: TileId) -> None:
    for tile in tiles:
        predictor = direct(scene, sam, tile.level, store.geometry.window(tile))
        store.write(tile, predictor.get_image_embedding()[0])


def answer(predictor: SamPredictor) -> tuple[np.ndarray, ...]:
    return predictor.predict(np.array([[20.0, 31.0]]), np.array([1]), return_logits=True)


def assert_same(one: SamPredictor, other: SamPredictor) -> None:
    for a, b in zip(answer(one), answer(other), strict=True):
        np.testing.assert_array_equal(a, b)


@contextmanager
def refused(kind: type[InputError], *expected: str) -> Iterator[None]:
    with pytest.raises(kind) as error:
        yield
    sentence = str(error.value)
    for part in expected:
        assert part in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_masks_are_those_of_the_rounded_embedding(
    scene: Scene, tiny_sam: Sam, encoded: list, dtype: HalfType
) -> None:
    store = make(scene, tiny_sam, dtype=dtype)
    tiles = [FIRST, SECOND, THIRD, TileId(3, 0, 0)]
    fill(store, scene, tiny_sam, *tiles)
    encoded.clear()
    prompted = [Embeddings(store, tiny_sam).at(tile) for tile in tiles]
    assert not encoded
    for tile, ready in zip(tiles, prompted, strict=True):
        assert (ready.tile, ready.window) == (tile, store.geometry.window(tile))
        predictor = direct(scene, tiny_sam, tile.level, ready.window)
        exact = answer(predictor)
        rounded = predictor.get_image_embedding().to(getattr(torch, dtype))
        predictor.set_embedding(rounded, predictor.original_size)
        assert_same(ready.predictor, predictor)
        assert answer(ready.predictor)[0].shape == (3, *ready.window.shape)
        assert np.abs(answer(ready.predictor)[0] - exact[0]).max() < 0.1 * exact[0].std()


def test_masks_of_a_real_picture_are_those_of_its_pixels() -> None:
    sam = load_model("vit_nano", "cpu", "float32")
    scene = open_scene(skimage.data.coins())
    geometry = TileGeometry(scene.shape, tile=256, halo=32)
    store = EmbeddingStore.create(MemoryStore(), SceneInfo.of(scene), ModelInfo.of(sam), geometry)
    centres = {FIRST: [(47, 36), (46, 96)], SECOND: [(190, 330), (260, 320)]}
    embeddings = Embeddings(store, sam, scene)
    for tile in centres:
        embeddings.at(tile)
    ious = []
    for tile, points in centres.items():
        ready = Embeddings(store, sam).at(tile)
        predictor = direct(scene, sam, tile.level, ready.window)
        for point in points:
            prompt = ready.to_xy([point]), np.array([1])
            stored, expected = ready.predictor.predict(*prompt)[0], predictor.predict(*prompt)[0]
            assert 300 < expected[0].sum() < expected[0].size / 2
            both, either = (stored & expected).sum((1, 2)), (stored | expected).sum((1, 2))
            ious.append(both / either)
    assert np.mean(ious) > 0.99


def test_the_last_used_are_kept_as_far_as_bytes_go(
    scene: Scene, tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make(scene, tiny_sam)
    fill(store, scene, tiny_sam, FIRST, SECOND, THIRD)
    read: list[TileId] = []
    read_tensor = store.read_tensor

    def recording(tile: TileId) -> torch.Tensor:
        read.append(tile)
        return read_tensor(tile)

    monkeypatch.setattr(store, "read_tensor", recording)

    def reads(max_bytes: int, *tiles: TileId) -> list[TileId]:
        read.clear()
        embeddings = Embeddings(store, tiny_sam, max_bytes=max_bytes)
        for tile in tiles:
            embeddings.at(tile)
        return list(read)

    each = 4 * 32 * 4 * 4
    turn = FIRST, SECOND, FIRST, THIRD, FIRST, SECOND
    assert reads(3 * each, *turn) == [FIRST, SECOND, THIRD]
    assert reads(2 * each, *turn) == [FIRST, SECOND, THIRD, SECOND]
    assert reads(2 * each - 1, *turn) == list(turn)
    assert reads(each, FIRST, FIRST) == [FIRST]
    assert reads(0, FIRST, FIRST) == [FIRST, FIRST]
    with pytest.raises(ValueError, match="max_bytes"):
        Embeddings(store, tiny_sam, max_bytes=-1)


def test_tiles_do_not_disturb_each_other(scene: Scene, tiny_sam: Sam) -> None:
    store = make(scene, tiny_sam)
    embeddings = Embeddings(store, tiny_sam, scene, max_bytes=0)
    first = embeddings.at(FIRST)
    expected = answer(first.predictor)
    second = embeddings.at(SECOND)
    second.predictor.reset_image()
    np.testing.assert_array_equal(answer(first.predictor)[0], expected[0])
    # What is kept costs a reference, and whoever misuses a predictor has only his own.
    embeddings = Embeddings(store, tiny_sam)
    features = embeddings.at(SECOND).predictor.get_image_embedding()
    again = embeddings.at(SECOND).predictor.get_image_embedding()
    assert again.data_ptr() == features.data_ptr()


def test_a_missing_tile_is_encoded_and_stored(
    scene: Scene, tiny_sam: Sam, encoded: list, tmp_path: Path
) -> None:
    store = make(scene, tiny_sam, tmp_path / "store")
    with refused(TileNotThere, "tile 0, 1 of level 1", "not encoded yet"):
        Embeddings(store, tiny_sam).at(THIRD)
    assert not encoded
    new = Embeddings(store, tiny_sam, scene).at(THIRD)
    assert encoded == [(*store.geometry.window(THIRD).shape, 3)]
    stored = Embeddings(EmbeddingStore.open(tmp_path / "store"), tiny_sam).at(THIRD)
    assert len(encoded) == 1
    assert_same(new.predictor, stored.predictor)
    expected = direct(scene, tiny_sam, 1, new.window).get_image_embedding()[0]
    assert torch.equal(store.read_tensor(THIRD), expected.half())


def test_a_damaged_tile_is_encoded_again(
    scene: Scene, tiny_sam: Sam, encoded: list, tmp_path: Path
) -> None:
    store = make(scene, tiny_sam, tmp_path / "store")
    fill(store, scene, tiny_sam, FIRST)
    expected = store.read_tensor(FIRST)
    chunk = tmp_path / "store/level_0/c.0.0.0.0.0"
    for given in (None, scene):
        store.write(FIRST, expected)
        content = bytearray(chunk.read_bytes())
        content[-20] ^= 1
        chunk.write_bytes(content)
        encoded.clear()
        embeddings = Embeddings(store, tiny_sam, given)
        if given is None:
            with refused(TileDamaged, "tile 0, 0 of level 0", "is damaged"):
                embeddings.at(FIRST)
        else:
            embeddings.at(FIRST)
    assert len(encoded) == 1
    assert store.state(FIRST) is State.DONE
    assert torch.equal(store.read_tensor(FIRST), expected)


def test_empty_and_failed_tiles_are_refused(scene: Scene, tiny_sam: Sam, encoded: list) -> None:
    store = make(scene, tiny_sam)
    store.mark_failed(FIRST, "it rained")
    store.mark_empty(SECOND, "no data")
    for embeddings in (Embeddings(store, tiny_sam), Embeddings(store, tiny_sam, scene)):
        with refused(TileNotThere, "tile 0, 0 of level 0", "it rained"):
            embeddings.at(FIRST)
        with refused(TileNotThere, "tile 1, 1 of level 0", "is empty (no data)"):
            embeddings.at(SECOND)
        with refused(InputError, "there is none at 9, 0"):
            embeddings.at(TileId(0, 9, 0))
        with refused(InputError, "level -1"):
            embeddings.at(TileId(-1, 0, 0))
    # One that turns out to be empty is known to be from then on.
    for _ in range(2):
        with refused(TileNotThere, "tile 0, 5 of level 0", "is empty"):
            embeddings.at(EMPTY)
        assert store.why_empty(EMPTY) == "constant"
    assert not encoded


def test_another_model_or_scene_is_refused(scene: Scene, tiny_sam: Sam) -> None:
    store = make(scene, tiny_sam)
    torch.manual_seed(1)
    other = build_sam(Variant(**tiny_sam.variant.to_dict()))
    with refused(StoreMismatch, "another model"):
        Embeddings(store, other)
    with refused(StoreMismatch, "another size"):
        Embeddings(store, tiny_sam, open_scene(np.zeros((90, 300), np.uint16)))


def test_a_store_that_cannot_be_written_still_serves(
    scene: Scene, tiny_sam: Sam, encoded: list, tmp_path: Path
) -> None:
    store = make(scene, tiny_sam, tmp_path / "store")
    fill(store, scene, tiny_sam, FIRST)
    store.save_zip(tmp_path / "store.zip")
    embeddings = Embeddings(EmbeddingStore.open(tmp_path / "store.zip"), tiny_sam, scene)
    encoded.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embeddings.at(FIRST)
    with pytest.warns(RuntimeWarning, match="tile 1, 1 of level 0 was encoded, but not stored"):
        ready = embeddings.at(SECOND)
    assert_same(ready.predictor, Embeddings(store, tiny_sam, scene).at(SECOND).predictor)
    encoded.clear()
    embeddings.at(SECOND)
    with refused(TileNotThere, "tile 0, 5 of level 0", "is empty"):
        embeddings.at(EMPTY)
    assert not encoded


def test_threads_share_what_is_encoded(scene: Scene, tiny_sam: Sam, encoded: list) -> None:
    store = make(scene, tiny_sam)
    tiles = [FIRST, SECOND, THIRD, TileId(0, 0, 1)]
    embeddings = Embeddings(store, tiny_sam, scene, max_bytes=2 * 4 * 32 * 4 * 4)
    start = threading.Barrier(4)

    def prompt(number: int) -> list[np.ndarray]:
        start.wait()
        order = tiles if number % 2 else tiles[::-1]
        found = {tile: answer(embeddings.at(tile).predictor)[0] for tile in order * 5}
        return [found[tile] for tile in tiles]

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(prompt, range(4))
    assert len(encoded) == len(tiles)
    for other in others:
        for one, same in zip(first, other, strict=True):
            np.testing.assert_array_equal(one, same)
    for tile, masks in zip(tiles, first, strict=True):
        alone = Embeddings(store, tiny_sam).at(tile)
        np.testing.assert_array_equal(answer(alone.predictor)[0], masks)


@pytest.mark.parametrize("level", range(4))
def test_a_position_is_the_same_place_at_every_level(level: int) -> None:
    # The centre of a pixel is the mean of the centres of those of level 0 that it covers.
    inside = np.arange(5 << level, 6 << level)
    assert to_level(inside, level).mean() == pytest.approx(5)
    assert to_level((5 << level) - 0.5, level) == pytest.approx(4.5)
    ready = TilePredictor(
        TileId(level, 0, 0), Region(3, 40, 67, 104), SamPredictor.__new__(SamPredictor)
    )
    x, y = ready.to_xy([inside.mean(), (44 << level) + (2**level - 1) / 2])
    assert (x, y) == (4, 2)
    box = np.array([[1.0, 2.0, 30.0, 40.0], [5.0, 6.0, 7.0, 8.0]])
    points = ready.to_xy(box.reshape(2, 2, 2))
    np.testing.assert_array_equal(ready.to_box(box), points.reshape(2, 4))


def test_masks_are_placed_in_their_level() -> None:
    ready = TilePredictor(
        TileId(0, 0, 0), Region(10, 20, 14, 26), SamPredictor.__new__(SamPredictor)
    )
    mask = np.zeros((4, 6), bool)
    region, part = ready.place(mask)
    assert (region, part.shape) == (Region(10, 20, 10, 20), (0, 0))
    mask[0, 5] = mask[3, 1] = True
    region, part = ready.place(mask)
    whole = np.zeros((30, 30), bool)
    whole[region.rows, region.cols] = part
    assert np.argwhere(whole).tolist() == [[10, 25], [13, 21]]
    assert region == Region(10, 21, 14, 26)
    for wrong in (mask[:3], mask.astype(float)):
        with pytest.raises(ValueError, match=r"bool and of the shape .*\(4, 6\)"):
            ready.place(wrong)
    for points in ([1.0, 2.0, 3.0], 1.0):
        with pytest.raises(ValueError, match=r"\(row, col\)"):
            ready.to_xy(points)
    with pytest.raises(ValueError, match="row0, col0, row1, col1"):
        ready.to_box([1.0, 2.0])
