"""A cell for each plane of a stack or film: how sure it is there that it is the same object."""

from __future__ import annotations

from collections.abc import Sequence

from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import (
    QBrush,
    QColor,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
)
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_sam.live.track_cells import Cell

__all__ = ["ConfidenceStrip", "summary"]

_LINES = 2.2
"""Its height, in lines of text."""

_LEAST = 0.15
"""Height of the bar of what nothing speaks for, as a share of the whole."""

_GAP = 8.0
"""Pixels of a cell from which there is a gap between two."""

_COLOURS = ensure_colormap("viridis")
"""From unsure to sure: of rising brightness, whatever colours a person can tell apart."""


class ConfidenceStrip(QWidget):
    """Shows an object in all planes; a click, or an arrow key, goes to one.

    The higher and brighter a bar is, the surer. A full bar with a dot is fixed; a hatched one is
    the shape between its neighbours; a cross is where the object was looked for and not found. A
    frame is around the plane that is shown.
    """

    chosen = Signal(object)
    """(t, z) of a plane to go to."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: tuple[Cell, ...] = ()
        self.shown: tuple[int, int] | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("planes of the object")

    def show_cells(self, cells: Sequence[Cell], shown: tuple[int, int] | None) -> None:
        """Show these cells, and a frame around one plane."""
        self.cells, self.shown = tuple(cells), shown
        self.setAccessibleDescription(summary(cells))
        self.update()

    def replace(self, cell: Cell) -> None:
        """Show a cell in place of that of its plane."""
        self.cells = tuple(cell if one.plane == cell.plane else one for one in self.cells)
        self.update()

    def cell_at(self, x: float) -> Cell | None:
        """Return the cell under a position of the mouse."""
        if not self.cells or not 0 <= x < self.width():
            return None
        return self.cells[int(x * len(self.cells) / self.width())]

    def middle_of(self, plane: tuple[int, int]) -> QPointF:
        """Return where the cell of a plane is, in the strip."""
        place = [cell.plane for cell in self.cells].index(plane)
        return self._rect(place).center()

    def sizeHint(self) -> QSize:
        """Leave room for bars."""
        return QSize(self.fontMetrics().averageCharWidth() * 30, self._height())

    def minimumSizeHint(self) -> QSize:
        """Be as high as ever, and as narrow as can be."""
        return QSize(self.fontMetrics().averageCharWidth() * 8, self._height())

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Go to the plane that is pressed on."""
        cell = self.cell_at(event.position().x())
        if cell is not None and event.button() == Qt.MouseButton.LeftButton:
            self.chosen.emit(cell.plane)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Go to the plane before or after."""
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        planes = [cell.plane for cell in self.cells]
        if step is None or self.shown not in planes:
            super().keyPressEvent(event)
            return
        place = planes.index(self.shown) + step
        if 0 <= place < len(planes):
            self.chosen.emit(planes[place])

    def event(self, event: QEvent) -> bool:
        """Say what the cell under the mouse is."""
        if isinstance(event, QHelpEvent):
            cell = self.cell_at(event.pos().x())
            QToolTip.showText(event.globalPos(), "" if cell is None else cell.note, self)
            return True
        return bool(super().event(event))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw all cells, and the frame last."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for place, cell in enumerate(self.cells):
            self._draw(painter, cell, self._rect(place))
        for place, cell in enumerate(self.cells):
            if cell.plane == self.shown:
                frame = self._rect(place).adjusted(0.5, 0.5, -0.5, -0.5)
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.setPen(QPen(self._ink(), 2))
                painter.drawRect(frame)
        painter.end()

    def _draw(self, painter: QPainter, cell: Cell, whole: QRectF) -> None:
        gap = 1.0 if whole.width() >= _GAP else 0.0
        inner = whole.adjusted(gap, 2, -gap, -2)
        ink = self._ink()
        faint = QColor(ink)
        faint.setAlphaF(0.12)
        painter.fillRect(inner, faint)
        if cell.kind in ("followed", "guessed"):
            sure = min(max(cell.confidence or 0.0, 0.0), 1.0)
            high = inner.height() * (_LEAST + (1 - _LEAST) * sure)
            bar = QRectF(inner.left(), inner.bottom() - high, inner.width(), high)
            painter.fillRect(bar, _colour(sure))
            if cell.kind == "guessed":
                painter.fillRect(bar, QBrush(ink, Qt.BrushStyle.BDiagPattern))
        elif cell.kind == "fixed":
            painter.fillRect(inner, _colour(1.0))
            side = min(inner.width(), inner.height()) * 0.4
            dot = QRectF(0, 0, side, side)
            dot.moveCenter(inner.center())
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor("black"))  # on the brightest of the colours
            painter.drawEllipse(dot)
        elif cell.kind == "lost":
            side = min(inner.width(), inner.height() * 0.5)
            cross = QRectF(0, 0, side, side)
            cross.moveCenter(inner.center())
            painter.setPen(QPen(ink, 1.5))
            painter.drawLine(cross.topLeft(), cross.bottomRight())
            painter.drawLine(cross.bottomLeft(), cross.topRight())

    def _rect(self, place: int) -> QRectF:
        wide = self.width() / max(1, len(self.cells))
        return QRectF(place * wide, 0, wide, self.height())

    def _ink(self) -> QColor:
        return self.palette().color(self.foregroundRole())

    def _height(self) -> int:
        return round(self.fontMetrics().height() * _LINES)


def summary(cells: Sequence[Cell]) -> str:
    """Say what a strip shows.

    Examples
    --------
    >>> summary([Cell((0, 0), "fixed"), Cell((0, 1), "followed", 0.5), Cell((0, 2), "lost")])
    'In 2 of 3 planes: 1 fixed, 1 followed, the least sure with 0.50.'
    """
    kinds = [cell.kind for cell in cells]
    there = [kind for kind in kinds if kind in ("fixed", "followed", "guessed")]
    if not there:
        return ""
    words = {"fixed": "fixed", "followed": "followed", "guessed": "between neighbours"}
    parts = [f"{there.count(kind)} {word}" for kind, word in words.items() if kind in there]
    sure = [cell.confidence for cell in cells if cell.confidence is not None]
    if sure:
        parts.append(f"the least sure with {min(sure):.2f}")
    return f"In {len(there)} of {len(cells)} planes: {', '.join(parts)}."


def _colour(sure: float) -> QColor:
    # The darkest of them could not be seen on a dark window.
    red, green, blue, _ = _COLOURS.map(0.2 + 0.75 * sure)[0]
    return QColor.fromRgbF(float(red), float(green), float(blue))
