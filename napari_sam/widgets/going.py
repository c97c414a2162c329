"""To an object, wherever it is: its plane, the camera, and an outline around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import InputError
from napari_sam.tiles.regions import Region

from .highlight import Highlight, with_room
from .pointer import axes_shown, layer_position

if TYPE_CHECKING:
    from .attached import Attachment

__all__ = ["go_to_object", "go_to_place", "show_plane"]

_ROOM = 32
"""Pixels around a place that are shown."""


def show_plane(attachment: Attachment, plane: tuple[int, int]) -> None:
    """Move the sliders so that a plane (t, z) of the image is shown."""
    workplace, image = attachment.workplace, attachment.image_layer
    if workplace is None or image is None or workplace.session.plane == plane:
        return
    dims, shown = attachment.viewer.dims, axes_shown(image, workplace.picture.axes)
    place = layer_position(image, dims.point, dims.units)
    for axis, number in zip("TZ", plane, strict=True):
        if axis in shown:
            place[shown.index(axis)] = number
    world = np.asarray(image.data_to_world(place), float)
    for axis in "TZ":
        if axis in shown:
            number = shown.index(axis)
            dims.set_point(dims.ndim - image.ndim + number, float(world[number]))


def go_to_object(attachment: Attachment, object_id: int, highlight: Highlight) -> None:
    """Show an object of the session that is open, outline it, and pick it.

    Raises
    ------
    InputError
        If there is no such object any more.
    """
    workplace, image = attachment.workplace, attachment.image_layer
    if workplace is None or image is None:
        raise InputError("No image is open: open it in Segment first.")
    runs = workplace.session.mask(object_id)
    show_plane(attachment, workplace.session.info(object_id).plane)
    attachment.show(with_room(runs.box, workplace.scene.shape))
    highlight.show(image, runs)
    attachment.intent.set(picked=(object_id,))


def go_to_place(
    attachment: Attachment, row: float, col: float, plane: tuple[int, int] | None
) -> None:
    """Show what is around a pixel of the scene."""
    workplace = attachment.workplace
    if workplace is None:
        return
    if plane is not None:
        show_plane(attachment, plane)
    around = Region(int(row) - _ROOM, int(col) - _ROOM, int(row) + _ROOM + 1, int(col) + _ROOM + 1)
    attachment.show(around & Region(0, 0, *workplace.scene.shape))
