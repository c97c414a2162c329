"""Classes proposed for the objects of an image, looked through from the least confident one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDoubleSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_sam.engine.classes import ClassProposals, ProposedClass, apply_classes, propose_classes
from napari_sam.errors import InputError

from .controls import Message, button, in_a_row, labelled
from .highlight import Highlight, with_room
from .jobs import Job, run_job

if TYPE_CHECKING:
    from .attached import Attachment

__all__ = ["ClassReview"]

_COLUMNS = ("Object", "Class", "Confidence")


class ClassReview(QWidget):
    """Lists what objects may be; a person says it of one after the other, or of all sure ones.

    Parameters
    ----------
    attachment : Attachment
        Of the window.
    """

    def __init__(self, attachment: Attachment) -> None:
        super().__init__()
        self.attachment = attachment
        self.proposals: ClassProposals | None = None
        self._left: list[ProposedClass] = []
        self._job: Job | None = None
        self._highlight = Highlight(attachment.viewer)
        self.ask_button = button(
            "Propose classes",
            "Learn from the objects of this plane that have a class, and list what the others may "
            "be, the least sure first",
            self.ask,
        )
        self.note = Message()
        self.name = QComboBox()
        self.name.setEditable(True)
        self.name.setToolTip("What the chosen object is; another name may be typed")
        self.right_button = button(
            "Right", "Give the chosen object this class, and go to the next one", self.accept
        )
        self.least = QDoubleSpinBox()
        self.least.setRange(0, 1)
        self.least.setSingleStep(0.05)
        self.least.setValue(0.9)
        self.least.setToolTip("How sure the classifier must be")
        self.apply_button = button(
            "Apply", "Give all objects of at least this confidence their class; undo takes it back",
            self.apply,
        )  # fmt: skip
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(_COLUMNS)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.itemSelectionChanged.connect(self._show_chosen)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (
            self.ask_button,
            self.note,
            labelled(("Class", in_a_row(self.name, self.right_button))),
            labelled(("From", in_a_row(self.least, self.apply_button))),
            self.table,
        ):
            layout.addWidget(part)
        attachment.workplace_changed.connect(self._begin)
        self._begin()

    def ask(self) -> Job | None:
        """Learn, and list what the others may be."""
        workplace, embedder = self.attachment.workplace, self.attachment.embedder
        if workplace is None or embedder is None or self._job is not None:
            return None
        session, store = workplace.session, workplace.store

        def work(report: Any, should_stop: Any) -> ClassProposals:
            with embedder.aside():
                return propose_classes(session, store, should_stop=should_stop)

        self._job = job = run_job(self, work, "proposing classes")
        job.finished.connect(self._list)
        job.failed.connect(self._fail)
        self._enable()
        return job

    def accept(self) -> None:
        """Give the chosen object the class that stands there, and go to the next one."""
        workplace, row = self.attachment.workplace, self._chosen()
        name = self.name.currentText().strip()
        if workplace is None or row is None or not name:
            return
        one = self._left[row]
        try:
            workplace.session.classify({one.id: name})
        except InputError as error:
            self.attachment.say(str(error), "warning")
        del self._left[row]
        self._refill()
        if self._left:
            self.table.selectRow(min(row, len(self._left) - 1))

    def apply(self) -> None:
        """Give the objects of which it is sure their classes, in one step."""
        workplace = self.attachment.workplace
        if workplace is None or self.proposals is None:
            return
        rest = replace(self.proposals, proposals=tuple(self._left))
        applied = {one.id for one in apply_classes(workplace.session, rest, self.least.value())}
        self._left = [one for one in self._left if one.id not in applied]
        self._refill()
        count = len(applied)
        self.attachment.say(f"{count} object{'s'[: count != 1]} got a class; undo takes it back.")

    def _begin(self, changed: object = None) -> None:
        """Forget what was proposed for another image, plane or model."""
        self.proposals, self._left = None, []
        self.note.setText("Give some objects a class, and some another one; then ask.")
        self._refill()

    def _list(self, found: ClassProposals) -> None:
        self._job, self.proposals, self._left = None, found, list(found.proposals)
        self.name.clear()
        self.name.addItems(list(found.learned_from))
        learned = ", ".join(f"{count} {name}" for name, count in found.learned_from.items())
        words = [f"Learned from {learned}."]
        if found.agreement is not None:
            share = f"{100 * found.agreement:.0f} %"
            words.append(f"Left out in turn, {share} of these get their own class.")
        if found.unknown:
            words.append(f"{len(found.unknown)} objects are not encoded yet.")
        self.note.setText(" ".join(words))
        self._refill()
        if self._left:
            self.table.selectRow(0)

    def _fail(self, sentence: str) -> None:
        self._job = None
        self.note.tell("warning", sentence)
        self._enable()

    def _refill(self) -> None:
        self.table.blockSignals(True)
        self.table.clearSelection()
        self.table.setRowCount(len(self._left))
        for row, one in enumerate(self._left):
            self._fill_row(row, (str(one.id), one.class_name, f"{one.confidence:.2f}"))
        self.table.blockSignals(False)
        self._highlight.clear()
        self._enable()

    def _fill_row(self, row: int, cells: Sequence[str]) -> None:
        for column, text in enumerate(cells):
            self.table.setItem(row, column, QTableWidgetItem(text))

    def _chosen(self) -> int | None:
        rows = {index.row() for index in self.table.selectedIndexes()}
        return rows.pop() if len(rows) == 1 else None

    def _show_chosen(self) -> None:
        """Go to the object of the row that is chosen."""
        workplace, image, row = (
            self.attachment.workplace,
            self.attachment.image_layer,
            self._chosen(),
        )
        if workplace is None or image is None or row is None:
            return
        one = self._left[row]
        self.name.setCurrentText(one.class_name)
        try:
            mask = workplace.session.mask(one.id)
        except InputError:
            return  # it was deleted meanwhile
        self.attachment.show(with_room(mask.box, workplace.scene.shape))
        self._highlight.show(image, mask)

    def _enable(self) -> None:
        there = self.attachment.workplace is not None
        self.ask_button.setEnabled(there and self._job is None)
        for one in (self.right_button, self.apply_button):
            one.setEnabled(bool(self._left))
