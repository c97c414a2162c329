"""The regions of an image that a round of the data engine proposes, as a layer of shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Shapes

from .frame import placed_like
from .highlight import add_quietly, lock

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

    from napari_sam.engine.rounds import ProposedRegion

__all__ = ["PROPOSED", "ProposedLayer"]

PROPOSED = "proposed regions"
"""What the layer is called."""

_COLOUR = "#e0b03c"

_WIDTH = 2.0
"""Of the lines, in pixels of the screen when they are drawn."""


class ProposedLayer:
    """A layer of rectangles; a person can remove it, and not change it.

    Parameters
    ----------
    viewer : napari.Viewer
        Where.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._layer: Shapes | None = None

    @property
    def layer(self) -> Shapes | None:
        """The layer, if it is there."""
        there = self._layer is not None and self._layer in self._viewer.layers
        return self._layer if there else None

    def show(self, image: Image, regions: Sequence[ProposedRegion]) -> None:
        """Draw these in place of those before; nothing if there are none."""
        self.clear()
        if not regions:
            return
        options = placed_like(self._viewer, image)
        size = abs(float(options["affine"][:2, :2].diagonal().max())) or 1.0
        self._layer = Shapes(
            [_corners(one) for one in regions],
            shape_type="rectangle",
            name=PROPOSED,
            face_color="transparent",
            edge_color=_COLOUR,
            edge_width=_WIDTH / (self._viewer.scene.camera.zoom * size),
            features={
                "score": [one.score for one in regions],
                "reason": [one.reason for one in regions],
            },
            **options,
        )
        lock(self._layer)
        add_quietly(self._viewer, self._layer)

    def clear(self) -> None:
        """Take the layer away."""
        layer, self._layer = self.layer, None
        if layer is not None:
            self._viewer.layers.remove(layer)


def _corners(one: ProposedRegion) -> np.ndarray:
    """Return the corners of the pixels' outer borders."""
    part = one.region
    low, high = (part.row0 - 0.5, part.col0 - 0.5), (part.row1 - 0.5, part.col1 - 0.5)
    return np.array([low, (low[0], high[1]), high, (high[0], low[1])])
