"""Clicks and boxes on generated scenes that no run has seen: how general a model is.

    python benchmarks/generated_scenes.py [--model vit_nano] [--scenes 16] [--side 1024]

Training draws its scenes with (seed, number of the sample); these have seeds of their own. Beside
each score stand the floors, the best disc around the click and the filled box.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from figures import Figure, machine_here, save, table

from napari_sam.finetune.run import textures
from src_model import load_model
from src_model.training.evaluation.prompted import choose_objects, score_prompts
from src_model.training.pictures import ObjectMasks, Picture
from src_model.training.scenes import generate_scene

OBJECTS = 6
"""Of each scene, at most."""

SEED = 20_000_000
"""Beyond any seed of a run."""

LEAST = 64
"""Pixels that must be seen of an object: specks of covered ones are nothing to click on."""

MEASURES = ("best of three", "best predicted", "single mask", "floor: disc", "floor: box")


def measure(args: argparse.Namespace) -> Iterator[Figure]:
    """Prompt for objects of every scene."""
    sam = load_model(args.model, "cpu")
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(args.scenes):
        rng = np.random.default_rng(SEED + number)
        image, labels = generate_scene(rng, args.side, textures())
        every = ObjectMasks.from_labels(labels)
        seen = tuple(item for item in every.items if item.area >= LEAST)
        picture = Picture(f"scene {number}", image, ObjectMasks(every.shape, seen))
        if seen:
            chosen = choose_objects(rng, len(seen), OBJECTS)
            for key, values in score_prompts(sam, picture, chosen, rng, 8).values.items():
                scores[key].extend(values.tolist())
    for prompt in ("1 click", "5 clicks", "box", "jittered box"):
        for name in MEASURES:
            values = scores[prompt, name]
            goal = "0.75" if (prompt, name) == ("1 click", "best of three") else ""
            yield Figure(
                f"{prompt}, {name}", float(np.mean(values)), "IoU", goal, f"{len(values)} objects"
            )


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vit_nano", help="a name, or a file of weights")
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--side", type=int, default=1024, help="of a scene in pixels")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    here = machine_here()
    figures = list(measure(args))
    print(table(figures), flush=True)
    save(args.json, here, figures)


if __name__ == "__main__":
    main()
