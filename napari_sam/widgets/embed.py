"""The widget that shows how far an image is encoded, and has more of it encoded."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_sam.commands.encode import size_said
from napari_sam.errors import InputError
from napari_sam.live.embed_words import needs_asking, plan_said, status_said
from napari_sam.live.embedder import Embedder, Status
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.planning import Plan
from napari_sam.tiles.regions import Region
from napari_sam.tiles.roi import Roi
from napari_sam.tiles.store import EmbeddingStore, Failure
from napari_sam.tiles.store_errors import called

from .attached import attach
from .embed_controls import EmbedControls
from .jobs import Job, run_job
from .tile_overlay import TileOverlay

if TYPE_CHECKING:
    import napari

    from napari_sam.live.workplace import Workplace

__all__ = ["EmbedWidget"]

_OFTEN = 250
"""Milliseconds between two looks at how far it is."""

_SELDOM = 20
"""So many looks lie between two at the disk, which may take long."""

_ROWS = 6
"""Of the list of those, the others are scrolled to."""

_LISTED = 50
"""Tiles that failed and are listed."""

Levels = tuple[int, ...]


@dataclass(frozen=True)
class _OnDisk:
    """What only the store's place can tell."""

    size: int
    free: int | None
    failures: list[Failure]


class EmbedWidget(EmbedControls):
    """Shows which tiles are encoded, how long the rest takes, and what went wrong.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose image.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:  # napari looks for this name
        super().__init__(attach(viewer))
        self._status: Status | None = None
        self._store: EmbeddingStore | None = None
        self._asked: tuple[Levels | None, Roi | None] | None = None
        self._estimating: Job | None = None
        self._asking_disk: Job | None = None
        self._looks = 0
        self._overlay = TileOverlay(self.attachment.viewer)
        self._connect()
        self._timer = QTimer(self)
        self._timer.setInterval(_OFTEN)
        self._timer.timeout.connect(self.look)
        self._timer.start()
        self.attachment.workplace_changed.connect(self._begin)
        self.destroyed.connect(self._overlay.clear)
        self._begin(self.attachment.workplace)

    def _connect(self) -> None:
        self.open.clicked.connect(self._open)
        self.view.clicked.connect(self.embed_view)
        self.all.clicked.connect(lambda: self.embed(None, None))
        self.these.clicked.connect(self._embed_part)
        self.pause.clicked.connect(self._pause_or_go_on)
        self.stop.clicked.connect(self._stop)
        self.yes.clicked.connect(self._confirmed)
        self.no.clicked.connect(self.ask.hide)
        self.again.clicked.connect(self._retry)
        self.failed.itemDoubleClicked.connect(self._go_there)
        self.shown.toggled.connect(self._show_tiles)

    def embed_view(self) -> None:
        """Have all tiles in view encoded, of all levels."""
        region = self.attachment.viewport()
        if region.area:
            self.embed(None, region)
        else:
            self.attachment.say("Nothing of the image is in view: move there first.", "warning")

    def embed(self, levels: Levels | None, roi: Roi | None) -> None:
        """Have tiles encoded; if they are many, tell before what it takes, and ask."""
        embedder = self.attachment.embedder
        if embedder is None or self._estimating is not None:
            return
        self.ask.hide()
        self._asked = levels, roi
        folder = _folder(embedder)

        def estimate(*_: object) -> tuple[Plan, int | None]:
            return embedder.estimate(levels, roi), _free(folder)

        job = self._estimating = run_job(self, estimate, "estimating what it takes")
        job.finished.connect(self._estimated)
        job.failed.connect(self._not_estimated)
        job.stopped.connect(self._not_estimated)
        self._show_controls()

    def _embed_part(self) -> None:
        try:
            self.embed(self.levels.currentData(), self.region.roi())
        except InputError as error:
            self.attachment.say(str(error), "warning")

    def _estimated(self, found: tuple[Plan, int | None]) -> None:
        plan, free = found
        self._estimating = None
        if needs_asking(plan, free):
            self.question.setText(plan_said(plan, free))
            self.ask.show()
            self.yes.setFocus()
        else:
            self.attachment.say(plan_said(plan, free))
            self._confirmed()
        self._show_controls()

    def _not_estimated(self, sentence: str = "") -> None:
        self._estimating = None
        self._show_controls()
        if sentence:
            self.attachment.say(sentence, "error")

    def _confirmed(self) -> None:
        self.ask.hide()
        embedder, asked = self.attachment.embedder, self._asked
        if embedder is None or asked is None:
            return
        try:
            embedder.embed(*asked)
        except InputError as error:
            self.attachment.say(str(error), "warning")

    def _pause_or_go_on(self) -> None:
        embedder = self.attachment.embedder
        if embedder is not None:
            if embedder.status.doing in ("paused", "stopped"):
                embedder.start()
            else:
                embedder.pause()
            self.look()

    def _stop(self) -> None:
        if self.attachment.embedder is not None:
            self.attachment.embedder.stop()
            self.look()

    def _retry(self) -> None:
        embedder = self.attachment.embedder
        if embedder is not None:
            job = run_job(self, lambda *_: embedder.retry(), "trying failed tiles again")
            job.failed.connect(lambda sentence: self.attachment.say(sentence, "error"))

    def _go_there(self, item: QListWidgetItem) -> None:
        tile: TileId = item.data(Qt.ItemDataRole.UserRole)
        embedder = self.attachment.embedder
        if embedder is not None:
            core = embedder.store.geometry.core(tile)
            corners = (side << tile.level for side in (core.row0, core.col0, core.row1, core.col1))
            self.attachment.show(Region(*corners))

    def _open(self) -> None:
        try:
            self.attachment.use()
        except InputError as error:
            self.attachment.say(str(error), "warning")

    def look(self) -> None:
        """Show how far it is, if that changed."""
        embedder = self.attachment.embedder
        if embedder is None:
            return
        status = embedder.status
        if embedder.store is not self._store:
            self._show_store(embedder)
        if status != self._status:
            self._show_status(status)
        self._show_tiles()
        self._looks += 1
        if self._looks % _SELDOM == 1:
            self._ask_disk(embedder)

    def _begin(self, workplace: Workplace | None) -> None:
        there = workplace is not None
        for part in (self.now, self.tiles, self.part, self.about):
            part.setVisible(there)
        self.open.setVisible(not there)
        self.ask.hide()
        self.trouble.hide()
        self._status, self._store, self._looks = None, None, 0
        if workplace is None:
            self.title.setText("Nothing is open: select an image layer.")
            self._overlay.clear()
            return
        self.title.setText(f"<b>{workplace.picture.name}</b>, model {workplace.model_name}")
        self.notes.setText("\n".join(workplace.notes))
        self.notes.setVisible(bool(workplace.notes))
        self.region.offer()
        self.look()

    def _show_store(self, embedder: Embedder) -> None:
        self._store, self._looks = embedder.store, 0
        self.trouble.hide()
        geometry, chosen = self._store.geometry, self.levels.currentText()
        self.levels.clear()
        self.levels.addItem("All levels", None)
        for level in self._store.levels:
            self.levels.addItem(f"Level {level}: {_level_said(geometry, level)}", (level,))
        for level in self._store.levels[1:-1]:
            coarser = tuple(other for other in self._store.levels if other >= level)
            self.levels.addItem(f"Level {level} and coarser", coarser)
        self.levels.setCurrentIndex(max(0, self.levels.findText(chosen)))

    def _show_status(self, status: Status) -> None:
        before, self._status = self._status, status
        counts = status.counts
        self.bar.setMaximum(max(1, counts.total))
        self.bar.setValue(counts.done + counts.empty)
        self.said.setText(status_said(status))
        halted = status.doing in ("paused", "stopped")
        self.pause.setText("Go on" if halted else "Pause")
        self.pause.setToolTip(
            "Encode what is in view and what was asked for"
            if halted
            else "Stop after the tile in hand; Go on continues"
        )
        self.stop.setEnabled(status.doing != "stopped")
        if before is None or before.counts.failed != counts.failed:
            self._looks = 0  # the list is about other tiles
        if status.problem is not None and (before is None or before.problem != status.problem):
            self.attachment.say(status.problem, "warning")
        self._show_controls()

    def _show_controls(self) -> None:
        free = self._estimating is None
        for button in (self.view, self.all, self.these):
            button.setEnabled(free)
        missing = self._status is None or self._status.counts.missing > 0
        self.all.setEnabled(free and missing)

    def _show_tiles(self) -> None:
        embedder, image = self.attachment.embedder, self.attachment.image_layer
        if embedder is None or image is None or not self.shown.isChecked():
            self._overlay.clear()
            return
        if self._overlay.removed:
            self.shown.setChecked(False)
            return
        try:
            level = self._overlay.show(image, embedder)
            self.shown.setText(f"Tiles over the image, of level {level}")
        except InputError as error:
            self.shown.setChecked(False)
            self.attachment.say(str(error), "warning")

    def _ask_disk(self, embedder: Embedder) -> None:
        """Ask for what may take long, in a thread."""
        if self._asking_disk is not None:
            return
        folder = _folder(embedder)

        def ask(*_: object) -> _OnDisk:
            return _OnDisk(embedder.store.size_on_disk(), _free(folder), embedder.failures())

        job = self._asking_disk = run_job(self, ask, "looking at the store")
        job.finished.connect(self._show_disk)
        job.failed.connect(self._no_disk)

    def _show_disk(self, found: _OnDisk) -> None:
        self._asking_disk = None
        if self._store is None:
            return
        where = self._store.place.name
        text = f"{where.rstrip('/').rsplit('/', 1)[-1]}: {size_said(found.size)}"
        free = "" if found.free is None else f"; {size_said(found.free)} are free"
        self.disk.setText(text + free)
        self.disk.setToolTip(where)
        self.trouble.setVisible(bool(found.failures))
        self.failed.clear()
        for failure in found.failures[:_LISTED]:
            item = QListWidgetItem(f"{called(failure.tile)}: {failure.reason}")
            item.setToolTip(f"Failed {failure.times} times")
            item.setData(Qt.ItemDataRole.UserRole, failure.tile)
            self.failed.addItem(item)
        more = len(found.failures) - _LISTED
        if more > 0:
            self.failed.addItem(QListWidgetItem(f"... and {more} more"))
        rows = min(max(self.failed.count(), 2), _ROWS)
        self.failed.setFixedHeight(rows * self.failed.sizeHintForRow(0) + 2 * _frame(self.failed))

    def _no_disk(self, sentence: str) -> None:
        self._asking_disk = None
        self.disk.setText(sentence)


def _frame(widget: QListWidget) -> int:
    return widget.frameWidth() + widget.contentsMargins().top()


def _level_said(geometry: TileGeometry, level: int) -> str:
    rows, cols = geometry.level_shape(level)
    tiles = geometry.grid(level)[0] * geometry.grid(level)[1]
    return f"{rows} × {cols} pixels, {tiles} tile{'' if tiles == 1 else 's'}"


def _folder(embedder: Embedder) -> str | None:
    folder = embedder.store.place.folder
    return None if folder is None else str(folder)


def _free(folder: str | None) -> int | None:
    """Return the bytes that are free on the disk of a folder; None where nobody can tell."""
    if folder is None:
        return None
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
