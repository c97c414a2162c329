"""Any layer as prompts or as objects: points, shapes and labels that a person has already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Points, Shapes

from napari_sam.errors import InputError
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.session import Overlap, Scribble, Session
from napari_sam.tiles.regions import Region

from .drawn_layer import BACKGROUND
from .outlines import box_of, ellipse, filled
from .pointer import scene_position, world_position

if TYPE_CHECKING:
    import napari

    from .attached import Attachment

__all__ = ["import_labels", "label_as_mask", "labels_on_scene", "take_prompts"]

_MOST = 1 << 26
"""Pixels of labels in another place that are looked up at most."""


def take_prompts(attachment: Attachment, layer: Layer) -> list[int]:
    """Take the points or shapes of any layer over as prompts; the layer stays as it is.

    A feature `label` with the value "background" makes a prompt one of what is not the object; a
    feature `object` says of which. Without it all points are of one object, and each box and each
    region is an object of its own.

    Returns
    -------
    list of int
        The objects that have prompts from it.

    Raises
    ------
    InputError
        If the layer has no prompts, or one lies outside of the image.
    """
    workplace, image = attachment.workplace, attachment.image_layer
    if workplace is None or image is None:
        raise InputError("No image is being segmented: choose its layer and press Start.")
    if not isinstance(layer, Points | Shapes) or not len(layer.data):
        raise InputError(f"{layer.name} has no points and no shapes.")
    session, rows = workplace.session, _rows(layer)
    if isinstance(layer, Points):
        return _take_points(session, rows, _to_scene(attachment.viewer, image, layer, layer.data))
    drawn = [
        (str(kind), _to_scene(attachment.viewer, image, layer, vertices))
        for kind, vertices in zip(layer.shape_type, layer.data, strict=True)
    ]
    return _take_shapes(session, rows, drawn)


def label_as_mask(attachment: Attachment, layer: Labels) -> int:
    """Make the selected label of a layer a mask prompt, and return the object.

    Raises
    ------
    InputError
        If there are no pixels of it on the image.
    """
    session, found = _session(attachment), labels_on_scene(attachment, layer)
    mask = found == layer.selected_label
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise InputError(
            f"{layer.name} has no pixel of the label {layer.selected_label} on the image: select "
            f"another label."
        )
    cut = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    number = session.set_mask(MaskRegion(int(rows[0]), int(cols[0]), cut), session.next_id)
    attachment.intent.set(object_id=number)
    return number


def import_labels(
    attachment: Attachment,
    layer: Labels,
    class_name: str | None = None,
    overlap: Overlap = "keep_old",
) -> dict[int, int]:
    """Make objects of the labels of a layer, which stays as it is.

    Raises
    ------
    InputError
        If it has none on the image.
    """
    session = _session(attachment)
    found = session.import_labels(labels_on_scene(attachment, layer), class_name, overlap)
    if not found:
        raise InputError(f"{layer.name} has no labels where there is room on the image.")
    return found


def _session(attachment: Attachment) -> Session:
    if attachment.workplace is None:
        raise InputError("No image is being segmented: choose its layer and press Start.")
    return attachment.workplace.session


def _rows(layer: Any) -> list[tuple[int | None, bool]]:
    """Return of each row the object, None if it says none, and whether it lies on it."""
    count, features = len(layer.data), layer.features
    numbers = features.get("object", [None] * count)
    labels = features.get("label", [None] * count)
    return [
        (int(number) if isinstance(number, int | np.integer) and number > 0 else None,
         label != BACKGROUND)
        for number, label in zip(numbers, labels, strict=True)
    ]  # fmt: skip


def _take_points(
    session: Session, rows: list[tuple[int | None, bool]], places: np.ndarray
) -> list[int]:
    new = session.next_id
    objects: dict[int, list[tuple[float, float, bool]]] = {}
    for (number, on), (row, col) in zip(rows, places, strict=True):
        objects.setdefault(new if number is None else number, []).append((row, col, on))
    for number, clicks in objects.items():
        for row, col, on in clicks:
            session.add_point(row, col, on, number)
    return list(objects)


def _take_shapes(
    session: Session, rows: list[tuple[int | None, bool]], drawn: list[tuple[str, np.ndarray]]
) -> list[int]:
    shape = session.scene.shape
    taken: list[int] = []
    for (told, on), (kind, vertices) in zip(rows, drawn, strict=True):
        number = session.next_id if told is None else told
        box = box_of(vertices) if kind == "rectangle" else None
        if box is not None:
            session.set_box(np.clip(box, -0.5, np.array(shape * 2) - 0.5), number)
        elif kind in ("line", "path"):
            line = tuple((float(row), float(col)) for row, col in vertices)
            before = session.prompts[number].scribbles if number in session.prompts else ()
            session.set_scribbles((*before, Scribble(line, on)), number)
        else:
            outline = ellipse(vertices) if kind == "ellipse" else vertices
            session.set_mask(filled(outline, shape), number)
        taken.append(number)
    return list(dict.fromkeys(taken))


def _to_scene(viewer: napari.Viewer, image: Image, layer: Any, places: Any) -> np.ndarray:
    """Return (row, col) of the scene for data of a layer, through the world."""
    units = layer.units
    front = tuple(viewer.dims.point[: max(0, viewer.dims.ndim - layer.ndim)])
    world = [np.asarray(layer.data_to_world(place), float) for place in np.asarray(places)]
    if viewer.dims.ndim > layer.ndim:
        units = (*viewer.dims.units[: len(front)], *units)
        world = [np.concatenate([front, place]) for place in world]
    return np.array([scene_position(image, place, units) for place in world])


def labels_on_scene(attachment: Attachment, layer: Labels) -> Any:
    """Return the labels as they lie on the scene, pixel by pixel.

    Raises
    ------
    InputError
        If they are to be looked up, and the scene is too large for that.
    """
    workplace, image = attachment.workplace, attachment.image_layer
    assert workplace is not None
    assert image is not None
    shape, viewer = workplace.scene.shape, attachment.viewer
    data = layer.data[0] if layer.multiscale else layer.data
    matrix = _from_scene(viewer, image, layer)
    if layer.ndim == 2 and data.shape == shape and np.allclose(matrix, np.eye(2, 3), atol=1e-6):
        return data
    if shape[0] * shape[1] > _MOST:
        raise InputError(
            f"{layer.name} lies otherwise than the image, which is too large to look up each of "
            f"its pixels: resample the labels to the image before."
        )
    return _looked_up(viewer, layer, np.asarray(data), matrix, Region(0, 0, *shape))


def _from_scene(viewer: napari.Viewer, image: Image, layer: Any) -> np.ndarray:
    """Return what takes (row, col, 1) of the scene to the last two axes of a layer's data."""
    point, units = viewer.dims.point, viewer.dims.units
    ends = []
    for row, col in ((0, 0), (1, 0), (0, 1)):
        world = world_position(image, row, col, point, units)
        ends.append(np.array(_data_of(layer, world, units))[-2:])
    origin, down, right = ends
    return np.stack([down - origin, right - origin, origin], axis=1)


def _data_of(layer: Any, world: Any, units: Any) -> Any:
    from .pointer import layer_position

    return layer_position(layer, world, units)


def _looked_up(
    viewer: napari.Viewer, layer: Any, data: np.ndarray, matrix: np.ndarray, part: Region
) -> np.ndarray:
    """Return the label under the centre of each pixel of the scene."""
    if data.ndim > 2:  # the plane that is shown
        at = np.round(_data_of(layer, viewer.dims.point, viewer.dims.units))[:-2].astype(int)
        data = data[tuple(np.clip(at, 0, np.array(data.shape[:-2]) - 1))]
    found = np.zeros(part.shape, data.dtype)
    cols = np.arange(part.col0, part.col1)
    for index, row in enumerate(range(part.row0, part.row1)):
        places = matrix[:, :1] * row + matrix[:, 1:2] * cols + matrix[:, 2:]
        near = np.floor(places + 0.5).astype(np.int64)
        inside = np.all((near >= 0) & (near < np.array(data.shape)[:, None]), axis=0)
        found[index, inside] = data[near[0, inside], near[1, inside]]
    return found
