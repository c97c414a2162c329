"""Where is searched: what is in view, a drawn shape, or everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Shapes
from qtpy.QtWidgets import QComboBox

from napari_sam.errors import InputError
from napari_sam.tiles.roi import Roi

from .highlight import HIGHLIGHT
from .outlines import ellipse
from .prompt_layers import SHAPES
from .teaching_blocks import BLOCKS

if TYPE_CHECKING:
    from .attached import Attachment

__all__ = ["RegionChoice", "drawn_outline", "region_layers"]

_OWN = (SHAPES, HIGHLIGHT, BLOCKS)
"""Layers of shapes that are no regions."""

_VIEW, _ALL = "What is in view", "The whole image"


class RegionChoice(QComboBox):
    """Offers what is in view, the whole image, and each layer of shapes.

    Parameters
    ----------
    attachment : Attachment
        Of the viewer.
    """

    def __init__(self, attachment: Attachment) -> None:
        super().__init__()
        self._attachment = attachment
        self.setToolTip(
            "Tiles that share area with the region are searched; objects whose centre lies in it "
            "are listed"
        )
        self.offer()

    def showPopup(self) -> None:
        """List what there is at that moment."""
        self.offer()
        super().showPopup()

    def roi(self) -> Roi | None:
        """Return the region in pixels of the scene; None for all of it.

        Raises
        ------
        InputError
            If nothing of the image is in view, or there is no one shape.
        """
        layer = self.currentData()
        if layer is not None:
            if layer not in self._attachment.viewer.layers:
                raise InputError(f"The layer {layer.name} is gone: choose another region.")
            return self._drawn(layer)
        if self.currentText() == _ALL:
            return None
        region = self._attachment.viewport()
        if not region.area:
            raise InputError("Nothing of the image is in view: move there, or choose all of it.")
        return region

    def _drawn(self, layer: Shapes) -> Roi:
        chosen = sorted(layer.selected_data) or range(len(layer.data))
        if len(chosen) != 1:
            raise InputError(
                f"{layer.name} has {len(layer.data)} shapes: select the one that is meant."
                if len(layer.data)
                else f"{layer.name} has no shapes: draw one around what is meant."
            )
        return drawn_outline(self._attachment, layer, next(iter(chosen)))

    def offer(self) -> None:
        """List the layers that there are, and keep the choice."""
        before = self.currentText()
        self.clear()
        self.addItem(_VIEW)
        self.addItem(_ALL)
        for layer in region_layers(self._attachment):
            self.addItem(f"The shape in {layer.name}", layer)
        self.setCurrentIndex(max(0, self.findText(before)))


def region_layers(attachment: Attachment) -> list[Shapes]:
    """Return the layers of shapes in which a person can have drawn regions."""
    return [
        layer
        for layer in attachment.viewer.layers
        if isinstance(layer, Shapes) and not layer.name.startswith(_OWN)
    ]


def drawn_outline(attachment: Attachment, layer: Shapes, index: int) -> np.ndarray:
    """Return the outline of a shape, (n, 2) vertices (row, col) in pixels of the scene.

    Raises
    ------
    InputError
        If it has no area.
    """
    kind = layer.shape_type[index]
    if kind in ("line", "path"):
        raise InputError(f"A {kind} has no area: draw a rectangle, an ellipse or a polygon.")
    vertices = np.array(
        [attachment.to_scene(layer.data_to_world(vertex)) for vertex in layer.data[index]]
    )
    return ellipse(vertices) if kind == "ellipse" else vertices
