"""Controls to say where everything is outlined: the rest there is known to be background."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_sam.errors import InputError
from napari_sam.live.finished import read_finished, write_finished

from .controls import Message, button, in_a_row
from .pointer import axes_shown, layer_position
from .search_regions import drawn_outline, region_layers

if TYPE_CHECKING:
    from .attached import Attachment

__all__ = ["FinishedRegions"]

_ALL = "the whole image"


class FinishedRegions(QWidget):
    """Takes regions from shapes that a person drew, and remembers them with the session.

    Parameters
    ----------
    attachment : Attachment
        Of the viewer.
    """

    changed = Signal()
    """Other regions are finished now."""

    def __init__(self, attachment: Attachment) -> None:
        super().__init__()
        self._attachment = attachment
        self._finished: dict[tuple[int, int], list[np.ndarray]] = {}
        self.choice = _Choice(attachment)
        self.take = button(
            "Finished",
            "Say that everything is outlined there; it is remembered with the session",
            self.take_regions,
        )
        self.forget = button("Forget", "Say it of no region of this plane", self._forget)
        self.said = Message()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.choice)
        layout.addWidget(in_a_row(self.take, self.forget))
        layout.addWidget(self.said)

    @property
    def regions(self) -> dict[tuple[int, int], list[np.ndarray]]:
        """Polygons of (row, col) in level 0, by plane (t, z)."""
        return self._finished

    def begin(self) -> None:
        """Show what is remembered of the image that is open."""
        workplace, self._finished = self._attachment.workplace, {}
        if workplace is not None:
            try:
                self._finished = read_finished(workplace.session.path)
            except InputError as error:
                self._attachment.say(str(error), "warning")
        self.setEnabled(workplace is not None)
        self.tell()

    def take_regions(self) -> None:
        """Take what is chosen in the list over."""
        workplace = self._attachment.workplace
        if workplace is None:
            return
        plane = workplace.session.plane
        try:
            self._keep({**self._finished, plane: self._chosen(plane)})
        except InputError as error:
            self._attachment.say(str(error), "warning")

    def tell(self) -> None:
        """Say what is finished of the plane that is worked on."""
        workplace = self._attachment.workplace
        here = [] if workplace is None else self._finished.get(workplace.session.plane, [])
        self.forget.setEnabled(bool(here))
        if here:
            count = f"{len(here)} finished region{'s'[: len(here) != 1]}"
            self.said.setText(f"{count}: what is not outlined there is background.")
        else:
            self.said.setText(
                "No region is said to be finished: only the objects and what lies close around "
                "them teach."
            )

    def _forget(self) -> None:
        workplace = self._attachment.workplace
        if workplace is not None:
            try:
                self._keep({**self._finished, workplace.session.plane: []})
            except InputError as error:
                self._attachment.say(str(error), "warning")

    def _keep(self, finished: dict[tuple[int, int], list[np.ndarray]]) -> None:
        workplace = self._attachment.workplace
        assert workplace is not None
        write_finished(workplace.session.path, finished)
        self._finished = {plane: regions for plane, regions in finished.items() if regions}
        self.tell()
        self.changed.emit()

    def _chosen(self, plane: tuple[int, int]) -> list[np.ndarray]:
        workplace, layer = self._attachment.workplace, self.choice.currentData()
        assert workplace is not None
        if layer is None:
            rows, cols = workplace.scene.shape
            low, high = -0.5, np.array([rows, cols]) - 0.5
            return [np.array([(low, low), (low, high[1]), high, (high[0], low)])]
        if layer not in self._attachment.viewer.layers:
            raise InputError(f"The layer {layer.name} is gone: choose another one.")
        found = [
            drawn_outline(self._attachment, layer, index)
            for index in range(len(layer.data))
            if self._lies_in(layer, index, plane)
        ]
        if not found:
            raise InputError(
                f"{layer.name} has no shapes in this plane: draw polygons or rectangles around "
                f"what is finished."
            )
        return found

    def _lies_in(self, layer: Shapes, index: int, plane: tuple[int, int]) -> bool:
        """Tell whether a shape is of a plane; one of a flat layer is of all."""
        image, workplace = self._attachment.image_layer, self._attachment.workplace
        assert image is not None
        assert workplace is not None
        if layer.ndim < image.ndim:
            return True
        world = layer.data_to_world(layer.data[index][0])
        place = layer_position(image, world, self._attachment.viewer.dims.units)
        shown = axes_shown(image, workplace.picture.axes)
        return all(
            round(float(place[shown.index(axis)])) == number
            for axis, number in zip("TZ", plane, strict=True)
            if axis in shown
        )


class _Choice(QComboBox):
    """Offers each layer of shapes, and the whole image."""

    def __init__(self, attachment: Attachment) -> None:
        super().__init__()
        self._attachment = attachment
        self.setToolTip(
            "Polygons, rectangles or ellipses around parts in which every object is outlined"
        )
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.offer()

    def showPopup(self) -> None:
        """List what there is at that moment."""
        self.offer()
        super().showPopup()

    def offer(self) -> None:
        """List the layers that there are, and keep the choice."""
        before = self.currentText()
        self.clear()
        for layer in region_layers(self._attachment):
            self.addItem(f"the shapes in {layer.name}", layer)
        self.addItem(_ALL)
        self.setCurrentIndex(max(0, self.findText(before)))
