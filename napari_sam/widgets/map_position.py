"""Where the pointer is on the map: in napari's status line, behind its own words."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QObject

from napari_sam.errors import InputError
from napari_sam.files.geo.crs import CrsTransform, crs_named
from napari_sam.scenes.georeference import Georeference

from .pointer import scene_position
from .window import canvas, unwrapped

if TYPE_CHECKING:
    import napari

    from .attached import Attachment

__all__ = ["MapPosition", "position_said", "show_map_position"]

_NAME = "napari-sam-map-position"
_UNITS = {"metre": "m", "foot": "ft", "US survey foot": "ft (US)", "degree": "°"}

ToDegrees = Callable[[np.ndarray], np.ndarray]
"""Turns map positions (x, y), shape (n, 2), into longitudes and latitudes."""


def show_map_position(viewer: napari.Viewer) -> MapPosition:
    """Show the position in a viewer from now on, over images that lie on a map.

    Parameters
    ----------
    viewer : napari.Viewer
        With a window. Asked twice, nothing is made again.
    """
    viewer = unwrapped(viewer)
    found = canvas(viewer).findChild(MapPosition, _NAME)
    return MapPosition(viewer) if found is None else found


class MapPosition(QObject):
    """Adds the position to what napari says of the pointer; napari's own words stay.

    The image is that of the active layer, or the one that is worked on, or the topmost visible one
    that lies on a map.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__(canvas(viewer))
        self.setObjectName(_NAME)
        # As in `Attachment`: what Qt keeps must not keep the window.
        self._viewer_there = weakref.ref(viewer)
        self._attached: weakref.ref[Attachment] | None = None
        self._worked_on: tuple[Image, Georeference] | None = None
        self._amended = ""
        self._ways: dict[str, _Way] = {}
        # Last of all: whoever else shows the status has it with the position then.
        viewer.events.status.connect(self._amend, position="last")

    def follow(self, attachment: Attachment) -> None:
        """Know where the image lies that is worked on, whichever reader opened its layer."""
        self._attached = weakref.ref(attachment)
        attachment.workplace_changed.connect(self._changed)

    @property
    def _viewer(self) -> napari.Viewer:
        viewer = self._viewer_there()
        assert viewer is not None, "the viewer is gone"
        return viewer

    def _changed(self, workplace: Any) -> None:
        attachment = None if self._attached is None else self._attached()
        layer = None if attachment is None else attachment.image_layer
        place = None if workplace is None else workplace.scene.georeference
        self._worked_on = None if layer is None or place is None else (layer, place)

    def said(self) -> str | None:
        """Return what is said of where the pointer is; None if no image lies on a map."""
        found = self._image()
        if found is None or self._viewer.dims.ndisplay != 2:
            return None
        layer, place = found
        row, col = scene_position(layer, self._viewer.cursor.position, self._viewer.dims.units)
        way = None if place.crs is None else self._ways.get(place.crs)
        if place.crs is not None and way is None:
            way = self._ways[place.crs] = _Way(place.crs)
        return position_said(place, row, col, None if way is None else way.to_degrees)

    def _amend(self, event: Any) -> None:
        status = self._viewer.status
        # Sentences are no coordinates; and what is set here is told here again, later.
        if not isinstance(status, dict) or status.get("coordinates") == self._amended:
            return
        said = self.said()
        if said is None:
            return
        self._amended = f"{status.get('coordinates', '')}   {said}".strip()
        self._viewer.status = {**status, "coordinates": self._amended}

    def _image(self) -> tuple[Image, Georeference] | None:
        layers = self._viewer.layers
        there = [(layer, place) for layer in layers if (place := self._place(layer)) is not None]
        active = layers.selection.active
        ranks = [
            (layer is active, self._worked_on is not None and layer is self._worked_on[0], number)
            for number, (layer, _) in enumerate(there)
            if layer.visible or layer is active
        ]
        return there[max(ranks)[2]] if ranks else None

    def _place(self, layer: Any) -> Georeference | None:
        """Return where a layer lies, as long as it shows what was read."""
        if self._worked_on is not None and layer is self._worked_on[0]:
            return self._worked_on[1]
        if not isinstance(layer, Image) or layer.metadata.get("image_data") is not layer.data_raw:
            return None
        place = layer.metadata.get("image_georeference")
        return place if isinstance(place, Georeference) else None


class _Way:
    """The way from a coordinate system to degrees, found in a thread: PROJ takes its time."""

    def __init__(self, crs: str) -> None:
        self.to_degrees: ToDegrees | None = None
        self._crs = crs
        threading.Thread(target=self._find, daemon=True).start()

    def _find(self) -> None:
        try:
            way = CrsTransform(crs_named(self._crs, "the image"), crs_named("EPSG:4326", "degrees"))
            way(np.zeros((1, 2)))
        except InputError:
            return  # without pyproj, or in a system that it does not know: map units alone
        self.to_degrees = way


def position_said(
    place: Georeference, row: float, col: float, to_degrees: ToDegrees | None = None
) -> str:
    """Say where a pixel is on the map.

    Parameters
    ----------
    place : Georeference
        Of the image.
    row, col : float
        In pixels of level 0, whose centres lie at integers.
    to_degrees : callable, optional
        None where the way to degrees is not known.

    Examples
    --------
    >>> place = Georeference("EPSG:32617", (0.1, 0, 404211.9, 0, -0.1, 3285142.9), "metre")
    >>> position_said(place, 400, 3000)
    'x 404511.95 y 3285102.85 m (EPSG:32617)'
    >>> position_said(Georeference("EPSG:4326", (0.01, 0, -82, 0, -0.01, 30), "degree"), 9, 9)
    '29.905° N, 81.905° W (EPSG:4326)'
    """
    ((x, y),) = xy = place.to_map([(row, col)])
    a, b, _, d, e, _ = place.affine
    digits = _digits(min(math.hypot(a, d), math.hypot(b, e)))
    system = "" if place.crs is None else f" ({_short(place.crs)})"
    if place.unit == "degree":
        return _degrees_said(x, y, digits) + system
    unit = "" if place.unit is None else f" {_UNITS.get(place.unit, place.unit)}"
    said = f"x {x:.{digits}f} y {y:.{digits}f}{unit}{system}"
    if to_degrees is None:
        return said
    ((lon, lat),) = to_degrees(xy)
    if not (math.isfinite(lon) and math.isfinite(lat)):
        return said
    return f"{said} · {_degrees_said(lon, lat, 5 if digits < 2 else 7)}"


def _digits(step: float) -> int:
    """Return with how many digits tenths of a pixel can be told apart."""
    return min(max(0, 1 - math.floor(math.log10(step))), 9)


def _degrees_said(lon: float, lat: float, digits: int) -> str:
    return (
        f"{abs(lat):.{digits}f}° {'N' if lat >= 0 else 'S'}, "
        f"{abs(lon):.{digits}f}° {'E' if lon >= 0 else 'W'}"
    )


def _short(crs: str) -> str:
    """Return a code as it is, and of WKT the name."""
    _, quote, rest = crs.partition('["')
    return rest.partition('"')[0] if quote else crs
