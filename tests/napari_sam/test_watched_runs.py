"""Training runs with a hold-out to look at, and runs that are stopped early."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from run_data import quick_settings, write_run_data
from skimage import io

from napari_sam.errors import InputError
from napari_sam.finetune.control import Control
from napari_sam.finetune.run import run_training
from napari_sam.finetune.run_folder import RunFolder
from src_model import load_model
from src_model.training.adapter_files import load_with_adapter


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run_data(tmp_path_factory.mktemp("data"))


def lines(run: Path, kind: str) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


def stopping_after(count: int) -> Control:
    """Ask to stop when so many steps have been made."""
    made = []
    return Control(on_progress=made.append, should_stop=lambda: len(made) >= count)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_model(path, precision="float32").state_dict()


def same(a: Path, b: Path) -> bool:
    first, second = weights(a), weights(b)
    return all(torch.equal(first[name], second[name]) for name in first)


def test_the_hold_out_is_measured_and_drawn_but_decides_nothing(data: Path, tmp_path: Path) -> None:
    alone, watched = tmp_path / "alone", tmp_path / "watched"
    settings = quick_settings(data, validation_share=0.3)
    run_training(settings, RunFolder(alone))
    told = []
    settings = quick_settings(data, validation_share=0.3, watched=True)
    run_training(settings, RunFolder(watched), Control(told.append))
    assert [row["step"] for row in lines(watched, "hold-out")] == [0, 3, 6]
    assert {"click_shown", "three_clicks", "five_clicks", "box"} <= set(
        lines(watched, "hold-out")[0]
    )
    assert [progress.step for progress in told if progress.held_out] == [3, 6]
    for kind in ("training", "validation"):
        assert lines(alone, kind) == lines(watched, kind)
    for name in ("best.safetensors", "model.safetensors"):
        assert same(alone / name, watched / name)
    names = sorted(path.name for path in (watched / "previews").iterdir())
    assert names == ["0.png", "3.png", "6.png"]
    first, last = (io.imread(watched / "previews" / name) for name in ("0.png", "6.png"))
    assert first.shape == last.shape
    assert first.shape[1] > 900
    # Image, truth and "before" stay what they were; only the last column and the heading change.
    assert np.array_equal(first[40:, :730], last[40:, :730])


def test_without_validation_the_averaged_weights_of_the_end_are_the_result(
    data: Path, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    assert run_training(quick_settings(data), folder) == folder.final == folder.weights
    average = torch.load(folder.last, weights_only=True)["trainer"]["optimizer"]["average"]
    found = weights(folder.final)
    assert all(torch.equal(found[name], value) for name, value in average.items())


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_stopped_early_there_are_weights_and_the_run_goes_on_to_the_same_end(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr(RunFolder, "draw_curves", lambda folder: None)  # half of the time
    whole, stopped = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "stopped")
    settings = quick_settings(data, validation_share=share, watched=True, method="lora")
    run_training(settings, whole)
    for count in (2, 2):  # before the first validation, and after it
        resume = stopped.last.exists()
        assert run_training(settings, stopped, stopping_after(count), resume=resume) is None
        kept = stopped.weights
        assert kept is not None
        adapter = kept.with_name(f"{kept.stem}_adapter.safetensors")
        again = load_with_adapter(data / "base.safetensors", adapter, precision="float32")
        for name, value in weights(kept).items():
            torch.testing.assert_close(again.state_dict()[name], value, atol=1e-5, rtol=1e-4)
    assert (kept == stopped.best) == bool(share)
    result = run_training(settings, stopped, resume=True)
    assert result == stopped.weights
    assert same(stopped.final, whole.final)
    assert (stopped.path / "metrics.jsonl").read_text() == (
        whole.path / "metrics.jsonl"
    ).read_text()
    for picture in (whole.path / "previews").iterdir():
        again = stopped.path / "previews" / picture.name
        assert np.array_equal(io.imread(picture), io.imread(again)), picture.name


def test_an_empty_hold_out_is_refused_before_the_first_step(data: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    (empty / "images").mkdir(parents=True)
    (empty / "labels").mkdir()
    image = io.imread(data / "watched" / "images" / "0.png")
    io.imsave(empty / "images" / "0.png", image, check_contrast=False)
    blank = np.zeros(image.shape[:2], np.uint8)
    io.imsave(empty / "labels" / "0.png", blank, check_contrast=False)
    settings = quick_settings(
        data, watched_images=str(empty / "images"), watched_labels=str(empty / "labels")
    )
    with pytest.raises(InputError, match=r"no object|outlined"):
        run_training(settings, RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run" / "last.pt").exists()
