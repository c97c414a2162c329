"""Where on the map a model learns, and where it is only measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Shapes

from napari_sam.live.teaching import PARTS, Block, Part

from .frame import placed_like
from .highlight import add_quietly, lock

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

__all__ = ["BLOCKS", "COLOURS", "BlocksLayer"]

BLOCKS = "training and hold-out"
"""What the layer is called."""

COLOURS: dict[Part, str] = {"train": "#3f9d57", "validation": "#3d8bd8", "hold-out": "#d9772b"}
"""Of the parts of a dataset."""

_HELD_OUT, _OTHERS = "30", "00"
"""How opaque a block is, as hexadecimal digits: only what is held out is filled."""

_WIDTH = 2.0
"""Of the lines, in pixels of the screen when they are drawn."""


class BlocksLayer:
    """A layer of rectangles with names; a person can remove it, and not change it.

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

    def show(self, image: Image, blocks: Sequence[Block]) -> None:
        """Draw these in place of those before; nothing if there are none."""
        self.clear()
        if not blocks:
            return
        options = placed_like(self._viewer, image)
        size = abs(float(options["affine"][:2, :2].diagonal().max())) or 1.0
        colours = [COLOURS[block.part] for block in blocks]
        self._layer = Shapes(
            [_corners(block) for block in blocks],
            shape_type="rectangle",
            name=BLOCKS,
            # Text on shapes would name them; napari crashes where it is removed and no card draws.
            face_color=[
                f"{colour}{_HELD_OUT if block.part == 'hold-out' else _OTHERS}"
                for block, colour in zip(blocks, colours, strict=True)
            ],
            edge_color=colours,
            edge_width=_WIDTH / (self._viewer.scene.camera.zoom * size),
            features={
                "part": [PARTS[block.part] for block in blocks],
                "block": [block.name for block in blocks],
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


def _corners(block: Block) -> np.ndarray:
    """Return the corners of the pixels' outer borders."""
    part = block.region
    low, high = (part.row0 - 0.5, part.col0 - 0.5), (part.row1 - 0.5, part.col1 - 0.5)
    return np.array([low, (low[0], high[1]), high, (high[0], low[1])])
