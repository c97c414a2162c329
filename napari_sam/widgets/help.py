"""The help: what keys and mouse do, as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QVBoxLayout, QWidget

from .actions import ACTIONS, keys_in_words
from .window import main_window

if TYPE_CHECKING:
    from .attached import Attachment

__all__ = ["HelpPopup", "show_help"]

_NAME = "napari-sam-help"

_MOUSE = (
    ("Click", "Add a prompt: on the object (or not on it, after T)"),
    ("Ctrl+click", "Add a prompt of the other kind (Cmd+click on a Mac)"),
    ("Shift+click", "Pick an object, or one more: to correct, delete, merge or split it"),
    ("Alt+click", "Correct the object under the pointer"),
    ("Drag", "Move the view"),
)


class HelpPopup(QDialog):
    """A list of keys and clicks, which stays open beside the work."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName(_NAME)
        self.setWindowTitle("Segment: keys and mouse")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.text = QLabel(_table())
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        note = QLabel("Keys can be changed in Preferences > Shortcuts > Viewer key bindings.")
        note.setWordWrap(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.close)
        layout = QVBoxLayout(self)
        for part in (self.text, note, buttons):
            layout.addWidget(part)


def show_help(attachment: Attachment) -> HelpPopup:
    """Show the help of a viewer, as its keys are now."""
    window = main_window(attachment.viewer)
    old = window.findChild(HelpPopup, _NAME)
    if old is not None:
        old.close()
    popup = HelpPopup(window)
    popup.show()
    return popup


def _table() -> str:
    rows = [(keys_in_words(action) or "no key", action.description) for action in ACTIONS]
    lines = "".join(
        f"<tr><td style='padding-right: 1em'><b>{keys}</b></td><td>{what}</td></tr>"
        for keys, what in (*_MOUSE, *rows)
    )
    return f"<table cellpadding='2'>{lines}</table>"
