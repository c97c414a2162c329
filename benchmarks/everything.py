"""Everything in a scene of nine tiles beside the best-known microscopy plugin's recorded figures.

    python benchmarks/everything.py [--model vit_t] [--keep-all] [--json FILE]

A grey scene of 2048 × 2048 pixels, nine tiles, a grid of 16 × 16 clicks for each. The weights are
random, as those of the recorded run were. Their masks are noise, which the thresholds leave out;
with ``--keep-all`` nothing is left out, and every mask is drawn, freed from its thousands of specks
and compared with the others: the most that a grid can cost.

The plugin's figures were recorded on two cores of the same kind of machine and are not measured
here. Processor time is printed too: on a busy machine it is what can be compared, with two cores'
share of it.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from report import machine

from napari_sam.scene import open_scene
from napari_sam.segment.everything import running, segment_everything
from napari_sam.segment.everything.clicking import RawThresholds
from napari_sam.segment.everything.grid import Grid, GridLevel
from napari_sam.tiles.encoding import encode
from napari_sam.tiles.geometry import TileGeometry
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo
from src_model import build_sam
from src_model.loading import choose_device, prepare

SIDE = 2048
CLICKS = 16
"""Along a tile."""

PLUGIN = {"encoding, s": 13.5, "grid, s": 520.0, "peak memory, GB": 6.0}


def made_picture() -> np.ndarray:
    """Return bright discs on a noisy ground, uint8."""
    random = np.random.default_rng(0)
    pixels = random.normal(60, 12, (SIDE, SIDE))
    for _ in range(600):
        radius = int(random.integers(8, 40))
        row, col = random.integers(radius, SIDE - radius, 2)
        rows, cols = np.ogrid[-radius : radius + 1, -radius : radius + 1]
        part = pixels[row - radius : row + radius + 1, col - radius : col + radius + 1]
        part[rows**2 + cols**2 <= radius**2] += random.uniform(20, 120)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="vit_t", help="a variant (default: %(default)s)")
    parser.add_argument("--keep-all", action="store_true", help="leave no mask out")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()
    torch.manual_seed(0)
    sam = prepare(build_sam(args.model).eval(), choose_device("cpu", "auto"), "auto")
    scene = open_scene(made_picture())
    geometry = TileGeometry(scene.shape, 1024, 128)
    down, across = geometry.grid(0)
    points = GridLevel(0, SIDE / (CLICKS * down), 0.0, float("inf"))
    running.plan_grid = lambda *_: Grid(geometry, (points,))
    if args.keep_all:
        running.raw_thresholds = lambda _: RawThresholds(-1e3, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddingStore.create(
            f"{folder}/store", SceneInfo.of(scene), ModelInfo.of(sam), geometry
        )
        began, used = time.perf_counter(), time.process_time()
        encode(scene, sam, store, levels=[0])
        encoding, encoding_used = time.perf_counter() - began, time.process_time() - used
        used = time.process_time()
        result = segment_everything(scene, store, sam)
        used = time.process_time() - used
    assert not result.failed
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    ours = dict(zip(PLUGIN, (encoding, result.seconds, peak), strict=True))
    processor = dict(zip(PLUGIN, (encoding_used, used), strict=False))
    print(
        f"{args.model}, {SIDE} × {SIDE} pixels, {down * across} tiles, {CLICKS} × {CLICKS} clicks"
    )
    threads = f"ours, {torch.get_num_threads()} threads"
    print(f"{'':16}{'plugin, two cores':>18}{threads:>18}{'ratio':>8}{'processor time':>18}")
    for what, theirs in PLUGIN.items():
        row = f"{what:16}{theirs:18.1f}{ours[what]:18.1f}{theirs / ours[what]:8.1f}"
        print(row + (f"{processor[what]:18.1f}" if what in processor else ""))
    print(f"{len(result.everything.candidates)} masks kept")
    if args.json is not None:
        figures = {"machine": machine(), "plugin": PLUGIN, "ours": ours, "processor": processor}
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
