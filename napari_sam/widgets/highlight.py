"""An outline around the one object that a person looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Shapes

from napari_sam.session import MaskLike
from napari_sam.tiles.regions import Region

from .frame import placed_like
from .outlines import outline

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Layer

__all__ = ["HIGHLIGHT", "Highlight", "add_quietly", "lock", "with_room"]

HIGHLIGHT = "chosen object"
"""What its layer is called."""

_WIDTH = 2.0
"""Of the line, in pixels of the screen when it is drawn."""


class Highlight:
    """One outline in a layer of its own, made when it is needed.

    Parameters
    ----------
    viewer : napari.Viewer
        Where.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._layer: Shapes | None = None

    def show(self, image: Image, mask: MaskLike) -> None:
        """Draw a line around the largest part of a mask, in place of the one before."""
        self.clear()
        options = placed_like(self._viewer, image)
        size = abs(float(options["affine"][:2, :2].diagonal().max())) or 1.0
        self._layer = Shapes(
            [outline(mask)],
            shape_type="polygon",
            name=HIGHLIGHT,
            face_color="transparent",
            edge_color="white",
            edge_width=_WIDTH / (self._viewer.scene.camera.zoom * size),
            **options,
        )
        lock(self._layer)
        add_quietly(self._viewer, self._layer)

    def clear(self) -> None:
        """Take the outline away."""
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)


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


def with_room(region: Region, shape: tuple[int, int]) -> Region:
    """Return a region with as much around it again, to see an object among others.

    Examples
    --------
    >>> with_room(Region(10, 20, 20, 25), (100, 22))
    Region(row0=5, col0=17, row1=25, col1=22)
    """
    down, across = region.shape[0] // 2, -(-region.shape[1] // 2)
    grown = Region(
        max(0, region.row0 - down),
        max(0, region.col0 - across),
        region.row1 + down,
        region.col1 + across,
    )
    return grown & Region(0, 0, *shape)
