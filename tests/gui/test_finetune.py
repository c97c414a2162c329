"""Teaching a model in a viewer: from what is drawn to a report and a model that is used."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from everything_scenes import discs, pixels_of
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from small_model import save_small_model

from napari_sam.files import outputs
from napari_sam.finetune import comparison, default_validation, estimate, process
from napari_sam.finetune.datasets import Dataset, build_dataset, from_labels
from napari_sam.finetune.process import TrainingProcess
from napari_sam.live.lessons import METHODS
from napari_sam.own_models import own_models
from napari_sam.scene import open_scene
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.session import Session
from napari_sam.tiles.regions import Region
from napari_sam.widgets.attached import Attachment, attach
from napari_sam.widgets.finetune import FineTuneWidget
from napari_sam.widgets.teaching_blocks import BLOCKS

LABELS = discs((256, 320), (6, 10), 30)
PATIENCE = 90_000


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("weights"))


class Opened:
    """A viewer with an image, and the widget docked."""

    def __init__(self, viewer: Any, weights: Path, qtbot: Any) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        self.layer = viewer.add_image(pixels_of(LABELS), name="discs")
        self.attachment: Attachment = attach(viewer)
        self.open(weights)
        self.widget = FineTuneWidget(viewer)
        viewer.window.add_dock_widget(self.widget, name="Fine-tune")
        self.data, self.training = self.widget.data, self.widget.training
        self.result = self.widget.result
        self.training.advanced.steps.setValue(4)

    def open(self, weights: Path) -> None:
        self.attachment.use(self.layer, model=str(weights))
        self.attachment.ready(60)
        assert self.attachment.embedder is not None
        self.attachment.embedder.stop()

    @property
    def session(self) -> Session:
        assert self.attachment.workplace is not None
        return self.attachment.workplace.session

    @property
    def folder(self) -> Path:
        assert self.attachment.workplace is not None
        return self.attachment.workplace.folder / "teaching"

    def draw(self, count: int = 30, part: Region | None = None) -> None:
        """Outline the first objects, or those whose middles lie in a part."""
        kept = np.where(count < LABELS, 0, LABELS)
        if part is not None:
            inside = np.zeros_like(kept)
            inside[part.rows, part.cols] = 1
            kept = kept * inside
        self.session.import_labels(kept)

    def until(self, there: Callable[[], object]) -> None:
        self.qtbot.waitUntil(lambda: bool(there()), timeout=PATIENCE)

    def press(self, button: Any) -> None:
        assert button.isEnabled()
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def prepare(self) -> Dataset:
        self.press(self.data.prepare)
        self.until(lambda: not self.data.busy)
        assert self.data.dataset is not None, self.data.said.text()
        return self.data.dataset

    def state(self) -> str:
        self.training.look()
        return "" if self.training.view is None else self.training.view.state

    def begin(self, steps: int) -> None:
        """Start a run, and wait for its first steps."""
        self.training.advanced.steps.setValue(steps)
        self.press(self.training.start)
        self.until(lambda: self.state() == "running" and self.training.view.step > 0)


def kill_process_of(folder: Path) -> None:
    told = json.loads((folder / "process" / "process.json").read_text())
    process = psutil.Process(told["pid"])
    for one in (*process.children(), process):
        one.kill()


@pytest.fixture
def opened(
    make_napari_viewer: Callable[..., Any],
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    qtbot: Any,
) -> Iterator[Opened]:
    """An image whose objects nobody outlined yet."""
    monkeypatch.setenv("NAPARI_SAM_DATA", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    few = from_labels(open_scene(pixels_of(LABELS)), LABELS)
    built = build_dataset([few], tmp_path / "few")
    monkeypatch.setattr(default_validation, "default_validation", lambda: built.part("validation"))
    opened = Opened(make_napari_viewer(show=True), weights, qtbot)
    yield opened
    for view in process.find_runs(opened.folder) if opened.attachment.workplace else ():
        TrainingProcess.attach(view.folder).stop()


def test_from_drawn_labels_to_a_model_that_is_used(opened: Opened) -> None:
    data, training, result = opened.data, opened.training, opened.result
    assert not training.start.isEnabled()
    opened.draw()
    dataset = opened.prepare()
    assert dataset.path == opened.folder / "dataset-001"
    assert "held out" in data.said.text()
    # What is held out is on the map, and is not to be changed.
    layer = opened.viewer.layers[BLOCKS]
    assert set(layer.features["part"]) == {"training", "validation", "hold-out"}
    assert len(layer.data) == len(dataset.crops)
    assert not layer.editable
    opened.viewer.layers.remove(layer)
    assert training.base.currentText() == "small.safetensors"
    training.advanced.steps.setValue(4)
    opened.press(training.start)
    opened.until(lambda: opened.state() == "finished")
    assert len(training.view.training) == 4
    assert training.loss.isVisible()
    assert training.preview.path is not None
    # The report comes by itself.
    opened.until(lambda: result.result is not None)
    assert result.verdict.text()
    assert result.table.rowCount() > 5
    assert result.result.page.exists()
    opened.press(result.look)
    opened.until(lambda: not result.busy)
    look = opened.viewer.layers["a look with the new model"]
    inside = np.array(look.data_to_world((0, 0)))
    held_out = [crop.region for crop in dataset.crops if crop.part == "hold-out"]
    assert any(tuple(inside) == (part.row0, part.col0) for part in held_out)
    result.name.setText("my discs")
    opened.press(result.keep)
    opened.until(lambda: not result.busy)
    assert "cannot be the name" in result.said.text()
    result.name.setText("my-discs")
    opened.press(result.keep)
    opened.until(lambda: not result.busy)
    (model,) = own_models()
    assert model.name == "my-discs"
    assert model.card.method == "decoder"
    assert model.card.data["dataset"] == dataset.version
    assert training.base.findData("my-discs") >= 0
    opened.press(result.use)
    opened.attachment.ready(60)
    assert opened.attachment.workplace.model_name == "my-discs"
    opened.until(lambda: "my-discs answers now" in result.said.text())
    assert "same image encoder" in result.said.text()  # only the decoder was taught
    assert opened.session.ids == list(range(1, 31))


def test_a_run_is_stopped_found_again_gone_on_with_and_killed(
    opened: Opened, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "score_automatic", lambda *_: {})  # it takes long
    training = opened.training
    opened.draw()
    opened.prepare()
    opened.begin(2000)
    opened.press(training.pause)
    opened.until(lambda: opened.state() == "paused")
    assert training.pause.text() == "Go on"
    # The image is closed, and the run stays; it is found again with it.
    opened.viewer.layers.remove(opened.layer)
    opened.until(lambda: opened.attachment.workplace is None)
    assert training.view is None
    opened.layer = opened.viewer.add_image(pixels_of(LABELS), name="discs")
    opened.open(weights)
    opened.until(lambda: opened.state() == "paused")
    opened.press(training.pause)
    opened.until(lambda: opened.state() == "running")
    opened.press(training.stop)
    opened.until(lambda: opened.state() == "stopped")
    assert "kept" in training.said.text()
    assert training.view.weights is not None
    opened.until(lambda: opened.result.result is not None)
    step = training.view.step
    # Another window finds all of it.
    again = FineTuneWidget(opened.viewer)
    opened.viewer.window.add_dock_widget(again)
    opened.until(lambda: again.training.view is not None and again.data.dataset is not None)
    assert again.training.view.state == "stopped"
    assert again.result.result is not None
    opened.press(training.resume)
    opened.until(lambda: opened.state() == "running" and training.view.step > step)
    kill_process_of(training.view.folder)
    opened.until(lambda: opened.state() == "killed")
    assert "killed" in training.said.text()
    assert training.resume.isEnabled()
    assert training.start.isEnabled()


def test_estimates_a_base_that_is_gone_and_a_full_disk(
    opened: Opened, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def measured(settings: Any, **_: Any) -> estimate.Estimate:
        asked.append(settings.method)
        return estimate.Estimate(600.0, 2e9, 1.0)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    opened.draw()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_sam.finetune.datasets.writing.write_png", full)
        opened.press(opened.data.prepare)
        opened.until(lambda: not opened.data.busy)
    assert "No space left" in opened.data.said.text()
    assert opened.data.dataset is None
    opened.prepare()
    monkeypatch.setattr(estimate, "estimate", measured)
    opened.press(opened.training.estimates.measure)
    opened.until(opened.training.estimates.measure.isEnabled)
    assert asked == [way.method for way in METHODS]
    assert [told.text() for told in opened.training.methods._told] == ["10 min, 2.0 GB"] * 3
    opened.training.list_models(str(tmp_path / "gone.safetensors"))
    opened.press(opened.training.start)
    assert "gone.safetensors" in opened.training.said.text()
    assert opened.training.view is None
    opened.training.list_models(str(weights))
    monkeypatch.setattr("napari_sam.finetune.process.write_settings", full)
    opened.press(opened.training.start)
    opened.until(lambda: "No space left" in opened.training.said.text())
    assert opened.training.start.isEnabled()
    monkeypatch.setattr(outputs, "_flush", full)
    opened.data.finished.choice.setCurrentText("the whole image")
    opened.press(opened.data.finished.take)
    assert not opened.data.finished.regions


def test_too_little_to_learn_from_and_what_is_odd(opened: Opened) -> None:
    def refused() -> str:
        opened.press(opened.data.prepare)
        opened.until(lambda: not opened.data.busy)
        assert opened.data.dataset is None
        assert not opened.training.start.isEnabled()
        assert not list(opened.folder.glob("*"))
        return str(opened.data.said.text())

    assert "accept or draw some" in refused()
    opened.draw(1)
    assert "none can be held out" in refused()
    opened.session.undo()
    opened.draw(30, Region(0, 0, 64, 64))
    assert "one place" in refused()
    opened.session.undo()
    opened.draw()
    number = opened.session.add_object(MaskRegion(200, 10, np.ones((2, 3), bool)))
    opened.prepare()
    table = opened.data.table
    assert table.rowCount() == 1
    assert "6 pixels" in table.item(0, 2).text()
    QTest.mouseClick(
        table.viewport(),
        Qt.MouseButton.LeftButton,
        pos=table.visualItemRect(table.item(0, 0)).center(),
    )
    assert opened.attachment.intent.picked == (number,)
    assert opened.session.mask(number).box in opened.attachment.viewport()
    assert opened.attachment.viewport().area < 0.2 * LABELS.size


def test_finished_regions_are_remembered_and_other_sources(opened: Opened) -> None:
    finished = opened.data.finished
    opened.draw()
    shapes = opened.viewer.add_shapes(name="done")
    shapes.add_rectangles(np.array([[0, 0], [0, 320], [128, 320], [128, 0]]))
    finished.choice.offer()
    finished.choice.setCurrentText("the shapes in done")
    opened.press(finished.take)
    assert "1 finished region" in finished.said.text()
    again = FineTuneWidget(opened.viewer)
    opened.viewer.window.add_dock_widget(again)
    (polygon,) = again.data.finished.regions[0, 0]
    np.testing.assert_allclose(polygon[2], (128, 320))
    dataset = opened.prepare()
    whole = [crop for crop in dataset.crops if crop.whole]
    assert 0 < len(whole) < len(dataset.crops)
    assert all(crop.region.row1 <= 129 for crop in whole)
    shapes.add_lines(np.array([[0, 0], [60, 60]]))
    opened.press(finished.take)
    assert len(finished.regions[0, 0]) == 1  # a line has no area
    opened.press(finished.forget)
    assert not finished.regions
    sources = opened.data.sources
    # Another source.
    layer = opened.viewer.add_labels(LABELS, name="truth")
    sources.list.item(0).setCheckState(Qt.CheckState.Unchecked)
    opened.press(opened.data.prepare)
    assert "Nothing is ticked" in opened.data.said.text()
    sources.offer()
    (action,) = [one for one in sources.menu.actions() if "truth" in one.text()]
    action.trigger()
    opened.data.same.setChecked(False)
    dataset = opened.prepare()
    assert {source["kind"] for source in dataset.sources} == {"labels"}
    opened.viewer.layers.remove(layer)
    opened.press(opened.data.prepare)
    assert "truth is gone" in opened.data.said.text()
