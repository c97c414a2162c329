"""A picture in a panel, as wide as that."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QMouseEvent, QPainter, QPaintEvent, QPixmap
from qtpy.QtWidgets import QSizePolicy, QWidget

from .browsing import open_outside

__all__ = ["PicturePane"]

_HIGHEST = 3
"""Times its width that a picture is high at most."""


class PicturePane(QWidget):
    """Shows a picture in its proportions; a double click opens it outside of napari."""

    def __init__(self) -> None:
        super().__init__()
        self._picture = QPixmap()
        self._path: Path | None = None
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.hide()

    @property
    def path(self) -> Path | None:
        """The file that is shown."""
        return self._path

    def show_file(self, path: Path | None) -> None:
        """Show a picture; with None, or one that cannot be read, nothing."""
        if path == self._path:
            return
        picture = QPixmap() if path is None else QPixmap(str(path))
        self._picture, self._path = picture, None if picture.isNull() else path
        self.setToolTip("" if path is None else f"{path.name}; a double click opens it")
        self.setVisible(not picture.isNull())
        self.updateGeometry()
        self.update()

    def hasHeightForWidth(self) -> bool:
        """Be as high as the width asks for."""
        return not self._picture.isNull()

    def heightForWidth(self, width: int) -> int:
        """Return the height of the picture at a width."""
        if self._picture.isNull():
            return 0
        width = min(width, self._picture.width())
        height = round(width * self._picture.height() / self._picture.width())
        return min(height, _HIGHEST * max(width, 1))

    def sizeHint(self) -> QSize:
        """Ask for no more width than there is."""
        width = self.fontMetrics().averageCharWidth() * 30
        return QSize(width, self.heightForWidth(width))

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Open the picture with what the system opens pictures with."""
        if self._path is not None:
            open_outside(self._path)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw it as large as it fits, not larger than it is."""
        if self._picture.isNull():
            return
        ratio = self.devicePixelRatioF()
        room = self.size().boundedTo(self._picture.size())
        size = self._picture.size().scaled(room, Qt.AspectRatioMode.KeepAspectRatio)
        scaled = self._picture.scaled(
            size * ratio,
            Qt.AspectRatioMode.KeepAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        )
        painter = QPainter(self)
        painter.drawPixmap(QRect(0, 0, size.width(), size.height()), scaled)
        painter.end()
