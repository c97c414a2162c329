"""Thresholds for finding everything, chosen for what was taught and kept with the weights."""

from pathlib import Path

import numpy as np
import pytest

import napari_sam.segment.image as image_of
from napari_sam.finetune.best_thresholds import choose_thresholds
from napari_sam.loading import load
from napari_sam.segment.everything.thresholds import default_thresholds, raw_thresholds
from napari_sam.segment.objects import Candidate
from src_model import load_model
from src_model.automatic_thresholds import (
    AutomaticThresholds,
    read_thresholds,
    write_thresholds,
)
from src_model.training.decoder_files import save_decoder
from src_model.training.pictures import ObjectMasks, Picture
from src_model.weight_files import encoder_hash, model_hash, save_checkpoint

LABELS = np.zeros((40, 60), np.uint16)
LABELS[5:15, 5:25] = 1
LABELS[20:35, 30:50] = 2
PICTURE = Picture("one", np.zeros((40, 60, 3), np.uint8), ObjectMasks.from_labels(LABELS))


def candidate(number: int, predicted_iou: float, stability: float) -> Candidate:
    rows, cols = np.nonzero(number == LABELS)
    mask = (number == LABELS)[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1]
    return Candidate(rows.min(), cols.min(), mask, predicted_iou, stability, "grid")


WRONG = Candidate(16, 0, np.ones((4, 60), bool), 0.35, 0.9, "grid")


@pytest.fixture
def unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is right, and not sure of it."""
    found = [candidate(1, 0.44, 0.35), candidate(2, 0.42, 0.36), WRONG]
    monkeypatch.setattr(image_of, "segment_everything", lambda *_, **__: found)


def test_thresholds_let_right_masks_pass_and_wrong_ones_not(unsure: None) -> None:
    model = load_model("vit_nano", "cpu")
    chosen = choose_thresholds(model, [PICTURE])
    assert chosen is not None
    assert 0.35 < chosen.predicted_iou <= 0.42
    assert chosen.stability <= 0.35
    model.automatic = chosen
    assert choose_thresholds(model, [PICTURE]) is None, "there are none that are better"


def test_what_lies_where_not_all_is_outlined_says_nothing(unsure: None) -> None:
    known = np.zeros((40, 60), bool)
    assert choose_thresholds(load_model("vit_nano", "cpu"), [PICTURE], lambda _: known) is None


def test_they_are_kept_with_weights_and_with_a_decoder(tmp_path: Path) -> None:
    sam = load_model("vit_nano", "cpu", "float32")
    before, encoder = model_hash(sam), encoder_hash(sam)
    weights, decoder = tmp_path / "a.safetensors", tmp_path / "decoder.safetensors"
    save_checkpoint(sam, weights)
    save_decoder(decoder, sam, before, encoder, "vit_nano")
    assert read_thresholds(weights) is None
    for path in (weights, decoder):
        write_thresholds(path, AutomaticThresholds(0.4, 0.3, 0.3))
        taught = load(str(path), "cpu")
        assert taught.automatic == AutomaticThresholds(0.4, 0.3, 0.3)
        assert default_thresholds(taught).predicted_iou == 0.4
        assert raw_thresholds(taught).stability == pytest.approx(0.1)
    assert model_hash(load(str(weights), "cpu", "float32")) == before, "the weights are the same"
