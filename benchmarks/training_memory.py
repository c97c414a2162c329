"""Peak memory of a training step for 5, 50 and 500 objects in an image.

    python benchmarks/training_memory.py [--method lora] [--json training_memory.json]

Each is the peak of a process of its own: of the step, beyond what it held before (libraries, model,
picture), and in all, which the ratio compares. All objects of the image are trained on.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from report import machine

from napari_sam.finetune.embedding_cache import EmbeddingCache
from src_model import load_model
from src_model.training.augment import Augmentation
from src_model.training.config import TrainingConfig
from src_model.training.pictures import ObjectMasks, Picture
from src_model.training.trainer import Trainer

COUNTS = (5, 50, 500)
METHODS = ("full", "lora", "decoder")


class Dots:
    """One picture with discs on a grid."""

    def __init__(self, count: int, side: int = 1024) -> None:
        across = int(np.ceil(np.sqrt(count)))
        step = side // across
        rows, cols = np.indices((side, side))
        cell = (rows // step) * across + cols // step + 1
        inside = np.hypot(rows % step - step / 2, cols % step - step / 2) < 0.35 * step
        labels = np.where(inside & (cell <= count) & (cols // step < across), cell, 0)
        image = np.where(labels[..., None] > 0, 200, 60).astype(np.uint8).repeat(3, axis=2)
        self.picture = Picture("dots", image, ObjectMasks.from_labels(labels))

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Picture:
        return self.picture


def peak() -> int:
    """Return the largest amount of memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measure(count: int, method: str, folder: Path) -> dict[str, int]:
    """Make a training step and return what it took."""
    torch.set_num_threads(1)
    source = Dots(count)
    assert len(source.picture.objects) == count
    config = TrainingConfig(
        method=method,
        batch=1,
        objects=count,
        error_points=0,
        local=0.0,
        workers=0,
        augmentation=Augmentation.none(),
    )
    sam = load_model("vit_nano", precision="float32")
    embed = EmbeddingCache(folder, sam, "") if method == "decoder" else None
    trainer = Trainer(sam, source, config, embed=embed)
    before = peak()
    trainer.step()
    return {"objects": count, "before MiB": before, "step MiB": peak() - before, "MiB": peak()}


def main() -> None:
    """Measure each number of objects in a process of its own, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--method", choices=METHODS, default="full")
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.count:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(args.count, args.method, Path(folder))))
        return
    results = []
    for count in COUNTS:
        command = [sys.executable, __file__, "--method", args.method, "--count", str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{'objects':>8}{'step MiB':>10}{'in all':>8}{'ratio':>8}")
    for result in results:
        result["ratio"] = round(result["MiB"] / results[0]["MiB"], 3)
        values = [result[name] for name in ("objects", "step MiB", "MiB", "ratio")]
        print("{:8}{:10}{:8}{:8.2f}".format(*values))
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "results": results}, indent=2))


if __name__ == "__main__":
    main()
