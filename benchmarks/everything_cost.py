"""What everything costs beside the network: time and memory by size of scene, filtering again.

    python benchmarks/everything_cost.py [--huge] [--only cost filter] [--json FILE]

With ``--huge`` the cost is measured up to 400 Mpx, else from 16 to 64. A stand-in that knows the
objects takes the network's place, as its cost for a tile is always the same; what is measured is
all the rest.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from figures import Figure, machine_here, save, table
from zarr.storage import MemoryStore

from napari_sam.scene import open_scene
from napari_sam.segment.everything import (
    Everything,
    running,
    segment_everything,
    write_labels,
    write_table,
)
from napari_sam.segment.everything.clicking import cut_sides
from napari_sam.segment.everything.grid import plan_grid
from napari_sam.segment.everything.raw import RawCandidates
from napari_sam.segment.everything.records import RawRecords, Settings
from napari_sam.segment.everything.thresholds import raw_thresholds
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo
from src_model import load_model

PARTS = ("cost", "filter")
MOST = 50_000
"""Candidates that are filtered again."""


class Pattern:
    """An image of any size with a disc in each square of 32 pixels, computed where it is read."""

    dtype = np.dtype(np.uint8)

    def __init__(self, side: int) -> None:
        self.shape = side, side

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        rows, cols = (np.arange(side)[part] for side, part in zip(self.shape, window, strict=True))
        distance = np.add.outer((rows % 32 - 16) ** 2, (cols % 32 - 16) ** 2)
        return np.where(distance < 100, 200, 20 + (rows[:, None] + cols) % 7).astype(np.uint8)


def stand_in(ready: Any, points: np.ndarray, thresholds: Any, shape: Any) -> RawCandidates:
    """Find the discs of a `Pattern` around each point, as `click_tile` would."""
    step, window = 32 >> ready.tile.level, ready.window
    if step < 8:
        return RawCandidates.of([])
    places = {((row // 32) * step, (col // 32) * step) for row, col in points.astype(int).tolist()}
    radius = 10 >> ready.tile.level
    offsets = np.arange(-radius, radius + 1)
    disc = np.add.outer(offsets**2, offsets**2) <= radius**2
    found = []
    for row, col in sorted(places):
        top = row + step // 2 - radius - window.row0
        left = col + step // 2 - radius - window.col0
        box = top, left, top + len(disc), left + len(disc)
        if min(box) < 0 or box[2] > window.shape[0] or box[3] > window.shape[1]:
            continue
        ends = tuple(
            bool(end)
            for end in (
                window.row0 == 0,
                window.col0 == 0,
                window.row1 == shape[0],
                window.col1 == shape[1],
            )
        )
        corner = top + window.row0, left + window.col0
        found.append((disc, corner, 0.9, 0.9, (0.0, 0.0), cut_sides(box, window.shape, ends)))
    return RawCandidates.of(found)


def measure_cost(side: int) -> dict[str, float]:
    """Do everything but the network in a scene; in a process of its own."""
    sam = load_model("vit_nano", "cpu", "float32")
    scene = open_scene(Pattern(side))
    geometry = TileGeometry(scene.shape, sam.variant.image_size)
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddingStore.create(
            Path(folder) / "store", SceneInfo.of(scene), ModelInfo.of(sam), geometry
        )

        class Ready:
            """A tile without an embedding."""

            def __init__(self, tile: TileId) -> None:
                self.tile, self.window = tile, geometry.window(tile)

        running.click_tile = stand_in
        running.Embeddings.at = lambda self, tile: Ready(tile)  # type: ignore[method-assign]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        began, cpu = time.perf_counter(), time.process_time()
        result = segment_everything(scene, store, sam, sizes=(16, 64))
        write_labels(result.objects, Path(folder) / "labels.zarr")
        write_table(result.objects, Path(folder) / "objects.parquet")
        return {
            "s": time.perf_counter() - began,
            "cpu": time.process_time() - cpu,
            "before": before,
            "more": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before,
            "objects": len(result.objects),
            "tiles": result.done,
        }


def cost(args: argparse.Namespace) -> Iterator[Figure]:
    """Measure time and memory beside the network for scenes of several sizes."""
    for side in [4096, 8192, *([20_480] if args.huge else [])]:
        command = [sys.executable, __file__, "--measure-cost", str(side)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        size = side * side / 1e6
        note = f"{found['tiles']:.0f} tiles, {found['objects']:.0f} objects"
        yield Figure(
            f"beside the network, {size:.0f} Mpx", found["cpu"] / size, "CPU s/Mpx", "flat", note
        )
        note = f"beyond {found['before']:.0f} with libraries and model"
        yield Figure(f"peak memory, {size:.0f} Mpx", found["more"], "MiB", "2500", note)


def filtering(_: argparse.Namespace) -> Iterator[Figure]:
    """Filter many candidates again."""
    geometry = TileGeometry((20_000, 20_000))
    info = SceneInfo("made", geometry.shape, "YX", ("grey",), "", {})
    model = ModelInfo("", {"name": "vit_nano"}, (128, 64, 64))
    store = EmbeddingStore.create(MemoryStore(), info, model, geometry)
    grid = plan_grid(geometry, 1024, (16, 250))
    records = RawRecords.make(store, Settings(grid, raw_thresholds(model), (16, 250)))
    tiles = list(geometry.tiles(0))
    random = np.random.default_rng(0)
    for tile in tiles:
        records.write(tile, _made(random, geometry, tile, MOST // len(tiles) + 1))
    began = time.perf_counter()
    everything = Everything.open(store)
    opened = time.perf_counter() - began
    began = time.perf_counter()
    count = len(everything.pairs)
    measured = time.perf_counter() - began
    times, found = [], 0
    for predicted_iou in np.linspace(0.35, 0.85, 11):
        began, cpu = time.perf_counter(), time.process_time()
        found = max(found, len(everything.filter(predicted_iou=float(predicted_iou))))
        times.append((time.perf_counter() - began, time.process_time() - cpu))
    wall, cpu_times = np.array(times).T
    note = f"{len(everything.candidates):,} candidates, {count:,} pairs, up to {found:,} objects"
    yield Figure("opening raw candidates", opened, "s", note=note)
    yield Figure("measuring pairs, once", measured, "s")
    yield Figure("filtering again, longest", float(wall.max()), "s", "0.5", note)
    yield Figure("filtering again, median", float(np.median(wall)), "s", "0.5")
    yield Figure("filtering again, CPU, longest", float(cpu_times.max()), "s")


def _made(
    random: np.random.Generator, geometry: TileGeometry, tile: TileId, count: int
) -> RawCandidates:
    """Return discs in a tile, several at each place, some of them cut off."""
    window = geometry.window(tile)
    found = []
    centres = random.integers(0, 1024, (max(1, count // 4), 2))
    for _ in range(count):
        row, col = (centres[random.integers(len(centres))] + random.integers(-3, 4, 2)).tolist()
        radius = int(random.integers(12, 60))
        rows = np.arange(max(0, row - radius), min(window.shape[0], row + radius + 1))
        cols = np.arange(max(0, col - radius), min(window.shape[1], col + radius + 1))
        mask = np.add.outer((rows - row) ** 2, (cols - col) ** 2) <= radius**2
        if not mask.size or not (mask.any(1).all() and mask.any(0).all()):
            continue
        box = int(rows[0]), int(cols[0]), int(rows[-1]) + 1, int(cols[-1]) + 1
        level = geometry.level_shape(0)
        ends = (
            window.row0 == 0,
            window.col0 == 0,
            window.row1 == level[0],
            window.col1 == level[1],
        )
        corner = box[0] + window.row0, box[1] + window.col0
        scores = random.uniform(0.3, 1, 2).tolist()
        cut = cut_sides(box, window.shape, ends)
        found.append((mask, corner, scores[0], scores[1], (0.0, 0.0), cut))
    return RawCandidates.of(found)


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--huge", action="store_true", help="a scene of 400 Mpx too")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="not both parts")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--measure-cost", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure_cost:
        print(json.dumps(measure_cost(args.measure_cost)))
        return
    here = machine_here()
    measures = {"cost": cost, "filter": filtering}
    figures: list[Figure] = []
    for part in args.only or PARTS:
        figures += measures[part](args)
        print(table(figures), flush=True)
        save(args.json, here, figures)  # after each part: an interrupted run leaves what it has


if __name__ == "__main__":
    main()
