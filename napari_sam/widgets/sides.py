"""A volume seen from another side: its layers turned, so that napari's natural order shows that."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.layers import Image, Layer

from napari_sam.errors import InputError
from napari_sam.scenes.lazy import Lazy
from napari_sam.scenes.turning import looked_along

from .pictures import pixel_size_of, upright_of
from .pointer import along_of, axes_shown, layer_position, rows_and_cols

if TYPE_CHECKING:
    import napari

__all__ = [
    "SIDES",
    "Side",
    "Sides",
    "axes_turned",
    "can_be_turned",
    "check_side",
    "is_askew",
    "straighten",
    "transposed",
    "turned_layer",
]

Side = Literal["z", "y", "x"]
SIDES: tuple[Side, ...] = ("z", "y", "x")

_LOOKS = ("contrast_limits", "gamma", "colormap", "opacity", "blending", "visible")
"""What a person changes in a layer, which goes with the image to its other sides."""

_MORE_LOOKS = ("interpolation2d", "interpolation3d", "rendering", "attenuation", "iso_threshold")


class Sides:
    """Turns images of a viewer: layers of the side that is looked at replace those of the other.

    Both are never there together: napari's sliders go through all that the layers of a viewer
    cover, and a slider would run far out of a volume that also lies there turned.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = weakref.ref(viewer)
        # Planes, by the side, and layers that were visible: all of images that are still there.
        self._planes: weakref.WeakKeyDictionary[Image, dict[str, float]]
        self._planes = weakref.WeakKeyDictionary()
        self._hidden: weakref.WeakSet[Layer] = weakref.WeakSet()

    def turn(self, layer: Image, side: Side, axes: str | None = None) -> Image:
        """Show an image from a side.

        Its other layers, such as those of other channels, are turned as well; layers of other
        stacks are hidden until it is looked along z again. What was in the middle of the view is
        in the plane that is shown first; a side that was looked at before shows its plane again.

        Parameters
        ----------
        layer : Image
            Of the viewer, and not open, if it is of another side; see `check_side`.
        side : {"z", "y", "x"}
            The axis to look along.
        axes : str, optional
            Of its pixels, where its file told what they are.

        Returns
        -------
        Image
            The layer that took its place; the same one if it is of that side.
        """
        viewer = self._viewer()
        assert viewer is not None, "the viewer is gone"
        middle = _middle(viewer, layer)
        straighten(viewer)
        if along_of(layer) == side:
            _go_to(viewer, layer, middle)  # leaving the 3-D view, napari goes elsewhere
            viewer.reset_view()
            return layer
        upright = upright_of(layer)
        shown = axes_shown(upright, axes)
        planes = self._planes.setdefault(upright, {})
        before = axes_turned(shown, along_of(layer))
        depth = shown.index("Z")
        planes[along_of(layer)] = middle[depth]
        middle = middle[np.argsort(before)][axes_turned(shown, side)]
        middle[depth] = planes.get(side, middle[depth])
        replaced = {one: self._other_side(one, side, axes) for one in _of_the_image(viewer, layer)}
        for one, other in replaced.items():
            for name in _LOOKS:
                setattr(other, name, getattr(one, name))
            viewer.layers.insert(viewer.layers.index(one), other)
        for one in replaced:
            viewer.layers.remove(one)
        chosen = replaced[layer]
        self._hide_others(viewer, set(replaced.values()), side)
        viewer.layers.selection = {chosen}
        _go_to(viewer, chosen, middle)
        viewer.reset_view()
        return chosen

    def _other_side(self, layer: Image, side: Side, axes: str | None) -> Image:
        upright = upright_of(layer)
        return upright if side == "z" else turned_layer(upright, side, axes)

    def _hide_others(self, viewer: napari.Viewer, shown: set[Image], side: Side) -> None:
        """Hide stacks that lie across what is shown; show them again when nothing is turned."""
        for layer in viewer.layers:
            if layer in shown or layer.ndim < 3:
                continue
            if side != "z" and layer.visible:
                layer.visible = False
                self._hidden.add(layer)
            elif side == "z" and layer in self._hidden:
                layer.visible = True
        if side == "z":
            self._hidden.clear()


def turned_layer(upright: Image, side: Literal["y", "x"], axes: str | None = None) -> Image:
    """Make a layer that shows an image from another side; nothing is copied.

    Parameters
    ----------
    upright : Image
        As its axes are.
    side : {"y", "x"}
        Which of its axes to look along.
    axes : str, optional
        Of its pixels, where its file told what they are.

    Returns
    -------
    Image
        Its scale, units, labels and metadata follow, and `pictures.picture_of` tells what it is.
    """
    shown = axes_shown(upright, axes)
    order = axes_turned(shown, side)
    levels = list(upright.data) if upright.multiscale else [upright.data]
    turned = [transposed(level, [*order, *range(len(order), level.ndim)]) for level in levels]
    layer = Image(
        turned if upright.multiscale else turned[0],
        name=f"{upright.name}, along {side}",
        rgb=upright.rgb,
        multiscale=upright.multiscale,
        axis_labels=tuple(shown[axis].lower() for axis in order),
        units=tuple(upright.units[axis] for axis in order),
        metadata={**upright.metadata, "image_along": side, "image_upright": upright},
        **_placed(upright, order),
        **{name: getattr(upright, name) for name in (*_LOOKS, *_MORE_LOOKS)},
    )
    # A reader's words about the whole file are about the upright layer.
    for name in ("image_path", "image_depth", "image_georeference"):
        layer.metadata.pop(name, None)
    layer.metadata["image_data"] = layer.data_raw
    layer.metadata["image_pixel_size"] = pixel_size_of(layer)
    return layer


def can_be_turned(layer: Image, axes: str | None = None) -> bool:
    """Tell whether a layer shows planes of a volume.

    Parameters
    ----------
    layer : Image
        Which.
    axes : str, optional
        Of its pixels, where its file told what they are.
    """
    upright = upright_of(layer)
    shown = axes_shown(upright, axes)
    return "Z" in shown and shown.endswith("YX") and upright.data.shape[shown.index("Z")] > 1


def check_side(layer: Image, side: Side, axes: str | None = None) -> None:
    """Check that a layer can be looked at from a side.

    Raises
    ------
    InputError
        If it cannot, as it has no depth.
    """
    looked_along("ZYX", side, layer.name)  # which refuses what is no side
    if not can_be_turned(layer, axes):
        raise InputError(f"{layer.name} has no depth: it can be looked at along z only.")


def is_askew(viewer: napari.Viewer, layer: Image) -> bool:
    """Tell whether a viewer displays other axes than the rows and columns of a layer."""
    first = viewer.dims.ndim - layer.ndim
    return {first + axis for axis in rows_and_cols(layer)} != set(viewer.dims.displayed)


def straighten(viewer: napari.Viewer) -> None:
    """Display rows and columns, in the natural order of axes."""
    viewer.dims.ndisplay = 2
    viewer.dims.order = tuple(range(viewer.dims.ndim))


def axes_turned(shown: str, side: Side) -> list[int]:
    """Return for each axis of a turned layer which axis of the upright one it is.

    Examples
    --------
    >>> axes_turned("TZYX", "y"), axes_turned("TZYX", "x")
    ([0, 2, 1, 3], [0, 3, 1, 2])
    """
    turned = looked_along(shown, side, "the image")
    return [turned.index(axis) for axis in shown]


def transposed(array: Any, order: Sequence[int]) -> Any:
    """Put the axes of an array into another order, also of one that is read when it is indexed."""
    if isinstance(array, np.ndarray):
        return array.transpose(order)
    shape = tuple(array.shape[axis] for axis in order)
    return Lazy(shape, np.dtype(array.dtype), partial(_window, array, order))


def _window(array: Any, order: Sequence[int], parts: tuple[slice, ...]) -> np.ndarray:
    back = np.argsort(order)
    return np.asarray(array[tuple(parts[place] for place in back)]).transpose(order)


def _placed(upright: Image, order: list[int]) -> dict[str, Any]:
    """Return the transform of the turned layer, as options."""
    count = upright.ndim
    origin = np.array(upright.data_to_world(np.zeros(count)), float)
    linear = np.stack(
        [np.array(upright.data_to_world(step), float) - origin for step in np.eye(count)], axis=1
    )[np.ix_(order, order)]
    origin = origin[order]
    if np.count_nonzero(linear - np.diag(np.diag(linear))) == 0:
        return {"scale": np.diag(linear), "translate": origin}
    affine = np.eye(count + 1)
    affine[:-1, :-1], affine[:-1, -1] = linear, origin
    return {"affine": affine}


def _of_the_image(viewer: napari.Viewer, layer: Image) -> list[Image]:
    """Return the layers of one image, such as its channels."""
    file = _file_of(layer)
    return [
        one
        for one in viewer.layers
        if one is layer
        or (
            isinstance(one, Image)
            and file is not None
            and _file_of(one) == file
            and along_of(one) == along_of(layer)
            and one.data.shape[: one.ndim] == layer.data.shape[: layer.ndim]
        )
    ]


def _file_of(layer: Image) -> tuple[str, str | None] | None:
    """Return which file a layer is from, and which of its images."""
    upright = upright_of(layer)
    path = upright.metadata.get("image_path") or upright.source.path
    return None if path is None else (str(path), upright.metadata.get("image_part"))


def _middle(viewer: napari.Viewer, layer: Image) -> np.ndarray:
    """Return the place in a layer's data that is in the middle of the view."""
    world = np.array(viewer.dims.point, float)
    if not is_askew(viewer, layer):
        displayed = list(viewer.dims.displayed)
        world[displayed] = np.array(viewer.scene.camera.center, float)[-2:]
    place = layer_position(layer, world, viewer.dims.units)
    last = np.array(layer.data.shape[: layer.ndim]) - 1
    inside = np.clip(np.round(place), 0, last)
    if is_askew(viewer, layer):
        inside[list(rows_and_cols(layer))] = last[list(rows_and_cols(layer))] // 2
    return np.asarray(inside)


def _go_to(viewer: napari.Viewer, layer: Image, place: np.ndarray) -> None:
    """Move the sliders to a place in a layer's data."""
    world, first = layer.data_to_world(place), viewer.dims.ndim - layer.ndim
    viewer.dims.set_point(range(first, viewer.dims.ndim), list(map(float, world)))
