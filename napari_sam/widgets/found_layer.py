"""What a search found, as a labels layer that is painted where it is looked at."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels

from napari_sam.live.found_labels import FoundLevel
from napari_sam.live.search import Partial
from napari_sam.scenes.lazy import Lazy
from napari_sam.tiles.regions import Region

from .frame import placed_like
from .shown_layer import ShownLayer

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["FoundLayer"]


class FoundLayer(ShownLayer[Labels]):
    """The layer, made again if it was removed."""

    def show(self, image: Image, shown: Partial) -> None:
        """Show these objects in place of those before."""
        levels = [_lazy(level) for level in shown.levels]
        layer = self.layer
        if layer is not None:
            layer.data = levels
            return
        layer = Labels(
            levels,
            multiscale=True,
            name=f"found in {image.name}",
            opacity=0.5,
            **placed_like(self._viewer, image),
        )
        self._put(layer, above=image)


def _lazy(level: FoundLevel) -> Lazy:
    return Lazy(level.shape, np.dtype(np.uint32), partial(_window, level))


def _window(level: FoundLevel, part: tuple[slice, ...]) -> np.ndarray:
    rows, cols = part
    return level.paint(Region(rows.start, cols.start, rows.stop, cols.stop))
