"""The widget that offers models: those that are published, and files of one's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QFileSystemWatcher, Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHeaderView,
    QLabel,
    QLineEdit,
    QMessageBox,
    QProgressBar,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_sam import own_models
from napari_sam.commands.models import ModelRow, model_rows, readable_size
from napari_sam.errors import InputError
from napari_sam.loading import check_model
from napari_sam.user_folder import user_folder
from src_model.checkpoints import CheckpointError, download

from .attached import attach
from .controls import Message, button, in_a_row, labelled, scrolling
from .encode_again import EncodeAgain
from .jobs import Job, run_job
from .model_card import about_model

if TYPE_CHECKING:
    import napari

    from napari_sam.live.workplace import Workplace
    from napari_sam.tiles.store import EmbeddingStore

__all__ = ["ModelsWidget"]

_COLUMNS = ("Model", "Size", "On disk")

_PLAIN, _SAFE = "Weights for other tools (*.pth)", "The same, as safetensors (*.safetensors)"
_SMALL = "Small file to mail, for napari-sam (*.safetensors)"


class _Stopped(Exception):
    """Ends a download; its beginning is kept."""


class ModelsWidget(QWidget):
    """Lists models, downloads them, and lets one of them answer in this viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        Where it answers.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:  # napari looks for this name
        super().__init__()
        self.attachment = attach(viewer)
        self._rows: list[ModelRow] = []
        self._download: Job | None = None
        self._former: tuple[str, EmbeddingStore] | None = None  # what answered before a change
        self.now = QLabel()
        self.now.setWordWrap(True)
        self.table = QTableWidget(0, len(_COLUMNS))
        self.details = QLabel()
        self.details.setWordWrap(True)
        self.details.setOpenExternalLinks(True)
        self.use = button("Use this model", "Let it answer; objects and prompts stay", self._use)
        self.fetch = button("Download", "Fetch its file, to use it later", self._fetch)
        self.stop = button("Stop", "Stop the download; the next one goes on from there")
        self.bar = QProgressBar()
        self.export = button("Export ...", "Write it to a file, for others", self._export)
        self.remove = button("Remove ...", "Remove your model for good", self._remove)
        self.encode_again = EncodeAgain(self.attachment)
        self.path = QLineEdit()
        self.path.setPlaceholderText("weights or adapter")
        self.path.setToolTip(
            "A .pth, .pt or .safetensors file of weights, or an adapter that 'napari-sam train' "
            "saved"
        )
        self.choose = button("Choose ...", "Look for a file of weights", self._choose)
        self.use_file = button("Use this file", "Let it answer", self._use_file)
        self.message = Message()
        self._make_table()
        scrolling(
            self,
            self.now,
            self.table,
            self.details,
            in_a_row(self.use, self.fetch, self.stop),
            in_a_row(self.export, self.remove),
            self.bar,
            self.encode_again,
            labelled(("A file", in_a_row(self.path, self.choose))),
            self.use_file,
            self.message,
        )
        self.table.itemSelectionChanged.connect(self._show_controls)
        self.table.itemDoubleClicked.connect(lambda _: self._use())
        self.path.textChanged.connect(self._show_controls)
        self.path.returnPressed.connect(self._use_file)
        self.stop.clicked.connect(self._stop)
        self.attachment.workplace_changed.connect(self._changed)
        self.attachment.said.connect(self._said)
        self._watcher = QFileSystemWatcher(self)  # whoever registers a model
        self._watcher.directoryChanged.connect(lambda _: self.refresh())
        self.refresh()

    @property
    def chosen(self) -> ModelRow | None:
        """The model that is selected in the table."""
        row = self.table.currentRow()
        return self._rows[row] if 0 <= row < len(self._rows) else None

    def refresh(self) -> None:
        """List what there is now."""
        chosen = self.chosen
        self._watch()
        self._rows = model_rows()
        names = [model.name for model in self._rows]
        row = names.index(chosen.name) if chosen is not None and chosen.name in names else 0
        self.table.setRowCount(len(self._rows))
        in_use = self._in_use()
        for number, model in enumerate(self._rows):
            texts = (model.name, model.size, model.whereabouts)
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setToolTip(f"{model.name}: {model.description}; licence: {model.licence}")
                font = item.font()
                font.setBold(model.name == in_use)
                item.setFont(font)
                if column == 1:
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                self.table.setItem(number, column, item)
        self.table.setCurrentCell(row, 0)
        # All rows, whatever the font: the panel around it can be scrolled.
        height = self.table.verticalHeader().length() + self.table.horizontalHeader().height()
        self.table.setMinimumHeight(height + 2 * self.table.frameWidth() + 2)
        self.now.setText(
            "No image is open: the model that is used comes with it."
            if in_use is None
            else f"In use: <b>{Path(in_use).name}</b>"
        )
        self._show_controls()

    def showEvent(self, event: QShowEvent) -> None:
        """List what came meanwhile."""
        super().showEvent(event)
        self.refresh()

    def _watch(self) -> None:
        """Be told when models of one's own come or go; the folder may not be there yet."""
        folder = user_folder()
        places = (str(folder / "models"), str(folder), str(folder.parent))
        there = next((place for place in places if Path(place).is_dir()), None)
        watched = self._watcher.directories()
        if there is not None and there not in watched:
            if watched:
                self._watcher.removePaths(watched)
            self._watcher.addPath(there)

    def _make_table(self) -> None:
        table = self.table
        table.setHorizontalHeaderLabels(_COLUMNS)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setTabKeyNavigation(False)  # Tab leads on to the buttons
        table.verticalHeader().hide()
        header = table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)

    # What a person asks for

    def _use(self) -> None:
        model = self.chosen
        if model is None or self._download is not None:
            return
        if model.here:
            self._let_answer(model.name)
        else:
            self._begin_download(model, lambda: self._let_answer(model.name))

    def _fetch(self) -> None:
        model = self.chosen
        if model is not None and self._download is None:
            self._begin_download(model, None)

    def _use_file(self) -> None:
        if self.path.text().strip():
            self._let_answer(str(Path(self.path.text().strip()).expanduser()))

    def _choose(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self, "A file of weights", self.path.text(), "Weights (*.safetensors *.pth *.pt)"
        )
        if name:
            self.path.setText(name)

    def _let_answer(self, name: str) -> None:
        """Use a model for the image that is open, or for the one that is selected."""
        workplace = self.attachment.workplace
        self._former = None if workplace is None else (workplace.model_name, workplace.store)
        self.encode_again.hide()
        try:
            check_model(name, "auto", "auto")
            job = self.attachment.use(self.attachment.image_layer, model=name)
        except InputError as error:
            self.attachment.say(str(error), "warning")
            return
        self.message.tell("info", f"Loading {Path(name).name} ...")
        job.finished.connect(self._show_controls)
        job.failed.connect(self._show_controls)
        self._show_controls()

    def _export(self) -> None:
        model = self.chosen
        if model is None or model.own is None:
            return
        name = model.own.name
        kinds = [_PLAIN, _SAFE, *([_SMALL] if model.own.adapter is not None else [])]
        path, kind = QFileDialog.getSaveFileName(
            self, f"Export {name}", str(Path.home() / f"{name}.pth"), ";;".join(kinds)
        )
        if not path:
            return
        ending = ".pth" if kind == _PLAIN else ".safetensors"
        if not path.endswith(ending if kind != _PLAIN else (".pth", ".pt", ".safetensors")):
            path = path.removesuffix(".pth") + ending
        target = Path(path)
        write = own_models.export_adapter if kind == _SMALL else own_models.export
        job = run_job(self, lambda *_: write(name, target), f"exporting {name}")
        job.finished.connect(self.attachment.say)
        job.failed.connect(lambda sentence: self.attachment.say(sentence, "error"))

    def _remove(self) -> None:
        model = self.chosen
        if model is None or model.own is None:
            return
        name = model.own.name
        answer = QMessageBox.question(
            self,
            "Remove a model",
            f"Remove {name}, with its card and report? Objects that it found stay.",
        )
        if answer != QMessageBox.StandardButton.Yes:
            return
        try:
            own_models.remove(name)
        except InputError as error:
            self.attachment.say(str(error), "warning")
        else:
            self.attachment.say(f"{name} is removed.")
        self.refresh()

    def _begin_download(self, model: ModelRow, then: Callable[[], None] | None) -> None:
        def work(report: Callable[[object], None], should_stop: Callable[[], bool]) -> str:
            def on_bytes(have: int, total: int | None) -> None:
                report((have, total))
                if should_stop():
                    raise _Stopped

            try:
                return str(download(model.name, progress=False, on_bytes=on_bytes))
            except CheckpointError as error:
                raise InputError(str(error)) from error

        job = self._download = run_job(self, work, f"downloading {model.name}")
        self.bar.setRange(0, 0)
        self.bar.setFormat(f"{model.name}: connecting")
        job.progressed.connect(partial(self._show_bytes, model.name))
        job.finished.connect(lambda path: self._downloaded(f"{model.name} is here: {path}.", then))
        job.failed.connect(lambda sentence: self._not_downloaded(sentence, "error"))
        job.stopped.connect(
            lambda: self._not_downloaded(f"{model.name}: stopped; the next download goes on there.")
        )
        self._show_controls()

    def _stop(self) -> None:
        if self._download is not None:
            self._download.stop()
            self.stop.setEnabled(False)

    # What is shown

    def _show_bytes(self, name: str, told: tuple[int, int | None]) -> None:
        have, total = told
        self.bar.setRange(0, 1000 if total else 0)
        if total:
            self.bar.setValue(1000 * have // total)
        of = f" of {readable_size(total)}" if total else ""
        self.bar.setFormat(f"{name}: {readable_size(have)}{of}")

    def _downloaded(self, sentence: str, then: Callable[[], None] | None) -> None:
        self._download = None
        self.refresh()
        self.attachment.say(sentence)
        if then is not None:
            then()

    def _not_downloaded(self, sentence: str, level: str = "info") -> None:
        self._download = None
        self.refresh()
        self.attachment.say(sentence, level)

    def _changed(self, workplace: Workplace | None) -> None:
        """Tell what a change of model meant for objects and embeddings."""
        former, self._former = self._former, None
        self.refresh()
        same = workplace and former and workplace.store.place.name == former[1].place.name
        if workplace is None or former is None or (same and former[0] == workplace.model_name):
            self.encode_again.hide()
            return
        now, before = Path(workplace.model_name).name, Path(former[0]).name
        count = len(workplace.session.ids)
        objects = f", and {count} object{'' if count == 1 else 's'} too" if count else ""
        if same:
            self.attachment.say(
                f"{now} answers now, with the embeddings that are there, because it has the image "
                f"encoder of {before}; those are kept{objects}."
            )
            return
        self.attachment.say(
            f"{now} answers now, with embeddings of its own; those of {before} are kept{objects}."
        )
        if former[1].progress().done and workplace.store.progress().missing:
            self.encode_again.ask(
                f"The image encoder of {now} is another one than that of {before}, so that the "
                f"image has to be encoded again."
            )

    def _said(self, level: str, sentence: str) -> None:
        self.message.tell(level, sentence)

    def _in_use(self) -> str | None:
        workplace = self.attachment.workplace
        return None if workplace is None else workplace.model_name

    def _answers(self, model: ModelRow) -> bool:
        """Tell whether a model is in use; one that was replaced since is not."""
        workplace = self.attachment.workplace
        if workplace is None or workplace.model_name != model.name:
            return False
        now = workplace.session.model
        return model.own is None or now is None or now.hash == model.own.hash

    def _show_controls(self, *_: object) -> None:
        model, busy = self.chosen, self._download is not None
        workplace = self.attachment.workplace
        store = None if workplace is None else workplace.store
        self.details.setText("" if model is None else about_model(model, store))
        own = model is not None and model.own is not None
        self.export.setVisible(own)
        self.remove.setVisible(own)
        self.remove.setEnabled(model is not None and model.name != self._in_use())
        loading = self.attachment.busy
        here = model is not None and model.here
        free = model is not None and not busy and not loading
        self.use.setEnabled(free and model is not None and not self._answers(model))
        self.use.setText("Use this model" if here or model is None else "Download and use")
        self.fetch.setEnabled(free and not here)
        self.stop.setVisible(busy)
        self.stop.setEnabled(busy)
        self.bar.setVisible(busy)
        self.use_file.setEnabled(bool(self.path.text().strip()) and not busy and not loading)
