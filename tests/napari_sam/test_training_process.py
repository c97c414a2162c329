"""A training run in a process of its own, as a window sees it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from run_data import quick_settings, write_run_data

from napari_sam.errors import InputError
from napari_sam.finetune.process import RunView, TrainingProcess, find_runs
from napari_sam.finetune.process_child import main
from napari_sam.finetune.process_files import ProcessFiles, Rows
from napari_sam.finetune.run_folder import RunFolder
from napari_sam.finetune.settings import RunSettings, write_settings
from src_model import load_model


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunFolder, "draw_curves", lambda folder: None)  # half of the time


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """End the process that a test which failed has left: it would train on."""
    yield
    if ProcessFiles(tmp_path / "run").is_alive():
        kill(tmp_path / "run")


def until(process: TrainingProcess, wanted: Callable[[RunView], bool]) -> RunView:
    deadline = time.monotonic() + 120
    while not wanted(view := process.view()):
        assert time.monotonic() < deadline, view
        time.sleep(0.02)
    return view


def kill(folder: Path) -> None:
    about = ProcessFiles(folder).read_process()
    assert about is not None
    psutil.Process(about["pid"]).kill()


def run_here(settings: RunSettings, folder: Path) -> RunView:
    """Do in this process what a process of its own would, so that faults can be put into it."""
    files = ProcessFiles(folder)
    files.path.mkdir(parents=True, exist_ok=True)
    if not files.settings.exists():
        write_settings(files.settings, settings)
    main(folder, "cpu")
    return TrainingProcess.attach(folder).view()


def test_a_run_from_start_to_finish(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = quick_settings(data, watched=True, validation_share=0.3, method="decoder")
    process = TrainingProcess.start(settings, folder, "cpu")
    assert process.view().state == "starting"
    with pytest.raises(InputError, match="holds a run already"):
        TrainingProcess.start(settings, folder)
    view = process.wait(120)
    assert (view.state, view.step, view.steps, view.problem) == ("finished", 6, 6, "")
    assert [row["step"] for row in view.training] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in view.validation] == [3, 6]
    assert [row["step"] for row in view.held_out] == [0, 3, 6]
    assert [path.name for path in view.previews] == ["0.png", "3.png", "6.png"]
    assert view.weights is not None
    load_model(view.weights)
    assert TrainingProcess.attach(folder).view() == view
    assert find_runs(tmp_path) == [view]
    with pytest.raises(InputError, match="come to its end"):
        TrainingProcess.resume(folder)
    with pytest.raises(InputError, match="holds a run already"):
        TrainingProcess.start(settings, folder)


def test_paused_killed_resumed_stopped_and_resumed(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    # Long enough not to be over before it is interrupted, on any machine.
    settings = quick_settings(data, steps=100_000, validate_every=100_000)
    process = TrainingProcess.start(settings, folder, "cpu")
    until(process, lambda view: view.state == "running" and view.step >= 2)
    other = TrainingProcess.attach(folder)  # another window, perhaps after the first one's crash
    other.pause()
    paused = until(process, lambda view: view.state == "paused")
    assert other.view().state == "paused"
    assert (folder / "last.pt").exists()
    time.sleep(0.3)
    assert process.view().step == paused.step
    with pytest.raises(InputError, match="being worked on"):
        TrainingProcess.resume(folder)
    other.go_on()
    until(process, lambda view: view.step > paused.step)
    kill(folder)
    dead = process.wait(60)
    assert dead.state == "killed"
    assert "resume" in dead.problem
    assert dead.weights is None
    again = TrainingProcess.resume(folder)
    about = ProcessFiles(folder).read_process()
    assert about is not None
    assert about["command"][-1] == "cpu"  # as before
    until(again, lambda view: view.state == "running" and view.step > dead.step)
    again.stop()
    stopped = again.wait(60)
    assert (stopped.state, stopped.problem) == ("stopped", "")
    assert stopped.weights is not None
    load_model(stopped.weights)
    steps = [row["step"] for row in stopped.training]
    assert steps == list(range(1, stopped.step + 1))


def test_a_full_disk_is_told_and_the_run_goes_on_later(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, full = os.replace, False

    def fail(source: object, target: object) -> None:
        nonlocal full
        full |= str(target).endswith("last.pt")
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)  # type: ignore[arg-type]

    settings = quick_settings(data)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        view = run_here(settings, tmp_path / "run")
    assert view.state == "failed"
    assert "No space left on device" in view.problem
    assert "make room" in view.problem
    assert run_here(settings, tmp_path / "run").state == "finished"


def test_a_disk_too_full_to_say_so(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, folder = quick_settings(data), tmp_path / "run"
    assert run_here(settings, folder).state == "finished"
    files = ProcessFiles(folder)
    files.write_state({"state": "running", "problem": ""})
    files.write_process(2**22 + 1, ["python", "-m", "nothing"])
    assert TrainingProcess.attach(folder).view().state == "killed"
    usage = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert "is full: make room" in TrainingProcess.attach(folder).view().problem


def test_a_number_that_is_given_again_is_not_the_process(tmp_path: Path) -> None:
    files = ProcessFiles(tmp_path)
    files.path.mkdir()
    files.write_process(os.getpid(), ["python", "-m", "napari_sam.finetune.process_child", "x"])
    assert not files.is_alive()
    files.write_process(os.getpid(), psutil.Process().cmdline())
    assert files.is_alive()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr": 1e30, "steps": 20, "warmup": 0, "clip": 1e30}, "not a finite number"),
        ({"images": "no/such/folder"}, "no such file"),
        ({"base": "vit_x"}, "no model named 'vit_x'"),
        ({"window": 999}, "window must be"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(
    data: Path, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    view = run_here(quick_settings(data, **changes), tmp_path / "run")
    assert view.state == "failed"
    assert words in view.problem
    assert "\n" not in view.problem


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "not enough"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (ZeroDivisionError("division by zero"), "an error of its own"),
    ],
)
def test_what_breaks_in_the_middle_is_told_in_a_sentence(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    words: str,
) -> None:
    from src_model.training.trainer import Trainer

    def fail(trainer: Trainer) -> None:
        raise error

    monkeypatch.setattr(Trainer, "step", fail)
    view = run_here(quick_settings(data), tmp_path / "run")
    assert view.state == "failed"
    assert words in view.problem
    assert "\n" not in view.problem


def test_pretraining_first_is_one_run(data: Path, tmp_path: Path) -> None:
    settings = quick_settings(
        data,
        pretraining_images=str(data / "images"),
        pretraining={"steps": 3, "batch": 1, "warmup": 1},
    )
    folder = tmp_path / "run"
    view = run_here(settings, folder)
    assert (view.state, view.step, view.steps) == ("finished", 9, 9)
    assert [row["step"] for row in view.pretraining] == [1, 2, 3]
    assert [row["step"] for row in view.training] == [1, 2, 3, 4, 5, 6]
    assert find_runs(tmp_path)[0].step == 9


def test_pretraining_is_gone_on_with(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = quick_settings(
        data,
        method="lora",
        pretraining_images=str(data / "images"),
        pretraining={"steps": 3, "batch": 1, "warmup": 1},
    )
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(ProcessFiles, "asked", lambda files: "stop")
        stopped = run_here(settings, folder)
    assert (stopped.state, stopped.step) == ("stopped", 1)
    view = run_here(settings, folder)
    assert (view.state, view.step) == ("finished", 9)
    assert [row["step"] for row in view.pretraining] == [1, 2, 3]
    assert (folder / "model_adapter.safetensors").exists()


def test_figures_are_read_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = Rows(path)
    rows.update()
    assert rows.rows == []

    def line(step: int) -> str:
        return json.dumps({"step": step, "kind": "training"}) + "\n"

    path.write_text(line(1) + line(2)[:7])
    rows.update()
    assert [row["step"] for row in rows.rows] == [1]
    with path.open("a") as file:
        file.write(line(2)[7:] + line(3))
    rows.update()
    assert [row["step"] for row in rows.of("training")] == [1, 2, 3]
    part = tmp_path / "part"
    part.write_text(line(1) + line(2) + line(4) + line(5))  # went back to step 2, and on
    os.replace(part, path)
    rows.update()
    assert [row["step"] for row in rows.rows] == [1, 2, 4, 5]


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no training run"):
        TrainingProcess.attach(tmp_path)
    assert find_runs(tmp_path) == find_runs(tmp_path / "none") == []
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.yaml").write_text("steps: [1")
    (view,) = find_runs(tmp_path)
    assert view.state == "failed"
    assert "not valid YAML" in view.problem
