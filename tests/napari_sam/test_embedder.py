"""Encoding in the background: what comes first, who goes first, and what is told when it fails."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from encoded_scenes import PIXELS, all_tiles, count_calls, make_store
from hypothesis import given
from hypothesis import strategies as st

from napari_sam.errors import InputError
from napari_sam.live import embed_core
from napari_sam.live.embedder import RUNNING, Embedder, Status
from napari_sam.live.urgency import Wish, ordered, view_levels
from napari_sam.scene import open_scene
from napari_sam.tiles import frames, pipeline
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.regions import Region
from napari_sam.tiles.roi import tiles_in
from napari_sam.tiles.store import State
from src_model import Sam

CORNER = Region(0, 0, 40, 40)


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait until something holds; whether it ever does is what is tested, not when."""
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.005)


@pytest.fixture
def place(tiny_sam: Sam) -> SimpleNamespace:
    scene = open_scene(PIXELS.copy())
    return SimpleNamespace(scene=scene, sam=tiny_sam, store=make_store(scene, tiny_sam))


@pytest.fixture
def embedder(place: SimpleNamespace) -> Iterator[Embedder]:
    embedder = Embedder(place)
    yield embedder
    assert embedder.close(60)


@pytest.fixture
def not_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the small scene count as one of many tiles."""
    monkeypatch.setattr(embed_core, "QUIETLY", 3)


class Gate:
    """An encoder that waits for leave to begin each tile, and tells how many it began."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began, self._leave = 0, threading.Semaphore(0)
        monkeypatch.setattr(pipeline, "embed", self._embed)

    def let(self, tiles: int) -> None:
        self._leave.release(tiles)

    def _embed(self, sam: Sam, given: list[np.ndarray]) -> torch.Tensor:
        self.began += 1
        self._leave.acquire()
        return frames.embed(sam, given)


def test_nothing_is_encoded_before_it_is_started(embedder: Embedder) -> None:
    wait_for(lambda: embedder.status.left == 17)
    assert embedder.status.doing == "stopped"
    assert embedder.status.counts.done == 0


def test_all_of_a_small_scene_is_encoded_and_what_is_seen_first(
    place: SimpleNamespace, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = count_calls(monkeypatch)
    told: list[Status] = []
    embedder.on_change(told.append)
    embedder.look_at(Region(100, 150, 150, 200))
    embedder.start()
    wait_for(lambda: embedder.status.doing == "waiting")
    assert read[0] == place.store.geometry.owner(0, 125, 175)
    assert sorted(read) == all_tiles(place.store)
    assert embedder.status.counts.done == len(read)
    assert told[-1] == embedder.status
    assert {status.doing for status in told} == {"encoding", "waiting"}
    left = [status.left for status in told if status.left]
    assert left == sorted(left, reverse=True)
    assert any(status.seconds_left for status in told)


@pytest.mark.usefixtures("not_quietly")
def test_of_a_large_scene_only_what_is_seen(place: SimpleNamespace, embedder: Embedder) -> None:
    embedder.look_at(CORNER)
    embedder.start()
    wait_for(lambda: embedder.status.doing == "waiting")
    assert list(place.store.tiles(0, State.DONE)) == [TileId(0, 0, 0)]
    embedder.look_at(Region(0, 100, 40, 140))
    wait_for(lambda: place.store.progress().done > 1 and embedder.status.doing == "waiting")
    assert set(place.store.tiles(0, State.DONE)) == {
        TileId(0, 0, 0),
        *place.store.geometry.tiles(0, Region(0, 100, 40, 140)),
    }
    embedder.embed(levels=(2,))
    wait_for(lambda: embedder.status.doing == "waiting")
    assert place.store.states(2).tolist() == [[State.DONE]]
    assert not place.store.states(1).any()
    embedder.embed()
    wait_for(lambda: embedder.status.counts.missing == 0)


@pytest.mark.usefixtures("not_quietly")
def test_a_polygon(place: SimpleNamespace, embedder: Embedder) -> None:
    polygon = np.array([[60, 60], [60, 190], [100, 60]])
    embedder.embed(roi=polygon)
    wait_for(lambda: embedder.status.doing == "waiting")
    for level in place.store.levels:
        expected = tiles_in(place.store.geometry, level, polygon)
        np.testing.assert_array_equal(place.store.states(level) == State.DONE, expected)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"levels": (7,)}, "Level 7 cannot be encoded: choose of the levels 0, 1, 2"),
        ({"levels": ()}, "Level none"),
        ({"roi": Region(900, 0, 901, 9)}, "shares no area"),
    ],
)
def test_bad_wishes(embedder: Embedder, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        embedder.embed(**options)
    assert embedder.status.doing == "stopped"


def test_prompts_go_first(
    place: SimpleNamespace, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    embedder.start()
    wait_for(lambda: gate.began == 1)
    (tile,) = embedder.status.running
    assert embedder.states(tile.level)[tile.row, tile.col] == RUNNING
    threading.Timer(0.05, gate.let, [1]).start()
    with embedder.aside():
        # What was in hand is stored, so that the prompt need not encode it again.
        assert place.store.state(tile) is State.DONE
        assert embedder.status.doing == "aside"
        gate.let(1000)
        time.sleep(0.1)
        assert gate.began == 1
        with embedder.aside():  # of another thread, say
            pass
        time.sleep(0.1)
        assert gate.began == 1
    wait_for(lambda: embedder.status.counts.missing == 0)


def test_a_slow_read_keeps_no_prompt_waiting(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, leave = threading.Event(), threading.Event()

    def slow(*given: Any) -> Any:
        reading.set()
        leave.wait()
        return frames.read_frame(*given)

    monkeypatch.setattr(pipeline, "read_frame", slow)
    embedder.start()
    reading.wait()
    with embedder.aside():
        assert not leave.is_set()
        leave.set()
    wait_for(lambda: embedder.status.counts.missing == 0)


def test_pause_stop_and_close_end_after_the_tile_in_hand(
    place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, embedder = Gate(monkeypatch), Embedder(place)
    embedder.start()
    wait_for(lambda: gate.began == 1)
    embedder.pause()
    assert embedder.status.doing == "paused"
    gate.let(1)
    wait_for(lambda: not embedder.status.running)
    assert (gate.began, embedder.status.counts.done) == (1, 1)
    embedder.start()
    wait_for(lambda: gate.began == 2)
    embedder.stop()
    gate.let(1)
    wait_for(lambda: not embedder.status.running)
    embedder.start()
    wait_for(lambda: gate.began == 3)
    assert not embedder.close(0.01)
    gate.let(1000)
    assert embedder.close(60)
    assert gate.began == 3
    assert place.store.progress().done == 3


@pytest.mark.usefixtures("not_quietly")
def test_what_another_process_encodes_appears(
    tiny_sam: Sam, tiny_weights: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "image.npy", PIXELS)
    scene = open_scene(PIXELS)
    store = make_store(scene, tiny_sam, tmp_path / "store")
    embedder = Embedder(SimpleNamespace(scene=scene, sam=tiny_sam, store=store))
    told: list[Status] = []
    embedder.on_change(told.append)
    work = (
        "import sys; import numpy as np; from napari_sam.loading import load;"
        "from napari_sam.scene import open_scene; from napari_sam.tiles.encoding import encode;"
        "from napari_sam.tiles.store import EmbeddingStore;"
        "image, weights, where = sys.argv[1:];"
        "store = EmbeddingStore.open(where);"
        "encode(open_scene(np.load(image)), load(weights, 'cpu', 'float32'), store, levels=[1])"
    )
    arguments = [str(tmp_path / "image.npy"), str(tiny_weights), str(tmp_path / "store")]
    subprocess.run([sys.executable, "-c", work, *arguments], check=True)
    wait_for(lambda: bool((embedder.states(1) == State.DONE).all()))
    wait_for(lambda: bool(told) and told[-1].counts.done == embedder.states(1).size)
    assert embedder.status.doing == "stopped"
    assert embedder.close(60)


def test_a_tile_that_fails_is_listed_and_tried_again(
    place: SimpleNamespace, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, broken = TileId(0, 1, 2), [True]

    def reading(scene: Any, geometry: TileGeometry, tile: TileId, size: int) -> Any:
        if tile == bad and broken:
            raise OSError("the network is away")
        return frames.read_frame(scene, geometry, tile, size)

    monkeypatch.setattr(pipeline, "read_frame", reading)
    embedder.start()
    wait_for(lambda: embedder.status.doing == "waiting")
    assert embedder.status.counts.failed == 1
    assert embedder.states(0)[1, 2] == State.FAILED
    assert [(one.tile, one.reason) for one in embedder.failures()] == [(bad, "the network is away")]
    broken.clear()
    assert embedder.retry() == 1
    wait_for(lambda: embedder.status.counts.done == len(all_tiles(place.store)))
    assert embedder.failures() == []


@pytest.mark.usefixtures("not_quietly")
def test_trying_again_encodes_nothing_else(place: SimpleNamespace, embedder: Embedder) -> None:
    place.store.mark_failed(TileId(1, 0, 1), "no reason")
    assert embedder.retry() == 1
    wait_for(lambda: embedder.status.doing == "waiting" and embedder.status.counts.done > 0)
    assert list(place.store.tiles(1, State.DONE)) == [TileId(1, 0, 1)]
    assert embedder.status.counts.done == 1


def test_an_image_that_only_fails_is_given_up(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any) -> Any:
        raise RuntimeError("this file is odd")

    monkeypatch.setattr(pipeline, "read_frame", broken)
    embedder.start()
    wait_for(lambda: embedder.status.doing == "paused")
    problem = embedder.status.problem
    assert problem is not None
    assert "3 tiles failed one after the other" in problem
    assert "this file is odd" in problem
    assert embedder.status.counts.failed == 3


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 8.00 TiB for an array with shape (1, 1)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_runs_out_is_told_and_nothing_is_lost(
    place: SimpleNamespace, embedder: Embedder, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    enough: list[bool] = []

    def encoding(sam: Sam, given: list[np.ndarray]) -> torch.Tensor:
        if not enough:
            raise error
        return frames.embed(sam, given)

    monkeypatch.setattr(pipeline, "embed", encoding)
    embedder.start()
    wait_for(lambda: embedder.status.problem is not None)
    assert embedder.status.doing == "paused"
    assert "needs more memory than there is" in str(embedder.status.problem)
    assert place.store.progress().missing == len(all_tiles(place.store))
    enough.append(True)
    embedder.start()
    wait_for(lambda: embedder.status.counts.done == len(all_tiles(place.store)))
    assert embedder.status.problem is None


def test_a_store_that_vanishes_is_told(tiny_sam: Sam, tmp_path: Path) -> None:
    scene = open_scene(PIXELS)
    store = make_store(scene, tiny_sam, tmp_path / "store")
    embedder = Embedder(SimpleNamespace(scene=scene, sam=tiny_sam, store=store))
    shutil.rmtree(tmp_path / "store")
    embedder.start()
    wait_for(lambda: embedder.status.problem is not None)
    assert "is no longer there" in str(embedder.status.problem)
    assert embedder.status.doing == "paused"
    assert embedder.close(60)


def test_what_nobody_expected_is_told_too(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*given: Any, **more: Any) -> Any:
        raise ZeroDivisionError("by a bug")

    monkeypatch.setattr(embed_core, "encode_tiles", broken)
    embedder.start()
    wait_for(lambda: embedder.status.problem is not None)
    assert "(ZeroDivisionError: by a bug)" in str(embedder.status.problem)
    assert "Traceback" in caplog.text


def test_another_store_of_the_workplace(
    place: SimpleNamespace, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, first = Gate(monkeypatch), place.store
    embedder.look_at(CORNER)
    embedder.start()
    wait_for(lambda: gate.began == 1)
    scene = open_scene(PIXELS[::-1].copy())
    place.scene, place.store = scene, make_store(scene, place.sam)
    gate.let(1000)
    wait_for(lambda: embedder.store is place.store and embedder.status.doing == "waiting")
    assert place.store.progress().missing == 0
    # The old one got what was in hand, and what was encoded belongs to the scene it is stored for.
    assert first.progress().done == 1
    monkeypatch.undo()
    again = make_store(scene, place.sam)
    pipeline.Pipeline(scene, place.sam, again, all_tiles(again), None, 1, None, None).run()
    np.testing.assert_array_equal(again.read(TileId(0, 1, 1)), place.store.read(TileId(0, 1, 1)))


def test_an_estimate_before_and_after_something_was_encoded(embedder: Embedder) -> None:
    first = embedder.estimate(levels=(0, 1))
    assert first.to_do == 16
    assert first.bytes is not None
    assert first.seconds is not None
    embedder.start()
    wait_for(lambda: embedder.status.doing == "waiting")
    assert embedder.estimate().to_do == 0
    with pytest.raises(InputError, match="shares no area"):
        embedder.estimate(roi=Region(900, 0, 901, 9))


def test_who_listens_may_go(embedder: Embedder) -> None:
    told: list[Status] = []
    embedder.on_change(told.append)()
    embedder.start()
    wait_for(lambda: embedder.status.doing == "waiting")
    assert told == []


@given(st.data())
def test_what_is_wanted_comes_once_and_nothing_else_does(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 700), st.integers(1, 700)))
    geometry = TileGeometry(shape, tile=64, halo=8)
    levels = range(data.draw(st.integers(0, geometry.levels - 1)), geometry.levels)
    seed = data.draw(st.integers(0, 99))
    random = np.random.default_rng(seed)
    states = {
        level: random.integers(0, 4, geometry.grid(level), dtype=np.uint8) for level in levels
    }
    sides = st.tuples(st.integers(0, 650), st.integers(1, 200))
    (row, rows), (col, cols) = data.draw(sides), data.draw(sides)
    box = Region(row, col, row + rows, col + cols)
    view = data.draw(st.sampled_from([None, box]))
    wish = data.draw(st.sampled_from([None, Wish(), Wish((levels[-1],)), Wish(None, box)]))
    count, tiles = ordered(geometry, states, view, wish)
    found = list(tiles)
    assert len(found) == len(set(found)) == count
    wanted = set()
    for level in levels:
        mask = np.zeros(states[level].shape, bool)
        if view is not None and level in view_levels(geometry, levels, view):
            mask |= tiles_in(geometry, level, view)
        if wish is not None and (wish.levels is None or level in wish.levels):
            mask |= tiles_in(geometry, level, wish.roi)
        mask &= states[level] == State.MISSING
        wanted |= {TileId(level, *place) for place in np.argwhere(mask).tolist()}
    assert set(found) == wanted
