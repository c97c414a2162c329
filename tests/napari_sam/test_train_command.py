"""`napari-sam train`: what is on disk afterwards, whatever happened in between."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from skimage import io
from training_toys import TINY, TINY_VIT, Scenes, tiny_sam

from napari_sam.cli import main
from src_model import load_model
from src_model.training.adapter_files import load_with_adapter
from src_model.training.decoder_files import load_decoder
from src_model.weight_files import model_hash, save_checkpoint

QUICK = {
    "warmup": 2,
    "error_points": 1,
    "precision": "float32",
    "workers": 0,
    "batch": 1,
    "validate_every": 3,
    "threshold_pictures": 1,
    "save_every": 2,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images, labels and a tiny base model."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    scenes = Scenes()
    for index in range(len(scenes)):
        picture = scenes[index]
        labels = np.zeros(picture.objects.shape, np.uint8)
        for number in range(len(picture.objects)):
            labels[picture.objects.full(number)] = number + 1
        io.imsave(folder / "images" / f"{index}.png", picture.image, check_contrast=False)
        io.imsave(folder / "labels" / f"{index}.png", labels, check_contrast=False)
    save_checkpoint(tiny_sam(), folder / "base.safetensors")
    save_checkpoint(tiny_sam(TINY_VIT), folder / "vit.safetensors")
    return folder


def config(data: Path, path: Path, **changes: object) -> Path:
    """Write a config file for a run of a few quick steps."""
    values = {
        "images": str(data / "images"),
        "labels": str(data / "labels"),
        "base": str(data / "base.safetensors"),
        "steps": 6,
        **QUICK,
        **changes,
    }
    path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}))
    return path


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["train", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize("method", ["full", "decoder", "lora"])
def test_a_run_leaves_everything_behind(data: Path, tmp_path: Path, method: str) -> None:
    file = config(data, tmp_path / "c.yaml", method=method)
    run = tmp_path / "run"
    assert main(["train", str(file), "-o", str(run)]) == 0
    trained = load_model(run / "best.safetensors", precision="float32")
    base = load_model(data / "base.safetensors", precision="float32")
    assert model_hash(trained) != model_hash(base)
    assert io.imread(run / "curves.png").ndim == 3
    assert list(run.glob("events.out.tfevents.*"))
    assert json.loads((run / "environment.json").read_text())["base_hash"] == model_hash(base)
    kinds = [(line["step"], line["kind"]) for line in lines(run)]
    assert [step for step, kind in kinds if kind == "training"] == [1, 2, 3, 4, 5, 6]
    assert [step for step, kind in kinds if kind == "validation"] == [3, 6]
    if method == "lora":
        adapter = run / "best_adapter.safetensors"
        assert adapter.stat().st_size < 100_000
        again = load_with_adapter(data / "base.safetensors", adapter, precision="float32")
        a, b = again.state_dict(), trained.state_dict()
        for name, value in b.items():
            torch.testing.assert_close(a[name], value, atol=1e-5, rtol=1e-4)
    if method == "decoder":
        a, b = base.state_dict(), trained.state_dict()
        assert all(torch.equal(a[n], b[n]) for n in a if n.startswith("image_encoder"))
        assert (run / "embeddings.zarr").is_dir()
        load_decoder(base, run / "best_adapter.safetensors")
        assert all(torch.equal(tensor, b[name]) for name, tensor in base.state_dict().items())


def test_flags_do_for_the_common_case(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(data)  # relative paths start here
    arguments = ["--images", "images", "--labels", "labels", "--base", "base.safetensors"]
    more = ["--method", "decoder", "--steps", "1", "--lr", "1e-4", "-o", str(tmp_path / "run")]
    assert main(["train", *arguments, *more]) == 0
    assert str(tmp_path / "run" / "best.safetensors") in capsys.readouterr().out
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["lr"] == 1e-4
    assert saved["images"] == str(data / "images")


def test_kill_9_and_resume_give_the_uninterrupted_result(data: Path, tmp_path: Path) -> None:
    file = config(data, tmp_path / "c.yaml", steps=12, method="full")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "napari_sam.cli", "train"]
    subprocess.run(
        [*command, str(file), "-o", str(whole)], env=environment, check=True, capture_output=True
    )
    with subprocess.Popen(
        [*command, str(file), "-o", str(killed)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if (killed / "metrics.jsonl").exists() and len(lines(killed)) >= 5:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "the run was over before it could be killed"
    assert not (killed / "model.safetensors").exists()
    subprocess.run(
        [*command, "--resume", "-o", str(killed)], env=environment, check=True, capture_output=True
    )
    for name in ("best.safetensors", "model.safetensors"):
        a, b = (load_model(r / name, precision="float32").state_dict() for r in (whole, killed))
        assert all(torch.equal(a[n], b[n]) for n in a), name
    assert lines(whole) == lines(killed)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_save_and_say_how_to_go_on(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    workers: int,
) -> None:
    from napari_sam.finetune.run_folder import RunFolder

    log = RunFolder.log

    def log_and_interrupt(self: RunFolder, step: int, *args: object, **kwargs: object) -> None:
        log(self, step, *args, **kwargs)  # type: ignore[arg-type]
        if step == 2:
            # A terminal and `timeout` signal all that is in the process's group.
            children = [child.pid for child in multiprocessing.active_children() if child.pid]
            for pid in [*children, os.getpid()]:
                if os.getpgid(pid) == os.getpgrp():
                    os.kill(pid, number)
            time.sleep(0.3)  # in which a worker would die, and torch notice it

    monkeypatch.setattr(RunFolder, "log", log_and_interrupt)
    file, run = config(data, tmp_path / "c.yaml", workers=workers), tmp_path / "run"
    assert main(["train", str(file), "-o", str(run)]) == 0
    assert f"napari-sam train --resume -o {run}" in capsys.readouterr().out
    assert torch.load(run / "last.pt", weights_only=True)["trainer"]["step"] == 2
    monkeypatch.undo()
    assert main(["train", "--resume", "-o", str(run)]) == 0
    assert (run / "best.safetensors").exists()


def test_a_full_disk_costs_nothing_that_was_saved(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, run = config(data, tmp_path / "c.yaml"), tmp_path / "run"
    replace, count = os.replace, 0

    def full(source: object, target: object) -> None:
        nonlocal count
        if str(target).endswith("last.pt"):
            count += 1
            if count == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", full)
    error = refused(capsys, file, "-o", run)
    assert "No space left on device" in error
    assert "--resume" in error
    monkeypatch.undo()
    assert torch.load(run / "last.pt", weights_only=True)["trainer"]["step"] == 2
    assert not list(run.glob(".*.part"))
    (run / ".last.pt.0f0f0f0f.part").touch()  # as kill -9 leaves it
    assert main(["train", "--resume", "-o", str(run)]) == 0
    assert not list(run.glob(".*.part"))


def test_too_small_a_disk_is_told_before_anything_is_written(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    file = config(data, tmp_path / "c.yaml")
    error = refused(capsys, file, "-o", tmp_path / "deep" / "run")
    assert "make room" in error
    assert not (tmp_path / "deep").exists()


def test_a_broken_loss_keeps_its_batch(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config(data, tmp_path / "c.yaml", lr=1e30, steps=20, warmup=0, clip=1e30)
    error = refused(capsys, file, "-o", tmp_path / "run")
    assert "not a finite number" in error
    with np.load(tmp_path / "run" / "failed_batch.npz") as batch:
        assert batch["names"][0] in error
        assert batch["image_0"].ndim == 3


def test_pretraining_draws_what_it_reconstructs(data: Path, tmp_path: Path) -> None:
    values = {
        "method": "mae",
        "images": str(data / "images"),
        "base": str(data / "vit.safetensors"),
        "steps": 4,
        "batch": 2,
        "warmup": 2,
        "validate_every": 2,
        "save_every": 2,
    }
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(values))
    run = tmp_path / "run"
    assert main(["train", str(file), "-o", str(run)]) == 0
    assert load_model(run / "model.safetensors").variant == TINY_VIT
    assert io.imread(run / "reconstructions.png").shape == (4 * 128, 3 * 128, 3)


def test_distillation_takes_over_the_teachers_decoder(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    values = {
        "method": "distill",
        "images": str(data / "images"),
        "base": str(data / "base.safetensors"),
        "teacher": str(data / "vit.safetensors"),
        "steps": 3,
    }
    file.write_text(yaml.safe_dump(values))
    run = tmp_path / "run"
    assert main(["train", str(file), "-o", str(run)]) == 0
    student = load_model(run / "model.safetensors", precision="float32").state_dict()
    teacher = load_model(data / "vit.safetensors", precision="float32").state_dict()
    for name, value in teacher.items():
        if name.startswith(("mask_decoder", "prompt_encoder")):
            assert torch.equal(student[name], value), name


def test_bad_input_is_told_before_time_is_spent(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert "images (and labels) are missing" in refused(capsys, "-o", run)
    assert "no such file" in refused(capsys, "--images", tmp_path / "none", "-o", run)
    bad = config(data, tmp_path / "c.yaml", stepz=3)
    assert "did you mean 'steps'" in refused(capsys, bad, "-o", run)
    (tmp_path / "c.yaml").write_text("steps: [1")
    assert "not valid YAML" in refused(capsys, tmp_path / "c.yaml", "-o", run)
    assert "no run to go on with" in refused(capsys, "--resume", "-o", run)
    other = config(data, tmp_path / "c.yaml", base="vit_x")
    assert "no model named 'vit_x'" in refused(capsys, other, "-o", run)
    flags = ("--images", data / "images", "--method", "distill")
    assert "teacher is needed" in refused(capsys, *flags, "-o", run)
    window = config(data, tmp_path / "c.yaml", window=64, base=str(data / "vit.safetensors"))
    assert "whole frames only" in refused(capsys, window, "-o", run)
    assert not run.exists()


@pytest.mark.parametrize(
    ("changes", "flags", "words"),
    [
        ({}, ["--device", "nonsense"], "There is no device 'nonsense'"),
        ({"base": "vit_x"}, [], "There is no model named 'vit_x'"),
        ({"base": 5}, [], "base must name a model or a file of weights, not 5"),
        ({"base": __file__}, [], "not a file of weights"),
        ({"method": "mae", "base": "no/such.pth"}, [], "There is no file"),
        ({"method": "mae"}, ["--device", "nonsense"], "There is no device 'nonsense'"),
        ({"method": "distill", "teacher": "vit_x"}, [], "There is no model named 'vit_x'"),
        ({"method": "distill", "teacher": [1]}, [], "teacher must name a model"),
        ({"method": "distill", "teacher": __file__}, [], "not a file of weights"),
    ],
)
def test_a_model_that_cannot_be_had(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    flags: list[str],
    words: str,
) -> None:
    values = {"images": str(data / "images"), "base": str(data / "base.safetensors"), **changes}
    if "method" not in changes:
        values["labels"] = str(data / "labels")
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(values))
    error = refused(capsys, file, *flags, "-o", tmp_path / "run")
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_every_bad_pair_is_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    truth = np.zeros((40, 40), np.uint16)
    truth[5:20, 5:20] = 1
    for name in ("good", "lonely", "small"):
        io.imsave(images / f"{name}.png", pixels, check_contrast=False)
    io.imsave(labels / "good.png", truth, check_contrast=False)
    io.imsave(labels / "small.png", truth[:30], check_contrast=False)
    error = refused(capsys, "--images", images, "--labels", labels, "-o", tmp_path / "run")
    first, count, lonely, small = error.splitlines()
    assert first.startswith("napari-sam: ")
    assert count == "2 errors:"
    assert lonely.startswith("  lonely: ")
    assert small.startswith("  small.png: ")


def test_a_run_goes_on_only_with_its_own_base(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "base.safetensors"
    save_checkpoint(tiny_sam(), base)
    file, run = config(data, tmp_path / "c.yaml", base=str(base), steps=2), tmp_path / "run"
    assert main(["train", str(file), "-o", str(run)]) == 0
    assert "holds a run already" in refused(capsys, file, "-o", run)
    assert "leave out everything but" in refused(capsys, file, "--resume", "-o", run)
    sam = tiny_sam(TINY)
    with torch.no_grad():
        sam.mask_decoder.iou_token.weight.add_(1)
    save_checkpoint(sam, base)
    assert "other weights" in refused(capsys, "--resume", "-o", run)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_vanishes_stops_the_run_with_a_sentence(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
) -> None:
    folder = tmp_path / "images"
    shutil.copytree(data / "images", folder)
    from napari_sam.finetune.run_folder import RunFolder

    begin = RunFolder.begin

    def begin_and_lose(self: RunFolder, *args: object) -> None:
        begin(self, *args)  # type: ignore[arg-type]
        for image in folder.iterdir():
            image.unlink()

    monkeypatch.setattr(RunFolder, "begin", begin_and_lose)
    file = config(data, tmp_path / "c.yaml", images=str(folder), workers=workers)
    error = refused(capsys, file, "-o", tmp_path / "run")
    assert ".png" in error
    assert "--resume" in error
