"""Small parts that all widgets are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QColor, QPixmap
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

__all__ = [
    "LayerList",
    "Message",
    "add_row",
    "button",
    "combo",
    "in_a_row",
    "labelled",
    "legend",
    "scrolling",
    "separator",
]


class Message(QLabel):
    """The last thing that was said, below the controls."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setAccessibleName("message")

    def tell(self, level: str, sentence: str) -> None:
        """Show a sentence; a warning or an error is marked by a word, not by a colour alone."""
        self.setText(sentence if level == "info" else f"<b>{level.capitalize()}:</b> {sentence}")


def button(
    text: str, tooltip: str, clicked: Callable[[], object] | None = None, checkable: bool = False
) -> QPushButton:
    """Make a button; `clicked` gets no arguments."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setCheckable(checkable)
    if clicked is not None:
        made.clicked.connect(lambda *_: clicked())
    return made


def combo(choices: Iterable[tuple[str, object]], tooltip: str) -> QComboBox:
    """Make a list to choose from, of texts and what they stand for."""
    made = QComboBox()
    made.setToolTip(tooltip)
    made.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    for text, meaning in choices:
        made.addItem(text, meaning)
    return made


class LayerList(QComboBox):
    """A list of layers to choose from, which is told what there are."""

    def __init__(self, tooltip: str) -> None:
        super().__init__()
        self.setToolTip(tooltip)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.layers: list[Any] = []  # Qt need not hold what is not its own

    @property
    def layer(self) -> Any:
        """The layer that is chosen, None if there is none."""
        index = self.currentIndex()
        return self.layers[index] if 0 <= index < len(self.layers) else None

    def list_layers(self, layers: Iterable[Any]) -> None:
        """Offer these layers; the one that is chosen stays so, if it is among them."""
        chosen, there = self.layer, list(layers)
        self.blockSignals(True)
        self.clear()
        self.layers = there
        self.addItems([layer.name for layer in there])
        self.choose(chosen)
        self.blockSignals(False)

    def choose(self, layer: Any) -> None:
        """Choose a layer, if it is there."""
        for index, one in enumerate(self.layers):
            if one is layer:
                self.setCurrentIndex(index)


def in_a_row(*widgets: QWidget) -> QWidget:
    """Put widgets beside each other."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return row


def labelled(*rows: tuple[str, QWidget]) -> QWidget:
    """Put widgets below each other, each with a label that leads to it."""
    form = QWidget()
    layout = QFormLayout(form)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for text, widget in rows:
        add_row(layout, text, widget)
    return form


def add_row(layout: QFormLayout, text: str, widget: QWidget) -> None:
    """Add a widget and its label, which has the same tooltip."""
    label = QLabel(text)
    label.setBuddy(widget)
    label.setToolTip(widget.toolTip())
    layout.addRow(label, widget)


def legend(colours: Mapping[str, QColor]) -> QWidget:
    """Say what colours mean, two in a row."""
    made = QWidget()
    grid = QGridLayout(made)
    grid.setContentsMargins(0, 0, 0, 0)
    side = made.fontMetrics().height() * 2 // 3
    for number, (name, colour) in enumerate(colours.items()):
        pixels = QPixmap(side, side)
        pixels.fill(colour)
        icon = QLabel()
        icon.setPixmap(pixels)
        row, col = divmod(number, 2)
        grid.addWidget(icon, row, 2 * col)
        grid.addWidget(QLabel(name), row, 2 * col + 1)
    grid.setColumnStretch(1, 1)
    grid.setColumnStretch(3, 1)
    return made


def separator() -> QFrame:
    """Make a thin line."""
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    return line


class _Column(QScrollArea):
    """Scrolls up and down; it is as wide as what is in it, of which nothing is cut off."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take notice of what is in it coming and going."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))

    def minimumSizeHint(self) -> QSize:
        """Leave room for the bar."""
        inner, bar = self.widget(), self.verticalScrollBar()
        width = 0 if inner is None else inner.minimumSizeHint().width()
        return QSize(width + bar.sizeHint().width(), super().minimumSizeHint().height())


def scrolling(widget: QWidget, *parts: QWidget) -> None:
    """Fill a widget with parts below each other, which can be scrolled where there is no room."""
    inner = QWidget()
    layout = QVBoxLayout(inner)
    for part in parts:
        layout.addWidget(part)
    layout.addStretch(1)
    area = _Column()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(inner)
    outer = QVBoxLayout(widget)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(area)
