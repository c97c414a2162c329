"""Step 1 of fine-tuning: what is learned from, what is held out, and what is odd about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QCheckBox, QProgressBar, QVBoxLayout, QWidget

from napari_sam.errors import InputError
from napari_sam.finetune.verdict import LEAST_PICTURES
from napari_sam.live.teaching import (
    PARTS,
    Prepared,
    blocks_on_map,
    described,
    health_said,
    is_of_session,
    opened_again,
    prepare,
    teaching_folder,
    worth_a_look,
)

from .controls import Message, button, in_a_row, labelled, legend
from .finetune_health import SuspiciousTable
from .finetune_sources import Sources
from .finished_regions import FinishedRegions
from .going import go_to_object, go_to_place
from .highlight import Highlight
from .jobs import Job, run_job
from .teaching_blocks import COLOURS, BlocksLayer

if TYPE_CHECKING:
    from pathlib import Path

    from napari_sam.finetune.datasets import Dataset, Suspicion

    from .attached import Attachment

__all__ = ["DataStep"]


class DataStep(QWidget):
    """Chooses sources, makes a dataset of them, and shows where its parts lie.

    Parameters
    ----------
    attachment : Attachment
        Of the viewer.
    """

    prepared = Signal(object)
    """The `Dataset` that there is now, or None."""

    def __init__(self, attachment: Attachment) -> None:
        super().__init__()
        self._attachment = attachment
        self.dataset: Dataset | None = None
        self._folder: Path | None = None
        self._job: Job | None = None
        self._blocks = BlocksLayer(attachment.viewer)
        self._highlight = Highlight(attachment.viewer)
        self.sources, self.finished = Sources(attachment), FinishedRegions(attachment)
        self.finished.choice.setAccessibleName("finished regions")
        self.prepare = button(
            "Prepare",
            "Cut pictures around the objects, hold some out, and look for slips",
            self.run,
        )
        self.stop = button("Stop", "Leave it, without a dataset", self._stop)
        self.progress, self.said, self.health = QProgressBar(), Message(), Message()
        self.progress.setFormat("%v of %m pictures")
        self.same = QCheckBox("Hold out the same as before")
        self.same.setToolTip(
            "So that models taught before can be compared, or taught on: of what one of them "
            "learned from nothing is held out now"
        )
        self.map = QCheckBox("Show on the map what is held out")
        self.map.setChecked(True)
        self.map.toggled.connect(lambda _: self.show_blocks())
        self.legend = legend({PARTS[part]: QColor(colour) for part, colour in COLOURS.items()})
        self.table = SuspiciousTable()
        self.table.chosen.connect(self._go_to)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (
            labelled(("Learn from", self.sources)),
            labelled(("Finished", self.finished)),
            self.same,
            in_a_row(self.prepare, self.stop),
            self.progress,
            self.said,
            self.map,
            self.legend,
            self.health,
            self.table,
        ):
            layout.addWidget(part)
        self._show(None)

    @property
    def busy(self) -> bool:
        """Whether a dataset is just being made."""
        return self._job is not None

    def begin(self) -> None:
        """Show what there is of the image that is open; of the same image, go on."""
        workplace = self._attachment.workplace
        folder = None if workplace is None else teaching_folder(workplace.folder)
        self.finished.begin()
        if folder == self._folder:
            self.show_blocks()
            return
        self._stop()
        self._job, self._folder = None, folder
        self._highlight.clear()
        self._show(None)
        if folder is not None and workplace is not None:
            base = workplace.model_name
            # A dataset is opened and checked in a moment, though not in one frame.
            job = run_job(self, lambda *_: opened_again(folder, base), "opening the last dataset")
            job.finished.connect(lambda found: self._found(folder, found))
            job.failed.connect(lambda sentence: self.said.tell("warning", sentence))

    def run(self) -> Job | None:
        """Make a dataset; None if that cannot be begun."""
        workplace = self._attachment.workplace
        if self._job is not None:
            return None
        try:
            if workplace is None:
                raise InputError("No image is open: open one in Segment or Embed first.")
            wanted = self.sources.wanted(self.finished.regions)
        except InputError as error:
            self.said.tell("warning", str(error))
            return None
        folder, base = teaching_folder(workplace.folder), workplace.model_name
        before = self.dataset if self.same.isChecked() else None

        def work(report: Any, should_stop: Any) -> Prepared | None:
            return prepare(wanted, folder, base, report, should_stop, before)

        self._job = job = run_job(self, work, "preparing the data")
        job.progressed.connect(lambda told: self._progress(job, *told))
        job.finished.connect(lambda prepared: self._done(job, prepared))
        job.failed.connect(lambda sentence: self._fail(job, sentence))
        job.stopped.connect(lambda: self._fail(job, "Stopped: no dataset was made."))
        self.progress.setMaximum(0)
        self.said.setText("Reading what is outlined ...")
        self._enable()
        return job

    def show_blocks(self) -> None:
        """Draw the parts of the dataset that lie in the plane that is worked on."""
        workplace, image = self._attachment.workplace, self._attachment.image_layer
        if workplace is None or image is None or self.dataset is None or not self.map.isChecked():
            self._blocks.clear()
            return
        try:
            self._blocks.show(image, blocks_on_map(self.dataset, workplace.session))
        except InputError as error:
            self.said.tell("warning", str(error))

    def _found(self, folder: Path, found: Prepared | None) -> None:
        if folder == self._folder and self._job is None and found is not None:
            self._show(found)

    def _progress(self, job: Job, done: int, of: int) -> None:
        if job is self._job:
            self.progress.setMaximum(max(1, of))
            self.progress.setValue(done)

    def _done(self, job: Job, prepared: Prepared) -> None:
        if job is self._job:
            self._job = None
            self._show(prepared)

    def _fail(self, job: Job, sentence: str) -> None:
        if job is self._job:
            self._job = None
            self.said.tell("warning" if sentence[:7] != "Stopped" else "info", sentence)
            self._enable()

    def _stop(self) -> None:
        if self._job is not None:
            self._job.stop()
            self.said.setText("Stopping ...")

    def _show(self, prepared: Prepared | None) -> None:
        """Show a dataset and what is odd about it; with None, that there is none."""
        self.dataset = None if prepared is None else prepared.dataset
        if prepared is None:
            self.said.setText("")
            self.health.setText("")
            self.table.show_objects(())
        else:
            self.said.setText(described(prepared.dataset))
            self.health.setText(health_said(prepared.health))
            self.table.show_objects(worth_a_look(prepared.health))
        self.health.setVisible(prepared is not None)
        for part in (self.map, self.legend):
            part.setVisible(prepared is not None)
        self.show_blocks()
        self.same.setVisible(prepared is not None)
        # Too little that was held out once need not be so for ever.
        self.same.setChecked(prepared is not None and _is_enough(prepared.dataset))
        self._enable()
        self.prepared.emit(self.dataset)

    def _enable(self) -> None:
        busy = self._job is not None
        self.prepare.setEnabled(self._folder is not None and not busy)
        self.stop.setVisible(busy)
        self.progress.setVisible(busy)

    def _go_to(self, found: Suspicion) -> None:
        """Look at an object, and pick it for what is done to it next."""
        workplace = self._attachment.workplace
        if workplace is None or self.dataset is None:
            return
        if not is_of_session(self.dataset, found.source, workplace.session):
            self._attachment.say(f"Object {found.id} is of {found.name}: open that to look at it.")
            return
        try:
            if self.dataset.sources[found.source]["kind"] == "session":
                go_to_object(self._attachment, found.id, self._highlight)
            else:
                go_to_place(self._attachment, found.row, found.col, found.plane)
        except InputError as error:
            self._attachment.say(str(error), "warning")


def _is_enough(dataset: Dataset) -> bool:
    """Tell whether what is held out can show that a model is better."""
    return sum(crop.part == "hold-out" for crop in dataset.crops) >= LEAST_PICTURES
