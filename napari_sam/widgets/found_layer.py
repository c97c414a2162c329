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
from .highlight import add_quietly, lock

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

__all__ = ["FoundLayer"]


class FoundLayer:
    """The layer, made when there is something to show and again if it was removed.

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

    def show(self, image: Image, shown: Partial) -> None:
        """Show these objects in place of those before."""
        levels = [_lazy(level) for level in shown.levels]
        layer = self.layer
        if layer is not None:
            layer.data = levels
            return
        self._layer = Labels(
            levels,
            multiscale=True,
            name=f"found in {image.name}",
            opacity=0.5,
            **placed_like(self._viewer, image),
        )
        lock(self._layer)
        add_quietly(self._viewer, self._layer, image)

    def clear(self) -> None:
        """Take the layer away."""
        layer, self._layer = self.layer, None
        if layer is not None:
            self._viewer.layers.remove(layer)


def _lazy(level: FoundLevel) -> Lazy:
    return Lazy(level.shape, np.dtype(np.uint32), partial(_window, level))


def _window(level: FoundLevel, part: tuple[slice, ...]) -> np.ndarray:
    rows, cols = part
    return level.paint(Region(rows.start, cols.start, rows.stop, cols.stop))
