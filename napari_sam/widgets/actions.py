"""The keys: actions of napari, which work whatever layer is active and leave text fields alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import napari
from app_model.backends.qt import qkeysequence2modelkeybinding
from napari.layers import Labels, Layer, Shapes
from napari.utils.action_manager import action_manager
from napari.utils.interactions import Shortcut
from napari.utils.key_bindings import coerce_keybinding
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent, QKeySequence

from . import commands, reviewing
from .window import canvas, keys_of, main_window

if TYPE_CHECKING:
    from .attached import Attachment

__all__ = ["ACTIONS", "Action", "Keys", "keys_in_words", "register", "with_keys"]


@dataclass(frozen=True)
class Action:
    """Something that a key does.

    Parameters
    ----------
    name : str
        For napari, after ``napari-sam:``.
    description : str
        What it does, for the help and napari's preferences.
    keys : tuple of str
        By default.
    run : callable
        Takes the attachment.
    is_due : callable
        Takes the attachment; False leaves the key to napari.
    """

    name: str
    description: str
    keys: tuple[str, ...]
    run: Callable[[Attachment], object]
    is_due: Callable[[Attachment], bool]

    @property
    def full_name(self) -> str:
        """The name that napari knows."""
        return f"napari-sam:{self.name}"


def _is_open(attachment: Attachment) -> bool:
    return attachment.workplace is not None


def _is_moving(attachment: Attachment) -> bool:
    """Tell whether the active layer only moves the camera, so that letters mean nothing to it."""
    active = attachment.viewer.layers.selection.active
    return _is_open(attachment) and (active is None or str(active.mode) == "pan_zoom")


def _has_prompts(attachment: Attachment) -> bool:
    workplace = attachment.workplace
    return workplace is not None and bool(workplace.session.prompts)


def _has_candidates(attachment: Attachment, count: int = 1) -> bool:
    if not _is_open(attachment):
        return False
    return len(attachment.offers.candidates.get(commands.target(attachment), ())) >= count


def _has_picked(attachment: Attachment) -> bool:
    return _is_open(attachment) and bool(attachment.intent.picked)


def _is_ours(attachment: Attachment) -> bool:
    """Tell whether undo is about the session, and not about a layer that is painted on."""
    active = attachment.viewer.layers.selection.active
    return _is_open(attachment) and not (
        isinstance(active, Labels) and str(active.mode) not in ("pan_zoom", "transform")
    )


def _help(attachment: Attachment) -> None:
    from .help import show_help

    show_help(attachment)


def _chooser(number: int) -> Action:
    return Action(
        f"choose_{number}",
        f"Choose candidate {number}",
        (str(number),),
        lambda attachment: commands.choose(attachment, number),
        partial(_has_candidates, count=number),
    )


ACTIONS = (
    Action(
        "accept", "Keep the candidate as an object", ("Enter", "C"), commands.accept, _has_prompts
    ),
    Action(
        "accept_all",
        "Keep the candidates of all objects that have prompts",
        ("Shift+Enter",),
        commands.accept_all,
        _has_prompts,
    ),
    Action("clear", "Remove the prompts of the object", ("Escape",), commands.clear, _has_prompts),
    _chooser(1),
    _chooser(2),
    _chooser(3),
    Action(
        "next_candidate",
        "Choose the next candidate",
        ("Tab",),
        commands.next_candidate,
        _has_candidates,
    ),
    Action(
        "toggle_polarity",
        "Let clicks be on the object, or on what does not belong to it",
        ("T",),
        commands.toggle_polarity,
        _is_open,
    ),
    Action(
        "new_object",
        "Prompt another object, and keep the prompts of this one",
        ("N",),
        commands.new_object,
        _is_moving,
    ),
    Action("undo", "Undo", ("Ctrl+Z",), commands.undo, _is_ours),
    Action("redo", "Redo", ("Ctrl+Shift+Z",), commands.redo, _is_ours),
    Action(
        "correct",
        "Correct the object under the pointer, or the one that is picked",
        ("E",),
        commands.correct_here,
        _is_moving,
    ),
    Action(
        "delete",
        "Delete the objects that are picked",
        ("Delete", "Backspace"),
        commands.delete,
        _has_picked,
    ),
    Action("merge", "Merge the objects that are picked", ("M",), commands.merge, _has_picked),
    Action(
        "split",
        "Split the object that is picked: along a line that was drawn, or into its parts",
        ("S",),
        commands.split,
        _has_picked,
    ),
    Action(
        "draw_points", "Prompt by clicks", ("Q",), partial(commands.draw, tool="click"), _is_open
    ),
    Action("draw_boxes", "Prompt by boxes", ("B",), partial(commands.draw, tool="box"), _is_open),
    *(
        Action(step.name, step.description, (step.key,), step.run, step.is_due)
        for step in reviewing.STEPS
    ),
    Action("help", "Show these keys", ("H",), _help, _is_open),
)
"""In the order in which the help lists them."""


def register() -> None:
    """Make the actions known to napari, which lets people change the keys, once for all windows."""
    for action in ACTIONS:
        if action.full_name in action_manager._actions:
            continue
        # Without a provider of keys: `Keys` looks them up, so that the active layer's come second.
        action_manager.register_action(action.full_name, _command(action), action.description, None)
        if not keys_of(action.full_name):
            for key in action.keys:
                action_manager.bind_shortcut(action.full_name, coerce_keybinding(key))


def _command(action: Action) -> Callable[[], None]:
    """Return what napari calls when it is asked to trigger an action by its name."""

    def command() -> None:
        from .attached import attach

        viewer = napari.current_viewer()
        if viewer is not None:
            action.run(attach(viewer))

    command.__name__ = action.name
    return command


def keys_in_words(action: Action) -> str:
    """Return the keys of an action as they are now, as they stand on the keyboard."""
    return ", ".join(Shortcut(key).platform for key in keys_of(action.full_name))


def with_keys(text: str, name: str) -> str:
    """Return the text of a button with the keys of its action, as they are now."""
    keys = next(keys_in_words(action) for action in ACTIONS if action.name == name)
    return f"{text} ({keys})" if keys else text


def _as_key(event: QEvent) -> QKeyEvent:
    """Return the event of a key as such."""
    if isinstance(event, QKeyEvent):
        return event
    # PyQt takes it for another event, of the mouse, that lay at the same address and that something
    # in Python still holds.
    sip: Any = import_module("qtpy.sip")
    return sip.wrapinstance(sip.unwrapinstance(event), QKeyEvent)


class Keys(QObject):
    """Sees the keys pressed in a window before napari does, but after text fields.

    A key is looked at where it is pressed only on the canvas; from other widgets it comes here when
    they have no use for it.
    """

    def __init__(self, attachment: Attachment) -> None:
        super().__init__(attachment)
        self._attachment = attachment
        self._watched: list[QObject] = [canvas(attachment.viewer), main_window(attachment.viewer)]
        register()
        for widget in self._watched:
            widget.installEventFilter(self)

    def close(self) -> None:
        """Let go of the keys."""
        for widget in self._watched:
            widget.removeEventFilter(self)
        self._watched.clear()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Run the action of a key, if it is due."""
        kind = event.type()
        if kind not in (QEvent.Type.KeyPress, QEvent.Type.ShortcutOverride):
            return False
        pressed = _as_key(event)
        action = self._action(pressed)
        if action is None:
            return False
        event.accept()  # of a ShortcutOverride it means: let the key come, whatever the menus have
        if kind == QEvent.Type.KeyPress and not pressed.isAutoRepeat():
            action.run(self._attachment)
        return True

    def _action(self, event: QKeyEvent) -> Action | None:
        """Return the action of a key, if it is due."""
        modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        key = Qt.Key(event.key())
        if key == Qt.Key.Key_Enter:  # of the keypad
            key = Qt.Key.Key_Return
        if key == Qt.Key.Key_unknown or self._is_drawing(key):
            return None
        try:
            sequence = QKeySequence(modifiers.value | key.value)
            pressed = qkeysequence2modelkeybinding(sequence)
        except (KeyError, ValueError, AttributeError):  # a key that napari has no name for
            return None
        for action in ACTIONS:
            if pressed in keys_of(action.full_name) and action.is_due(self._attachment):
                return action
        return None

    def _is_drawing(self, key: Qt.Key) -> bool:
        """Tell whether the active layer needs a key to end what is being drawn in it."""
        active: Layer | None = self._attachment.viewer.layers.selection.active
        ends = (Qt.Key.Key_Return, Qt.Key.Key_Escape, Qt.Key.Key_Backspace)
        drawing = isinstance(active, Shapes) and active._is_creating
        painting = isinstance(active, Labels) and str(active.mode) == "polygon"
        return key in ends and (drawing or painting)
