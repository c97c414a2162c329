"""The candidates for an object, to choose from."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QWidget

from napari_sam.segment.objects import Candidate

__all__ = ["CandidateButtons"]

MOST = 3
"""As many as are ever offered."""


class CandidateButtons(QWidget):
    """A button for each candidate, with its score."""

    chosen = Signal(int)
    """Which, counted from 1 as on the buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.group = QButtonGroup(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for number in range(1, MOST + 1):
            button = QPushButton(str(number))
            button.setCheckable(True)
            layout.addWidget(button)
            self.group.addButton(button, number)
        self.group.idClicked.connect(self.chosen)
        self.setToolTip("The network's own guess of how well each mask fits (IoU, up to 1)")
        self.show_candidates((), 0)

    def show_candidates(self, candidates: Sequence[Candidate], choice: int) -> None:
        """Show the scores, and which is chosen, counted from 0."""
        for number in range(1, MOST + 1):
            button, there = self.group.button(number), number <= len(candidates)
            button.setEnabled(there)
            button.setText(str(number))
            button.setToolTip("")
            if there:
                one = candidates[number - 1]
                button.setText(f"{number}: {one.predicted_iou:.2f}")
                button.setToolTip(
                    f"{one.area:,} px; predicted IoU {one.predicted_iou:.3f}, stability "
                    f"{one.stability:.3f}"
                )
        self.group.setExclusive(False)
        for number in range(1, MOST + 1):
            self.group.button(number).setChecked(number == choice + 1 and bool(candidates))
        self.group.setExclusive(True)
