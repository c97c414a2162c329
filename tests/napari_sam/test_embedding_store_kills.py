"""Killed processes, several writers and shards: no tile is lost, and none is half there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import MemoryStore

from napari_sam.tiles import journal
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo, State, TileDamaged

SHAPE = (8, 16, 16)


def make(where: Any, tiles: int = 4, shape: tuple[int, int, int] = SHAPE, **options: Any) -> Any:
    """Make a store of tiles x tiles."""
    geometry = TileGeometry((48 * tiles + 16,) * 2, tile=64, halo=8)
    assert geometry.grid(0) == (tiles, tiles)
    scene = SceneInfo("the array", geometry.shape, "YX", ("grey",), "f" * 32, {"kind": "as_is"})
    model = ModelInfo("0" * 64, {"name": "custom"}, shape)
    return EmbeddingStore.create(where, scene, model, geometry, levels=[0], **options)


def embedding(tile: TileId, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Return what a tile's embedding is, whoever encodes it; exact in float16."""
    numbers = np.random.default_rng([tile.row, tile.col]).normal(size=shape)
    return numbers.astype(np.float16).astype(np.float32)


def assert_sound(where: Any) -> EmbeddingStore:
    """Every done tile is there, exactly."""
    store = EmbeddingStore.open(where)
    for row, col in np.argwhere(store.states(0) == State.DONE):
        tile = TileId(0, int(row), int(col))
        np.testing.assert_array_equal(
            store.read(tile), embedding(tile, store.model.embedding_shape)
        )
    return store


WRITER = """
import sys
import numpy as np
import torch  # before the first write, as whoever encodes has
from napari_sam.tiles.geometry import TileId
from napari_sam.tiles.store import EmbeddingStore

path, forever = sys.argv[1], sys.argv[2] == "forever"
store = EmbeddingStore.open(path)
shape = store.model.embedding_shape
tiles = [TileId(0, int(row), int(col)) for row, col in np.ndindex(store.geometry.grid(0))]
values = {
    tile: np.random.default_rng([tile.row, tile.col]).normal(size=shape).astype(np.float16)
    for tile in tiles
}
print("ready", flush=True)
while True:
    for number, tile in enumerate(tiles):
        if sys.argv[2] in ("forever", "all") or number % 2 == int(sys.argv[2]):
            store.write(tile, values[tile])
    if forever:
        store.compact()
    else:
        break
"""


def start(path: Path, what: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), what],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def wait_until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


@pytest.mark.parametrize("sharded", [False, True])
def test_kill_9_in_the_middle_of_writing(tmp_path: Path, sharded: bool) -> None:
    path = tmp_path / "store"
    make(path, shard_above=1 if sharded else 99, shard=2)
    for wait in (0.02, 0.11, 0.05):
        process = start(path, "forever")
        wait_until_ready(process)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        store = assert_sound(path)
    assert store.progress().done > 0
    assert store.verify() == []
    for tile in store.missing(0):
        store.write(tile, embedding(tile))
    store.compact()
    assert assert_sound(path).progress().missing == 0


@pytest.mark.parametrize("same", [False, True])
def test_two_processes_write_at_once(tmp_path: Path, same: bool) -> None:
    path = tmp_path / "store"
    make(path, tiles=8, shape=(2, 4, 4))
    processes = [start(path, what) for what in (("all", "all") if same else ("0", "1"))]
    for process in processes:
        wait_until_ready(process)
    assert [process.wait(30) for process in processes] == [0, 0]
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()
    assert assert_sound(path).progress().done == 64
    assert len(list((path / "journal").iterdir())) == 2


class Killed(BaseException):
    """What stands for kill -9 in the tests below: nothing that comes later happens."""


class DyingStore(MemoryStore):
    """Dies before the write or removal with a given number."""

    left = 10**9

    async def set(self, key: str, value: Buffer, byte_range: Any = None) -> None:
        self._count()
        await super().set(key, value)

    async def delete(self, key: str) -> None:
        self._count()
        await super().delete(key)

    def damage(self, tile: TileId, side: int) -> set[TileId]:
        """Change the last byte of what holds a tile; return the tiles that may suffer."""
        rows, cols = ([i for i in range(3) if i // side == n // side] for n in (tile.row, tile.col))
        for key in (
            f"spool_0/c.{tile.row}.{tile.col}.0.0.0",
            f"level_0/c.{tile.row // side}.{tile.col // side}.0.0.0",
        ):
            if key in self._store_dict:
                content = self._store_dict[key].to_bytes()
                changed = content[:-1] + bytes([content[-1] ^ 1])
                self._store_dict[key] = default_buffer_prototype().buffer.from_bytes(changed)
        return {TileId(0, row, col) for row in rows for col in cols}

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


ACTIONS = st.tuples(
    st.sampled_from(["write", "write", "write", "empty", "fail", "forget", "compact", "damage"]),
    st.integers(0, 8),
    st.integers(0, 1),  # which of two writers
    st.one_of(st.none(), st.integers(0, 6)),  # writes until it is killed
)


@settings(max_examples=100, deadline=None)
@given(actions=st.lists(ACTIONS, max_size=25), sharded=st.booleans())
def test_any_order_of_writing_and_dying(actions: list[Any], sharded: bool) -> None:
    disk = DyingStore()
    make(disk, tiles=3, shape=(1, 2, 2), shard_above=1 if sharded else 99, shard=2)
    writers = [EmbeddingStore.open(disk) for _ in range(2)]
    done: set[TileId] = set()
    harmed: set[TileId] = set()
    for what, number, who, lives in actions:
        tile = TileId(0, number // 3, number % 3)
        disk.left = 10**9 if lives is None else lives
        store = writers[who]
        try:
            if what == "write":
                store.write(tile, embedding(tile, (1, 2, 2)))
                done.add(tile)
            elif what == "empty":
                store.mark_empty(tile, "constant")
            elif what == "fail":
                store.mark_failed(tile, "no luck")
            elif what == "forget":
                done.discard(tile)
                store.mark_missing(tile, "looked at again")
            elif what == "compact":
                store.compact()
            elif what == "damage":
                harmed |= disk.damage(tile, 2 if sharded else 1)
        except Killed:
            writers[who] = EmbeddingStore.open(disk)
    disk.left = 10**9
    store = EmbeddingStore.open(disk)
    for tile in done - harmed:
        assert store.state(tile) == State.DONE
    assert set(store.verify()) <= harmed
    assert_sound(disk)
    for tile in store.missing(0):
        store.write(tile, embedding(tile, (1, 2, 2)))
    store.compact()
    assert_sound(disk)
    assert store.progress().missing == 0


def test_tiles_move_to_shards_when_their_shard_is_settled(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = make(path, tiles=5, shard_above=24, shard=2)
    tiles = list(store.geometry.tiles(0))
    for tile in tiles[:-1]:
        if (tile.row, tile.col) == (0, 1):
            store.mark_empty(tile, "no data")
        elif (tile.row, tile.col) == (1, 0):
            store.mark_failed(tile, "no luck")
        else:
            store.write(tile, embedding(tile))
    assert shards_of(path) == set()
    assert store.compact() == 8  # all but the one in the corner, of one tile
    assert len(shards_of(path)) == 8
    assert len(list((path / "spool_0").glob("c.*"))) == 0
    assert assert_sound(path).progress().done == 22
    assert store.compact() == 0
    # A tile that failed comes later, and its shard is written again.
    for tile in (TileId(0, 1, 0), tiles[-1]):
        store.write(tile, embedding(tile))
    assert store.compact() == 2
    assert assert_sound(path).progress().done == 24
    assert list((path / "spool_0").glob("c.*")) == []
    # zarr alone reads it.
    array = zarr.open_array(path, path="level_0", mode="r")
    np.testing.assert_array_equal(array[4, 4], embedding(tiles[-1]))
    assert np.isnan(np.asarray(array[0, 1])).all()


def shards_of(path: Path) -> set[str]:
    return {p.name for p in (path / "level_0").glob("c.*")}


def test_a_damaged_shard_is_mended_tile_by_tile(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = make(path, tiles=2, shard_above=1, shard=2)
    tiles = list(store.geometry.tiles(0))
    for tile in tiles:
        store.write(tile, embedding(tile))
    assert store.compact() == 1
    (shard,) = (path / "level_0").glob("c.*")
    whole = shard.read_bytes()
    shard.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    damaged = store.verify()
    assert len(damaged) == 1  # the others are read as before
    assert store.compact() == 0
    store.write(damaged[0], embedding(damaged[0]))
    np.testing.assert_array_equal(store.read(damaged[0]), embedding(damaged[0]))
    assert store.compact() == 1
    assert assert_sound(path).progress().done == 4
    # Without its index nothing of a shard is readable.
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(TileDamaged):
        store.read(tiles[0])
    assert len(store.verify()) == 3
    for tile in store.missing(0):
        store.write(tile, embedding(tile))
    assert store.compact() == 1
    assert assert_sound(path).progress().done == 4


def test_a_damaged_tile_does_not_get_into_a_shard(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = make(path, tiles=2, shard_above=1, shard=2)
    for tile in store.geometry.tiles(0):
        store.write(tile, embedding(tile))
    spooled = path / "spool_0/c.0.1.0.0.0"
    spooled.write_bytes(spooled.read_bytes()[:-1])
    assert store.compact() == 0
    assert list(store.missing(0)) == [TileId(0, 0, 1)]
    assert assert_sound(path).progress().done == 3


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_FULL", 3)


@pytest.mark.usefixtures("small_files")
def test_small_files_of_records_are_joined_when_their_writers_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    make(path)
    reader, slow = EmbeddingStore.open(path), EmbeddingStore.open(path)
    tiles = list(reader.geometry.tiles(0))
    slow.mark_empty(tiles[0], "constant")
    for tile in tiles[1:5]:
        EmbeddingStore.open(path).mark_empty(tile, "constant")
    assert reader.progress().empty == 5
    before = set((path / "journal").iterdir())
    reader.compact()
    assert set((path / "journal").iterdir()) == before  # their writers may still be there
    monkeypatch.setattr(journal, "_IDLE", -1.0)
    leftover = path / "level_0/c.0.0.0.0.123.partial"
    leftover.write_text("half of it")
    os.utime(leftover, (0, 0))
    reader.compact()
    assert len(list((path / "journal").iterdir())) == 2
    assert not leftover.exists()
    slow.mark_empty(tiles[5], "constant")
    assert reader.progress().empty == EmbeddingStore.open(path).progress().empty == 6
    for line in next((path / "journal").iterdir()).read_bytes().splitlines():
        assert json.loads(line[9:])["event"] == "empty"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_reader_in_the_specification(tmp_path: Path, dtype: str) -> None:
    specification = Path(__file__).parents[2] / "docs/embedding_store.md"
    if not specification.exists():
        pytest.skip("docs/ is not here: tests were taken out of the checkout")
    code = specification.read_text().split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    path = tmp_path / "store"
    store = make(path, tiles=3, shard_above=1, shard=2, dtype=dtype)
    tiles = list(store.geometry.tiles(0))
    store.mark_empty(tiles[0], "constant")
    for tile in tiles[1:-2]:
        store.write(tile, embedding(tile))
    assert store.compact() > 0
    store.mark_missing(tiles[1], "looked at again")
    for tile in tiles:
        found = names["read_tile"](path, 0, tile.row, tile.col)
        if store.state(tile) == State.DONE:
            np.testing.assert_array_equal(found, store.read(tile))
        else:
            assert found is None
