"""The layers of an image that is worked on: its prompts, and what is offered for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Points, Shapes
from qtpy.QtCore import QObject

from napari_sam.session import Session

from .frame import placed_like, scene_affine
from .points_layer import PromptPoints, points_options
from .preview_layer import PreviewLayer, preview_options
from .shapes_layer import PromptShapes, shapes_options

if TYPE_CHECKING:
    import napari

    from .attached import Attachment

__all__ = ["POINTS", "PREVIEW", "SHAPES", "PromptLayers"]

POINTS, SHAPES, PREVIEW = "prompts", "prompt shapes", "preview"


class PromptLayers(QObject):
    """Makes the layers of one image, draws them again, and removes them.

    One that a person removes is made again when there is something to show in it: what it showed is
    in the session.
    """

    def __init__(
        self,
        parent: QObject,
        attachment: Attachment,
        image: Image,
        session: Session,
    ) -> None:
        super().__init__(parent)
        self._attachment, self.image, self.session = attachment, image, session
        self.intent, self.offers = attachment.intent, attachment.offers
        self.points: PromptPoints | None = None
        self.shapes: PromptShapes | None = None
        self.preview: PreviewLayer | None = None
        self._closing = self._adding = False
        self._hidden: list[Layer] | None = None
        self._place = placed_like(self.viewer, image)
        for event in self._moves():
            event.connect(self._moved)
        self.viewer.layers.events.removed.connect(self._removed)
        self.offers.changed.connect(self.show_offers)
        self.intent.changed.connect(self.show_offers)
        self.make()

    def close(self) -> None:
        """Remove the layers."""
        self._closing = True
        for event in self._moves():
            event.disconnect(self._moved)
        self.viewer.layers.events.removed.disconnect(self._removed)
        self.offers.changed.disconnect(self.show_offers)
        self.intent.changed.disconnect(self.show_offers)
        for drawn in (self.points, self.shapes):
            if drawn is not None:
                drawn.close()
        for layer in self.all():
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)
        self.points = self.shapes = self.preview = None

    @property
    def viewer(self) -> napari.Viewer:
        """Where they are shown."""
        return self._attachment.viewer

    @property
    def hidden(self) -> bool:
        """Whether they are not to be seen, and nothing can be drawn in them."""
        return self._hidden is not None

    @hidden.setter
    def hidden(self, hidden: bool) -> None:
        if hidden == self.hidden:
            return
        if self._hidden is not None:
            for layer in self._hidden:
                layer.visible = True
            self._hidden = None
            return
        self.flush()
        self._hidden = [layer for layer in self.all() if layer.visible]
        for layer in self._hidden:
            layer.visible = False

    def all(self) -> list[Layer]:
        """Return the layers that there are."""
        parts = (self.preview, self.shapes, self.points)
        return [part.layer for part in parts if part is not None]

    def make(self) -> None:
        """Make the layers that are missing; the active layer stays what it is."""
        missing = [part for part in (self.points, self.shapes, self.preview) if part is None]
        if not missing:
            return
        active = self.viewer.layers.selection.active
        arguments = (self.session, self.intent, self._attachment.say)
        if self.preview is None:
            made = Labels(np.zeros((1, 1), np.uint8), **self._named(PREVIEW), **preview_options())
            self.preview = PreviewLayer(self._add(made))
        if self.shapes is None:
            shapes = self._add(Shapes(**self._named(SHAPES), **shapes_options()))
            self.shapes = PromptShapes(self, shapes, *arguments)
        if self.points is None:
            points = self._add(Points(**self._named(POINTS), **points_options()))
            points.text = {"string": "{object}", "color": "white", "anchor": "upper_left"}
            self.points = PromptPoints(self, points, *arguments)
        self.viewer.layers.selection.active = active

    def redraw(self) -> None:
        """Draw what the session has."""
        here = any(given.plane == self.session.plane for given in self.session.prompts.values())
        if here:
            self.make()
        for drawn in (self.points, self.shapes):
            if drawn is not None:
                drawn.redraw()

    def flush(self) -> None:
        """Bring what was just drawn to the session."""
        for drawn in (self.points, self.shapes):
            if drawn is not None:
                drawn.flush()

    def show_offers(self) -> None:
        """Show the chosen candidates."""
        chosen, hovered = self.offers.chosen(), self.offers.hovered
        if self.preview is None and (chosen or hovered is not None):
            self.make()
        if self.preview is not None:
            meant = self.intent.object_id
            number = self.session.current_id if meant is None else meant
            self.preview.show(chosen, number, hovered)

    def _named(self, name: str) -> dict[str, Any]:
        return {"name": name, **self._place}

    def _add(self, layer: Any) -> Any:
        if self._hidden is not None:
            layer.visible = False
            self._hidden.append(layer)
        return self.viewer.add_layer(layer)

    def _moves(self) -> list[Any]:
        events = self.image.events
        return [events.scale, events.translate, events.rotate, events.shear, events.affine]

    def _moved(self) -> None:
        """Follow the image."""
        self._place["affine"] = affine = scene_affine(self.viewer, self.image)
        for layer in self.all():
            layer.affine = affine

    def _removed(self, event: Any) -> None:
        if self._closing:
            return
        if self.points is not None and event.value is self.points.layer:
            self.points.close()
            self.points, what = None, POINTS
        elif self.shapes is not None and event.value is self.shapes.layer:
            self.shapes.close()
            self.shapes, what = None, SHAPES
        elif self.preview is not None and event.value is self.preview.layer:
            self.preview, what = None, PREVIEW
        else:
            return
        self._attachment.say(
            f"The layer '{what}' was removed; the prompts are kept, and it comes back with the "
            f"next one."
        )
