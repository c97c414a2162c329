"""Clicks on objects of all sizes: how long they take, and how well whole objects come out.

    python benchmarks/prompting.py [--quick] [--threads N] [--json FILE]

Scenes are made, with exact truth, and drawn at every level where they are read. Embeddings are
present when a click is timed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from made_scenes import SHAPES, MadeScene
from report import machine
from zarr.storage import MemoryStore

from napari_sam.scene import open_scene
from napari_sam.segment import refine
from napari_sam.segment.objects import Candidate
from napari_sam.segment.seams import seam_score
from napari_sam.segment.segmenter import Segmenter
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo
from src_model import Sam, load_model

MODEL = "vit_nano"
TILE = 1024
GOAL = 0.3
"""Seconds that the median click should take."""


@dataclass(frozen=True)
class Clicks:
    """Seconds of clicks and boxes on objects of one size; ``decodes`` are tiles asked.

    ``processor`` is the median of the time that all cores together worked: on a busy machine it
    says more than the clock.
    """

    across: float
    prompt: str
    median: float
    p95: float
    processor: float
    decodes: float
    level: str


@dataclass(frozen=True)
class Whole:
    """IoU of one object in one tile, and across tiles with and without the steps that help."""

    shape: str
    across: int
    prompt: str
    one_tile: float
    whole: float
    coarse: float
    seam: float
    seam_without_blending: float
    seam_of_truth: float


def segmenter(scene: MadeScene, sam: Sam) -> Segmenter:
    opened = open_scene(scene.levels())
    store = EmbeddingStore.create(
        MemoryStore(), SceneInfo.of(opened), ModelInfo.of(sam), TileGeometry(opened.shape)
    )
    return Segmenter(opened, store, sam)


def scene_of(name: str, across: float) -> MadeScene:
    """Return a scene in which an object of so many tiles is less than half as wide."""
    side = 4 * TILE
    while side < 2.2 * across * TILE:
        side *= 2
    return MadeScene(name, side, across * TILE, (0.46, 0.53))


def reference(scene: MadeScene, level: int) -> MadeScene:
    """Return the same object in a scene of one tile, as large as at some level."""
    return MadeScene(scene.name, TILE, scene.size / (1 << level), scene.centre)


def prompts(scene: MadeScene) -> dict[str, dict[str, object]]:
    return {"click": {"points": [scene.place()]}, "box": {"box": scene.box()}}


def time_clicks(across: float, sam: Sam, repeats: int) -> list[Clicks]:
    """Time clicks on every shape."""
    seconds: dict[str, list[float]] = {"click": [], "box": []}
    worked: dict[str, list[float]] = {"click": [], "box": []}
    asked: dict[str, list[int]] = {"click": [], "box": []}
    levels: dict[str, set[int]] = {"click": set(), "box": set()}
    for name in SHAPES:
        scene = scene_of(name, across)
        ready = segmenter(scene, sam)
        decode, count = ready._decoder.decode, [0]

        def counting(tiles, *args, decode=decode, count=count, **more):  # type: ignore[no-untyped-def]
            count[0] += len(tiles)
            return decode(tiles, *args, **more)

        ready._decoder.decode = counting  # type: ignore[method-assign]
        for kind, prompt in prompts(scene).items():
            ready.prompt(**prompt)  # encodes what is missing
            for _ in range(repeats):
                count[0] = 0
                start, busy = time.perf_counter(), time.process_time()
                found = ready.prompt(**prompt)
                seconds[kind].append(time.perf_counter() - start)
                worked[kind].append(time.process_time() - busy)
                asked[kind].append(count[0])
                levels[kind].add(found[0].level)
    return [
        Clicks(
            across,
            kind,
            statistics.median(times),
            float(np.percentile(times, 95)),
            statistics.median(worked[kind]),
            statistics.mean(asked[kind]),
            ", ".join(map(str, sorted(levels[kind]))),
        )
        for kind, times in seconds.items()
    ]


def best(candidates: list[Candidate], scene: MadeScene) -> tuple[float, Candidate]:
    """Return the candidate that fits best, be it the part, the object or the group."""
    scored = [(scene.iou(one.row, one.col, one.mask), one) for one in candidates]
    return max(scored, key=lambda pair: pair[0])


def measure_whole(name: str, across: int, sam: Sam) -> Iterator[Whole]:
    scene = scene_of(name, across)
    ready = segmenter(scene, sam)
    geometry = ready._decoder.geometry
    truth = scene.candidate()
    for kind, prompt in prompts(scene).items():
        whole, found = best(ready.prompt(**prompt), scene)
        small = reference(scene, found.level)
        one_tile, _ = best(segmenter(small, sam).prompt(**prompts(small)[kind]), small)
        with without_refinement():
            coarse, _ = best(ready.prompt(**prompt), scene)
        with without_blending():
            _, hard = best(ready.prompt(**prompt), scene)
        yield Whole(
            name,
            across,
            kind,
            one_tile,
            whole,
            coarse,
            seam_score(found, geometry),
            seam_score(hard, geometry),
            seam_score(truth, geometry),
        )


@contextmanager
def without_refinement() -> Iterator[None]:
    with mock.patch.object(refine, "_crossed", return_value=()):
        yield


@contextmanager
def without_blending() -> Iterator[None]:
    """Let each tile answer for its core alone."""

    def hard(geometry: TileGeometry, level: int, places: np.ndarray, axis: int) -> np.ndarray:
        weights = np.zeros((geometry.grid(level)[axis], len(places)), np.float32)
        for index, weight in enumerate(weights):
            core = geometry.core(TileId(level, *((index, 0) if axis == 0 else (0, index))))
            start, stop = (core.row0, core.row1) if axis == 0 else (core.col0, core.col1)
            weight[(places >= start - 0.5) & (places < stop - 0.5)] = 1
        return weights

    with mock.patch.object(refine, "blend_weights", hard):
        yield


def main() -> None:
    """Measure, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="nothing of 8 tiles, fewer clicks")
    parser.add_argument("--threads", type=int, help="of torch; all cores by default")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    here = machine()
    print(json.dumps(here, indent=2), flush=True)
    sam = load_model(MODEL, "cpu")
    record: dict[str, object] = {"machine": here, "clicks": [], "whole": []}
    sizes = (0.1, 1, 3) if args.quick else (0.1, 1, 3, 8)
    print(
        "\n| tiles across | prompt | level | decodes | median | 95 % | processor |\n"
        "|---|---|---|---|---|---|---|"
    )
    clicks = [c for across in sizes for c in _told(time_clicks(across, sam, 3), click_row)]
    record["clicks"] = [asdict(c) for c in clicks]
    _write(args.json, record)
    print(f"\nThe median of clicks should be below {GOAL} s.\n")
    print(
        "| object | tiles across | prompt | IoU in one tile | whole | not refined | seam "
        "| not blended | truth |\n|---|---|---|---|---|---|---|---|---|"
    )
    found = [
        whole
        for across in ((3,) if args.quick else (3, 8))
        for name in SHAPES
        for whole in _told(measure_whole(name, across, sam), whole_row)
    ]
    record["whole"] = [asdict(whole) for whole in found]
    _write(args.json, record)


def click_row(c: Clicks) -> str:
    return (
        f"| {c.across:g} | {c.prompt} | {c.level} | {c.decodes:.0f} | {1000 * c.median:.0f} ms "
        f"| {1000 * c.p95:.0f} ms | {1000 * c.processor:.0f} ms |"
    )


def whole_row(w: Whole) -> str:
    return (
        f"| {w.shape} | {w.across} | {w.prompt} | {w.one_tile:.3f} | {w.whole:.3f} "
        f"| {w.coarse:.3f} | {w.seam:.2f} | {w.seam_without_blending:.2f} | {w.seam_of_truth:.2f} |"
    )


def _told(figures: Iterator | list, row: Callable) -> Iterator:  # type: ignore[type-arg]
    for figure in figures:
        print(row(figure), flush=True)
        yield figure


def _write(path: Path | None, record: dict[str, object]) -> None:
    if path is not None:
        path.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
