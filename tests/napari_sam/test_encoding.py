"""Encoding tiles into a store: exact, resumable, ordered, bounded."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoded_scenes import PIXELS, all_tiles, chunks, count_calls, make_store

from napari_sam.scene import Scene, open_scene
from napari_sam.tiles import frames, order, pipeline
from napari_sam.tiles.encoding import EncodingProgress, encode, encode_tiles
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.order import TileQueue
from napari_sam.tiles.planning import plan
from napari_sam.tiles.regions import Region
from napari_sam.tiles.store import (
    EmbeddingStore,
    State,
)
from src_model import Sam, SamPredictor


@pytest.fixture
def scene() -> Scene:
    return open_scene(PIXELS.copy())


@pytest.mark.parametrize("tile", [64, 40, 100])
def test_embeddings_are_those_of_the_predictor(scene: Scene, tiny_sam: Sam, tile: int) -> None:
    store = make_store(scene, tiny_sam, tile=tile)
    summary = encode(scene, tiny_sam, store)
    assert store.progress().done == summary.done == len(all_tiles(store))
    assert summary.rounding_error < 2**-11
    predictor = SamPredictor(tiny_sam)
    for one in all_tiles(store):
        window = store.geometry.window(one)
        predictor.set_image(scene.read_rgb(one.level, window.rows, window.cols))
        expected = predictor.get_image_embedding()[0].half().float().numpy()
        np.testing.assert_array_equal(store.read(one), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (20, 30)])
def test_narrow_scenes(shape: tuple[int, int], tiny_sam: Sam) -> None:
    scene = open_scene(np.arange(np.prod(shape), dtype=np.uint16).reshape(shape))
    store = make_store(scene, tiny_sam)
    encode(scene, tiny_sam, store)
    assert store.progress().missing == 0


@pytest.mark.parametrize("sharded", [False, True])
def test_interrupted_and_resumed_is_the_same_to_the_byte(
    scene: Scene, tiny_sam: Sam, tmp_path: Path, sharded: bool
) -> None:
    options = {"shard_above": 4 if sharded else 999, "shard": 2}
    whole = make_store(scene, tiny_sam, tmp_path / "whole", **options)
    encode(scene, tiny_sam, whole)
    stopped = make_store(scene, tiny_sam, tmp_path / "stopped", **options)
    done, parts = 0, 0
    while True:
        steps = iter([False] * 4)
        summary = encode(scene, tiny_sam, stopped, should_stop=lambda left=steps: next(left, True))
        done, parts = done + summary.done, parts + 1
        if not summary.left:
            break
        stopped = EmbeddingStore.open(tmp_path / "stopped")
        assert stopped.progress().missing == summary.left
    assert parts > 3
    assert done == whole.progress().done
    assert chunks(tmp_path / "whole") == chunks(tmp_path / "stopped")


def test_stopping_finishes_the_tile_in_hand(scene: Scene, tiny_sam: Sam) -> None:
    store = make_store(scene, tiny_sam)
    reports: list[EncodingProgress] = []
    summary = encode(
        scene, tiny_sam, store, on_progress=reports.append, should_stop=lambda: len(reports) >= 3
    )
    assert 3 <= summary.done <= 6
    assert store.progress().done == summary.done
    assert summary.left == len(all_tiles(store)) - summary.done
    never = encode(scene, tiny_sam, store, should_stop=lambda: True)
    assert (never.done, never.left) == (0, summary.left)


def test_stopping_among_empty_tiles(tiny_sam: Sam) -> None:
    scene = open_scene(np.zeros((400, 400), np.uint8))
    store = make_store(scene, tiny_sam)
    reports: list[EncodingProgress] = []
    summary = encode(
        scene, tiny_sam, store, on_progress=reports.append, should_stop=lambda: len(reports) > 5
    )
    assert 5 < summary.empty < 15
    assert summary.left > 50


def test_a_slow_file_does_not_keep_from_stopping(
    scene: Scene, tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, release = threading.Event(), threading.Event()

    def reading(*given: Any) -> Any:
        release.wait(20)
        return frames.read_frame(*given)

    def should_stop() -> bool:
        # The second time it is asked, nothing has been read yet.
        if asked.is_set():
            release.set()
            return True
        asked.set()
        return False

    monkeypatch.setattr(pipeline, "read_frame", reading)
    began = time.monotonic()
    summary = encode(scene, tiny_sam, make_store(scene, tiny_sam), should_stop=should_stop)
    assert summary.done == 0
    assert time.monotonic() - began < 15


def test_what_is_there_is_not_done_again(
    scene: Scene, tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(scene, tiny_sam)
    encode(scene, tiny_sam, store)
    read = count_calls(monkeypatch)
    assert encode(scene, tiny_sam, store).done == 0
    assert read == []
    store.mark_missing(TileId(0, 1, 1), "a test")
    assert encode(scene, tiny_sam, store).done == 1
    assert read == [TileId(0, 1, 1)]


def test_progress_counts_and_estimates(scene: Scene, tiny_sam: Sam) -> None:
    store = make_store(scene, tiny_sam)
    reports: list[EncodingProgress] = []
    encode(scene, tiny_sam, store, on_progress=reports.append)
    assert [report.settled for report in reports] == list(range(1, len(all_tiles(store)) + 1))
    assert {report.total for report in reports} == {len(all_tiles(store))}
    assert reports[0].seconds_left is None
    assert all(report.seconds_left is not None for report in reports[1:])
    assert reports[-1].seconds_left == 0


def test_empty_tiles_are_marked_with_why(tiny_sam: Sam) -> None:
    pixels = PIXELS.copy()
    pixels[:90, :90] = 7
    pixels[:90, 110:] = 0
    scene = open_scene(pixels, nodata=0)
    store = make_store(scene, tiny_sam)
    summary = encode(scene, tiny_sam, store)
    empty = 0
    for tile in all_tiles(store):
        window = store.geometry.window(tile)
        is_empty = scene.is_empty(tile.level, window.rows, window.cols)
        assert (store.state(tile) is State.EMPTY) == is_empty
        empty += is_empty
    assert summary.empty == empty >= 2
    assert store.why_empty(TileId(0, 0, 0)) == "constant"
    assert store.why_empty(TileId(0, 0, 3)) == "no data"


def test_levels_and_region_of_interest(
    scene: Scene, tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(scene, tiny_sam)
    read = count_calls(monkeypatch)
    encode(scene, tiny_sam, store, levels=[0], roi=Region(0, 0, 10, 60))
    assert sorted(read) == [TileId(0, 0, 0), TileId(0, 0, 1)]
    read.clear()
    encode(scene, tiny_sam, store, roi=np.array([[True, False]]))
    assert sorted(read) == sorted(
        tile
        for tile in all_tiles(store)
        if store.geometry.core(tile).col0 << tile.level < 100
        and tile not in (TileId(0, 0, 0), TileId(0, 0, 1))
    )
    read.clear()
    encode_tiles(scene, tiny_sam, store, [TileId(0, 2, 3)])
    assert read == [TileId(0, 2, 3)]


def test_the_coarsest_level_comes_first(
    scene: Scene, tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_READERS", 1)
    store = make_store(scene, tiny_sam)
    read = count_calls(monkeypatch)
    encode(scene, tiny_sam, store)
    assert read == sorted(read, key=lambda tile: (-tile.level, tile.row, tile.col))


def test_priority_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = 0.0
    monkeypatch.setattr(order.time, "monotonic", lambda: seconds)
    looked_at = 3
    tiles = [TileId(0, 0, col) for col in range(8)]
    queue = TileQueue(tiles, lambda tile: -abs(tile.col - looked_at))
    assert [queue.take().col for _ in range(3)] == [3, 2, 4]
    looked_at = 7
    assert queue.take().col == 1  # not asked again so soon
    seconds = 5.0
    queue.try_again(tiles[3])
    assert [queue.take().col for _ in range(len(queue))] == [7, 6, 5, 0, 3]


def test_encoding_follows_the_priority(
    scene: Scene, tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_READERS", 1)
    store = make_store(scene, tiny_sam)
    read = count_calls(monkeypatch)

    def urgency(tile: TileId) -> float:
        return -10 * tile.level + tile.row + 0.1 * tile.col

    encode(scene, tiny_sam, store, priority=urgency)
    assert read == sorted(all_tiles(store), key=urgency, reverse=True)


@pytest.mark.parametrize("batch", [1, 4])
def test_few_tiles_are_in_memory(
    tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (500, 500), dtype=np.uint8)
    scene = open_scene(pixels)
    store = make_store(scene, tiny_sam)
    lock, in_flight, most = threading.Lock(), 0, 0
    write = store.write

    def count(by: int) -> None:
        nonlocal in_flight, most
        with lock:
            in_flight += by
            most = max(most, in_flight)

    def reading(scene: Scene, geometry: TileGeometry, tile: TileId, size: int) -> Any:
        count(1)
        return frames.read_frame(scene, geometry, tile, size)

    def writing(tile: TileId, embedding: torch.Tensor) -> float:
        time.sleep(0.005)  # so that the encoder is never waited for
        error = write(tile, embedding)
        count(-1)
        return error

    monkeypatch.setattr(pipeline, "read_frame", reading)
    monkeypatch.setattr(store, "write", writing)
    encode(scene, tiny_sam, store, batch=batch)
    assert store.progress().done > 100
    assert batch < most <= 3 * batch + 5


def test_plan(scene: Scene, tiny_sam: Sam, tmp_path: Path) -> None:
    store = make_store(scene, tiny_sam, tmp_path / "store")
    before = sorted(tmp_path.rglob("*"))
    planned = plan(scene, store, tiny_sam)
    assert sorted(tmp_path.rglob("*")) == before
    assert planned.to_do == len(all_tiles(store))
    assert planned.levels == plan(scene, store.geometry).levels
    assert planned.seconds is not None
    assert planned.seconds > 0
    empty_size = store.size_on_disk()
    encode(scene, tiny_sam, store, roi=Region(0, 0, 60, 60))
    after = plan(scene, store)
    assert after.to_do == planned.to_do - store.progress().done
    assert after.levels[0].done == 4
    encode(scene, tiny_sam, store)
    assert planned.bytes == pytest.approx(store.size_on_disk() - empty_size, rel=0.2)
    assert plan(scene, store).to_do == 0
