"""The figures of two models side by side."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_sam.live.lesson_results import Line

__all__ = ["FigureTable"]

_COLUMNS = ("", "Before", "After", "Difference")

_MARKS = {"better": "▲ ", "worse": "▼ ", "same": ""}

_ROWS = 9
"""That are seen at once."""


class FigureTable(QTableWidget):
    """Figures before and after, and what the interval of their difference says."""

    def __init__(self) -> None:
        super().__init__(0, len(_COLUMNS))
        self.setHorizontalHeaderLabels(_COLUMNS)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setTabKeyNavigation(False)  # Tab leads on to the buttons
        self.setToolTip(
            "On the hold-out. ▲ better and ▼ worse: the whole 95 % interval of the difference lies "
            "on that side of 0; without a mark it may be chance"
        )
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(self.fontMetrics().averageCharWidth() * 6)

    def show_lines(self, lines: Sequence[Line]) -> None:
        """List these; intervals are told by tooltips."""
        self.setRowCount(len(lines))
        for row, line in enumerate(lines):
            values = line.before, line.after, line.difference
            texts = [value.split(" ")[0] for value in values]
            texts[2] = _MARKS[line.marker] + texts[2]
            tip = f"{line.name}\n{line.before} before, {line.after} after\n{line.difference}"
            for column, text in enumerate((line.name, *texts)):
                item = QTableWidgetItem(text)
                item.setToolTip(tip)
                if column:
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                if line.marker != "same":
                    font = item.font()
                    font.setBold(True)
                    item.setFont(font)
                self.setItem(row, column, item)
        seen = min(max(len(lines), 3), _ROWS)
        head = self.horizontalHeader().sizeHint().height()
        self.setFixedHeight(
            head + seen * self.verticalHeader().defaultSectionSize() + 2 * self.frameWidth()
        )
