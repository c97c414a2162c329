"""A thin layer over an image that shows which of its tiles are encoded."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QTimer

from napari_sam.live.embedder import RUNNING, Embedder
from napari_sam.live.tile_picture import EDGE, picture_shape, tile_picture
from napari_sam.tiles.roi import tiles_in
from napari_sam.tiles.store import EmbeddingStore, State

from .frame import placed_like
from .shown_layer import ShownLayer, add_quietly

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

__all__ = ["COLOURS", "TileOverlay"]

COLOURS: dict[str, tuple[int, tuple[float, float, float], float, float]] = {
    "encoded": (State.DONE, (0.25, 0.80, 0.45), 0.0, 0.70),
    "in hand": (RUNNING, (1.00, 0.75, 0.15), 0.25, 0.95),
    "failed": (State.FAILED, (0.95, 0.30, 0.25), 0.30, 0.95),
    "empty": (State.EMPTY, (0.60, 0.60, 0.60), 0.30, 0.70),
}
"""What a tile's state is called, its value, colour, and opacity inside and at the border. The
colours stand out from dark and from bright images, and differ in brightness too."""


_RARELY = 1.0
"""Seconds between two pictures of the same tiles, at least."""

_SHARE, _AT_LAST = 20, 3.0
"""So many times as long as drawing takes lies between two pictures, but not more seconds."""


@dataclass(frozen=True, eq=False)
class _Drawn:
    """What was drawn last, and when."""

    store: EmbeddingStore
    level: int
    states: np.ndarray
    time: float

    def is_old(
        self,
        store: EmbeddingStore,
        level: int,
        states: np.ndarray,
        seen: np.ndarray,
        rest: float,
    ) -> bool:
        """Tell whether other states, of the tiles that are seen, are to be drawn now."""
        if store is not self.store or level != self.level:
            return True
        changed = bool((states != self.states)[seen].any())
        return changed and time.monotonic() > self.time + rest


class TileOverlay(ShownLayer[Labels]):
    """The layer: made when it is shown, drawn anew when states or the level in view change.

    It shows the finest level of which not too many tiles are in view. Its size depends neither on
    the scene's nor on the number of tiles.

    Parameters
    ----------
    viewer : napari.Viewer
        Where.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__(viewer)
        self._image: Image | None = None
        self._drawn: _Drawn | None = None
        self._rest = _RARELY

    @property
    def removed(self) -> bool:
        """Whether somebody else took the layer away."""
        return self._layer is not None and self._layer not in self._viewer.layers

    def show(self, image: Image, embedder: Embedder) -> int:
        """Draw what there is of an image's tiles, if that is seen; return of which level.

        A canvas takes a while to be drawn where there is no graphics card, so that this is done
        seldom there, and nowhere for tiles that are out of view.

        Raises
        ------
        InputError
            If a flat layer cannot lie over the image.
        """
        store, level = embedder.store, embedder.level_in_view()
        states = embedder.states(level)
        layer = self.layer
        if layer is None or image is not self._image:
            self.clear()
            layer = self._make(image, store.geometry.shape, picture_shape(store.geometry))
        else:
            self._follow(layer, image)
        seen = tiles_in(store.geometry, level, embedder.view)
        if self._drawn is None or self._drawn.is_old(store, level, states, seen, self._rest):
            # In place: napari takes a while to look at other data.
            np.asarray(layer.data)[...] = tile_picture(store.geometry, level, states)
            layer.refresh(thumbnail=False, extent=False)
            self._drawn = _Drawn(store, level, states, time.monotonic())
            QTimer.singleShot(0, self._measure)
        if self.layer is None:
            add_quietly(self._viewer, layer)
        return level

    def _measure(self) -> None:
        """Take notice of how long drawing took; called after it."""
        if self._drawn is not None:
            took = time.monotonic() - self._drawn.time
            self._rest = min(max(_RARELY, _SHARE * took), _AT_LAST)

    def clear(self) -> None:
        """Take the layer away."""
        super().clear()
        self._drawn = None

    def _make(self, image: Image, scene: tuple[int, int], shape: tuple[int, int]) -> Labels:
        scale = np.array(scene) / shape
        self._image = image
        self._layer = Labels(
            np.zeros(shape, np.uint8),
            name=f"tiles of {image.name}",
            scale=scale,
            translate=scale / 2 - 0.5,  # pixel centres lie at integers in both
            colormap=_colormap(),
            opacity=1.0,
            blending="translucent_no_depth",
            **placed_like(self._viewer, image),
        )
        self._layer.editable = False
        return self._layer

    def _follow(self, layer: Labels, image: Image) -> None:
        """Go where the image has gone."""
        affine = placed_like(self._viewer, image)["affine"]
        if not np.allclose(layer.affine.affine_matrix, affine):
            layer.affine = affine


def _colormap() -> DirectLabelColormap:
    colours: dict[int | None, tuple[float, ...]] = {None: (0.0, 0.0, 0.0, 0.0)}
    for value, colour, inside, border in COLOURS.values():
        colours[value + 1] = (*colour, inside)
        colours[(value + 1) | EDGE] = (*colour, border)
    return DirectLabelColormap(color_dict=colours)
