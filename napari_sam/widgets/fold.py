"""A part of a panel that can be folded away."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSizePolicy, QToolButton, QVBoxLayout, QWidget

__all__ = ["Fold"]


class Fold(QWidget):
    """A head to click on, and below it what is shown or hidden.

    Parameters
    ----------
    title : str
        Of the head.
    *parts : QWidget
        Below each other.
    opened : bool
        Whether they are shown at first.
    """

    def __init__(self, title: str, *parts: QWidget, opened: bool = False) -> None:
        super().__init__()
        self.head = QToolButton()
        self.head.setText(title)
        self.head.setCheckable(True)
        self.head.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.head.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        font = self.head.font()
        font.setBold(True)
        self.head.setFont(font)
        self.body = QWidget()
        inner = QVBoxLayout(self.body)
        inner.setContentsMargins(8, 2, 0, 6)
        for part in parts:
            inner.addWidget(part)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.head)
        layout.addWidget(self.body)
        self.head.toggled.connect(self._show)
        self.head.setChecked(opened)
        self._show(opened)

    @property
    def opened(self) -> bool:
        """Whether what is below the head is shown."""
        return self.head.isChecked()

    def open(self, opened: bool = True) -> None:
        """Show what is below the head, or hide it."""
        self.head.setChecked(opened)

    def _show(self, opened: bool) -> None:
        self.head.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)
        self.body.setVisible(opened)
