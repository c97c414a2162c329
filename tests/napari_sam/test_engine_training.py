"""Rounds that are trained: one hold-out for all, from the base, gone on with if stopped."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from engine_projects import annotate, labels_of, made_images, made_project, true_masks
from PIL import Image

from napari_sam.cli import main
from napari_sam.engine import training
from napari_sam.engine.filling import fill
from napari_sam.engine.importing import import_round, opened_session
from napari_sam.engine.learning import sources_of, vouched
from napari_sam.engine.project import Project
from napari_sam.engine.proposing import propose
from napari_sam.engine.status import round_rows
from napari_sam.engine.training import train_round
from napari_sam.errors import InputError
from napari_sam.finetune import comparison
from napari_sam.finetune.control import Control
from napari_sam.finetune.datasets import Dataset
from napari_sam.finetune.process import RunView, TrainingProcess
from napari_sam.finetune.run import run_training
from napari_sam.finetune.run_folder import RunFolder
from napari_sam.live.finished import write_finished
from napari_sam.own_models import own_models
from napari_sam.session import Runs


@pytest.fixture
def model(tiny_weights: Path) -> str:
    return str(tiny_weights)


class InThisProcess(TrainingProcess):
    """Trains while it is started, which is faster than a process of its own."""

    steps_made = 99
    """After so many it stops."""

    stopped: ClassVar[set[Path]] = set()

    @classmethod
    def start(cls, settings: Any, folder: Path, device: str = "auto") -> InThisProcess:
        return cls(folder)._trained(settings, resume=False)

    @classmethod
    def resume(cls, folder: Path, device: str = "auto") -> InThisProcess:
        return cls(folder)._trained(RunFolder(folder).settings(), resume=True)

    def _trained(self, settings: Any, resume: bool) -> InThisProcess:
        made: list[Any] = []
        control = Control(made.append, lambda: len(made) >= self.steps_made, print)
        run = RunFolder(self.folder)
        weights = run_training(settings, run, control, resume=resume, device="cpu")
        (self.stopped.discard if weights else self.stopped.add)(self.folder)
        return self

    def view(self) -> RunView:
        state = "stopped" if self.folder in self.stopped else "finished"
        return replace(super().view(), state=state)


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Compare models on one object of each picture, and nothing but the hold-out."""

    class First:
        """The first picture of some."""

        def __init__(self, pictures: Any) -> None:
            self._pictures = pictures
            self.name, self.read_objects = pictures.name, pictures.read_objects

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> Any:
            return self._pictures[index]

    full = comparison.compare

    def compare(base: Any, new: Any, pictures: Any, **options: Any) -> Any:
        return full(base, new, First(pictures), **{**options, "objects": 1, "automatic": False})

    monkeypatch.setattr(comparison, "compare", compare)
    monkeypatch.setattr(training, "TrainingProcess", InThisProcess)
    monkeypatch.setenv("NAPARI_SAM_DATA", str(tmp_path / "user"))


def hold_out_of(project: Project, number: int) -> dict[str, bytes]:
    folder = project.round(number).folder / "dataset" / "hold-out"
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.*"))}


def test_two_rounds_are_measured_on_the_same_pictures(
    tmp_path: Path,
    model: str,
    quickly: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = made_project(tmp_path, model, images=5)
    folder = str(project.folder)
    assert main(["engine", "train", folder]) == 2
    assert "Nothing is imported" in capsys.readouterr().err
    for number in range(5):
        annotate(project, number, range(1, 6))
    assert main(["engine", "import", folder, "--finished", "images"]) == 0
    assert main(["engine", "train", folder, "--steps", "2"]) == 0
    told = capsys.readouterr().out
    assert "No better" in told
    assert "model:  discs-r1" in told
    figures = project.round(1).figures
    assert figures is not None
    assert (project.round(1).folder / figures["report"]).is_file()
    assert [one.name for one in own_models()] == ["discs-r1"]
    assert project.model == model  # it is no better
    held_out = project.held_out
    assert held_out
    with pytest.raises(InputError, match="is trained"):
        train_round(project)

    grown = Project.create(project.folder, made_images(tmp_path / "images", 6), model)
    for number in range(6):
        annotate(grown, number, range(6, 20) if number < 5 else None)
    import_round(grown)
    with monkeypatch.context() as patched:
        patched.setattr(InThisProcess, "steps_made", 1)
        with pytest.raises(InputError, match="1 of 2 steps are made: go on with the same command"):
            train_round(grown, advanced=training.Advanced(steps=2))
    assert grown.round(2).figures is None
    later = train_round(grown, advanced=training.Advanced(steps=2))
    assert later["model"] == "discs-r2"
    assert later["learned_from"] > figures["learned_from"]
    assert hold_out_of(grown, 2) == hold_out_of(grown, 1)
    assert grown.held_out == held_out
    dataset = Dataset.open(grown.round(2).folder / "dataset")
    for crop in dataset.crops:
        if crop.part != "hold-out":
            assert dataset.sources[crop.source]["name"] not in held_out or not any(
                (crop.region & region).area
                for region in held_out[dataset.sources[crop.source]["name"]]
            )
    assert main(["engine", "status", folder]) == 0
    table = capsys.readouterr().out
    assert table.count("no better") == 2
    assert Image.open(project.folder / "rounds.png").size[0] > 600
    rows = round_rows(grown)
    assert [row.number for row in rows] == [1, 2]
    assert rows[0].base == rows[1].base
    assert not math.isnan(rows[1].quality["1 click"].value)
    # What is held out is not proposed, though nobody said that it is finished.
    _, proposed = propose(grown, 99, side=48)
    assert not any(
        (one.region & region).area > one.region.area / 2
        for one in proposed.regions
        for region in held_out.get(one.image, ())
    )


def test_only_what_somebody_stands_for_is_learned_from(
    tmp_path: Path, model: str, sees: Any
) -> None:
    sees(labels_of(0), encoded=True)
    project = made_project(tmp_path, model, images=1)
    path = annotate(project, 0, range(1, 4))
    fill(project, stability=0.8, everywhere=True)
    import_round(project)
    (source,) = sources_of(project, 1)
    assert source.places[0].outlined().ids == (1, 2, 3)
    assert source.places[0].finished == ()
    import_round(project, finished="images")
    (source,) = sources_of(project, 1)
    assert len(source.places[0].outlined()) == len(true_masks(0))
    # A part of the image that was marked as finished in the viewer
    left = [[0, 0], [0, 60], [96, 60], [96, 0]]
    with opened_session(path, project.images[0]) as session:
        found = vouched(session, {(0, 0): [np.array(left)]})
        for number in session.ids:
            inside = session.mask(number).centroid[1] < 60
            assert (number in found) == (inside or number <= 3)
        session.delete(2)
        added = session.add_object(Runs.of_mask(np.ones((2, 2), bool), 94, 148))
    (source,) = sources_of(project, 1)
    assert 2 not in source.places[0].outlined().ids
    assert added in source.places[0].outlined().ids  # or it would be learned as background
    (tmp_path / "discs" / "rounds" / "001" / "imported.json").unlink()
    write_finished(path, {(0, 0): [np.array(left)]})
    import_round(project)
    (source,) = sources_of(project, 1)
    assert set(source.places[0].outlined().ids) == (found - {2}) | {added}


def test_nobody_stands_for_anything(tmp_path: Path, model: str, sees: Any) -> None:
    sees(labels_of(0), encoded=True)
    project = made_project(tmp_path, model, images=1)
    fill(project, stability=0.8, everywhere=True)
    import_round(project)
    with pytest.raises(InputError, match="Nobody stands for any object"):
        train_round(project)


def test_damaged_figures_are_told(tmp_path: Path, model: str) -> None:
    project = made_project(tmp_path, model, images=1)
    annotate(project, 0)
    current, _ = import_round(project)
    path = current.folder / "figures.json"
    path.write_text(json.dumps({"format_version": 1, "quality": {"1 click": 3}}))
    with pytest.raises(InputError, match="train the round again"):
        round_rows(project)
    path.write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        _ = current.figures
