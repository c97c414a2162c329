"""What a model found in a block, over the image, to be looked at and taken away again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels

from napari_sam.live.look import Look

from .frame import placed_like
from .shown_layer import ShownLayer

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["LookLayer"]


class LookLayer(ShownLayer[Labels]):
    """Its layer."""

    def show(self, image: Image, look: Look, name: str) -> None:
        """Show what was found in place of what was before."""
        self.clear()
        options, side = placed_like(self._viewer, image), 1 << look.level
        corner = np.array([look.region.row0, look.region.col0]) * side + (side - 1) / 2
        inside = np.eye(3)
        inside[:2, :2] *= side
        inside[:2, 2] = corner
        options["affine"] = options["affine"] @ inside
        self._put(Labels(look.labels, name=name, opacity=0.6, **options), above=image)
