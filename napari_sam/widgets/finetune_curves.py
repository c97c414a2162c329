"""Curves of a training run, drawn as it goes on."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_sam.live.figures import Curve, ticks

__all__ = ["Curves"]

_COLOURS = ("#3d8bd8", "#d9772b", "#3f9d57")
"""Told apart on dark and on light ground; the dashes tell them apart without colours."""

_DASHES = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine)


class Curves(QWidget):
    """A few curves over the steps, with a title, and what each is.

    Parameters
    ----------
    title : str
        What is drawn, and in what unit.
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title, self._steps = title, 1.0
        self._curves: Sequence[Curve] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(title)

    def show_curves(self, curves: Sequence[Curve], steps: int) -> None:
        """Draw these in place of those before.

        Parameters
        ----------
        curves : sequence of Curve
            At most three.
        steps : int
            Of the whole run.
        """
        self._curves, self._steps = curves, max(1, steps)
        self.setToolTip("\n".join(map(_last, curves)))
        self.update()

    def sizeHint(self) -> QSize:
        """Ask for room in lines of text, whatever its size."""
        text = self.fontMetrics()
        return QSize(text.averageCharWidth() * 30, text.height() * 8)

    def minimumSizeHint(self) -> QSize:
        """Be as narrow as the panel."""
        return QSize(self.fontMetrics().averageCharWidth() * 16, self.sizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw axes, curves, and what they are."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text, ink = self.fontMetrics(), self.palette().color(self.foregroundRole())
        faint = QColor(ink)
        faint.setAlphaF(0.3)
        values = [value for curve in self._curves for value in curve.values]
        marks = ticks(min(values), max(values)) if values else (0.0, 1.0)
        left = max(text.horizontalAdvance(f"{mark:g}") for mark in marks) + 8
        area = QRectF(self.rect()).adjusted(left, text.height() * 2.3, -8, -text.height() * 1.3)
        painter.setPen(ink)
        self._write_title(painter)
        for mark in marks:
            y = _between(mark, marks, area.bottom(), area.top())
            painter.setPen(faint)
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(ink)
            box = QRectF(0, y - text.height() / 2, left - 4, text.height())
            painter.drawText(box, Qt.AlignmentFlag.AlignRight, f"{mark:g}")
        below = QRectF(area.left(), area.bottom() + 2, area.width(), text.height())
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "0")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"{self._steps:g} steps")
        for number, curve in enumerate(self._curves):
            self._draw(painter, number, curve, marks, area)
        painter.end()

    def _draw(
        self,
        painter: QPainter,
        number: int,
        curve: Curve,
        marks: Sequence[float],
        area: QRectF,
    ) -> None:
        painter.setPen(_pen(number))
        places = [
            QPointF(
                area.left() + area.width() * step / self._steps,
                _between(value, marks, area.bottom(), area.top()),
            )
            for step, value in zip(curve.steps, curve.values, strict=True)
        ]
        painter.drawPolyline(QPolygonF(places))
        if curve.marked:
            painter.setBrush(QColor(_COLOURS[number]))
            for place in places:
                painter.drawEllipse(place, 2.5, 2.5)
            painter.setBrush(Qt.BrushStyle.NoBrush)

    def _write_title(self, painter: QPainter) -> None:
        """Write what is drawn, and below it which line is what."""
        text, x = self.fontMetrics(), 4.0
        painter.drawText(QPointF(x, text.ascent()), self._title)
        if len(self._curves) < 2:
            return
        baseline = text.height() + text.ascent()
        for number, curve in enumerate(self._curves):
            ink, line = painter.pen(), text.averageCharWidth() * 3.0
            painter.setPen(_pen(number))
            middle = baseline - text.xHeight() / 2
            painter.drawLine(QPointF(x, middle), QPointF(x + line, middle))
            painter.setPen(ink)
            painter.drawText(QPointF(x + line + 4, baseline), curve.name)
            x += line + text.horizontalAdvance(curve.name) + 4 + text.averageCharWidth() * 2


def _pen(number: int) -> QPen:
    pen = QPen(QColor(_COLOURS[number]), 2.0)
    pen.setStyle(_DASHES[number])
    return pen


def _between(value: float, marks: Sequence[float], low: float, high: float) -> float:
    return low + (high - low) * (value - marks[0]) / (marks[-1] - marks[0])


def _last(curve: Curve) -> str:
    return f"{curve.name}: {curve.values[-1]:.3f} at step {curve.steps[-1]:g}"
