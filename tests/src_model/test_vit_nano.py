"""The small model that comes with the package does what its card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage import io

from src_model import load_model
from src_model.checkpoints import CHECKPOINTS, checkpoint_path
from src_model.training.evaluation.prompted import ScoreKey, choose_objects, score_prompts
from src_model.training.pictures import ObjectMasks, Picture

IMAGES, OBJECTS = 10, 12


@pytest.fixture(scope="module")
def figures(shared: Path) -> dict[str, dict[ScoreKey, float]]:
    """Return mean scores on the first validation images in both precisions."""
    nuclei = shared / "devdata" / "nuclei" / "val"
    result = {}
    for precision in ("float32", "bfloat16"):
        sam = load_model("vit_nano", precision=precision)
        values: dict[ScoreKey, list[float]] = {}
        for path in sorted((nuclei / "images").glob("*.png"))[:IMAGES]:
            image = io.imread(path)
            image = np.stack([image] * 3, -1) if image.ndim == 2 else image[..., :3]
            objects = ObjectMasks.from_labels(io.imread(nuclei / "labels" / path.name).astype(int))
            chosen = choose_objects(np.random.default_rng(0), len(objects), OBJECTS)
            picture = Picture(path.name, image, objects)
            scores = score_prompts(sam, picture, chosen, np.random.default_rng(0), max_clicks=8)
            for key, numbers in scores.values.items():
                values.setdefault(key, []).extend(numbers.tolist())
        result[precision] = {key: float(np.mean(numbers)) for key, numbers in values.items()}
    return result


def test_it_fits_in_the_package() -> None:
    sam = load_model("vit_nano")
    assert sum(p.numel() for p in sam.parameters()) <= 10_000_000
    path = checkpoint_path("vit_nano")
    assert path.stat().st_size < 20_000_000
    assert CHECKPOINTS["vit_nano"].licence == "Apache-2.0"


def test_it_outlines_nuclei(figures: dict[str, dict[ScoreKey, float]]) -> None:
    assert figures["float32"]["1 click", "best of three"] >= 0.65
    assert figures["float32"]["box", "best of three"] >= 0.75
    assert figures["float32"]["box", "best predicted"] >= 0.75


def test_bfloat16_is_as_good(figures: dict[str, dict[ScoreKey, float]]) -> None:
    for key in (("1 click", "best of three"), ("box", "best predicted")):
        assert abs(figures["float32"][key] - figures["bfloat16"][key]) <= 0.005
