"""Everything in mosaics of real images: how good it is, and what it costs beside the network.

    python benchmarks/mosaic.py --images DIR --labels DIR [--only quality ...] [--json FILE]

Images of 256 × 256 pixels are put side by side, and tiles have 256 pixels too: in the encoder's
frame an image is as large in the mosaic as alone, and is enlarged the same way.

With ``--huge`` the cost is measured up to 400 Mpx, else up to 64. There a stand-in that knows the
objects takes the network's place, as its cost for a tile is always the same; what is measured is
all the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from report import machine
from zarr.storage import MemoryStore

from napari_sam.scene import open_scene
from napari_sam.segment.everything import (
    Everything,
    EverythingResult,
    FoundObjects,
    clicking,
    running,
    segment_everything,
    write_labels,
    write_table,
)
from napari_sam.segment.everything.clicking import cut_sides
from napari_sam.segment.everything.grid import Grid, plan_grid
from napari_sam.segment.everything.label_pyramid import paint
from napari_sam.segment.everything.raw import RawCandidates
from napari_sam.segment.everything.records import RawRecords, Settings
from napari_sam.segment.everything.thresholds import default_thresholds, raw_thresholds
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.regions import Region
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo
from src_model import Sam, load_model
from src_model.training.evaluation.matching import average_precision
from src_model.training.evaluation.regions import cut_mask, iou_matrix
from src_model.training.pictures import ObjectMask

SIDE = 256
SIZES = (14.0, None)
"""Of nuclei in pixels: levels and points follow. Smaller ones are found by the way, as in the
images alone."""

PARTS = ("quality", "cost", "filter")
MOST = 50_000
"""Candidates that are filtered again."""


@dataclass(frozen=True)
class Figure:
    """One figure; ``goal`` is what it should be at most, or in words."""

    what: str
    value: float
    unit: str = ""
    goal: str = ""
    note: str = ""


def load_pictures(images: Path, labels: Path, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return grey images of the right size with the numbers of their objects."""
    found = []
    for path in sorted(images.glob("*.png")):
        image = np.asarray(Image.open(path))
        if image.shape == (SIDE, SIDE):
            found.append((image, np.asarray(Image.open(labels / path.name)).astype(np.int64)))
        if len(found) == count:
            return found
    raise SystemExit(f"{images} has only {len(found)} grey images of {SIDE} × {SIDE} pixels.")


def find(
    sam: Sam, pixels: np.ndarray, spacing: float | None, halo: int = SIDE // 8
) -> tuple[EverythingResult, EmbeddingStore]:
    """Find everything in an image with tiles of `SIDE` pixels."""

    def other_points(*given: Any) -> Grid:
        grid = plan_grid(*given)
        first = grid.levels[0]
        first = replace(first, spacing=first.spacing if spacing is None else spacing)
        return Grid(grid.geometry, (first, *grid.levels[1:]))

    running.plan_grid = other_points
    scene = open_scene(pixels)
    geometry = TileGeometry(scene.shape, SIDE, halo)
    store = EmbeddingStore.create(MemoryStore(), SceneInfo.of(scene), ModelInfo.of(sam), geometry)
    result = segment_everything(
        scene,
        store,
        sam,
        sizes=SIZES,
        thresholds=default_thresholds(store.model),  # no size is left out
    )
    assert not result.failed
    assert not result.left
    return result, store


def masks_of(objects: FoundObjects) -> list[ObjectMask]:
    """Return the objects as the evaluation takes them, without overlaps."""
    return truth_of(paint(objects, Region(0, 0, *objects.shape)).astype(np.int64))


def truth_of(labels: np.ndarray) -> list[ObjectMask]:
    """Return the objects of a label map."""
    from scipy import ndimage

    found = []
    for number, box in enumerate(ndimage.find_objects(labels.astype(np.int32)), 1):
        if box is not None:
            found.append(cut_mask(labels[box] == number, box[0].start, box[1].start))
    return found


def ap(iou: np.ndarray) -> float:
    return float(average_precision(iou, (0.5,))[0])


def by_picture(masks: list[ObjectMask], across: int) -> dict[int, list[int]]:
    """Return which masks lie in which image of a mosaic, by the middle of their boxes."""
    where: dict[int, list[int]] = {}
    for index, mask in enumerate(masks):
        rows, cols = mask.window
        row, col = (rows.start + rows.stop) // 2 // SIDE, (cols.start + cols.stop) // 2 // SIDE
        where.setdefault(row * across + col, []).append(index)
    return where


def at_border(masks: list[ObjectMask], geometry: TileGeometry) -> np.ndarray:
    """Tell which objects lie in the cores of several tiles of level 0."""
    found = []
    for mask in masks:
        rows, cols = mask.window
        first = geometry.owner(0, rows.start, cols.start)
        found.append(first != geometry.owner(0, rows.stop - 1, cols.stop - 1))
    return np.array(found)


def duplicates(objects: FoundObjects) -> int:
    """Count the pairs of objects, with their whole masks, whose IoU is above 0.7."""
    masks = []
    for index in range(len(objects)):
        row0, col0, row1, col1 = objects.boxes[index].tolist()
        part = Region(row0, col0, min(row1, objects.shape[0]), min(col1, objects.shape[1]))
        masks.append(cut_mask(objects.mask_at(index, part), part.row0, part.col0))
    return int((np.triu(iou_matrix(masks, masks), k=1) > 0.7).sum())


def time_network() -> list[float]:
    """Return a list to which the seconds of every run of encoder and decoder are added."""
    seconds: list[float] = []

    def timed(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            began = time.perf_counter()
            try:
                return work(*given)
            finally:
                seconds.append(time.perf_counter() - began)

        return run

    clicking._decode = timed(clicking._decode)
    running.Embeddings.at = timed(running.Embeddings.at)  # type: ignore[method-assign]
    return seconds


def quality(args: argparse.Namespace) -> Iterator[Figure]:
    """Compare a mosaic with its images alone, and with a mosaic that is not stitched."""
    sam = load_model(args.model, "cpu")
    across = args.across
    pictures = load_pictures(args.images, args.labels, across * across)
    truth = np.zeros((across * SIDE, across * SIDE), np.int64)
    pixels = np.zeros(truth.shape, np.uint8)
    alone, alone_best, last = [], [], 0
    for number, (image, labels) in enumerate(pictures):
        row, col = divmod(number, across)
        part = slice(row * SIDE, (row + 1) * SIDE), slice(col * SIDE, (col + 1) * SIDE)
        pixels[part] = image
        numbers = np.where(labels > 0, labels + last, 0)
        last += int(labels.max())
        truth[part] = numbers
        result, _ = find(sam, image, args.spacing)
        iou = iou_matrix(truth_of(labels), masks_of(result.objects))
        alone.append(ap(iou))
        alone_best.append(iou.max(1, initial=0))
        print(f"  image {number + 1}: AP@50 {alone[-1]:.3f}, {result.seconds:.0f} s", flush=True)
    network = time_network()
    began, cpu = time.perf_counter(), time.process_time()
    result, store = find(sam, pixels, args.spacing)
    seconds, took = time.perf_counter() - began, time.process_time() - cpu
    share = sum(network) / seconds
    spacing = args.spacing or SIZES[0] / 2
    note = f"{across} × {across} images, points {spacing:g} px apart, {args.model}"
    objects = truth_of(truth)
    border = at_border(objects, store.geometry)
    there = by_picture(objects, across)
    # In the order of the images, as the objects of each alone.
    order = np.concatenate([there[number] for number in sorted(there)])
    best_alone = np.empty(len(objects))
    best_alone[order] = np.concatenate([best for best in alone_best if len(best)])
    yield Figure("AP@50, images alone (mean)", float(np.mean(alone)), note=note)
    for name, found in (
        ("mosaic", result.objects),
        (
            "mosaic, not stitched",
            result.everything.filter(default_thresholds(store.model), stitch=False),
        ),
    ):
        masks = masks_of(found)
        iou = iou_matrix(objects, masks)
        here = by_picture(masks, across)
        parts = [
            ap(iou[np.ix_(there.get(number, []), here.get(number, []))])
            for number in range(across * across)
        ]
        best = iou.max(1, initial=0)
        yield Figure(
            f"AP@50, {name} (mean over images)", float(np.mean(parts)), goal="alone - 0.02"
        )
        yield Figure(f"AP@50, {name} (all objects)", ap(iou))
        yield Figure(f"objects, {name}", len(found), note=f"{len(objects)} true ones")
        for which, chosen in (("cut by tile borders", border), ("others", ~border)):
            yield Figure(
                f"mean best IoU, {name}, {which}",
                float(best[chosen].mean()),
                goal="others - 0.03" if chosen is border else "",
                note=f"{chosen.sum()} objects; alone {best_alone[chosen].mean():.3f}",
            )
        yield Figure(f"pairs with IoU > 0.7, {name}", duplicates(found), goal="0")
    yield Figure("network's share of the time", 100 * share, "%", "at least 85")
    yield Figure("CPU seconds per megapixel", took / (pixels.size / 1e6), "s", note=note)
    if args.origin:
        other, _ = find(sam, pixels, args.spacing, halo=SIDE // 8 + 8)
        iou = iou_matrix(masks_of(result.objects), masks_of(other.objects))
        changed = 1 - np.count_nonzero(iou.max(1, initial=0) > 0.5) / max(1, len(iou))
        yield Figure("objects that change with the tiles' places", 100 * changed, "%", "1")


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


def filtering(args: argparse.Namespace) -> Iterator[Figure]:
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


def table(figures: list[Figure]) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| what | value | goal | |", "|---|---|---|---|"]
    for figure in figures:
        digits = "d" if figure.value == int(figure.value) else ".3f"
        value = f"{int(figure.value) if digits == 'd' else figure.value:{digits}}"
        lines.append(f"| {figure.what} | {value} {figure.unit} | {figure.goal} | {figure.note} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="grey images of 256 × 256 pixels")
    parser.add_argument("--labels", type=Path, help="numbers of their objects, same names")
    parser.add_argument("--model", default="vit_nano")
    parser.add_argument("--across", type=int, default=3, help="images along a side of the mosaic")
    parser.add_argument(
        "--spacing", type=float, help="pixels from point to point, for a quick look"
    )
    parser.add_argument("--origin", action="store_true", help="once more with tiles elsewhere")
    parser.add_argument("--huge", action="store_true", help="a scene of 400 Mpx too")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="not all parts")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--measure-cost", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure_cost:
        print(json.dumps(measure_cost(args.measure_cost)))
        return
    parts = args.only or PARTS
    if "quality" in parts and not (args.images and args.labels):
        parser.error("the part 'quality' needs --images and --labels")
    here = machine()
    if hasattr(os, "sched_getaffinity"):
        here["cores it may use"] = len(os.sched_getaffinity(0))
    print(json.dumps(here, indent=2), flush=True)
    measures = {"quality": quality, "cost": cost, "filter": filtering}
    figures: list[Figure] = []
    for part in parts:
        figures += measures[part](args)
        print(table(figures), flush=True)
        if args.json:  # after each part, so that an interrupted run leaves what it has
            record = {"machine": here, "figures": [asdict(figure) for figure in figures]}
            args.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
