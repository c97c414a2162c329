"""How objects that were found are taken into the session."""

from __future__ import annotations

from qtpy.QtWidgets import QLineEdit, QVBoxLayout, QWidget

from napari_sam.session import Overlap

from .controls import button, combo, labelled

__all__ = ["KeepBox"]

_OVERLAPS: tuple[tuple[str, Overlap], ...] = (
    ("stay with the old objects", "keep_old"),
    ("go to the new objects", "take_new"),
    ("are divided between both", "cut"),
)


class KeepBox(QWidget):
    """Their class, who gets pixels that are taken already, and the button."""

    def __init__(self) -> None:
        super().__init__()
        self.keep = button(
            "Keep these", "Make all that are listed objects of the session: one step"
        )
        self._name = QLineEdit()
        self._name.setPlaceholderText("none")
        self._name.setToolTip("What the objects that are kept are, such as nucleus")
        self._overlap = combo(_OVERLAPS, "Who gets pixels that objects of the session have already")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(labelled(("Class", self._name), ("Shared pixels", self._overlap)))
        layout.addWidget(self.keep)

    @property
    def class_name(self) -> str | None:
        """What the objects are."""
        return self._name.text().strip() or None

    @property
    def overlap(self) -> Overlap:
        """Who gets pixels of others."""
        chosen: Overlap = self._overlap.currentData()
        return chosen

    def offer(self, count: int, enabled: bool) -> None:
        """Say how many objects there are to keep, and whether they can be kept now."""
        self.keep.setEnabled(enabled and count > 0)
        self.keep.setText(f"Keep these {count:,}" if count else "Keep these")
