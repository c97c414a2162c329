"""The parts of napari's window that have no public name; asked for here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from app_model.types import KeyBinding
from napari.utils.action_manager import action_manager
from napari.utils.key_bindings import coerce_keybinding
from qtpy.QtWidgets import QMainWindow, QWidget

if TYPE_CHECKING:
    import napari
    from vispy.scene import SceneCanvas

__all__ = ["canvas", "keys_of", "main_window", "scene_canvas", "unwrapped"]

T = TypeVar("T")


def unwrapped(thing: T) -> T:
    """Return what is behind the proxy in which napari hands things to plugins."""
    return cast(T, getattr(thing, "__wrapped__", thing))


def main_window(viewer: napari.Viewer) -> QMainWindow:
    """Return the window of a viewer."""
    return cast(QMainWindow, viewer.window._qt_window)


def canvas(viewer: napari.Viewer) -> QWidget:
    """Return the widget in which the layers are drawn, which gets the keys and the mouse."""
    return cast(QWidget, viewer.window._qt_viewer.canvas.native)


def scene_canvas(viewer: napari.Viewer) -> SceneCanvas:
    """Return what draws in that widget."""
    return viewer.window._qt_viewer.canvas._scene_canvas


def keys_of(action: str) -> list[KeyBinding]:
    """Return the keys that a person has for an action of napari now."""
    return [coerce_keybinding(key) for key in action_manager._shortcuts.get(action, [])]
