"""The small model that comes with the package does what its card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage import io

from src_model import load_model
from src_model.checkpoints import CHECKPOINTS, checkpoint_path
from src_model.training.evaluation.conversation import Conversation, answer_boxes, answer_clicks
from src_model.training.evaluation.encoded import EncodedPicture
from src_model.training.evaluation.prompted import choose_objects
from src_model.training.pictures import ObjectMasks

IMAGES, OBJECTS = 10, 12


@pytest.fixture(scope="module")
def figures(shared: Path) -> dict[str, dict[str, float]]:
    """Return mean IoU on the first validation images after a click and with boxes, by precision."""
    nuclei = shared / "devdata" / "nuclei" / "val"
    result = {}
    for precision in ("float32", "bfloat16"):
        sam = load_model("vit_nano", precision=precision)
        click, box, box_single = [], [], []
        for path in sorted((nuclei / "images").glob("*.png"))[:IMAGES]:
            image = io.imread(path)
            image = np.stack([image] * 3, -1) if image.ndim == 2 else image[..., :3]
            objects = ObjectMasks.from_labels(io.imread(nuclei / "labels" / path.name).astype(int))
            chosen = choose_objects(np.random.default_rng(0), len(objects), OBJECTS)
            truths = [objects.items[i] for i in chosen]
            encoded = EncodedPicture(sam, image)
            talks = [Conversation(truth) for truth in truths]
            answer_clicks(encoded, talks)
            click += [max(talk.answer.ious[1:]) for talk in talks if talk.answer is not None]
            for answer in answer_boxes(encoded, truths, [objects.box(i) for i in chosen]):
                box.append(max(answer.ious[1:]))
                box_single.append(answer.ious[0])
        measured = {"click": click, "box": box, "box, single mask": box_single}
        result[precision] = {name: float(np.mean(values)) for name, values in measured.items()}
    return result


def test_it_fits_in_the_package() -> None:
    sam = load_model("vit_nano")
    assert sum(p.numel() for p in sam.parameters()) <= 10_000_000
    path = checkpoint_path("vit_nano")
    assert path.stat().st_size < 20_000_000
    assert CHECKPOINTS["vit_nano"].licence == "Apache-2.0"


def test_it_outlines_nuclei(figures: dict[str, dict[str, float]]) -> None:
    assert figures["float32"]["click"] >= 0.83
    assert figures["float32"]["box"] >= 0.87
    assert figures["float32"]["box, single mask"] >= 0.85


def test_bfloat16_is_as_good(figures: dict[str, dict[str, float]]) -> None:
    for name, value in figures["float32"].items():
        assert abs(value - figures["bfloat16"][name]) <= 0.005
