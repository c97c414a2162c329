"""The widget that gives a person's objects to `napari-sam train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_sam.finetune.checking import check_pictures, describe_problems
from napari_sam.finetune.data import open_pictures
from napari_sam.live.training_data import Exported, export_training_data, train_command

from .attached import attach
from .jobs import Job, run_job

if TYPE_CHECKING:
    import napari

    from napari_sam.live.workplace import Workplace

__all__ = ["FineTuneWidget"]


class FineTuneWidget(QWidget):
    """Writes the objects as training data, and shows the command that learns from them.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose objects.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:  # napari looks for this name
        super().__init__()
        self.attachment = attach(viewer)
        self._job: Job | None = None
        self.folder, self.choose = QLineEdit(), QPushButton("Choose ...")
        self.folder.setToolTip("For the folders images and labels, which are made in it")
        self.export, self.progress = QPushButton("Write training data"), QProgressBar()
        self.export.setToolTip(
            "Write the parts of this plane that hold objects, each at most 1024 × 1024 pixels"
        )
        self.progress.setFormat("%v of %m pictures")
        self.note = QLabel(
            "Objects that you accepted or corrected teach the model what you mean. Write them, "
            "then start the training with the command below."
        )
        self.note.setWordWrap(True)
        self.command, self.copy = QPlainTextEdit(), QPushButton("Copy the command")
        self.command.setReadOnly(True)
        self.command.setTabChangesFocus(True)
        self.command.setToolTip("For a terminal; it can be stopped and resumed")
        self.copy.setEnabled(False)
        row = QHBoxLayout()
        row.addWidget(self.folder, 1)
        row.addWidget(self.choose)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Folder", row)
        layout = QVBoxLayout(self)
        layout.addWidget(self.note)
        layout.addLayout(form)
        for part in (self.export, self.progress, self.command, self.copy):
            layout.addWidget(part)
        layout.addStretch(1)
        self.choose.clicked.connect(self._choose)
        self.export.clicked.connect(self.write)
        self.copy.clicked.connect(self._copy)
        self.attachment.workplace_changed.connect(self._begin)
        self._begin(self.attachment.workplace)

    def write(self) -> Job | None:
        """Write the training data; None if there is no image."""
        workplace = self.attachment.workplace
        if workplace is None or self._job is not None:
            return None
        folder = Path(self.folder.text()).expanduser()
        session = workplace.session

        def work(report: Any, should_stop: Any) -> tuple[Exported, str]:
            told = lambda done, of: report((done, of))  # noqa: E731
            done = export_training_data(session, folder, told, should_stop)
            return done, describe_problems(check_pictures(open_pictures(done.images, done.labels)))

        self._job = job = run_job(self, work, "writing training data")
        job.progressed.connect(self._progress)
        job.finished.connect(lambda result: self._done(*result))
        job.failed.connect(self._fail)
        self.export.setEnabled(False)
        return job

    def _begin(self, workplace: Workplace | None) -> None:
        self.export.setEnabled(workplace is not None and self._job is None)
        if workplace is not None:
            self.folder.setText(str(workplace.folder / "training"))

    def _choose(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "For the training data", self.folder.text())
        if chosen:
            self.folder.setText(chosen)

    def _progress(self, told: tuple[int, int]) -> None:
        done, of = told
        self.progress.setMaximum(of)
        self.progress.setValue(done)

    def _done(self, exported: Exported, problems: str) -> None:
        self._job = None
        self.export.setEnabled(self.attachment.workplace is not None)
        workplace = self.attachment.workplace
        model = "vit_nano" if workplace is None else workplace.model_name
        pictures = f"{exported.pictures} picture{'s'[: exported.pictures != 1]}"
        objects = f"{exported.objects:,} object{'s'[: exported.objects != 1]}"
        text = f"Wrote {pictures} with {objects}."
        if exported.pictures < 2:
            text += (
                " Training needs two or more, to keep some for measuring: accept objects in other "
                "parts of the image too."
            )
        self.note.setText(f"{text}\n{problems}".strip())
        self.command.setPlainText(train_command(exported, model, exported.images.parent / "run"))
        self.copy.setEnabled(True)

    def _fail(self, sentence: str) -> None:
        self._job = None
        self.export.setEnabled(self.attachment.workplace is not None)
        self.attachment.say(sentence, "warning")
        self.note.setText(sentence)

    def _copy(self) -> None:
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(self.command.toPlainText())
        self.attachment.say("The command is copied.")
