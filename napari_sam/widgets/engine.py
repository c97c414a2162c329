"""The widget of the data engine: a project, its rounds, the regions worth annotating."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QFileDialog,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_sam.engine.filling import fill
from napari_sam.engine.importing import Finished, import_round
from napari_sam.engine.project import Project, ProjectImage
from napari_sam.engine.proposing import propose
from napari_sam.engine.rounds import ProposedRegion
from napari_sam.engine.status import draw_rounds, round_rows, set_rows
from napari_sam.errors import InputError

from .attached import attach
from .class_review import ClassReview
from .controls import Message, button, in_a_row, labelled, scrolling
from .engine_lending import Lending, is_image
from .fold import Fold
from .jobs import Job, run_job
from .opening import image_layers
from .preview_picture import PicturePane
from .proposed_layer import ProposedLayer

if TYPE_CHECKING:
    import napari

__all__ = ["EngineWidget"]

_PICTURE = "rounds.png"
"""In the project's folder."""

_COLUMNS = ("Round", "Image", "Place", "Score", "Why")


class EngineWidget(QWidget):
    """Opens a project, leads to the regions it proposes, and does the steps of a round.

    Parameters
    ----------
    viewer : napari.Viewer
        In which the images are annotated.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:  # napari looks for this name
        super().__init__()
        self.attachment = attach(viewer)
        self.project: Project | None = None
        self._lending = Lending(self.attachment)
        self._layer = ProposedLayer(self.attachment.viewer)
        self._regions: list[tuple[int, ProposedRegion]] = []
        self._wanted: ProposedRegion | None = None
        self._job: Job | None = None
        self._make_controls()
        self.attachment.workplace_changed.connect(self._show_regions)
        self._refresh()

    def _make_controls(self) -> None:
        self.folder = QLineEdit()
        self.folder.setToolTip("A folder that `napari-sam engine init` made")
        self.folder.returnPressed.connect(self.open_project)
        choose = button("Choose ...", "Choose the folder of a project", self._choose)
        self.about = Message()
        self.rounds = QPlainTextEdit()
        self.rounds.setReadOnly(True)
        self.rounds.setTabChangesFocus(True)
        self.rounds.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.rounds.setToolTip("What objects took, and how good the models are")
        font = self.rounds.font()
        font.setFamily("monospace")
        self.rounds.setFont(font)
        self.rounds.setMaximumHeight(8 * self.rounds.fontMetrics().lineSpacing())
        self.count = QSpinBox()
        self.count.setRange(1, 999)
        self.count.setValue(8)
        self.count.setToolTip("How many regions a round proposes")
        self.finished = QCheckBox("All objects in the proposed regions are outlined")
        self.finished.setToolTip(
            "What is not outlined there is background to learn from; else only the objects are"
        )
        self.propose_button = button(
            "Propose", "Choose the regions that are worth annotating next", self.propose
        )
        self.fill_button = button(
            "Fill in",
            "Let the network go first: masks that it is sure of become objects in the regions",
            self.fill,
        )
        self.import_button = button(
            "Import", "Note what people made of the round, and what it took", self.import_objects
        )
        self.train_button = button(
            "Train", "Teach the base all that is annotated, and compare both", self.train
        )
        self.status_button = button(
            "Status", "Draw what objects took and how good the models are", self.draw
        )
        self.stop_button = button("Stop", "Stop; what is done is kept", self.stop)
        self.progress, self.picture = QProgressBar(), PicturePane()
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(_COLUMNS)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setToolTip("Click on a region to go there")
        self.table.itemSelectionChanged.connect(self._go_to_chosen)
        self.note = Message()
        self.classes = ClassReview(self.attachment)
        scrolling(
            self,
            labelled(("Project", in_a_row(self.folder, choose))),
            self.about,
            self.rounds,
            self.picture,
            labelled(("Regions", self.count)),
            in_a_row(self.propose_button, self.fill_button),
            self.finished,
            in_a_row(self.import_button, self.train_button),
            in_a_row(self.status_button, self.stop_button),
            self.progress,
            self.note,
            self.table,
            Fold("Classes", self.classes),
        )

    # What a person asks for

    def open_project(self) -> None:
        """Open the project in the folder that is given."""
        try:
            self.project = Project.open(Path(self.folder.text()).expanduser())
            self._refresh()
        except InputError as error:
            self.project = None
            self._refresh()
            self._warn(str(error))

    def propose(self) -> Job | None:
        """Choose regions for the round."""
        count = self.count.value()

        def work(project: Project, told: Any, stop: Any) -> str:
            current, found = propose(
                project,
                count,
                opener=self._lending.workplace,
                on_progress=told,
                should_stop=stop,
            )
            return f"Round {current.number} proposes {len(found.regions)} regions."

        return self._run("proposing regions", work)

    def fill(self) -> Job | None:
        """Fill sure masks in."""

        def work(project: Project, told: Any, stop: Any) -> str:
            opener = self._lending.workplace
            filled = fill(project, opener=opener, on_progress=told, should_stop=stop)
            return (
                f"{sum(filled.counts.values())} objects are filled in: correct and complete them."
            )

        return self._run("filling in", work)

    def import_objects(self) -> Job | None:
        """Note what people made."""
        said: Finished = "regions" if self.finished.isChecked() else "none"

        def work(project: Project, told: Any, stop: Any) -> str:
            current, imported = import_round(
                project,
                finished=said,
                opener=self._lending.session,
                on_progress=told,
            )
            count = sum(map(len, imported.objects.values()))
            return f"Round {current.number} has {count} objects of {len(imported.sessions)} images."

        return self._run("importing objects", work)

    def train(self) -> Job | None:
        """Train the round."""

        def work(project: Project, told: Any, stop: Any) -> str:
            # What trains networks is slow to import.
            from napari_sam.engine.training import train_round

            figures = train_round(
                project, opener=self._lending.session, on_progress=told, should_stop=stop
            )
            return f"{figures['sentence']} The model is called {figures['model']}."

        return self._run("training", work)

    def draw(self) -> Job | None:
        """Draw the rounds."""

        def work(project: Project, told: Any, stop: Any) -> str:
            path = project.folder / _PICTURE
            draw_rounds(round_rows(project), path)
            return f"The rounds are drawn in {path}."

        return self._run("drawing the rounds", work)

    def stop(self) -> None:
        """Stop what is being done."""
        if self._job is not None:
            self._job.stop()

    def go_to(self, region: ProposedRegion) -> None:
        """Show a region; its image is opened if it is another one."""
        assert self.project is not None
        workplace = self.attachment.workplace
        image = self.project.image(region.image)
        if workplace is not None and is_image(workplace, image):
            self.attachment.show(region.region)
            return
        try:
            self._wanted = region
            self.attachment.use(self._layer_of(image), self.project.model)
        except InputError as error:
            self._wanted = None
            self._warn(str(error))

    # What happens then

    def _run(self, name: str, work: Callable[[Project, Any, Any], str]) -> Job | None:
        project = self.project
        if project is None or self._job is not None:
            return None

        def in_thread(report: Any, should_stop: Any) -> str:
            return work(project, lambda what, done, of: report((what, done, of)), should_stop)

        self._job = job = run_job(self, in_thread, name)
        job.progressed.connect(self._progress)
        job.finished.connect(self._end)
        job.failed.connect(lambda sentence: self._end(sentence, "warning"))
        job.stopped.connect(lambda: self._end("Stopped; what is done is kept."))
        self._enable()
        self.note.tell("info", f"{name[0].upper()}{name[1:]} ...")
        return job

    def _progress(self, told: tuple[str, int, int]) -> None:
        what, done, of = told
        self.progress.setFormat(f"{what}: %v of %m")
        self.progress.setMaximum(max(1, of))
        self.progress.setValue(done)

    def _end(self, sentence: str, level: str = "info") -> None:
        self._job = None
        self.progress.reset()
        self.note.tell(level, sentence)
        self.attachment.say(sentence, level)
        try:
            self._refresh()
        except InputError as error:
            self._warn(str(error))

    def _refresh(self) -> None:
        """Show the project as it is now."""
        project = self.project
        self._regions = []
        if project is None:
            self.about.setText("Choose a project; `napari-sam engine init` makes one.")
            self.rounds.setPlainText("")
        else:
            count = len(project.images)
            self.about.setText(
                f"{count} image{'s'[: count != 1]}, base {project.base}; works with {project.model}"
            )
            self.rounds.setPlainText(set_rows(round_rows(project)))
            for one in reversed(project.rounds):
                proposed = one.proposed
                for region in () if proposed is None else proposed.regions:
                    self._regions.append((one.number, region))
        self.picture.show_file(None)
        if project is not None and (project.folder / _PICTURE).exists():
            self.picture.show_file(project.folder / _PICTURE)
        self._list_regions()
        self._show_regions()
        self._enable()

    def _list_regions(self) -> None:
        self.table.blockSignals(True)
        self.table.clearSelection()
        self.table.setRowCount(len(self._regions))
        for row, (number, one) in enumerate(self._regions):
            place = f"{one.region.row0}, {one.region.col0}"
            cells = (str(number), one.image, place, f"{one.score:.2f}", one.reason)
            for column, text in enumerate(cells):
                item = QTableWidgetItem(text)
                item.setToolTip(one.reason)
                item.setTextAlignment(Qt.AlignmentFlag.AlignVCenter)
                self.table.setItem(row, column, item)
        self.table.resizeColumnsToContents()
        self.table.blockSignals(False)

    def _show_regions(self, changed: object = None) -> None:
        """Draw the regions of the last round that lie in the image, and go to the one wanted."""
        workplace, layer = self.attachment.workplace, self.attachment.image_layer
        if workplace is None or layer is None or self.project is None:
            self._layer.clear()
            return
        image = next((one for one in self.project.images if is_image(workplace, one)), None)
        last = max((number for number, _ in self._regions), default=0)
        here = [
            one
            for number, one in self._regions
            if number == last and image is not None and one.image == image.key
        ]
        self._layer.show(layer, here)
        wanted, self._wanted = self._wanted, None
        if wanted is not None and image is not None and wanted.image == image.key:
            self.attachment.show(wanted.region)

    def _enable(self) -> None:
        free = self.project is not None and self._job is None
        for one in (
            self.propose_button,
            self.fill_button,
            self.import_button,
            self.train_button,
            self.status_button,
        ):
            one.setEnabled(free)
        self.stop_button.setEnabled(self._job is not None)

    def _go_to_chosen(self) -> None:
        rows = {index.row() for index in self.table.selectedIndexes()}
        if len(rows) == 1:
            self.go_to(self._regions[rows.pop()][1])

    def _layer_of(self, image: ProjectImage) -> Image:
        """Return the layer that shows an image; it is added if there is none."""
        viewer = self.attachment.viewer
        for layer in viewer.layers:
            if isinstance(layer, Image) and layer.metadata.get("image_path") == image.where:
                return layer
        added = [
            viewer.add_image(data, **options) for data, options, _ in image_layers(image.where)
        ]
        first: Image = added[0]
        return first

    def _choose(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "A project", self.folder.text())
        if chosen:
            self.folder.setText(chosen)
            self.open_project()

    def _warn(self, sentence: str) -> None:
        self.note.tell("warning", sentence)
        self.attachment.say(sentence, "warning")
