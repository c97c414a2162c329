"""What a person means to do next: for which object, on it or not, of which class."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_sam.session import Overlap

__all__ = ["Intent"]


class Intent(QObject):
    """Choices for what is pointed at and accepted next, shared by controls, keys and mouse.

    Attributes
    ----------
    object_id : int or None
        For which object prompts are; None for the one that was prompted last, or the next new one.
    foreground : bool
        Whether clicks and scribbles are on the object.
    class_name : str
        Of accepted objects; "" for none.
    overlap : {"keep_old", "take_new", "cut"}
        Who gets pixels that two objects claim.
    clicking : bool
        Whether clicks on the image are prompts.
    hover : bool
        Whether what is under the pointer is shown before a click.
    picked : tuple of int
        Objects to delete, merge, split or correct.
    """

    changed = Signal()

    object_id: int | None
    foreground: bool
    class_name: str
    overlap: Overlap
    clicking: bool
    hover: bool
    picked: tuple[int, ...]

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.object_id, self.picked = None, ()
        self.foreground, self.clicking, self.hover = True, True, False
        self.class_name, self.overlap = "", "keep_old"

    def set(self, **choices: Any) -> None:
        """Change some of the attributes, and tell it once if they are others than before."""
        before = {name: getattr(self, name) for name in choices}
        for name, choice in choices.items():
            setattr(self, name, choice)
        if before != choices:
            self.changed.emit()
