"""The controls of the widget that shows how far an image is encoded; what they do is in `embed`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QCheckBox,
    QGroupBox,
    QLabel,
    QListWidget,
    QProgressBar,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from .controls import button, combo, in_a_row, labelled, legend, scrolling
from .search_regions import RegionChoice
from .tile_overlay import COLOURS

if TYPE_CHECKING:
    from .attached import Attachment

__all__ = ["EmbedControls"]


class EmbedControls(QWidget):
    """All that can be seen and pressed.

    Parameters
    ----------
    attachment : Attachment
        Of the viewer, for the regions that are offered.
    """

    def __init__(self, attachment: Attachment) -> None:
        super().__init__()
        self.attachment = attachment
        self.title, self.said = _words(), _words()
        self.open = button(
            "Start with the image", "Open the selected image, or go on with what was kept of it"
        )
        self.bar = QProgressBar()
        self.bar.setFormat("%v of %m tiles")
        self.bar.setToolTip("Tiles of all levels that are encoded, or show nothing")
        self.view = button(
            "Embed what I see", "Encode all tiles in view, of all levels, before anything else"
        )
        self.all = button(
            "Embed all", "Encode the whole image; what it takes is told before, if it is much"
        )
        self.pause = button("Pause", "")
        self.stop = button("Stop", "Stop after the tile in hand, and forget what was asked for")
        self.question = _words()
        self.yes = button("Embed", "Begin; it can be paused at any time")
        self.no = button("Leave it", "Encode only what is in view")
        self.failed = QListWidget()
        self.failed.setToolTip("Double-click to go there")
        self.failed.setWordWrap(True)
        self.again = button("Try again", "Encode the tiles again that failed")
        self.shown = QCheckBox("Tiles over the image")
        self.shown.setChecked(True)
        self.shown.setToolTip("Those of the finest level of which not too many are in view")
        self.region = RegionChoice(attachment)
        self.region.setToolTip("Tiles that share area with it are encoded")
        self.levels = combo(
            (),
            "0 is full resolution, each next level half as fine: small objects are found at level "
            "0, large ones at coarser levels",
        )
        self.these = button("Embed these", "Encode the tiles of these levels in the region")
        self.disk, self.notes = _words(), _words()
        for text in (self.disk, self.notes):
            text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.now = _below(
            self.bar, self.said, in_a_row(self.view, self.all), in_a_row(self.pause, self.stop)
        )
        self.ask = _group("Before it begins", self.question, in_a_row(self.yes, self.no))
        self.trouble = _group("Tiles that failed", self.failed, self.again)
        self.part = _group(
            "Only a part", labelled(("Region", self.region), ("Levels", self.levels)), self.these
        )
        self.about = _group("Where it is kept", self.disk, self.notes)
        self.tiles = _below(
            self.shown,
            legend({name: QColor.fromRgbF(*colours[1]) for name, colours in COLOURS.items()}),
        )
        scrolling(
            self,
            self.title,
            self.open,
            self.now,
            self.ask,
            self.trouble,
            self.tiles,
            self.part,
            self.about,
        )


def _words() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    # A long path must not make the window wide.
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label


def _below(*widgets: QWidget) -> QWidget:
    column = QWidget()
    layout = QVBoxLayout(column)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return column


def _group(title: str, *widgets: QWidget) -> QGroupBox:
    group = QGroupBox(title)
    layout = QVBoxLayout(group)
    for widget in widgets:
        layout.addWidget(widget)
    return group
