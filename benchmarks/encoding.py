"""What encoding a scene's tiles into a store costs beside the encoder, with vit_nano.

    python benchmarks/encoding.py [--quick] [--huge] [--only overhead ...] [--json FILE]

Stores are made in the folder for temporary files and removed. What is read from them has just been
written, so that it comes from the file cache.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from report import alternate, machine

from napari_sam.scene import Scene, open_scene
from napari_sam.tiles.encoding import encode, encode_tiles
from napari_sam.tiles.frames import embed, read_frame
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.regions import Region
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo
from src_model import Sam, load_model

MODEL = "vit_nano"
TILES = 10_000
"""Tiles of level 0 in the large store; its coarser levels come on top."""

PARTS = ("memory", "overhead", "store", "reading")

MOST = 20
"""Tiles that are encoded at most of each scene whose memory is measured."""


@dataclass(frozen=True)
class Cost:
    """One figure; ``goal`` is what it should stay below."""

    what: str
    value: float
    unit: str
    goal: float | None = None
    note: str = ""


class Pattern:
    """An image of any size that is computed where it is read: no row is like another."""

    dtype = np.dtype(np.uint16)

    def __init__(self, side: int) -> None:
        self.shape = side, side

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        rows, cols = (np.arange(side)[part] for side, part in zip(self.shape, window, strict=True))
        low = (rows * 40_503 & 0xFFF).astype(np.uint16), (cols * 30_011 & 0xFFF).astype(np.uint16)
        return np.bitwise_xor.outer(*low)


def side_of(across: int) -> int:
    """Return the side of a square scene that is so many tiles wide."""
    default = TileGeometry((1, 1))
    return across * default.step + 2 * default.halo


def new_store(where: Path, scene: Scene, sam: Sam) -> EmbeddingStore:
    geometry = TileGeometry(scene.shape, sam.variant.image_size)
    return EmbeddingStore.create(where, SceneInfo.of(scene), ModelInfo.of(sam), geometry)


def seconds(repeats: int, task: Callable[[], object]) -> float:
    """Return the median of some runs, after one to warm up."""
    return alternate(repeats, task=task)["task"]


def overhead(folder: Path, quick: bool) -> Iterator[Cost]:
    """Compare with a loop that reads tiles and encodes them in turn, and stores nothing.

    What reading takes is seen beside a loop over frames that are in memory. All runs are in one
    process, so that all have the same memory and the same threads. Checking that a store is for
    this scene and network is told apart: it is done once, however many tiles.
    """
    repeats, across = (3, 4) if quick else (5, 6)
    sam = load_model(MODEL, "cpu", "float32")
    side = side_of(across)
    pixels = np.random.default_rng(0).integers(0, 4000, (side, side), dtype=np.uint16)
    scene = open_scene(pixels)
    geometry = TileGeometry(scene.shape, sam.variant.image_size)
    tiles = list(geometry.tiles(0))
    stores = iter([new_store(folder / f"{i}", scene, sam) for i in range(repeats + 1)])
    frames: list[np.ndarray] = []

    def read() -> None:
        frames.clear()
        for tile in tiles:
            frame = read_frame(scene, geometry, tile, sam.variant.image_size)
            assert not isinstance(frame, str)
            frames.append(frame)

    def bare() -> None:
        for tile in tiles:
            frame = read_frame(scene, geometry, tile, sam.variant.image_size)
            assert not isinstance(frame, str)
            embed(sam, [frame])  # a batch of 1 is what encode() takes on a CPU

    def unread() -> None:
        for frame in frames:
            embed(sam, [frame])

    def ours() -> None:
        assert encode_tiles(scene, sam, next(stores), tiles).done == len(tiles)

    read()
    found = alternate(repeats, bare=bare, ours=ours, unread=unread)
    note = f"{len(tiles)} tiles of level 0, median of {repeats}"
    yield Cost("bare loop", found["bare"], "s", None, f"{note}; reads and encodes")
    yield Cost("the network alone", found["unread"], "s", None, f"{note}; frames in memory")
    yield Cost("encode()", found["ours"], "s", None, f"{note}; without checking the store")
    yield Cost("overhead over the bare loop", 100 * (found["ours"] / found["bare"] - 1), "%", 5)
    share = 100 * found["unread"] / found["ours"]
    yield Cost("the network's share of encode()", share, "%", None, "goal: 95 or more")

    store = new_store(folder / "checked", scene, sam)
    took = seconds(repeats, lambda: store.check(scene=SceneInfo.of(scene), model=ModelInfo.of(sam)))
    yield Cost("checking the store", took, "s", None, "once, however many tiles")

    embeddings = [embed(sam, [frame])[0] for frame in frames]

    def write() -> None:
        for tile, embedding in zip(tiles, embeddings, strict=True):
            store.write(tile, embedding)

    # Of all threads: what reading and writing take of the cores is the encoder's loss.
    for what, task in {"reading": read, "encoding": unread, "writing": write}.items():
        spent = 1000 * processor_seconds(repeats, task) / len(tiles)
        yield Cost(f"{what}, of one tile", spent, "ms", None, "processor time of all threads")


def processor_seconds(repeats: int, task: Callable[[], object]) -> float:
    """Return the median processor time of some runs, after one to warm up."""
    spent = []
    for _ in range(repeats + 1):
        began = time.process_time()
        task()
        spent.append(time.process_time() - began)
    return statistics.median(spent[1:])


def peak() -> float:
    """Return the largest amount of memory that this process has held, in MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def measure_memory(side: int, across: int) -> dict[str, float]:
    """Encode the tiles of a corner at all levels, and return what that took; in its own process."""
    sam = load_model(MODEL, "cpu", "float32")
    before = peak()
    began = time.perf_counter()
    scene = open_scene(Pattern(side))
    step = TileGeometry((1, 1)).step
    with tempfile.TemporaryDirectory() as folder:
        store = new_store(Path(folder) / "store", scene, sam)
        roi = Region(0, 0, across * step, across * step)
        summary = encode(scene, sam, store, roi=roi)
    assert 0 < summary.done <= MOST
    assert (summary.empty, summary.failed, summary.left) == (0, (), 0)
    took = time.perf_counter() - began
    return {"before": before, "more": peak() - before, "tiles": summary.done, "s": took}


def memory(sides: list[int], quick: bool) -> Iterator[Cost]:
    """Find out whether memory grows with the scene.

    That is all that is compared: so that it stays short, at most `MOST` tiles of each scene are
    encoded. Those of the coarsest level are averaged from all pixels of the scene, once.
    """
    first = 0.0
    for side in sides:
        command = [sys.executable, __file__, "--memory", str(side), "2" if quick else "3"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        first = first or found["more"]
        name = f"{side:,}²"
        yield Cost(
            f"peak memory, scene of {name}",
            found["more"],
            "MiB",
            2048,
            f"beyond {found['before']:.0f} with libraries and model; only {found['tiles']} tiles "
            f"of a corner, at all levels ({found['s']:.0f} s)",
        )
        if side != sides[0]:
            note = "does memory grow with the scene? Not compared: all tiles of a scene"
            ratio = found["more"] / first
            yield Cost(f"ratio of {name} to {sides[0]:,}²", ratio, "×", 1.1, note)


def large_store(folder: Path, quick: bool) -> Iterator[Cost]:
    """Open a store of `TILES` tiles, and resume it when it is complete.

    Its embeddings are all alike and thus small on disk: neither step reads any.
    """
    repeats = 3 if quick else 10
    sam = load_model(MODEL, "cpu", "float32")
    scene = open_scene(Pattern(side_of(round(TILES**0.5))))
    store = new_store(folder / "large", scene, sam)
    constant = np.full(store.model.embedding_shape, 0.5, np.float16)
    for level in store.levels:
        for tile in store.geometry.tiles(level):
            store.write(tile, constant)
    store.compact()  # as encode() does in the end

    def known() -> int:
        return EmbeddingStore.open(folder / "large").progress().done

    def resume() -> None:
        summary = encode(scene, sam, EmbeddingStore.open(folder / "large"))
        assert summary.done == summary.left == 0

    rows, cols = store.geometry.grid(0)
    note = f"{rows * cols:,} tiles of level 0, {known():,} in all; median of {repeats}"
    took = seconds(repeats, lambda: EmbeddingStore.open(folder / "large"))
    yield Cost("opening a store", 1000 * took, "ms", 300, note)
    took = seconds(repeats, known)
    yield Cost("opening it, with the states of all tiles", 1000 * took, "ms", 300, note)
    took = seconds(repeats, resume)
    yield Cost("resuming it when complete", took, "s", 1, f"{note}; image and model are open")


def reading(folder: Path, quick: bool) -> Iterator[Cost]:
    """Read tiles of the published models' size, with values that hardly compress."""
    count = 16 if quick else 64
    info = SceneInfo("noise", (side_of(1), side_of(count)), "YX", ("grey",), "", {})
    model = ModelInfo("", {"name": "none"}, (256, 64, 64))
    store = EmbeddingStore.create(folder / "noise", info, model, TileGeometry(info.shape), [0])
    random = np.random.default_rng(0)
    for col in range(count):
        store.write(TileId(0, 0, col), random.standard_normal(model.embedding_shape, np.float32))
    store = EmbeddingStore.open(folder / "noise")
    times = []
    for col in range(count):
        began = time.perf_counter()
        store.read(TileId(0, 0, col))
        times.append(time.perf_counter() - began)
    note = f"256 × 64 × 64, to float32; median of {count}, longest {1000 * max(times):.1f} ms"
    yield Cost("reading one tile", 1000 * statistics.median(times), "ms", 10, note)


def table(costs: list[Cost]) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| what | value | goal: below | |", "|---|---|---|---|"]
    for cost in costs:
        goal = "" if cost.goal is None else f"{cost.goal:g} {cost.unit}"
        value = f"{cost.value:.0f}" if cost.unit == "MiB" else f"{cost.value:.2f}"
        lines.append(f"| {cost.what} | {value} {cost.unit} | {goal} | {cost.note} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer tiles and repetitions")
    parser.add_argument("--huge", action="store_true", help="a scene of 65,536² too")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="not all parts")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--memory", type=int, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory:
        print(json.dumps(measure_memory(*args.memory)))
        return
    here = machine() | {"zarr": importlib.metadata.version("zarr"), "quick": args.quick}
    if hasattr(os, "sched_getaffinity"):
        here["cores it may use"] = len(os.sched_getaffinity(0))
    print(json.dumps(here, indent=2), flush=True)
    sides = [4096, 16_384, *([65_536] if args.huge else [])]
    costs: list[Cost] = []
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = {
            "memory": memory(sides, args.quick),
            "overhead": overhead(folder, args.quick),
            "store": large_store(folder, args.quick),
            "reading": reading(folder, args.quick),
        }
        for part in args.only or PARTS:
            costs += parts[part]
            print(f"{part}: done after {time.perf_counter() - began:.0f} s", flush=True)
            if args.json:  # after each part, so that an interrupted run leaves what it has
                record = {"machine": here, "figures": [asdict(cost) for cost in costs]}
                args.json.write_text(json.dumps(record, indent=2) + "\n")
    print(table(costs))


if __name__ == "__main__":
    main()
