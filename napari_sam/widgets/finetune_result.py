"""Step 3 of fine-tuning: what the new model is worth, and what becomes of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QLineEdit, QProgressBar, QVBoxLayout, QWidget

from napari_sam.errors import InputError
from napari_sam.live.lesson_results import Case, Result, keep, measure, saved_result
from napari_sam.live.look import Look, take_a_look

from .browsing import open_outside
from .controls import Message, button, in_a_row, labelled
from .encode_again import EncodeAgain
from .figure_table import FigureTable
from .jobs import Job, run_job
from .look_layer import LookLayer
from .preview_picture import PicturePane

if TYPE_CHECKING:
    from napari_sam.finetune.process import RunView
    from napari_sam.own_models import OwnModel
    from napari_sam.tiles.store import EmbeddingStore

    from .attached import Attachment

__all__ = ["ResultStep"]


class ResultStep(QWidget):
    """Compares a run's model with its base, and lets a person look, keep, and use it.

    Parameters
    ----------
    attachment : Attachment
        Of the viewer.
    """

    kept = Signal(str)
    """The name of a model that was registered."""

    def __init__(self, attachment: Attachment) -> None:
        super().__init__()
        self._attachment = attachment
        self._view: RunView | None = None
        self.result: Result | None = None
        self._job: Job | None = None
        self._own: str | None = None
        self._cases: list[tuple[str, Case]] = []
        self._case = 0
        self._look = LookLayer(attachment.viewer)
        self._make_controls()
        attachment.workplace_changed.connect(self._changed)
        self.show_run(None)

    def _make_controls(self) -> None:
        self.compare = button(
            "Compare again", "Measure base and new model on the hold-out", self.run
        )
        self.leave = button("Stop", "Leave it", self._stop)
        self.progress, self.said = QProgressBar(), Message()
        self.verdict, self.forgetting = Message(), Message()
        self.table, self.picture, self.caption = FigureTable(), PicturePane(), Message()
        self.before = button("◀", "The picture before", lambda: self._turn(-1))
        self.after = button("▶", "The next picture", lambda: self._turn(1))
        self.which = QLabel()
        self.cases = in_a_row(self.before, self.which, self.after)
        self.page = button("Open the page", "The whole report, in the browser", self.open_page)
        self.look = button(
            "Look", "Find everything in a held-out block with the new model", self.take_look
        )
        self.name, self.note = QLineEdit(), QLineEdit()
        self.name.setToolTip("By which the model is chosen: letters, digits, '.', '_' and '-'")
        self.name.setPlaceholderText("such as my-nuclei-1")
        self.note.setToolTip("What others should know of it; it goes into the model's card")
        self.name.textChanged.connect(self._enable)
        self.keep = button("Keep this model", "Give it a name, with its card and report", self.save)
        self.use = button(
            "Use it now", "Let it answer for this image; objects and prompts stay", self.use_it
        )
        self.encode_again = EncodeAgain(self._attachment)
        self.shown = QWidget()
        inner = QVBoxLayout(self.shown)
        inner.setContentsMargins(0, 0, 0, 0)
        for part in (
            self.verdict,
            self.table,
            self.forgetting,
            self.cases,
            self.picture,
            self.caption,
            in_a_row(self.page, self.look),
            labelled(("Name", self.name), ("Note", self.note)),
            in_a_row(self.keep, self.use),
        ):
            inner.addWidget(part)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (
            in_a_row(self.compare, self.leave),
            self.progress,
            self.shown,
            self.said,
            self.encode_again,
        ):
            layout.addWidget(part)

    @property
    def busy(self) -> bool:
        """Whether something is just being measured, found or kept."""
        return self._job is not None

    def show_run(self, view: RunView | None) -> None:
        """Show what a run was worth; if it is over and nobody measured that yet, measure it."""
        same = view is not None and self._view is not None and view.folder == self._view.folder
        self._view = view
        if not same:
            self._leave()
            self._own = None
            self._look.clear()
            self.said.setText("")
            self._show(None if view is None else saved_result(view.folder))
        if view is not None and self._job is None and _is_to_be_measured(view, self.result):
            self._show(None)
            self.run()
        self._enable()

    # Measuring

    def run(self) -> Job | None:
        """Compare base and new model; None if that cannot be begun."""
        view = self._view
        if view is None or view.weights is None or self._job is not None:
            return None
        work = partial(measure, view.folder, view.weights)
        return self._begin(work, "comparing the models", self._measured, "Comparing ...")

    def _measured(self, result: Result) -> None:
        self._show(result)
        self.said.setText("")

    def _show(self, result: Result | None) -> None:
        self.result = result
        self.shown.setVisible(result is not None)
        if result is None:
            return
        self.verdict.setText(f"<b>{result.sentence}</b>")
        self.forgetting.setText(result.forgetting)
        self.table.show_lines(result.lines)
        self._cases = [("Most improved", case) for case in result.improved]
        self._cases += [("Most worsened", case) for case in result.worsened]
        self._case = 0
        self._turn(0)

    def _turn(self, by: int) -> None:
        """Show another of the objects that changed most."""
        there = bool(self._cases) and self.result is not None
        for part in (self.cases, self.caption):
            part.setVisible(there)
        if not there:
            self.picture.show_file(None)
            return
        assert self.result is not None
        self._case = (self._case + by) % len(self._cases)
        kind, case = self._cases[self._case]
        self.which.setText(f"{kind}, {self._case + 1} of {len(self._cases)}")
        self.picture.show_file(self.result.report / case.file)
        self.caption.setText(f"Truth, before, after. {case.caption}")

    # What becomes of it

    def open_page(self) -> None:
        """Show the whole report in the browser."""
        if self.result is not None and not open_outside(self.result.page):
            self.said.tell("info", f"No browser answers: open {self.result.page} yourself.")

    def take_look(self) -> Job | None:
        """Find everything in a block that was held out, and show it over the image."""
        view, workplace = self._view, self._attachment.workplace
        if view is None or view.weights is None or workplace is None or self._job is not None:
            return None
        work = partial(take_a_look, view.folder, view.weights, workplace.session)
        return self._begin(work, "looking", self._looked, "Clicking through a held-out block ...")

    def _looked(self, look: Look) -> None:
        image = self._attachment.image_layer
        if image is None:
            return
        try:
            self._look.show(image, look, "a look with the new model")
        except InputError as error:
            self.said.tell("warning", str(error))
            return
        scale = 1 << look.level
        part = look.region
        self._attachment.show(
            type(part)(*(side * scale for side in (part.row0, part.col0, part.row1, part.col1)))
        )
        objects = f"{look.count} object{'s'[: look.count != 1]}"
        self.said.setText(
            f"The new model finds {objects} in this held-out block by itself; remove the layer "
            f"when you have seen enough."
        )

    def save(self) -> Job | None:
        """Register the model under the name that was given; None if that cannot be begun."""
        view, result = self._view, self.result
        if view is None or view.weights is None or result is None or self._job is not None:
            return None
        folder, weights, name = view.folder, view.weights, self.name.text().strip()
        note = self.note.text().strip()

        def work(report: Any, should_stop: Any) -> OwnModel:
            return keep(folder, weights, result, name, note)

        return self._begin(work, "keeping the model", self._saved, "Writing ...")

    def _saved(self, model: OwnModel) -> None:
        self._own = model.name
        self.said.setText(f"{model.name} is kept, and can be chosen wherever a model is.")
        self.kept.emit(model.name)

    def use_it(self) -> None:
        """Let the model that was kept answer for the image that is open."""
        workplace = self._attachment.workplace
        if self._own is None or workplace is None:
            return
        before = workplace.store
        try:
            job = self._attachment.use(self._attachment.image_layer, model=self._own)
        except InputError as error:
            self.said.tell("warning", str(error))
            return
        name = self._own
        self.said.setText(f"Loading {name} ...")
        job.failed.connect(lambda sentence: self.said.tell("warning", sentence))
        job.finished.connect(lambda _: self._in_use(name, before))

    def _in_use(self, name: str, before: EmbeddingStore) -> None:
        """Say what becomes of the embeddings that there are, and ask if that takes long."""
        workplace = self._attachment.workplace
        if workplace is None or workplace.model_name != name:
            return
        self._enable()
        if workplace.store.place.name == before.place.name:
            self.said.setText(
                f"{name} answers now, with the embeddings that are there: it has the same image "
                f"encoder. Objects and prompts stay."
            )
            return
        self.said.setText(
            f"{name} answers now, with embeddings of its own; those of before are kept. Objects "
            f"and prompts stay."
        )
        if before.progress().done and workplace.store.progress().missing:
            self.encode_again.ask(
                f"The image encoder of {name} is another one, so that the image has to be encoded "
                f"again."
            )

    # Work in the background

    def _begin(self, work: Any, name: str, done: Any, said: str) -> Job:
        self._job = job = run_job(self, work, name)

        def end(then: Any = None, *told: Any) -> None:
            if job is not self._job:
                return
            self._job = None
            if then is not None:
                then(*told)
            self._enable()

        job.progressed.connect(lambda told: self._progress(job, *told))
        job.finished.connect(lambda found: end(done, found))
        job.failed.connect(lambda sentence: end(self.said.tell, "warning", sentence))
        job.stopped.connect(lambda: end(self.said.setText, "Stopped."))
        self.progress.setMaximum(0)
        self.said.setText(said)
        self._enable()
        return job

    def _progress(self, job: Job, done: int, of: int) -> None:
        if job is self._job:
            self.progress.setMaximum(max(1, of))
            self.progress.setValue(done)

    def _stop(self) -> None:
        if self._job is not None:
            self._job.stop()

    def _leave(self) -> None:
        """Stop what is done, and do not listen to it any more."""
        self._stop()
        self._job = None

    def _changed(self, workplace: Any) -> None:
        if workplace is None:
            self._look.clear()
            self.encode_again.hide()
        self._enable()

    def _enable(self, *_: object) -> None:
        busy, workplace = self._job is not None, self._attachment.workplace
        weights = None if self._view is None else self._view.weights
        over = self._view is not None and self._view.state not in ("starting", "running", "paused")
        self.compare.setVisible(weights is not None and over)
        self.compare.setEnabled(not busy)
        self.compare.setText("Compare again" if self.result is not None else "Compare")
        for part in (self.leave, self.progress):
            part.setVisible(busy)
        self.look.setEnabled(not busy and workplace is not None)
        self.keep.setEnabled(not busy and bool(self.name.text().strip()) and self._own is None)
        answers = workplace is not None and workplace.model_name == self._own
        self.use.setEnabled(self._own is not None and workplace is not None and not answers)


def _is_to_be_measured(view: RunView, result: Result | None) -> bool:
    """Tell whether a run is over, and went on since it was measured, if it was."""
    if view.state not in ("finished", "stopped") or view.weights is None:
        return False
    return result is None or _written(result.page) < _written(view.weights)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
