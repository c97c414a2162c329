"""Step 2 of fine-tuning: a run in a process of its own, followed, paused, stopped, gone on with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from napari_sam.errors import InputError
from napari_sam.live.figures import Curve, curve_of
from napari_sam.live.lessons import METHODS, model_names, run_settings
from napari_sam.live.teaching import blocks_on_map, new_folder, teaching_folder
from napari_sam.live.training_words import (
    ENDED,
    RESUMABLE,
    run_said,
    run_title,
)
from napari_sam.live.unlabelled import write_unlabelled

from .controls import Message, button, combo, in_a_row, labelled
from .finetune_curves import Curves
from .finetune_estimate import EstimateRow
from .finetune_methods import AdvancedControls, MethodChoice
from .fold import Fold
from .jobs import Job, run_job
from .preview_picture import PicturePane

if TYPE_CHECKING:
    from napari_sam.finetune.datasets import Dataset
    from napari_sam.finetune.process import RunView, TrainingProcess
    from napari_sam.finetune.settings import RunSettings

    from .attached import Attachment

__all__ = ["TrainingStep"]

_UNLABELLED = "unlabelled"
"""Folder of the images for MAE, in that of the dataset."""

_OFTEN = 500
"""Milliseconds between two looks at a run."""


class TrainingStep(QWidget):
    """Starts runs on a dataset, and shows how far they are; they go on without it.

    Parameters
    ----------
    attachment : Attachment
        Of the viewer.
    """

    run_changed = Signal(object)
    """Another run is shown, or it came to its end: its `RunView`, or None."""

    def __init__(self, attachment: Attachment) -> None:
        super().__init__()
        self._attachment = attachment
        self._folder: Path | None = None
        self._dataset: Dataset | None = None
        self._process: TrainingProcess | None = None
        self.view: RunView | None = None
        self._job: Job | None = None
        self._make_controls()
        self._timer = QTimer(self)
        self._timer.setInterval(_OFTEN)
        self._timer.timeout.connect(self.look)
        self._show(None)

    def _make_controls(self) -> None:
        self.base = combo((), "The model that goes on learning; it stays as it is itself")
        self.methods, self.advanced = MethodChoice(), AdvancedControls()
        self.estimates = EstimateRow(self.methods, self._all_settings, self._before_estimating)
        self.runs = combo((), "The trainings of this image")
        self.runs.currentIndexChanged.connect(self._choose_run)
        self.several = labelled(("Run", self.runs))
        self.start = button("Start", "", self.run)
        self.pause = button("Pause", "Let the processor go; nothing is lost", self._pause)
        self.stop = button("Stop", "Stop, and keep the best weights until now", self._stop)
        self.resume = button("Resume", "Go on from the last state that was saved", self.go_on)
        self.progress, self.said = QProgressBar(), Message()
        self.estimates.said.connect(lambda sentence: self.said.tell("warning", sentence))
        self.progress.setFormat("%v of %m steps")
        self.loss = Curves("Loss, training")
        self.iou = Curves("IoU, hold-out")
        self.iou.setAccessibleDescription("How well masks fit after one click and after three")
        self.preview = PicturePane()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (
            labelled(("Base model", self.base)),
            self.methods,
            self.estimates,
            Fold("Advanced", self.advanced),
            self.several,
            in_a_row(self.start, self.pause, self.stop, self.resume),
            self.progress,
            self.said,
            self.loss,
            self.iou,
            self.preview,
        ):
            layout.addWidget(part)
        self.list_models()

    # What there is

    def begin(self) -> None:
        """Show the runs of the image that is open; those of another image go on by themselves."""
        workplace = self._attachment.workplace
        folder = None if workplace is None else teaching_folder(workplace.folder)
        if workplace is not None:
            self.list_models(workplace.model_name)
        if folder == self._folder:
            return
        self.estimates.forget()
        self._folder, self._job = folder, None
        self._show(None)
        self._list_runs(())
        if folder is not None:
            self._find(folder)

    def set_dataset(self, dataset: Dataset | None) -> None:
        """Train on this from now on; a run that is under way keeps its own."""
        self.estimates.forget()
        self._dataset = dataset
        self._enable()

    def list_models(self, chosen: str | None = None) -> None:
        """Offer the models that there are now, and choose one of them."""
        chosen = self.base.currentData() if chosen is None else chosen
        names = model_names()
        if chosen is not None and chosen not in names:
            names.append(chosen)
        self.base.clear()
        for name in names:
            self.base.addItem(Path(name).name if name == chosen else name, name)
        self.base.setCurrentIndex(max(0, self.base.findData(chosen)))

    def _find(self, folder: Path) -> None:
        from napari_sam.finetune.process import find_runs

        job = run_job(self, lambda *_: find_runs(folder), "looking for trainings")
        job.finished.connect(lambda found: self._found(folder, found))
        job.failed.connect(lambda sentence: self.said.tell("warning", sentence))

    def _found(self, folder: Path, found: list[RunView]) -> None:
        if folder == self._folder and self._process is None:
            self._list_runs(sorted(found, key=lambda view: view.folder.name, reverse=True))

    def _list_runs(self, views: Any) -> None:
        self.runs.blockSignals(True)
        self.runs.clear()
        for view in views:
            self.runs.addItem(run_title(view), view.folder)
        self.runs.blockSignals(False)
        self.several.setVisible(self.runs.count() > 1)
        if self.runs.count():
            self.runs.setCurrentIndex(0)
            self._choose_run()

    def _choose_run(self) -> None:
        folder = self.runs.currentData()
        if folder is None or (self.view is not None and self.view.folder == folder):
            return
        from napari_sam.finetune.process import TrainingProcess

        try:
            self._follow(TrainingProcess.attach(folder))
        except InputError as error:
            self.said.tell("warning", str(error))

    # Estimating

    def _all_settings(self) -> dict[str, RunSettings]:
        mae = self.methods.mae_first
        return {way.method: self._settings(way.method, mae) for way in METHODS}

    def _before_estimating(self) -> Callable[..., Path | None] | None:
        if self._dataset is None or not self.methods.mae_first:
            return None
        return self._unlabelled(self._dataset)

    # A run

    def run(self) -> Job | None:
        """Start a run; None if that cannot be begun."""
        if self._folder is None or self._dataset is None or self._job is not None:
            return None
        from napari_sam.finetune.process import TrainingProcess

        try:
            settings = self._settings(self.methods.method, self.methods.mae_first)
        except InputError as error:
            self.said.tell("warning", str(error))
            return None
        place = new_folder(self._folder, "run")
        self.estimates.stop()
        unlabelled = self._unlabelled(self._dataset) if self.methods.mae_first else None

        def work(report: Any, should_stop: Any) -> TrainingProcess | None:
            if unlabelled is not None and unlabelled(report, should_stop) is None:
                return None
            return TrainingProcess.start(settings, place)

        return self._begin(work, "starting the training")

    def go_on(self) -> Job | None:
        """Go on with the run that is shown from its last state."""
        if self.view is None or self.view.state not in RESUMABLE or self._job is not None:
            return None
        from napari_sam.finetune.process import TrainingProcess

        folder = self.view.folder
        return self._begin(lambda *_: TrainingProcess.resume(folder), "going on with the training")

    def look(self) -> None:
        """Show what is new of the run."""
        if self._process is None:
            return
        before, view = self.view, self._process.view()
        self._show(view)
        if view.state in ENDED:
            self._timer.stop()
            if before is None or before.state not in ENDED:
                self._name_run(view)
                self.run_changed.emit(view)

    def _begin(self, work: Any, name: str) -> Job:
        folder = self._folder
        self._job = job = run_job(self, work, name)
        self.said.setText("Starting ...")

        def begun(process: TrainingProcess) -> None:
            if job is self._job and folder == self._folder:
                self._job = None
                self._follow(process)  # that of another image is found again with it

        def failed(sentence: str) -> None:
            if job is self._job:
                self._job = None
                self.said.tell("warning", sentence)
                self._enable()

        job.finished.connect(begun)
        job.failed.connect(failed)
        self._enable()
        return job

    def _follow(self, process: TrainingProcess) -> None:
        self._process, self.view = process, None
        view = process.view()
        self._name_run(view)
        self._show(view)
        self.run_changed.emit(view)
        if view.state not in ENDED:
            self._timer.start()

    def _name_run(self, view: RunView) -> None:
        """List a run by what it is doing now."""
        self.runs.blockSignals(True)
        place = self.runs.findData(view.folder)
        if place < 0:
            self.runs.insertItem(0, run_title(view), view.folder)
            place = 0
        self.runs.setItemText(place, run_title(view))
        self.runs.setCurrentIndex(place)
        self.runs.blockSignals(False)
        self.several.setVisible(self.runs.count() > 1)

    def _pause(self) -> None:
        runs = self._runs()
        self._tell_process(lambda process: process.pause() if runs else process.go_on())

    def _stop(self) -> None:
        self._tell_process(lambda process: process.stop())
        self.stop.setEnabled(False)

    def _tell_process(self, what: Callable[[TrainingProcess], object]) -> None:
        process = self._process
        if process is None:
            return
        job = run_job(self, lambda *_: what(process), "telling the training")
        job.finished.connect(lambda _: self.look())
        job.failed.connect(lambda sentence: self.said.tell("warning", sentence))

    def _runs(self) -> bool:
        return self.view is not None and self.view.state in ("starting", "running")

    def _unlabelled(self, dataset: Dataset) -> Callable[..., Path | None] | None:
        """Return what writes the images for MAE."""
        workplace = self._attachment.workplace
        if workplace is None:
            return None
        blocks = blocks_on_map(dataset, workplace.session)
        return partial(write_unlabelled, workplace.scene, blocks, dataset.path / _UNLABELLED)

    def _settings(self, method: str, mae_first: bool = False) -> RunSettings:
        assert self._dataset is not None
        return run_settings(
            self._dataset,
            self.base.currentData(),
            method,
            self.advanced.chosen(),
            self._dataset.path / _UNLABELLED if mae_first else None,
        )

    def _show(self, view: RunView | None) -> None:
        """Show a run as it is; with None, that there is none."""
        if view is None:
            self._process = None
            self._timer.stop()
        self.view = view
        there = view is not None
        for part in (self.progress, self.loss, self.iou):
            part.setVisible(there)
        if view is None:
            self.preview.show_file(None)
            self.said.setText("")
            self._enable()
            self.run_changed.emit(None)
            return
        self.progress.setMaximum(view.steps if view.step else 0)
        self.progress.setValue(view.step)
        failed = view.state in ("failed", "killed")
        self.said.tell("warning" if failed else "info", run_said(view))
        if failed:
            self.progress.setMaximum(max(1, view.steps))
        loss = curve_of(view.training, "loss", "loss")
        self.loss.show_curves(_there(loss), view.steps)
        one = curve_of(view.held_out, "click_shown", "1 click", marked=True)
        three = curve_of(view.held_out, "three_clicks", "3 clicks", marked=True)
        self.iou.show_curves(_there(one, three), view.steps)
        self.preview.show_file(view.previews[-1] if view.previews else None)
        self._enable()

    def _enable(self, *_: object) -> None:
        state = "" if self.view is None else self.view.state
        busy = self._job is not None
        alive = state in ("starting", "running", "paused")
        ready = self._dataset is not None and not busy
        self.start.setEnabled(ready and not alive)
        self.estimates.set_ready(ready)
        self.pause.setEnabled(alive and not busy)
        self.pause.setText("Go on" if state == "paused" else "Pause")
        self.stop.setEnabled(alive and not busy)
        self.resume.setVisible(state in RESUMABLE)
        self.resume.setEnabled(not busy)
        self.start.setToolTip(
            "Train in a process of its own, which goes on when napari is closed"
            if self._dataset is not None
            else "Prepare the data first"
        )


def _there(*curves: Curve | None) -> list[Curve]:
    return [curve for curve in curves if curve is not None]
