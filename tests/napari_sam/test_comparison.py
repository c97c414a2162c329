"""Two models on the same objects, from pictures to a report."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from napari_sam.cli import main
from napari_sam.errors import InputError
from napari_sam.finetune import default_validation as default_pictures
from napari_sam.finetune.automatic import score_automatic
from napari_sam.finetune.before_after import TABLE_HEADER, group_rows, score_rows
from napari_sam.finetune.changed_objects import Extremes, MaskPair, draw_before_after
from napari_sam.finetune.comparison import (
    Comparison,
    ComparisonStopped,
    compare,
    write_comparison,
)
from napari_sam.finetune.data import open_pictures
from napari_sam.finetune.datasets import build_dataset, from_pictures
from napari_sam.finetune.default_validation import default_validation
from napari_sam.finetune.drawing import PREDICTION_COLOUR, TRUTH_COLOUR
from napari_sam.finetune.stored import StoredPictures
from napari_sam.segment import image as segmenting
from napari_sam.segment.objects import Candidate
from src_model import Sam, build_sam
from src_model.training.evaluation import evaluate_picture, picture_kind, summarise
from src_model.training.evaluation.clicks import Click
from src_model.training.pictures import ObjectMask, ObjectMasks, Picture
from src_model.weight_files import save_checkpoint

COUNT = 4


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with a small and a large disc, a square, and a speck of one pixel."""
    path = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows, cols = np.indices((64, 64))
    for name in range(COUNT):
        labels = np.zeros((64, 64), np.uint8)
        labels[0, 63] = 1
        for number, radius in ((3, 5), (5, 12)):
            row, col = rng.integers(14, 50, 2)
            labels[np.hypot(rows - row, cols - col) < radius] = number
        labels[50:60, 2:12] = 7
        image = rng.normal(30, 5, labels.shape) + 100 * (labels > 0)
        save(path / "images" / f"{name}.png", image.clip(0, 255).astype(np.uint8))
        save(path / "labels" / f"{name}.png", labels)
    return path


@pytest.fixture(scope="module")
def pictures(folder: Path) -> StoredPictures:
    return open_pictures(folder / "images", folder / "labels")


@pytest.fixture(scope="module")
def other_sam(tiny_sam: Sam) -> Sam:
    torch.manual_seed(1)
    return build_sam(tiny_sam.variant)


@pytest.fixture(scope="module")
def found(tiny_sam: Sam, other_sam: Sam, pictures: StoredPictures) -> Comparison:
    progress: list[tuple[int, int]] = []
    result = compare(
        tiny_sam,
        other_sam,
        pictures,
        classes=lambda name: {0: "speck", 1: "round", 2: "round"},
        automatic=False,
        on_progress=lambda done, total: progress.append((done, total)),
    )
    assert progress == [(done, 2 * COUNT) for done in range(1, 2 * COUNT + 1)]
    return result


def test_figures_are_those_of_evaluate(
    tiny_sam: Sam, other_sam: Sam, pictures: StoredPictures, found: Comparison
) -> None:
    for sam, side in ((tiny_sam, "before"), (other_sam, "after")):
        summary = summarise([evaluate_picture(sam, pictures[i], 24) for i in range(COUNT)])
        assert found.overall.objects == summary.objects
        calibration = found.calibration[side == "after"]
        assert calibration.expected_error == summary.calibration.expected_error
        assert set(summary.estimates) == {*found.overall.changes, *found.overall.floors}
        for key, estimate in summary.estimates.items():
            if key in found.overall.floors:
                assert found.overall.floors[key] == pytest.approx(estimate.value)
            else:
                ours = getattr(found.overall.changes[key], side)
                numbers = [(e.value, e.low, e.high) for e in (ours, estimate)]
                np.testing.assert_allclose(*numbers, atol=1e-12)
    for change in found.overall.changes.values():
        difference = change.after.value - change.before.value
        assert change.difference.value == pytest.approx(difference)
        assert change.difference.low <= difference <= change.difference.high


def test_groups(found: Comparison) -> None:
    names = [group.name for group in found.groups]
    assert names[:3] == ["all", "no class", "round"]  # specks are left out
    assert [found.groups[i].objects for i in range(3)] == [12, 4, 8]
    assert [name.split()[0] for name in names[3:]] == ["small", "medium", "large"]


def test_the_most_changed_objects_are_drawn(found: Comparison) -> None:
    changes = [case.iou_after - case.iou_before for case in (*found.improved, *found.worsened)]
    assert 0 < len(changes) <= 12
    better, worse = changes[: len(found.improved)], changes[len(found.improved) :]
    assert better == sorted(better, reverse=True)
    assert worse == sorted(worse)
    assert min(better, default=1) > 0 > max(worse, default=-1)
    for case in (*found.improved, *found.worsened):
        assert case.drawing.dtype == np.uint8
        assert case.drawing.shape[1] > 3 * 100
        assert f"IoU {case.iou_before:.2f} before" in case.caption


def test_rows_for_a_table(found: Comparison) -> None:
    rows = score_rows(found.overall)
    assert len(rows) == len(found.overall.changes)
    assert {len(row.cells) for row in rows} == {len(TABLE_HEADER)}
    by_name = {row.cells[0]: row for row in rows}
    assert re.fullmatch(
        r"[+-]0\.\d{3} \[[+-]0\.\d{3}, [+-]0\.\d{3}\]",
        by_name["1 click: mean IoU, mask shown"].cells[3],
    )
    for name in (
        "1 click: mean IoU, mask shown",
        "box: boundary F",
        "NoC@85: objects that reach it",
    ):
        assert all(by_name[name].cells[-2:]), name  # floors
    for row in rows:
        assert row.cells[4] == ("" if row.marker == "same" else row.marker)
    assert [row.cells[0] for row in group_rows(found.groups[1:3])] == [
        "no class: 4 objects",
        "round: 8 objects",
    ]


def test_the_report(found: Comparison, tmp_path: Path) -> None:
    paths = write_comparison(
        tmp_path / "new" / "out", found, found, {"before": "a", "after": "<b>"}
    )
    content = json.loads(paths.json.read_text("utf-8"))
    assert content["about"] == {"before": "a", "after": "<b>"}
    assert content["verdict"]["sentence"] == found.verdict.sentence
    assert len(content["groups"]) == len(found.groups)
    headline = content["groups"][0]["scores"]["1 click"]["best predicted"]
    assert set(headline) == {"before", "after", "difference", "marker"}
    assert 0 < content["groups"][0]["scores"]["box"]["floor: box"]["value"] <= 1
    assert content["forgetting"]["sentence"].startswith("On the 4 default validation pictures")
    text = paths.html.read_text("utf-8")
    assert text.count("<img") == len(found.improved) + len(found.worsened)
    assert "&lt;b&gt;" in text
    assert "nan" not in re.sub(r'"data:[^"]*"', "", text)
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        write_comparison(tmp_path / "file", found, None, {})


def test_a_model_compared_with_itself(tiny_sam: Sam, pictures: StoredPictures) -> None:
    found = compare(tiny_sam, tiny_sam, pictures, objects=2)
    assert (found.verdict.words, found.verdict.reason) == ("no better", "same")
    assert (found.improved, found.worsened, found.notes) == ((), (), ())
    assert list(found.figures) == ["1 click", "5 clicks", "box", "AP@50"]


def test_what_is_not_known_is_not_held_against_a_model(
    tiny_sam: Sam, other_sam: Sam, pictures: StoredPictures
) -> None:
    def area(known: Callable[[int], bool]) -> Callable[[str], np.ndarray | None]:
        return lambda name: None if known(int(Path(name).stem)) else np.zeros((64, 64), bool)

    found = compare(tiny_sam, other_sam, pictures, known=area(lambda n: False), objects=1)
    assert not any(prompt.startswith("AP") for prompt, _ in found.overall.changes)
    assert "nowhere is everything known to be outlined" in found.notes[0]
    found = compare(tiny_sam, other_sam, pictures, known=area(lambda n: n < 1), objects=1)
    assert "scored in 1 of 4 pictures" in found.notes[0]
    assert ("AP@50", "model") in found.overall.changes
    with pytest.raises(InputError, match=r"0\.png: the area that is known has the shape"):
        compare(tiny_sam, other_sam, pictures, known=lambda name: np.ones((3, 4), bool))


def squares(*corners: tuple[int, int]) -> list[Candidate]:
    return [
        Candidate(row, col, np.ones((6, 6), bool), 0.9 - 0.1 * i, 0.9, "grid")
        for i, (row, col) in enumerate(corners)
    ]


def test_masks_outside_of_what_is_known_are_left_aside(
    tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = [(4, 4), (20, 4), (4, 17), (4, 40)]  # the third is cut by the border, most of it known
    offered = [(4, 4), (40, 4), (4, 17), (4, 40), (40, 40)]  # one misses, two are about nothing
    monkeypatch.setattr(segmenting, "segment_everything", lambda *given: squares(*offered))
    items = tuple(ObjectMask(c.row, c.col, c.mask) for c in squares(*truth))
    picture = Picture("a", np.zeros((64, 64, 3), np.uint8), ObjectMasks((64, 64), items))
    known = np.zeros((64, 64), bool)
    known[:, :21] = True

    def precision(area: np.ndarray | None) -> float:
        return score_automatic(tiny_sam, picture, area)["AP@50", "model"][0]

    assert precision(None) == pytest.approx(3 / 6)  # three right, two wrong, one missed
    assert precision(known) == pytest.approx(2 / 4)  # (4, 40) and (40, 40) lie outside
    assert precision(np.ones((64, 64), bool)) == precision(None)
    assert score_automatic(tiny_sam, picture, known)["AR@100", "model"][1] == 3
    assert score_automatic(tiny_sam, picture, ~known)["AP@50", "model"][0] == pytest.approx(1 / 2)
    assert score_automatic(tiny_sam, picture, np.zeros((64, 64), bool)) == {}
    # A mask about an object that counts does so too, wherever most of it lies.
    monkeypatch.setattr(segmenting, "segment_everything", lambda *given: squares((4, 18)))
    assert precision(known) == pytest.approx(1 / 3)


def test_stopping(tiny_sam: Sam, pictures: StoredPictures) -> None:
    asked = iter([False, False, True])
    with pytest.raises(ComparisonStopped):
        compare(tiny_sam, tiny_sam, pictures, objects=1, should_stop=lambda: next(asked))


def test_nothing_outlined(tiny_sam: Sam, tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", np.zeros((20, 20), np.uint8))
    save(tmp_path / "labels" / "a.png", np.zeros((20, 20), np.uint8))
    empty = open_pictures(tmp_path / "images", tmp_path / "labels")
    with pytest.raises(InputError, match="No object of more than one pixel"):
        compare(tiny_sam, tiny_sam, empty)


def test_only_the_most_changed_are_kept() -> None:
    mask = ObjectMask(0, 0, np.ones((1, 1), bool))
    extremes = Extremes(2)
    for index, after in enumerate((0.5, 0.9, 0.1, 0.6, 0.2, 0.45, 0.7)):
        extremes.add(MaskPair(0, index, mask, mask, 0.5, after))
    assert [pair.index for pair in extremes.improved] == [1, 6]
    assert [pair.index for pair in extremes.worsened] == [2, 4]


def test_a_drawing_shows_truth_before_and_after() -> None:
    square = np.ones((10, 10), bool)
    truth, before, after = (ObjectMask(20, col, square) for col in (20, 24, 21))
    image = np.full((60, 60, 3), 90, np.uint8)
    drawing = draw_before_after(image, truth, before, after, Click(24, 24), side=150)
    parts = [drawing[:, start : start + 150] for start in (0, 156, 312)]
    counts = [
        [int((part == colour).all(axis=2).sum()) for colour in (TRUTH_COLOUR, PREDICTION_COLOUR)]
        for part in parts
    ]
    assert counts[0][0] > 0
    assert counts[0][1] == 0
    assert counts[1][1] > 0
    assert counts[2][1] > 0
    assert counts[1][0] > counts[2][0]  # where the mask covers it, the truth is not seen
    nothing = ObjectMask(0, 0, np.zeros((0, 0), bool))
    alone = draw_before_after(image, truth, nothing, nothing, Click(24, 24), side=150)
    assert not (alone == PREDICTION_COLOUR).all(axis=2).any()


def test_default_validation_pictures() -> None:
    pictures = default_validation()
    kinds = [picture_kind(pictures[i].image) for i in range(len(pictures))]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "fluorescence-like": 7,
        "H&E-like": 4,
        "other": 1,
    }
    assert min(len(pictures[i].objects) for i in range(12)) >= 10
    folder = Path(str(pictures.image_path(0))).parents[1]  # type: ignore[attr-defined]
    assert "never to be trained on" in (folder / "README.md").read_text("utf-8")
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < 1_200_000


def run(base: object, new: object, *more: object) -> int:
    arguments = ["compare", base, new, "--precision", "float32", *more]
    return main([str(argument) for argument in arguments])


def test_the_command(
    folder: Path,
    tiny_weights: Path,
    other_sam: Sam,
    tmp_path: Path,
    pictures: StoredPictures,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(default_pictures, "default_validation", lambda: pictures)
    save_checkpoint(other_sam, tmp_path / "other.safetensors")
    where: list[Any] = ["--images", folder / "images", "--labels", folder / "labels"]
    few: list[Any] = ["--objects", 1, "--no-automatic", "-o", tmp_path / "out"]
    assert run(tiny_weights, tmp_path / "other.safetensors", *where, *few) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(("No better", "Better"))
    assert "On the 4 default validation pictures" in printed
    content = json.loads((tmp_path / "out" / "before_after.json").read_text("utf-8"))
    assert content["about"]["after"] == str(tmp_path / "other.safetensors")
    assert content["about"]["hash before"] != content["about"]["hash after"]
    assert content["forgetting"]["groups"][0]["pictures"] == COUNT
    assert str(tmp_path / "out" / "before_after.html") in printed


def test_the_hold_out_of_a_dataset(
    pictures: StoredPictures, tiny_weights: Path, tmp_path: Path
) -> None:
    dataset = build_dataset([from_pictures(pictures)], tmp_path / "dataset", held_out=0.5)
    few = ["--objects", 1, "--no-automatic", "--no-forgetting", "-o", tmp_path / "out"]
    assert run(tiny_weights, tiny_weights, "--dataset", dataset.path, *few) == 0
    content = json.loads((tmp_path / "out" / "before_after.json").read_text("utf-8"))
    assert content["about"]["version"] == dataset.version
    assert content["groups"][0]["pictures"] == sum(c.part == "hold-out" for c in dataset.crops)
    assert "forgetting" not in content


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "one of the arguments --images --dataset is required"),
        (["--images", "absent"], "absent: there is no such file"),
        (["--dataset", "absent"], "absent is no dataset"),
        (["--images", "a", "--dataset", "b"], "not allowed with argument"),
        (["--images", "a", "--objects", "0"], "at least 1"),
    ],
)
def test_bad_arguments(
    arguments: list[str],
    words: str,
    tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(tiny_weights, tiny_weights, *arguments, "-o", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.startswith("napari-sam: ")
    assert error.count("\n") == 1
    assert words in error
    assert not (tmp_path / "out").exists()
