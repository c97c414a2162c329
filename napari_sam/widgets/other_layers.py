"""Controls to take prompts or objects from layers that a person has already."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari.layers import Labels, Layer, Points, Shapes
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_sam.errors import InputError

from .controls import LayerList, button, in_a_row, labelled
from .layer_prompts import import_labels, label_as_mask, take_prompts

if TYPE_CHECKING:
    from .attached import Attachment

__all__ = ["OtherLayers"]


class OtherLayers(QWidget):
    """A layer to choose, and what can be taken from it."""

    def __init__(self, attachment: Attachment) -> None:
        super().__init__()
        self._attachment = attachment
        self.layer = LayerList("A layer of points, shapes or labels, placed in whatever way")
        self.layer.currentIndexChanged.connect(lambda _: self._enable())
        self.as_prompts = button(
            "As prompts", "Take its points, boxes and lines over as prompts", self._take_prompts
        )
        self.as_mask = button(
            "As mask prompt", "Take the pixels of its selected label as a prompt", self._take_mask
        )
        self.as_objects = button(
            "As objects", "Make objects of all its labels; the layer stays as it is", self._import
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(labelled(("Take from", self.layer)))
        layout.addWidget(in_a_row(self.as_prompts, self.as_mask, self.as_objects))

    def list_layers(self) -> None:
        """Offer the layers that there are, but those that this plugin made."""
        attachment = self._attachment
        ours: list[Layer | None] = [attachment.objects_layer]
        if attachment.layers is not None:
            ours += attachment.layers.all()
        self.layer.list_layers(
            layer
            for layer in attachment.viewer.layers
            if isinstance(layer, Points | Shapes | Labels) and layer not in ours
        )
        self._enable()

    def _enable(self) -> None:
        layer = self.layer.layer
        self.as_prompts.setEnabled(isinstance(layer, Points | Shapes))
        self.as_mask.setEnabled(isinstance(layer, Labels))
        self.as_objects.setEnabled(isinstance(layer, Labels))

    def _take_prompts(self) -> None:
        def take(layer: Layer) -> str:
            count = len(take_prompts(self._attachment, layer))
            return f"{layer.name} gave prompts for {count} object{'s'[: count != 1]}."

        self._do(take)

    def _take_mask(self) -> None:
        def take(layer: Layer) -> str:
            assert isinstance(layer, Labels)
            number = label_as_mask(self._attachment, layer)
            return f"Label {layer.selected_label} is a prompt for object {number}."

        self._do(take)

    def _import(self) -> None:
        def take(layer: Layer) -> str:
            assert isinstance(layer, Labels)
            intent = self._attachment.intent
            found = import_labels(
                self._attachment, layer, intent.class_name or None, intent.overlap
            )
            return f"{len(found)} object{'s'[: len(found) != 1]} came from {layer.name}."

        self._do(take)

    def _do(self, take: Callable[[Layer], str]) -> None:
        layer = self.layer.layer
        if layer is None:
            return
        try:
            self._attachment.say(take(layer))
        except InputError as error:
            self._attachment.say(str(error), "warning")
