"""Encoding on a dask cluster of real processes: the same store, whatever happens to workers."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from encoded_scenes import all_tiles, make_store
from zarr.storage import MemoryStore

from napari_sam.cli import main
from napari_sam.errors import InputError
from napari_sam.scene import Scene, open_scene
from napari_sam.tiles import cluster
from napari_sam.tiles.encoding import EncodingProgress, encode
from napari_sam.tiles.geometry import TileId
from napari_sam.tiles.store import EmbeddingStore, State, StoreUnusable
from src_model import Sam

distributed = pytest.importorskip(
    "distributed",
    reason="dask.distributed is not installed: pip install 'napari-sam-tiled[distributed]'",
)

cloudpickle = pytest.importorskip("cloudpickle", reason="it comes with dask.distributed")
# Workers cannot import this module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

PIXELS = np.random.default_rng(4).integers(0, 256, (150, 200, 3), dtype=np.uint8)


class Rigged:
    """Pixels that do something when a certain part of level 0 is read, on a worker too.

    Parameters
    ----------
    folder : Path
        With a file ``armed`` it is done, else not; each time a file is added.
    what : str
        "raise", "die" (the process) or "wait".
    """

    def __init__(self, pixels: np.ndarray, folder: Path, what: str, row: int, col: int) -> None:
        self.pixels, self.folder, self.what, self.at = pixels, folder, what, (row, col)
        self.shape, self.dtype = pixels.shape, pixels.dtype

    def __getitem__(self, where: tuple[slice, ...]) -> np.ndarray:
        if (self.folder / "armed").exists():
            if self.what == "wait":
                time.sleep(0.1)
            elif (where[0].start, where[1].start) == self.at and self._tile(where):
                (self.folder / f"{os.getpid()}-{time.monotonic_ns()}").touch()
                if self.what == "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError("the disk is away\nor so")
        return self.pixels[where]

    def _tile(self, where: tuple[slice, ...]) -> bool:
        return where[0].stop - where[0].start == 64 == where[1].stop - where[1].start


@pytest.fixture(scope="module")
def dask_cluster() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as started:
        yield started


@pytest.fixture
def client(dask_cluster: Any) -> Iterator[Any]:
    with distributed.Client(dask_cluster, set_as_default=False) as connected:
        connected.wait_for_workers(2, timeout=60)
        yield connected


@pytest.fixture
def scene() -> Scene:
    return open_scene(PIXELS.copy())


def chunks(folder: Path) -> dict[str, bytes]:
    """All files but the journal, and what a killed process was writing."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "journal" not in path.parts and path.suffix != ".partial"
    }


def in_one_process(sam: Sam, folder: Path, **options: Any) -> dict[str, bytes]:
    scene = open_scene(PIXELS.copy())
    encode(scene, sam, make_store(scene, sam, folder, **options))
    return chunks(folder)


@pytest.mark.parametrize("options", [{}, {"shard_above": 4, "shard": 2}])
def test_the_same_to_the_byte(
    client: Any, scene: Scene, tiny_sam: Sam, tmp_path: Path, options: dict[str, int]
) -> None:
    store = make_store(scene, tiny_sam, tmp_path / "store", **options)
    reports: list[EncodingProgress] = []
    summary = encode(scene, tiny_sam, store, client=client, on_progress=reports.append)
    assert (summary.done, summary.failed, summary.left) == (len(all_tiles(store)), (), 0)
    assert 0 < summary.rounding_error < 2**-11
    assert [report.settled for report in reports] == list(range(1, summary.done + 1))
    assert reports[-1].seconds_left == 0
    assert chunks(tmp_path / "store") == in_one_process(tiny_sam, tmp_path / "one", **options)
    assert encode(scene, tiny_sam, store, client=client).done == 0


def test_what_is_looked_at_comes_first(
    client: Any, scene: Scene, tiny_sam: Sam, tmp_path: Path
) -> None:
    store = make_store(scene, tiny_sam, tmp_path / "store")

    def urgency(tile: TileId) -> float:
        return 10 * tile.col - tile.row - 0.1 * tile.level

    reports: list[EncodingProgress] = []
    encode(
        scene,
        tiny_sam,
        store,
        client=client,
        priority=urgency,
        on_progress=reports.append,
        should_stop=lambda: bool(reports),
    )
    done = [tile for level in store.levels for tile in store.tiles(level, State.DONE)]
    order = sorted(all_tiles(store), key=urgency, reverse=True)
    assert done
    # Two workers have at most four tasks, and so small a scene is given out tile by tile.
    assert set(done) <= set(order[: len(done) + 4])


def test_stopping_and_going_on(client: Any, tiny_sam: Sam, tmp_path: Path) -> None:
    (tmp_path / "rig").mkdir()
    scene = open_scene(Rigged(PIXELS, tmp_path / "rig", "wait", 0, 0))
    store = make_store(scene, tiny_sam, tmp_path / "store")
    (tmp_path / "rig" / "armed").touch()
    reports: list[EncodingProgress] = []
    summary = encode(
        scene,
        tiny_sam,
        store,
        client=client,
        on_progress=reports.append,
        should_stop=lambda: len(reports) >= 3,
    )
    assert 3 <= summary.done < len(all_tiles(store))
    assert summary.left == len(all_tiles(store)) - summary.done
    assert store.progress().done == summary.done
    (tmp_path / "rig" / "armed").unlink()
    assert encode(scene, tiny_sam, store, client=client).left == 0
    assert chunks(tmp_path / "store") == in_one_process(tiny_sam, tmp_path / "one")


def test_a_tile_that_always_fails(client: Any, tiny_sam: Sam, tmp_path: Path) -> None:
    rig = tmp_path / "rig"
    rig.mkdir()
    scene = open_scene(Rigged(PIXELS, rig, "raise", 48, 48))
    store = make_store(scene, tiny_sam, tmp_path / "store")
    (rig / "armed").touch()
    summary = encode(scene, tiny_sam, store, client=client)
    (failure,) = summary.failed
    assert (failure.tile, failure.times) == (TileId(0, 1, 1), 3)
    assert "the disk is away" in failure.reason
    assert len(list(rig.iterdir())) - 1 == 3
    assert store.progress().missing == 0
    (rig / "armed").unlink()
    assert encode(scene, tiny_sam, store, client=client, retry_failed=True).done == 1
    assert chunks(tmp_path / "store") == in_one_process(tiny_sam, tmp_path / "one")


def test_two_runs_on_one_store(client: Any, scene: Scene, tiny_sam: Sam, tmp_path: Path) -> None:
    options = {"shard_above": 4, "shard": 2}
    store = make_store(scene, tiny_sam, tmp_path / "store", **options)
    other = EmbeddingStore.open(tmp_path / "store")
    here = threading.Thread(target=encode, args=(open_scene(PIXELS.copy()), tiny_sam, other))
    here.start()
    summary = encode(scene, tiny_sam, store, client=client)
    here.join()
    assert (summary.failed, summary.left) == ((), 0)
    assert store.verify() == []
    assert store.progress().done == len(all_tiles(store))
    store.compact()
    assert chunks(tmp_path / "store") == in_one_process(tiny_sam, tmp_path / "one", **options)


def test_an_object_store(tiny_sam: Sam, tmp_path: Path, client: Any, bucket: str) -> None:
    access = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    client.run(lambda: os.environ.update(access))
    path = tmp_path / "scene.npy"
    np.save(path, PIXELS)
    scene = open_scene(path)
    store = make_store(scene, tiny_sam, f"{bucket}/store")
    assert encode(scene, tiny_sam, store, client=client).left == 0
    store.save_zip(tmp_path / "store.zip")
    found = EmbeddingStore.open(tmp_path / "store.zip")
    in_one_process(tiny_sam, tmp_path / "one")
    expected = EmbeddingStore.open(tmp_path / "one")
    for tile in all_tiles(store):
        np.testing.assert_array_equal(found.read(tile), expected.read(tile))


def test_what_workers_cannot_share_is_refused(
    client: Any, scene: Scene, tiny_sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="A store in memory cannot be shared"):
        encode(scene, tiny_sam, make_store(scene, tiny_sam, MemoryStore()), client=client)
    large = open_scene(np.zeros((20_000, 20_000), np.uint8))
    store = make_store(large, tiny_sam, tmp_path / "large", levels=[8])
    with pytest.raises(InputError, match=r"the array holds 0\.4 GB"):
        encode(large, tiny_sam, store, client=client)


def test_workers_that_see_something_else_are_named(
    client: Any, tiny_sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scene.npy"
    np.save(path, PIXELS)
    scene = open_scene(path)
    store = make_store(scene, tiny_sam, tmp_path / "store")
    scene.read(0, slice(0, 1), slice(0, 1))  # it stays open here
    path.rename(tmp_path / "old.npy")
    np.save(path, PIXELS[::-1])
    with pytest.raises(InputError, match=r"On the worker tcp://.* other pixels"):
        encode(scene, tiny_sam, store, client=client)
    path.unlink()
    with pytest.raises(InputError, match=r"On the worker tcp://.* cannot be read"):
        encode(scene, tiny_sam, store, client=client)
    assert store.progress().missing == len(all_tiles(store))
    # A store that lies elsewhere for this process than for its workers.
    scene = open_scene(PIXELS.copy())
    elsewhere = make_store(scene, tiny_sam, tmp_path / "elsewhere")
    monkeypatch.setattr(cluster, "_SEEN_WITHIN", 0.5)
    monkeypatch.setattr(elsewhere, "state", lambda tile: State.MISSING)
    with pytest.raises(StoreUnusable, match=r"but it is not there"):
        encode(scene, tiny_sam, elsewhere, client=client)


def test_an_error_of_the_caller_ends_the_tasks(
    client: Any, scene: Scene, tiny_sam: Sam, tmp_path: Path
) -> None:
    store = make_store(scene, tiny_sam, tmp_path / "store")

    def fail(progress: EncodingProgress) -> None:
        raise KeyError("of the caller")

    with pytest.raises(KeyError, match="of the caller"):
        encode(scene, tiny_sam, store, client=client, on_progress=fail)
    assert encode(scene, tiny_sam, store, client=client).left == 0


def test_from_the_command_line(
    dask_cluster: Any,
    client: Any,
    tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tifffile.imwrite(tmp_path / "scene.tif", PIXELS)
    monkeypatch.chdir(tmp_path)  # where workers are not
    command = ["encode", "scene.tif", "--model", str(tiny_weights), "-o"]
    address = dask_cluster.scheduler_address
    assert main([*command, "there", "--scheduler", address]) == 0
    printed = capsys.readouterr()
    assert "tiles encoded" in printed.out
    assert printed.err == ""
    assert main([*command, "here"]) == 0
    there, here = chunks(tmp_path / "there"), chunks(tmp_path / "here")
    del there["zarr.json"], here["zarr.json"]  # which name the image as it was given
    assert there == here


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://a:1", "nobody", "local:x"])
def test_no_scheduler(
    address: str, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "scene.tif", PIXELS)
    store = tmp_path / "store"
    arguments = ["encode", tmp_path / "scene.tif", "-o", store, "--scheduler", address]
    assert main([*map(str, arguments), "--model", str(tiny_weights)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"napari-sam: No scheduler of dask answers at '{address}'")
    assert err.count("\n") == 1
    assert not store.exists()


def test_a_worker_is_killed_in_the_middle(client: Any, tiny_sam: Sam, tmp_path: Path) -> None:
    (tmp_path / "rig").mkdir()
    scene = open_scene(Rigged(PIXELS, tmp_path / "rig", "wait", 0, 0))
    store = make_store(scene, tiny_sam, tmp_path / "store")
    (tmp_path / "rig" / "armed").touch()
    killed: list[int] = []

    def kill_one(progress: EncodingProgress) -> None:
        if progress.settled == 4:
            killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    summary = encode(scene, tiny_sam, store, client=client, on_progress=kill_one)
    assert killed
    assert (summary.failed, summary.left) == ((), 0)
    assert store.progress().done == len(all_tiles(store))
    assert chunks(tmp_path / "store") == in_one_process(tiny_sam, tmp_path / "one")


def test_all_workers_are_killed_at_once(client: Any, tiny_sam: Sam, tmp_path: Path) -> None:
    (tmp_path / "rig").mkdir()
    scene = open_scene(Rigged(PIXELS, tmp_path / "rig", "wait", 0, 0))
    store = make_store(scene, tiny_sam, tmp_path / "store")
    (tmp_path / "rig" / "armed").touch()
    killed: list[int] = []

    def kill_all(progress: EncodingProgress) -> None:
        if progress.settled == 4:
            killed.extend(client.run(os.getpid).values())
            for process in killed:
                os.kill(process, signal.SIGKILL)

    summary = encode(scene, tiny_sam, store, client=client, on_progress=kill_all)
    assert len(killed) == 2
    assert (summary.failed, summary.left) == ((), 0)
    assert store.progress().done == len(all_tiles(store))


def test_a_tile_that_kills_workers_fails_alone(
    dask_cluster: Any,
    client: Any,
    tiny_sam: Sam,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dask_cluster.scheduler, "allowed_failures", 0)
    (tmp_path / "rig").mkdir()
    scene = open_scene(Rigged(PIXELS, tmp_path / "rig", "die", 48, 48))
    store = make_store(scene, tiny_sam, tmp_path / "store", levels=[0])
    (tmp_path / "rig" / "armed").touch()
    summary = encode(scene, tiny_sam, store, client=client)
    (failure,) = summary.failed
    assert failure.tile == TileId(0, 1, 1)
    assert failure.reason == "1 worker died with it: look at what they log"
    assert [known.tile for known in store.failures()] == [failure.tile]
    assert (store.progress().missing, store.progress().done) == (0, len(all_tiles(store)) - 1)
