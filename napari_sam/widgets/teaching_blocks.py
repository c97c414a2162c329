"""Where on the map a model learns, and where it is only measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari.layers import Shapes

from napari_sam.live.teaching import PARTS, Block, Part

from .shown_layer import ShownLayer, rectangles

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["BLOCKS", "COLOURS", "BlocksLayer"]

BLOCKS = "training and hold-out"
"""What the layer is called."""

COLOURS: dict[Part, str] = {"train": "#3f9d57", "validation": "#3d8bd8", "hold-out": "#d9772b"}
"""Of the parts of a dataset."""

_HELD_OUT, _OTHERS = "30", "00"
"""How opaque a block is, as hexadecimal digits: only what is held out is filled."""


class BlocksLayer(ShownLayer[Shapes]):
    """A rectangle for each."""

    def show(self, image: Image, blocks: Sequence[Block]) -> None:
        """Draw these in place of those before; nothing if there are none."""
        self.clear()
        if not blocks:
            return
        colours = [COLOURS[block.part] for block in blocks]
        layer = rectangles(
            self._viewer,
            image,
            [block.region for block in blocks],
            name=BLOCKS,
            # Text on shapes would name them; napari crashes where it is removed and no card draws.
            face_color=[
                f"{colour}{_HELD_OUT if block.part == 'hold-out' else _OTHERS}"
                for block, colour in zip(blocks, colours, strict=True)
            ],
            edge_color=colours,
            features={
                "part": [PARTS[block.part] for block in blocks],
                "block": [block.name for block in blocks],
            },
        )
        self._put(layer)
