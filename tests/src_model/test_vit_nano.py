"""The small model that comes with the package does what its card says."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluate_nano import evaluate

from src_model import load_model
from src_model.checkpoints import CHECKPOINTS, checkpoint_path

IMAGES = 10


@pytest.fixture(scope="module")
def figures(shared: Path) -> dict[str, dict[str, float]]:
    """Return the figures on the first validation images in both precisions."""
    nuclei = shared / "devdata" / "nuclei" / "val"
    return {
        precision: evaluate(
            load_model("vit_nano", precision=precision),
            nuclei / "images",
            nuclei / "labels",
            limit=IMAGES,
        )
        for precision in ("float32", "bfloat16")
    }


def test_it_fits_in_the_package() -> None:
    sam = load_model("vit_nano")
    assert sum(p.numel() for p in sam.parameters()) <= 10_000_000
    path = checkpoint_path("vit_nano")
    assert path.stat().st_size < 20_000_000
    assert CHECKPOINTS["vit_nano"].licence == "Apache-2.0"


def test_it_outlines_nuclei(figures: dict[str, dict[str, float]]) -> None:
    assert figures["float32"]["click, best of three"] >= 0.6
    assert figures["float32"]["box, best of three"] >= 0.65


def test_bfloat16_is_as_good(figures: dict[str, dict[str, float]]) -> None:
    for name in ("click, best of three", "box"):
        assert abs(figures["float32"][name] - figures["bfloat16"][name]) <= 0.005
