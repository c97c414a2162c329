"""What a model found in a block, over the image, to be looked at and taken away again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels

from napari_sam.live.look import Look

from .frame import placed_like
from .highlight import add_quietly, lock

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

__all__ = ["LookLayer"]


class LookLayer:
    """The layer, made when there is something to show.

    Parameters
    ----------
    viewer : napari.Viewer
        Where.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._layer: Labels | None = None

    @property
    def layer(self) -> Labels | None:
        """The layer, if it is there."""
        there = self._layer is not None and self._layer in self._viewer.layers
        return self._layer if there else None

    def show(self, image: Image, look: Look, name: str) -> None:
        """Show what was found in place of what was before."""
        self.clear()
        options, side = placed_like(self._viewer, image), 1 << look.level
        corner = np.array([look.region.row0, look.region.col0]) * side + (side - 1) / 2
        inside = np.eye(3)
        inside[:2, :2] *= side
        inside[:2, 2] = corner
        options["affine"] = options["affine"] @ inside
        self._layer = Labels(look.labels, name=name, opacity=0.6, **options)
        lock(self._layer)
        add_quietly(self._viewer, self._layer, image)

    def clear(self) -> None:
        """Take the layer away."""
        layer, self._layer = self.layer, None
        if layer is not None:
            self._viewer.layers.remove(layer)
