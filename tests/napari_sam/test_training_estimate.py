"""What a training run will take, measured before it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from run_data import quick_settings, write_run_data

from napari_sam.errors import InputError
from napari_sam.finetune.estimate import estimate
from napari_sam.finetune.measuring import main, measure
from napari_sam.finetune.run_folder import RunFolder
from napari_sam.finetune.settings import RunSettings, write_settings


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run_data(tmp_path_factory.mktemp("data"))


def measured(settings: RunSettings, folder: Path) -> dict[str, float]:
    return measure(settings, RunFolder(folder), "cpu")


def test_an_estimate_is_of_the_whole_run_and_leaves_nothing(data: Path, tmp_path: Path) -> None:
    settings = quick_settings(data, watched=True, method="decoder", steps=1000)
    found = estimate(settings, tmp_path / "run", device="cpu")
    assert found is not None
    assert found.seconds > 1000 * found.seconds_per_step > 0
    assert 50e6 < found.memory_bytes < 8e9
    assert not (tmp_path / "run").exists()


def test_more_steps_and_looks_take_longer(data: Path, tmp_path: Path) -> None:
    short = measured(quick_settings(data, steps=100), tmp_path)
    pretrained = quick_settings(
        data,
        watched=True,
        steps=10_000,
        validate_every=10,
        pretraining_images=str(data / "images"),
        pretraining={"steps": 10_000, "batch": 1},
    )
    assert measured(pretrained, tmp_path)["seconds"] > 10 * short["seconds"]
    windowed = measured(quick_settings(data, window=64, steps=100), tmp_path)
    assert windowed["seconds"] > 0


def test_what_cannot_be_is_told(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(InputError, match="make room"):
            measured(quick_settings(data), tmp_path)
    config, result = tmp_path / "settings.yaml", tmp_path / "result.json"
    write_settings(config, quick_settings(data, images="no/such/folder"))
    main([str(config), str(tmp_path), "cpu", str(result)])
    assert "no such file" in json.loads(result.read_text())["problem"]


def test_the_measuring_process_is_ended_when_nobody_waits(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    popen = subprocess.Popen

    def start(*arguments: object, **how: object) -> object:
        started.append(popen(*arguments, **how))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    assert estimate(quick_settings(data), should_stop=lambda: True) is None
    assert started[0].returncode is not None
