"""The mouse on the image: clicks are prompts, and the layers keep all the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer

from . import commands

if TYPE_CHECKING:
    from .attached import Attachment

__all__ = ["Clicks"]

_SLACK = 4
"""Screen pixels by which a hand slips during a click."""

_MODIFIERS = ("Control", "Shift", "Alt", "Meta")

_RESTING = 40
"""Milliseconds that a pointer rests before it is asked what is under it."""


class Clicks(QObject):
    """Turns clicks on the canvas into prompts while the active layer only moves the camera.

    | click | means |
    |---|---|
    | left | on the object (or not on it, after T) |
    | Ctrl (Cmd) + left | the other of both |
    | Shift + left | pick an object, to delete, merge, split or correct it |
    | Alt + left | correct the object there |
    """

    def __init__(self, attachment: Attachment) -> None:
        super().__init__(attachment)
        self._attachment = attachment
        self._rest, self._place = QTimer(self), (0.0, 0.0)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_RESTING)
        self._rest.timeout.connect(self._look)
        viewer = attachment.viewer
        viewer.mouse_drag_callbacks.append(self._pressed)
        viewer.mouse_move_callbacks.append(self._moved)

    def close(self) -> None:
        """Let go of the mouse."""
        self._rest.stop()
        viewer = self._attachment.viewer
        if self._pressed in viewer.mouse_drag_callbacks:
            viewer.mouse_drag_callbacks.remove(self._pressed)
            viewer.mouse_move_callbacks.remove(self._moved)

    @property
    def listening(self) -> bool:
        """Whether a click would be a prompt."""
        attachment = self._attachment
        if attachment.workplace is None or not attachment.intent.clicking:
            return False
        active = attachment.viewer.layers.selection.active
        return active is None or str(active.mode) == "pan_zoom"

    def _pressed(self, viewer: Any, event: Any) -> Iterator[None]:
        if event.button != 1 or not self.listening:
            return
        began, world = tuple(event.pos), tuple(event.position)
        held = frozenset(name for name in _MODIFIERS if name in event.modifiers)
        yield
        while event.type == "mouse_move":
            if max(abs(event.pos[0] - began[0]), abs(event.pos[1] - began[1])) > _SLACK:
                return  # the camera is moved
            yield
        self._clicked(world, held)

    def _clicked(self, world: tuple[float, ...], held: frozenset[str]) -> None:
        attachment = self._attachment
        if not attachment.here():
            return
        place = self._place_of(world)
        if place is None:
            return
        if held <= {"Control"}:
            other = "Control" in held
            commands.point(attachment, *place, attachment.intent.foreground != other)
        elif held == {"Shift"}:
            self._pick(*place)
        elif held == {"Alt"}:
            found = self._object_at(*place)
            if found is not None:
                commands.correct(attachment, found)

    def _pick(self, row: float, col: float) -> None:
        found, intent = self._object_at(row, col), self._attachment.intent
        if found is None:
            intent.set(picked=())
        elif found in intent.picked:
            intent.set(picked=tuple(number for number in intent.picked if number != found))
        else:
            intent.set(picked=(*intent.picked, found))

    def _object_at(self, row: float, col: float) -> int | None:
        workplace = self._attachment.workplace
        assert workplace is not None
        found = workplace.session.object_at(row, col)
        if found is None:
            self._attachment.say("There is no object here.")
        return found

    def _moved(self, viewer: Any, event: Any) -> None:
        attachment = self._attachment
        if not (attachment.intent.hover and self.listening) or attachment.askew() is not None:
            return
        attachment.offers.look_away()
        place = self._place_of(tuple(event.position))
        if place is None:
            self._rest.stop()
        else:
            self._place = place
            self._rest.start()

    def _look(self) -> None:
        attachment = self._attachment
        # Where masks are slow, the pointer would drag them behind it.
        if attachment.workplace is not None and attachment.offers.is_quick:
            attachment.offers.look(*self._place, attachment.workplace.segmenter)

    def _place_of(self, world: tuple[float, ...]) -> tuple[float, float] | None:
        """Return the pixel of a place in the world, None outside of the image."""
        attachment = self._attachment
        assert attachment.workplace is not None
        row, col = attachment.to_scene(world)
        rows, cols = attachment.workplace.scene.shape
        inside = -0.5 <= row < rows - 0.5 and -0.5 <= col < cols - 0.5
        return (row, col) if inside else None
