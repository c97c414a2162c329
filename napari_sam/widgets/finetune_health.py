"""What is odd about a dataset: in words, and objects to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

if TYPE_CHECKING:
    from napari_sam.finetune.datasets import Suspicion

__all__ = ["SuspiciousTable"]

_COLUMNS = ("Object", "Where", "Why it is worth a look")

_ROWS = 6
"""That are seen at once."""

_LISTED = 500


class SuspiciousTable(QTableWidget):
    """Objects that may be slips; a click, or the arrow keys, choose one."""

    chosen = Signal(object)
    """What was chosen."""

    def __init__(self) -> None:
        super().__init__(0, len(_COLUMNS))
        self._objects: Sequence[Suspicion] = ()
        self.setHorizontalHeaderLabels(_COLUMNS)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)  # Tab leads on to the buttons
        self.setToolTip("A click goes to the object")
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        self.itemSelectionChanged.connect(self._choose)

    def show_objects(self, objects: Sequence[Suspicion]) -> None:
        """List these, the first 500 of them."""
        self.blockSignals(True)
        self._objects = objects[:_LISTED]
        self.setRowCount(len(self._objects))
        for row, found in enumerate(self._objects):
            where = f"{found.row:.0f}, {found.col:.0f}"
            for column, text in enumerate((str(found.id), where, found.why)):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                if column < 2:
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                self.setItem(row, column, item)
        self.clearSelection()
        self.blockSignals(False)
        self.setVisible(bool(self._objects))
        seen = min(max(len(self._objects), 2), _ROWS)
        head = self.horizontalHeader().sizeHint().height()
        self.setFixedHeight(
            head + seen * self.verticalHeader().defaultSectionSize() + 2 * self.frameWidth()
        )

    def _choose(self) -> None:
        rows = self.selectionModel().selectedRows()
        if rows:
            self.chosen.emit(self._objects[rows[0].row()])
