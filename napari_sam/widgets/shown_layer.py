"""Layers that show something over an image: a person can remove them, and not change them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from napari.layers import Layer, Shapes

from napari_sam.tiles.regions import Region

from .frame import placed_like

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

__all__ = ["ShownLayer", "add_quietly", "line_width", "lock", "rectangles"]

_WIDTH = 2.0
"""Of lines, in pixels of the screen when they are drawn."""

L = TypeVar("L", bound=Layer)


class ShownLayer(Generic[L]):
    """One layer, made when there is something to show.

    Parameters
    ----------
    viewer : napari.Viewer
        Where.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._layer: L | None = None

    @property
    def layer(self) -> L | None:
        """The layer, if it is there."""
        there = self._layer is not None and self._layer in self._viewer.layers
        return self._layer if there else None

    def clear(self) -> None:
        """Take the layer away."""
        layer, self._layer = self.layer, None
        if layer is not None:
            self._viewer.layers.remove(layer)

    def _put(self, layer: L, above: Layer | None = None) -> None:
        """Show a layer, above another one or on top."""
        self._layer = layer
        lock(layer)
        add_quietly(self._viewer, layer, above)


def lock(layer: Layer) -> None:
    """Keep a layer from being changed by hand, also where napari would allow it again."""
    layer.editable = False
    layer.events.editable.connect(_refuse)


def _refuse(event: Any) -> None:
    event.source.editable = False


def add_quietly(viewer: napari.Viewer, layer: Layer, above: Layer | None = None) -> None:
    """Add a layer above another one, or on top; the person's tool and layer stay what they are."""
    layers = viewer.layers
    chosen, active = set(layers.selection), layers.selection.active
    layers.insert(len(layers) if above is None else layers.index(above) + 1, layer)
    layers.selection.clear()
    layers.selection.update(chosen)
    layers.selection.active = active


def line_width(viewer: napari.Viewer, affine: np.ndarray) -> float:
    """Return how wide a line is in a layer's pixels that is thin on the screen now.

    Parameters
    ----------
    viewer : napari.Viewer
        Where it is drawn.
    affine : (3, 3) array
        Of the layer.
    """
    size = abs(float(affine[:2, :2].diagonal().max())) or 1.0
    return _WIDTH / (viewer.scene.camera.zoom * size)


def rectangles(
    viewer: napari.Viewer, image: Image, regions: Sequence[Region], **looks: Any
) -> Shapes:
    """Make a layer of rectangles around whole pixels of an image.

    Parameters
    ----------
    viewer : napari.Viewer
        Where they will be drawn.
    image : Image
        The image.
    regions : sequence of Region
        In pixels of level 0; at least one.
    **looks
        As `napari.layers.Shapes` takes them.
    """
    options = placed_like(viewer, image)
    return Shapes(
        [np.array(region.border) for region in regions],
        shape_type="rectangle",
        edge_width=line_width(viewer, options["affine"]),
        **looks,
        **options,
    )
