"""Letters at the edges of the canvas that say which side of the patient lies there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QLabel

from napari_sam.scenes.turning import looked_along
from napari_sam.scenes.volume_grid import VolumeGrid

from .pointer import along_of, axes_shown
from .window import canvas, unwrapped

if TYPE_CHECKING:
    import napari

__all__ = ["Orientation", "show_orientation", "sides_of"]

_NAME = "napari-sam-orientation"
_AWAY = 8
"""Pixels from the edge of the canvas."""

_STYLE = (
    "color: #ffd75f; background: rgba(0, 0, 0, 110); border-radius: 4px; padding: 1px 5px;"
    "font-size: 15px; font-weight: bold;"
)
_WORDS = {
    "R": "right of the patient",
    "L": "left of the patient",
    "A": "front of the patient (anterior)",
    "P": "back of the patient (posterior)",
    "S": "head (superior)",
    "I": "feet (inferior)",
}

_Side = tuple[str, str]


def show_orientation(viewer: napari.Viewer) -> Orientation:
    """Show the letters in a viewer from now on, whenever it shows a medical volume.

    Parameters
    ----------
    viewer : napari.Viewer
        With a window. Asked twice, nothing is made again.
    """
    viewer = unwrapped(viewer)
    found = canvas(viewer).findChild(Orientation, _NAME)
    return Orientation(viewer) if found is None else found


class Orientation(QObject):
    """Four letters over the canvas; they follow the layers, the axes displayed and the camera.

    Nearly always they are exact; of an oblique volume they name the nearest direction.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__(canvas(viewer))
        self.setObjectName(_NAME)
        self._viewer, self._canvas = viewer, canvas(viewer)
        self.labels = {edge: self._label() for edge in ("top", "bottom", "left", "right")}
        self._followed: list[Image] = []
        self._canvas.installEventFilter(self)
        dims, layers = viewer.dims.events, viewer.layers
        for signal in (dims.order, dims.ndisplay, viewer.scene.camera.events.orientation):
            signal.connect(self._refresh)
        for signal in (layers.events.inserted, layers.events.removed, layers.events.reordered):
            signal.connect(self._follow)
        layers.selection.events.active.connect(self._refresh)
        self._follow()

    @property
    def letters(self) -> dict[str, str]:
        """What is shown at each edge; empty where nothing is."""
        return {edge: label.text() for edge, label in self.labels.items() if not label.isHidden()}

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Keep the letters at the edges."""
        if event is not None and event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _label(self) -> QLabel:
        label = QLabel(self._canvas)
        label.setStyleSheet(_STYLE)
        label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        label.hide()
        return label

    def _follow(self, event: Any = None) -> None:
        """Listen to the volumes that there are now."""
        for layer in self._followed:
            for signal in _signals(layer):
                signal.disconnect(self._refresh)
        self._followed = [layer for layer in self._viewer.layers if grid_of(layer) is not None]
        for layer in self._followed:
            for signal in _signals(layer):
                signal.connect(self._refresh)
        self._refresh()

    def _refresh(self, event: Any = None) -> None:
        sides = self._sides()
        for edge, label in self.labels.items():
            letter = sides.get(edge, "")
            label.setVisible(bool(letter))
            label.setText(letter)
            label.setAccessibleName(_WORDS.get(letter, ""))
            label.adjustSize()
        self._place()

    def _sides(self) -> dict[str, str]:
        viewer = self._viewer
        layer = self._shown()
        if layer is None or viewer.dims.ndisplay != 2:
            return {}
        down, across = (sides_of(layer, viewer.dims.ndim, axis) for axis in viewer.dims.displayed)
        vertical, horizontal = viewer.scene.camera.orientation2d
        if str(vertical) == "up":
            down = down[::-1]
        if str(horizontal) == "left":
            across = across[::-1]
        return dict(zip(("top", "bottom", "left", "right"), (*down, *across), strict=True))

    def _shown(self) -> Image | None:
        """Return the volume that the letters are of: the active one, else the topmost visible."""
        active = self._viewer.layers.selection.active
        there = [layer for layer in self._followed if layer.visible and grid_of(layer) is not None]
        return active if active in there else there[-1] if there else None

    def _place(self) -> None:
        width, height = self._canvas.width(), self._canvas.height()
        for edge, label in self.labels.items():
            x, y = (width - label.width()) // 2, (height - label.height()) // 2
            if edge in ("top", "bottom"):
                y = _AWAY if edge == "top" else height - label.height() - _AWAY
            else:
                x = _AWAY if edge == "left" else width - label.width() - _AWAY
            label.move(x, y)


def grid_of(layer: Any) -> VolumeGrid | None:
    """Return where a layer lies in the patient, as long as it shows what was read."""
    if not isinstance(layer, Image) or layer.metadata.get("image_data") is not layer.data_raw:
        return None
    grid = layer.metadata.get("image_grid")
    return grid if isinstance(grid, VolumeGrid) else None


def sides_of(layer: Image, world_axes: int, axis: int) -> _Side:
    """Return the letters at the low and the high end of an axis of the world.

    Parameters
    ----------
    layer : Image
        A volume with a grid.
    world_axes : int
        How many axes the world has; the last ones are the layer's.
    axis : int
        Of the world.

    Returns
    -------
    (str, str)
        Empty for an axis that is none of the volume's, such as time.
    """
    grid = grid_of(layer)
    number = axis - (world_axes - layer.ndim)
    if grid is None or number < 0:
        return "", ""
    origin = np.array(layer.data_to_world(np.zeros(layer.ndim)))
    steps = [np.array(layer.data_to_world(unit)) - origin for unit in np.eye(layer.ndim)]
    # A person may have turned or mirrored the layer.
    nearest = int(np.argmax([abs(step[number]) / np.linalg.norm(step) for step in steps]))
    letter = axes_shown(layer)[nearest]
    if letter not in "ZYX":
        return "", ""
    low, high = grid.ends(looked_along("ZYX", along_of(layer), layer.name).index(letter))
    return (low, high) if steps[nearest][number] > 0 else (high, low)


def _signals(layer: Image) -> tuple[Any, ...]:
    events = layer.events
    return (
        events.visible,
        events.data,
        events.scale,
        events.rotate,
        events.shear,
        events.affine,
    )
