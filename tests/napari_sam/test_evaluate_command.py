"""`napari-sam evaluate`, from folders to a report."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam.cli import main
from napari_sam.commands import evaluate
from napari_sam.errors import InputError
from napari_sam.finetune import report as reports
from napari_sam.finetune.drawing import PREDICTION_COLOUR, TRUTH_COLOUR
from napari_sam.finetune.worst_cases import draw_case
from src_model.training.evaluation.clicks import Click
from src_model.training.evaluation.prompted import Trace
from src_model.training.pictures import ObjectMask, ObjectMasks, Picture

PROMPTS = ["1 click", "2 clicks", "3 clicks", "5 clicks", "8 clicks", "box", "jittered box"]


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dark and a coloured picture, each with two bright discs and a square, and a speck."""
    rng = np.random.default_rng(0)
    rows, cols = np.indices((64, 80))
    labels = np.zeros((64, 80), np.uint8)
    for number, (row, col, radius) in enumerate([(20, 20, 9), (40, 60, 13)], start=1):
        labels[np.hypot(rows - row, cols - col) < radius] = number
    labels[50:60, 5:17] = 3
    labels[2, 70] = 4
    for name, ground, colour in (
        ("dark.png", (10, 10, 10), (170, 170, 170)),
        ("stained.png", (230, 200, 225), (120, 60, 150)),
    ):
        image = np.where(labels[..., None] > 0, np.array(colour), np.array(ground))
        noisy = image + rng.normal(0, 5, image.shape)
        save(tmp_path / "images" / name, np.clip(noisy, 0, 255).astype(np.uint8))
        save(tmp_path / "labels" / name, labels)
    return tmp_path


def run(model: object, data: Path, *more: object) -> int:
    folders = ["--images", data / "images", "--labels", data / "labels"]
    arguments = ["evaluate", model, *folders, "--precision", "float32", *more]
    return main([str(argument) for argument in arguments])


def refused(capsys: pytest.CaptureFixture[str], code: int, lines: int = 1) -> str:
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("napari-sam: ")
    assert err.count("\n") == lines
    return err


def read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "evaluation.json").read_text("utf-8"))
    return content


def test_the_default_model_on_a_small_folder(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "report"
    assert run("vit_nano", data, "--objects", 2, "-o", out) == 0
    printed = capsys.readouterr()
    assert "Objects of one pixel" in printed.err  # a warning
    assert {path.name for path in out.iterdir()} == {"evaluation.json", "evaluation.html"}
    for path in out.iterdir():
        assert str(path) in printed.out
    content = read(out)
    assert list(content["groups"]) == ["all", "H&E-like", "fluorescence-like"]
    assert [content["groups"][g]["pictures"] for g in content["groups"]] == [2, 1, 1]
    assert content["groups"]["all"]["objects"] == 4
    assert content["about"]["model"] == "vit_nano"
    assert len(content["about"]["hash"]) == 64
    scores = content["groups"]["all"]["scores"]
    for prompt in PROMPTS:
        for floor in ("floor: disc", "floor: box"):
            assert 0 < scores[prompt][floor]["value"] <= 1
            assert 0 < scores[prompt][f"boundary F {floor}"]["value"] <= 1
        for measure in ("best of three", "best predicted", "single mask", "boundary F"):
            figure = scores[prompt][measure]
            assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
        assert prompt in printed.out
    assert scores["1 click"]["best of three"]["value"] > 0.5  # discs on a plain ground
    assert 1 <= scores["NoC@85"]["clicks"]["value"] <= scores["NoC@90"]["clicks"]["value"] <= 20
    assert "AP@50" not in scores
    assert content["groups"]["H&E-like"]["scores"]["box"]["single mask"]["low"] is None
    assert content["groups"]["all"]["calibration"]["masks"] == 12
    page = (out / "evaluation.html").read_text("utf-8")
    assert page.count('<img src="data:image/png;base64,') == len(content["worst"]) == 4
    assert "H&amp;E-like" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    ious = [case["iou_after_clicks"][-1] for case in content["worst"]]
    assert ious == sorted(ious)


def test_automatic_masks_are_scored(
    data: Path, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(tiny_weights, data, "--automatic", "--limit", 1, "-o", out) == 0
    assert "Found without a prompt" in capsys.readouterr().out
    content = read(out)
    assert list(content["groups"]) == ["all (fluorescence-like)"]
    scores = content["groups"]["all (fluorescence-like)"]["scores"]
    for name in ("AP@50", "AP@75", "mean AP", "AR@100", "AR@1000", "coverage"):
        assert 0 <= scores[name]["model"]["value"] <= 1
        assert 0.5 <= scores[name]["floor: disc"]["value"] <= 1
        assert 0.5 <= scores[name]["floor: box"]["value"] <= 1


def test_the_same_twice(data: Path, tiny_weights: Path, tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        assert run(tiny_weights, data, "--objects", 1, "-o", tmp_path / name) == 0
        content = read(tmp_path / name)
        del content["about"]["seconds"]
        contents.append(content)
    assert contents[0] == contents[1]


def test_without_output_only_the_tables_are_printed(
    data: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(data.rglob("*"))
    assert run(tiny_weights, data, "--objects", 1, "--limit", 1) == 0
    assert "Mean IoU" in capsys.readouterr().out
    assert sorted(data.rglob("*")) == before


def test_groups_from_a_file(data: Path, tiny_weights: Path, tmp_path: Path) -> None:
    groups = tmp_path / "groups.csv"
    groups.write_text("dark.png,<b>night</b>\n\nother.png,day\n")
    out = tmp_path / "out"
    assert run(tiny_weights, data, "--objects", 1, "--groups", groups, "-o", out) == 0
    assert list(read(out)["groups"]) == ["all", "<b>night</b>", "no group"]
    assert html.escape("<b>night</b>") in (out / "evaluation.html").read_text("utf-8")


def test_all_bad_pictures_are_named_before_the_model_runs(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluate, "load", lambda *given: pytest.fail("the model was loaded"))
    image = np.zeros((20, 30, 3), np.uint8)
    good = np.pad(np.ones((4, 4), np.uint8), ((3, 13), (3, 23)))
    for name in ("alone", "size", "float", "stack", "whole"):
        save(data / "images" / f"{name}.png", image)
    save(data / "labels" / "size.png", good[:10, :15])
    tifffile.imwrite(data / "labels" / "float.tif", good + np.float32(0.5))
    tifffile.imwrite(data / "labels" / "stack.tif", np.stack([good] * 5))
    save(data / "labels" / "whole.png", np.ones((20, 30), np.uint8))
    out = tmp_path / "out"
    sentence = refused(capsys, run("vit_nano", data, "-o", out), lines=9)
    for name in ("alone", "size", "float", "stack", "whole"):
        assert name in sentence
    assert "there is no label map" in sentence
    assert "20 rows and 30 columns" in sentence
    assert "5 errors" in sentence
    assert not out.exists()


def test_empty_label_maps(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (data / "labels").iterdir():
        save(path, np.zeros((64, 80), np.uint8))
    assert "No object of more than one pixel is outlined in any picture" in refused(
        capsys, run("vit_nano", data), lines=3
    )


def test_pictures_without_objects_are_left_aside(
    data: Path, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(data / "labels" / "dark.png", np.zeros((64, 80), np.uint8))
    assert run(tiny_weights, data, "-o", tmp_path / "out") == 0
    assert "dark.png: No object is outlined" in capsys.readouterr().err
    assert read(tmp_path / "out")["groups"]["all (H&E-like)"]["pictures"] == 1
    sentence = refused_after_warnings(capsys, run(tiny_weights, data, "--limit", 1))
    assert "None of the first 1 pictures" in sentence


def refused_after_warnings(capsys: pytest.CaptureFixture[str], code: int) -> str:
    assert code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vit_x"], "There is no model named 'vit_x'"),
        (["no/such.safetensors"], "There is no file"),
        (["vit_nano", "--objects", "0"], "at least 1"),
        (["vit_nano", "--limit", "some"], "'some' is not a whole number"),
        (["vit_nano", "--precision", "int8"], "invalid choice"),
        (["vit_nano", "--device", "abacus"], "There is no device 'abacus'"),
        (["vit_nano", "--groups", "absent.csv"], "absent.csv cannot be read"),
    ],
)
def test_bad_arguments(
    data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert words in refused(capsys, run(arguments[0], data, *arguments[1:]))


def test_bad_places(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_weights: Path
) -> None:
    (tmp_path / "file").touch()
    assert "is a file" in refused(capsys, run(tiny_weights, data, "-o", tmp_path / "file"))
    assert "no such file or folder" in refused(capsys, run(tiny_weights, tmp_path / "absent"))
    groups = tmp_path / "groups.csv"
    groups.write_text("dark.png,a\nstained.png\n")
    assert "row 2 has 1 column" in refused(capsys, run(tiny_weights, data, "--groups", groups))
    groups.write_bytes(b"\xff\xfe\x00")
    assert "not text in UTF-8" in refused(capsys, run(tiny_weights, data, "--groups", groups))


def test_a_full_disk_leaves_no_half_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *given: object, **more: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    empty = reports.EvaluationReport(about={"model": "m"}, summaries={}, worst=[])
    with pytest.raises(InputError, match="No space left on device"):
        reports.write_report(tmp_path / "out", empty)
    assert list((tmp_path / "out").iterdir()) == []


def test_worst_cases_show_outlines_and_clicks() -> None:
    truth, found = np.zeros((2, 60, 60), bool)
    truth[20:40, 20:40] = True
    found[20:40, 30:55] = True
    picture = Picture(
        "a", np.full((60, 60, 3), 90, np.uint8), ObjectMasks.from_masks([truth], (60, 60))
    )
    mask = ObjectMasks.from_masks([found], (60, 60)).items[0]
    case = draw_case(picture, Trace(0, (Click(25, 25), Click(50, 30, False)), mask, (0.1, 0.2)))
    assert case.drawing.shape == (320, 320, 3)
    scale = 320 / 60

    def colour(row: float, col: float) -> tuple[int, ...]:
        pixel = case.drawing[int((row + 0.5) * scale), int((col + 0.5) * scale)]
        return tuple(pixel.tolist())

    assert colour(35, 19.6) == TRUTH_COLOUR
    assert colour(39.4, 50) == PREDICTION_COLOUR
    assert colour(10, 10) not in (TRUTH_COLOUR, PREDICTION_COLOUR)
    green, red = colour(24.2, 25), colour(29.2, 50)
    assert green[1] > green[0]
    assert red[0] > red[1]
    nothing = ObjectMask(0, 0, np.zeros((0, 0), bool))
    alone = draw_case(picture, Trace(0, (Click(25, 25),), nothing, (0.0,)))
    assert not (alone.drawing == PREDICTION_COLOUR).all(axis=2).any()
