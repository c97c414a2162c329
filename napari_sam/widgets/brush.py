"""Painting on one object with napari's own brush: each stroke is a step of its session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QTimer

from napari_sam.errors import InputError
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.session import Overlap, Session, SessionEvent
from napari_sam.sessions.runs import Runs
from napari_sam.tiles.regions import Region

from .frame import placed_like

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

__all__ = ["Brush"]

_ROOM = 256
"""Pixels around an object that can be painted on, at least; it grows with the object."""

_MOST = 1 << 24
"""Pixels of the layer: all of them are drawn at each stroke."""


class Brush:
    """A Labels layer of one object and what lies around it; what is painted there is the object.

    napari's brush, eraser, polygon and fill work in it. Undo and redo are those of the session.

    Parameters
    ----------
    viewer : napari.Viewer
        That shows the image.
    image : Image
        Its layer.
    session : Session
        Of the image, in the plane of the object. Its events are to be given to `refresh`.
    number : int
        The object.
    tell : callable
        Told in a sentence what could not be done, or why the brush was put away.
    overlap : {"keep_old", "take_new", "cut"}
        Who gets painted pixels of other objects.

    Raises
    ------
    InputError
        If there is no such object in the plane, or it is too large to be painted on.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        image: Image,
        session: Session,
        number: int,
        tell: Callable[[str], object],
        overlap: Overlap = "keep_old",
    ) -> None:
        plane = session.info(number).plane
        if plane != session.plane:
            raise InputError(
                f"Object {number} lies in the plane t={plane[0]}, z={plane[1]}: go there to paint "
                f"on it."
            )
        self.number = number
        self._viewer, self._session, self._tell, self._overlap = viewer, session, tell, overlap
        self._plane, self._window = plane, self._room()
        self.layer = Labels(
            self._pixels(),
            name=f"object {number} of {image.name}",
            colormap=DirectLabelColormap(color_dict={None: "#ffb000", 0: "transparent"}),
            opacity=0.6,
            translate=(self._window.row0, self._window.col0),
            **placed_like(viewer, image),
        )
        """The layer, in paint mode."""
        viewer.add_layer(self.layer)
        self.layer.mode = "paint"
        self.layer.brush_size = max(3, min(self._window.shape) // 40)
        self.layer.bind_key("Control-Z", lambda _: session.undo(), overwrite=True)
        self.layer.bind_key("Control-Shift-Z", lambda _: session.redo(), overwrite=True)
        # napari says so before it writes what a fill or a polygon changes.
        self._soon = QTimer()
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._take)
        self.layer.events.paint.connect(self._painted)
        viewer.layers.events.removed.connect(self._removed)

    @property
    def is_open(self) -> bool:
        """Whether its layer is there."""
        return self.layer in self._viewer.layers

    def refresh(self, event: SessionEvent) -> None:
        """Show the object as it is after a change; to be called in the thread of the windows."""
        if not self.is_open:
            return
        if event.kind == "plane" and self._session.plane != self._plane:
            self.close()
            self._tell(f"Another plane is shown: the brush for object {self.number} is put away.")
        elif self.number in event.ids or self._plane in event.regions:
            self._show()

    def close(self) -> None:
        """Remove the layer; what was painted is in the session."""
        if self._soon.isActive():
            self._soon.stop()
            self._take()
        if not self.is_open:
            return
        self._viewer.layers.events.removed.disconnect(self._removed)
        self._viewer.layers.remove(self.layer)

    def _painted(self, event: Any = None) -> None:
        self._soon.start(0)

    def _take(self) -> None:
        """Make a stroke a step: pixels that came, pixels that went, or both."""
        painted, before = np.asarray(self.layer.data) > 0, self._pixels() > 0
        try:
            came, gone = painted & ~before, before & ~painted
            if came.any() and gone.any():
                self._session.replace(self.number, self._all(painted), self._overlap)
            elif came.any():
                self._session.paint(self.number, self._at_window(came), self._overlap)
            elif gone.any():
                self._session.erase(self.number, self._at_window(gone))
        except InputError as error:
            self._tell(str(error))
        self._show()

    def _show(self) -> None:
        try:
            window = self._room()
        except InputError as error:  # it is gone, or very large now
            self.close()
            self._tell(str(error))
            return
        if window == self._window:
            np.asarray(self.layer.data)[...] = self._pixels()
            self.layer.refresh(extent=False)
            return
        self._window = window
        self.layer.data = self._pixels()
        self.layer.translate = (window.row0, window.col0)

    def _room(self) -> Region:
        """Return what can be painted on; the same as long as the object does not come near its end.

        Raises
        ------
        InputError
            If there is no object any more, or it is too large.
        """
        box, scene = self._session.mask(self.number).box, Region(0, 0, *self._session.scene.shape)
        old: Region | None = getattr(self, "_window", None)
        if old is not None and _grown(box, _ROOM // 4, scene) in old:
            return old
        window = _grown(box, max(_ROOM, max(box.shape) // 2), scene)
        if window.area > _MOST:
            raise InputError(
                f"Object {self.number} is too large for the brush ({box.shape[0]} × {box.shape[1]} "
                f"pixels): correct it by clicks or scribbles."
            )
        return window

    def _pixels(self) -> np.ndarray:
        labels = self._session.labels(self._window, plane=self._plane)
        return (labels == self.number).astype(np.uint8)

    def _at_window(self, mask: np.ndarray) -> MaskRegion:
        return MaskRegion(self._window.row0, self._window.col0, mask)

    def _all(self, painted: np.ndarray) -> Runs:
        """Return the object with what was painted, and as it is outside of the window."""
        mask = self._session.mask(self.number)
        return (mask - mask.clip(self._window)) | Runs.of(self._at_window(painted))

    def _removed(self, event: Any) -> None:
        if event.value is self.layer:
            self._soon.stop()
            self._viewer.layers.events.removed.disconnect(self._removed)


def _grown(box: Region, room: int, within: Region) -> Region:
    larger = Region(
        max(0, box.row0 - room), max(0, box.col0 - room), box.row1 + room, box.col1 + room
    )
    return larger & within
