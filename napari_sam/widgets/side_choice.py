"""From which side a volume is looked at, and segmented."""

from __future__ import annotations

from typing import Literal

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox

from napari_sam.scenes.volume_grid import VolumeGrid

from .pictures import upright_of
from .pointer import along_of, axes_of
from .sides import SIDES, can_be_turned

__all__ = ["SideChoice", "names_of_sides"]

_PLANES: tuple[Literal["axial", "coronal", "sagittal"], ...] = ("axial", "coronal", "sagittal")


class SideChoice(QComboBox):
    """Offers the sides of an image with depth."""

    chosen = Signal(str)
    """A person chose "z", "y" or "x", perhaps that which is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip(
            "The axis that you look along: planes of another side have objects and embeddings of "
            "their own, which are there again when you come back. Choosing the one that is shown "
            "sets napari's axes right, and the view"
        )
        self.activated.connect(lambda index: self.chosen.emit(SIDES[index]))

    def offer(self, layer: Image | None, axes: str | None = None) -> bool:
        """List the sides of a layer's image, show which one it is; return whether there are any.

        Parameters
        ----------
        layer : Image or None
            Which.
        axes : str, optional
            Of its pixels, where its file told what they are.
        """
        # Of axes without names nobody knows whether they are depth or time before it is open.
        known = layer is not None and (axes is not None or axes_of(layer, labels_only=True))
        if layer is None or not known or not can_be_turned(layer, axes):
            return False
        texts = names_of_sides(layer)
        if texts != [self.itemText(index) for index in range(self.count())]:
            self.clear()
            self.addItems(texts)
        self.setCurrentIndex(SIDES.index(along_of(layer)))
        return True


def names_of_sides(layer: Image) -> list[str]:
    """Return what looking along z, y and x is called: of a medical volume as radiologists do."""
    grid = upright_of(layer).metadata.get("image_grid")
    if not isinstance(grid, VolumeGrid):
        return list(SIDES)
    planes = {grid.anatomical(plane): plane for plane in _PLANES}
    return [f"{side} ({planes[side]})" for side in SIDES]
