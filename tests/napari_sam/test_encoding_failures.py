"""Encoding tiles into a store: what fails, and what is refused."""

from __future__ import annotations

import errno
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoded_scenes import PIXELS, all_tiles, chunks, count_calls, make_store
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from napari_sam.errors import InputError
from napari_sam.scene import Scene, open_scene
from napari_sam.tiles import frames, pipeline
from napari_sam.tiles.encoding import EncodingProgress, encode
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.regions import Region
from napari_sam.tiles.store import (
    EmbeddingStore,
    StoreMismatch,
    StoreUnusable,
)
from src_model import Sam


@pytest.fixture
def scene() -> Scene:
    return open_scene(PIXELS.copy())


@pytest.mark.parametrize("where", ["reading", "encoding"])
@pytest.mark.parametrize("times", [2, 3])
def test_a_tile_is_tried_three_times(
    scene: Scene, tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch, where: str, times: int
) -> None:
    store = make_store(scene, tiny_sam)
    bad, left = TileId(0, 1, 2), [True] * times
    frame = frames.read_frame(scene, store.geometry, bad, 64)

    def reading(scene: Scene, geometry: TileGeometry, tile: TileId, size: int) -> Any:
        if where == "reading" and tile == bad and left:
            left.pop()
            raise OSError("the network is away\nor so")
        return frames.read_frame(scene, geometry, tile, size)

    def encoding_(sam: Sam, given: list[np.ndarray]) -> torch.Tensor:
        if where == "encoding" and left and any(np.array_equal(frame, one) for one in given):
            left.pop()
            raise RuntimeError("the network is away\nor so")
        return frames.embed(sam, given)

    monkeypatch.setattr(pipeline, "read_frame", reading)
    monkeypatch.setattr(pipeline, "embed", encoding_)
    summary = encode(scene, tiny_sam, store)
    assert left == []
    if times == 2:
        assert summary.failed == ()
        assert store.progress().done == len(all_tiles(store))
        return
    (failure,) = summary.failed
    assert (failure.tile, failure.reason, failure.times) == (bad, "the network is away", 3)
    assert [known.tile for known in store.failures()] == [bad]
    assert store.progress().missing == 0
    assert encode(scene, tiny_sam, store).done == 0
    assert encode(scene, tiny_sam, store, retry_failed=True).done == 1
    assert store.failures() == []


def test_what_the_store_refuses_fails(
    scene: Scene, tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encoding_(sam: Sam, given: list[np.ndarray]) -> torch.Tensor:
        return frames.embed(sam, given) * float("nan")

    monkeypatch.setattr(pipeline, "embed", encoding_)
    store = make_store(scene, tiny_sam)
    summary = encode(scene, tiny_sam, store, levels=[2])
    assert [failure.tile.level for failure in summary.failed] == [2]
    assert "not finite" in summary.failed[0].reason


@pytest.mark.parametrize("kind", [MemoryError, torch.cuda.OutOfMemoryError])
def test_the_batch_is_halved_when_memory_runs_out(
    scene: Scene, tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    tried: list[int] = []

    def encoding_(sam: Sam, given: list[np.ndarray]) -> torch.Tensor:
        tried.append(len(given))
        if len(given) > 2:
            raise kind("out of memory")
        return frames.embed(sam, given)

    monkeypatch.setattr(pipeline, "embed", encoding_)
    store = make_store(scene, tiny_sam)
    summary = encode(scene, tiny_sam, store, batch=8)
    assert (summary.failed, store.progress().missing) == ((), 0)
    assert tried[:3] == [8, 4, 2]
    assert set(tried[3:]) == {2}


def test_one_bad_tile_of_a_batch_fails_alone(
    scene: Scene, tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(scene, tiny_sam)
    bad = TileId(0, 1, 2)
    frame = frames.read_frame(scene, store.geometry, bad, 64)

    def encoding_(sam: Sam, given: list[np.ndarray]) -> torch.Tensor:
        if any(np.array_equal(frame, one) for one in given):
            raise RuntimeError("no")
        return frames.embed(sam, given)

    monkeypatch.setattr(pipeline, "embed", encoding_)
    summary = encode(scene, tiny_sam, store, batch=4)
    assert [failure.tile for failure in summary.failed] == [bad]
    assert store.progress().done == len(all_tiles(store)) - 1


class FullDisk(LocalStore):
    """A disk that is full after some embeddings."""

    left = 5

    async def set(self, key: str, value: Buffer) -> None:
        if "/c." in key:
            type(self).left -= 1
            if type(self).left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        await super().set(key, value)


def test_a_full_disk_stops_at_once_and_is_resumed(
    scene: Scene, tiny_sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FullDisk, "left", 5)
    store = make_store(scene, tiny_sam, FullDisk(tmp_path / "store"))
    read = count_calls(monkeypatch)
    before = threading.active_count()
    with pytest.raises(StoreUnusable, match="make room on that disk"):
        encode(scene, tiny_sam, store)
    assert len(read) < 5 + 10
    assert threading.active_count() <= before + 15  # zarr's own, which it keeps
    again = EmbeddingStore.open(tmp_path / "store")
    assert again.progress().done == 5
    assert again.failures() == []
    encode(scene, tiny_sam, again)
    whole = make_store(scene, tiny_sam, tmp_path / "whole")
    encode(scene, tiny_sam, whole)
    assert chunks(tmp_path / "store") == chunks(tmp_path / "whole")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"levels": [9]}, "Level 9 cannot be encoded: choose of the levels 0, 1, 2"),
        ({"levels": []}, "Level none"),
        ({"roi": Region(900, 0, 901, 9)}, "shares no area"),
        ({"batch": 0}, "0 tiles"),
    ],
)
def test_bad_choices(scene: Scene, tiny_sam: Sam, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        encode(scene, tiny_sam, make_store(scene, tiny_sam), **options)


def test_another_scene_or_model_is_refused(scene: Scene, tiny_sam: Sam) -> None:
    store = make_store(scene, tiny_sam)
    with pytest.raises(StoreMismatch, match="other pixels"):
        encode(open_scene(PIXELS[::-1].copy()), tiny_sam, store)
    other = Sam(replace(tiny_sam.variant, name="other")).eval()
    with pytest.raises(StoreMismatch, match="another model"):
        encode(scene, other, store)


def test_an_error_of_the_caller_ends_the_threads(scene: Scene, tiny_sam: Sam) -> None:
    def stop_at_once(progress: EncodingProgress) -> None:
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        encode(scene, tiny_sam, make_store(scene, tiny_sam), on_progress=stop_at_once)
    assert threading.active_count() <= before + 1  # zarr's own may have begun
