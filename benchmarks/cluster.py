"""What a tile costs on a cluster, for the plan in docs/cluster.md: `python benchmarks/cluster.py`.

No comparison but a sum of parts: encoding and disk of a real model, and, with a network that costs
nothing, what scheduler, client, journal and object store add. Times are of the CPU, so that a busy
machine does not change them.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image

import napari_sam
from napari_sam.scene import Scene, open_scene
from napari_sam.tiles import cluster
from napari_sam.tiles.encoding import encode, encode_tiles
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.journal import Record
from napari_sam.tiles.planning import tiles_to_do
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo
from src_model import Sam, Variant, build_sam, load_model

STEP = 48
"""Pixels between the tiny network's tiles."""


def tiny() -> Sam:
    """Return a network that costs nothing."""
    torch.manual_seed(0)
    return build_sam(
        Variant(
            image_size=64,
            depth=2,
            embed_dim=32,
            num_heads=2,
            out_chans=32,
            global_attn_indexes=(1,),
        )
    )


def make(where: str | Path, scene: Scene, sam: Sam, levels: list[int]) -> EmbeddingStore:
    """Make a store whose tiles overlap by an eighth on each side."""
    side = sam.variant.image_size
    geometry = TileGeometry(scene.shape, side, side // 8)
    return EmbeddingStore.create(where, SceneInfo.of(scene), ModelInfo.of(sam), geometry, levels)


def noise(folder: Path, tiles: int) -> Scene:
    """Return a scene of so many of the tiny network's tiles, in a file."""
    side = STEP * math.isqrt(tiles) + 16
    path = folder / f"{tiles}.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8))
    return open_scene(path)


def tell(what: str, value: str) -> None:
    """Print a line."""
    print(f"{what:64}{value:>16}", flush=True)


def models(folder: Path) -> None:
    """Encode and store some tiles with real networks, one thread."""
    torch.set_num_threads(1)
    sample = Path(napari_sam.__file__).parent / "samples" / "nuclei.png"
    picture = np.asarray(Image.open(sample).convert("RGB"))
    scene = open_scene(np.tile(picture, (8, 8, 1))[:3328, :3328])
    for name in ("vit_nano", "vit_b"):
        sam = load_model("vit_nano", "cpu") if name == "vit_nano" else build_sam(name).eval()
        store = make(folder / name, scene, sam, [0])
        tiles = list(store.geometry.tiles(0))[:6]
        encode_tiles(scene, sam, store, tiles[:1])
        empty, began = store.size_on_disk(), time.process_time()
        encode_tiles(scene, sam, store, tiles[1:])
        used = (time.process_time() - began) / (len(tiles) - 1)
        size = (store.size_on_disk() - empty) / (len(tiles) - 1)
        tell(f"{name}: CPU seconds a tile, reading and writing included", f"{used:.2f} s")
        tell(f"{name}: bytes a tile in the store", f"{size / 1e6:.2f} MB")


def compacting(folder: Path) -> None:
    """Move tiles of a real model into a shard."""
    sam = load_model("vit_nano", "cpu")
    scene = open_scene(np.zeros((6272, 6272), np.uint8))
    geometry = TileGeometry(scene.shape, 1024, 128)
    about = SceneInfo.of(scene), ModelInfo.of(sam)
    store = EmbeddingStore.create(folder / "shards", *about, geometry, [0], shard_above=1)
    embedding = np.random.default_rng(0).normal(size=store.model.embedding_shape)
    tiles = list(geometry.tiles(0))
    for tile in tiles:
        store.write(tile, embedding)
    began = time.process_time()
    assert store.compact() == 1
    used = (time.process_time() - began) / len(tiles)
    tell(f"compact: CPU a tile, {len(tiles)} tiles in a shard", f"{1e3 * used:.0f} ms")


def scheduling(folder: Path) -> None:
    """Encode with the tiny network on two workers: what scheduler and client take for it."""
    from distributed import Client, LocalCluster

    sam = tiny()
    started = LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None)
    with started, Client(started, set_as_default=False) as client:
        for most, count in [(1, 1024), (64, 1024), (64, 10_000)]:
            scene = noise(folder, count)
            store = make(folder / f"tasks_of_{most}_{count}", scene, sam, [0])
            cluster._MOST_TILES = most
            process = psutil.Process()
            before, began = process.memory_info().rss, time.process_time()
            clock = time.perf_counter()
            summary = encode(scene, sam, store, client=client, levels=[0])
            used = time.process_time() - began
            grown = process.memory_info().rss - before
            wall = time.perf_counter() - clock
            called = f"{summary.done} tiles, at most {most} in a task:"
            per_tile = used / summary.done
            tell(f"{called} CPU of scheduler + client a tile", f"{1e3 * per_tile:.2f} ms")
            tell(f"{called} tiles a second on this machine", f"{summary.done / wall:.0f}")
            tell(f"{called} memory of scheduler + client grew by", f"{grown / 1e6:.0f} MB")


def journals(folder: Path) -> None:
    """Read the journal of 100,000 tiles."""
    sam = tiny()
    side = 317
    scene = noise(folder, side * side)
    store = make(folder / "large", scene, sam, [0])
    tiles = list(store.geometry.tiles(0))
    lines = [
        Record(tile, "done", f"{number:016x}", time=1.7e9 + number / 7).to_line()
        for number, tile in enumerate(tiles)
    ]
    for start in range(0, len(lines), 1024):
        (folder / "large" / "journal").mkdir(exist_ok=True)
        file = folder / "large" / "journal" / f"{start:016x}"
        file.write_bytes(b"".join(lines[start : start + 1024]))
    process = psutil.Process()
    before, began = process.memory_info().rss, time.process_time()
    assert not tiles_to_do(store, None, None, False)
    used, grown = time.process_time() - began, process.memory_info().rss - before
    each = 10_000 / len(tiles)
    tell("journal: bytes a tile", f"{sum(map(len, lines)) / len(tiles):.0f} B")
    tell("journal: CPU to read it, 10,000 tiles", f"{used * each:.2f} s")
    tell("journal: memory when read, 10,000 tiles", f"{grown * each / 1e6:.1f} MB")
    before = process.memory_info().rss
    waiting = [TileId(0, row, col) for row in range(1000) for col in range(1000)]
    grown = process.memory_info().rss - before
    tell("tiles that wait: memory, 10,000 tiles", f"{grown / len(waiting) * 1e4 / 1e6:.1f} MB")


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Serve a bucket, and count what is asked of it: calls, and bytes sent."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().makedirs("bucket", exist_ok=True)
    calls: Counter[str] = Counter()
    call = s3fs.S3FileSystem._call_s3

    async def counting(self: Any, method: str, *given: Any, **more: Any) -> Any:
        calls[method] += 1
        body = more.get("Body", b"")
        calls["bytes journal" if "journal/" in str(more.get("Key")) else "bytes tiles"] += len(body)
        return await call(self, method, *given, **more)

    s3fs.S3FileSystem._call_s3 = counting
    try:
        yield calls
    finally:
        s3fs.S3FileSystem._call_s3 = call
        server.stop()


def requests(folder: Path) -> None:
    """Encode into a bucket, and count requests."""
    sam = tiny()
    with counted() as calls:
        scene = noise(folder, 1024)
        store = make("s3://bucket/store", scene, sam, [0])
        calls.clear()
        done = encode_tiles(scene, sam, store, list(store.geometry.tiles(0))[:512]).done
        for name, number in sorted(calls.items()):
            tell(f"S3: {name} a tile, of {done} by one writer", f"{number / done:.2f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for part in (models, compacting, journals, requests, scheduling):
            part(Path(temporary))
