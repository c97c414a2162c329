"""An outline around the one object that a person looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Shapes

from napari_sam.session import MaskLike
from napari_sam.tiles.regions import Region

from .frame import placed_like
from .outlines import outline
from .shown_layer import ShownLayer, line_width

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["HIGHLIGHT", "Highlight", "with_room"]

HIGHLIGHT = "chosen object"
"""What its layer is called."""


class Highlight(ShownLayer[Shapes]):
    """One outline."""

    def show(self, image: Image, mask: MaskLike) -> None:
        """Draw a line around the largest part of a mask, in place of the one before."""
        self.clear()
        options = placed_like(self._viewer, image)
        self._put(
            Shapes(
                [outline(mask)],
                shape_type="polygon",
                name=HIGHLIGHT,
                face_color="transparent",
                edge_color="white",
                edge_width=line_width(self._viewer, options["affine"]),
                **options,
            )
        )


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
