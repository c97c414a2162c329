"""A layer that shows the objects of a session over its image, and never holds them itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.live.label_levels import LabelLevels, coarse
from napari_sam.session import Session, SessionEvent
from napari_sam.tiles.regions import Region

from .object_colours import ObjectColours, Palette
from .pictures import plane_of
from .pointer import axes_shown

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels

__all__ = ["ObjectsLayer"]

_FOLLOWED = ("scale", "translate", "rotate", "shear", "affine", "units")


class ObjectsLayer:
    """Shows the objects of a session in a Labels layer above its image.

    The layer cannot be painted into: objects are changed through the session. What it costs to show
    a change does not depend on how many objects there are, nor on how large the scene is.

    Parameters
    ----------
    viewer : napari.Viewer
        That shows the image.
    image : Image
        Whose transform the objects have; it is followed when it changes.
    session : Session
        Of the image.
    tell : callable, optional
        Told in a sentence when the layer was removed by hand.

    Raises
    ------
    InputError
        If the layer does not show the scene of the session.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        image: Image,
        session: Session,
        tell: Callable[[str], object] | None = None,
    ) -> None:
        self._viewer, self._image, self._session = viewer, image, session
        self._tell = tell
        self._axes = axes_shown(image, session.scene.axes)
        sizes = dict(zip(self._axes, image.data.shape, strict=False))
        if (sizes["Y"], sizes["X"]) != session.scene.shape:
            raise InputError(
                f"The layer {image.name!r} has {sizes['Y']} × {sizes['X']} pixels, and its session "
                f"{session.scene.shape[0]} × {session.scene.shape[1]}: open it again."
            )
        self._palette = Palette()
        self._palette.set(session, session.ids)
        self._levels = LabelLevels(session)
        self._name = ""
        self.layer = self._made()
        """The layer, in the viewer or removed from it."""
        self._insert()
        for name in _FOLLOWED:
            getattr(image.events, name).connect(self._follow)
        image.events.name.connect(self._rename)
        viewer.layers.events.removed.connect(self._removed)

    @property
    def is_shown(self) -> bool:
        """Whether the layer is among those of the viewer."""
        return self.layer in self._viewer.layers

    def show(self) -> None:
        """Put the layer back, if it was removed and its image is still there."""
        if not self.is_shown and self._image in self._viewer.layers and self._fits():
            self.layer = self._made()
            self._insert()

    def refresh(self, event: SessionEvent) -> None:
        """Show what changed, if it is visible; to be called in the thread of the windows."""
        if not event.ids or event.kind == "candidates":
            return
        recoloured = self._palette.set(self._session, event.ids)
        regions = dict(event.regions)
        if event.text == "relabel":
            regions |= self._places(event)
        for plane, region in regions.items():
            self._levels.changed(plane, region)
        if not self.is_shown:
            return
        if recoloured:
            self.layer.colormap = ObjectColours.of(self._palette)  # which draws all again
        elif self._is_visible(regions):
            self.layer.refresh(extent=False, highlight=False)

    def close(self) -> None:
        """Remove the layer, and listen no more."""
        for name in _FOLLOWED:
            getattr(self._image.events, name).disconnect(self._follow)
        self._image.events.name.disconnect(self._rename)
        self._viewer.layers.events.removed.disconnect(self._removed)
        if self.is_shown:
            self._viewer.layers.remove(self.layer)

    def _made(self) -> Labels:
        from napari.layers import Labels

        image = self._image
        self._name = f"objects of {image.name}"
        return Labels(
            self._levels.arrays(self._axes, image.data.shape[: image.ndim]),
            multiscale=True,  # which also makes that nobody paints into it
            name=self._name,
            opacity=0.5,
            colormap=ObjectColours.of(self._palette),
            axis_labels=image.axis_labels,
            **{name: getattr(image, name) for name in _FOLLOWED},
        )

    def _insert(self) -> None:
        """Put the layer right above its image, and leave what was selected selected."""
        layers = self._viewer.layers
        selected, active = set(layers.selection), layers.selection.active
        layers.insert(layers.index(self._image) + 1, self.layer)
        layers.selection.clear()
        layers.selection.update(selected)
        layers.selection.active = active

    def _places(self, event: SessionEvent) -> dict[tuple[int, int], Region]:
        """Return where objects lie, each of which has another id, class or colour."""
        found = {}
        for number in event.ids:
            try:
                found[self._session.info(number).plane] = self._session.mask(number).box
            except InputError:
                continue  # the id that it had
        return found

    def _fits(self) -> bool:
        """Tell whether the image has the axes that it had: its data may have been replaced."""
        return self._image.ndim == len(self._axes)

    def _is_visible(self, regions: dict[tuple[int, int], Region]) -> bool:
        if self._viewer.dims.ndisplay == 3 or not self._fits():
            return bool(regions)
        region = regions.get(plane_of(self._image, self._viewer.dims, self._axes))
        if region is None:
            return False
        displayed = {self._axes[axis] for axis in self.layer._slice_input.displayed}
        if displayed != {"Y", "X"}:
            return True  # seen from the side, all planes are visible
        corners = np.array(self.layer.corner_pixels)
        rows, cols = self._axes.index("Y"), self._axes.index("X")
        seen = Region(
            *(
                int(corner)
                for corner in (*corners[0, [rows, cols]], *(corners[1, [rows, cols]] + 1))
            )
        )
        return bool((coarse(region, self.layer.data_level) & seen).area)

    def _follow(self, event: Any = None) -> None:
        for name in _FOLLOWED if self._fits() else ():
            setattr(self.layer, name, getattr(self._image, name))

    def _rename(self, event: Any = None) -> None:
        if self.layer.name == self._name:  # else a person gave it another name
            self.layer.name = self._name = f"objects of {self._image.name}"

    def _removed(self, event: Any) -> None:
        if event.value is self.layer and self._tell is not None:
            self._tell(
                f"The layer {self.layer.name!r} was removed; the objects are all kept, and are "
                f"shown again when the image is started again."
            )
