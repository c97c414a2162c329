"""The regions of an image that a round of the data engine proposes, as a layer of shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari.layers import Shapes

from .shown_layer import ShownLayer, rectangles

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_sam.engine.rounds import ProposedRegion

__all__ = ["PROPOSED", "ProposedLayer"]

PROPOSED = "proposed regions"
"""What the layer is called."""

_COLOUR = "#e0b03c"


class ProposedLayer(ShownLayer[Shapes]):
    """A rectangle for each."""

    def show(self, image: Image, regions: Sequence[ProposedRegion]) -> None:
        """Draw these in place of those before; nothing if there are none."""
        self.clear()
        if not regions:
            return
        layer = rectangles(
            self._viewer,
            image,
            [one.region for one in regions],
            name=PROPOSED,
            face_color="transparent",
            edge_color=_COLOUR,
            features={
                "score": [one.score for one in regions],
                "reason": [one.reason for one in regions],
            },
        )
        self._put(layer)
