"""What an image layer shows, described so that it can be opened as a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_sam.errors import InputError
from napari_sam.live.file_content import Content, content_of
from napari_sam.live.picture import Picture
from napari_sam.scene import PixelSize

from .pointer import along_of, axes_of, axes_shown, layer_position

if TYPE_CHECKING:
    import napari
    from napari.components import Dims

__all__ = ["image_meant", "picture_of", "pixel_size_of", "plane_of", "upright_of"]


def picture_of(layer: Image, channels: int | str | Sequence[int | str] | None = None) -> Picture:
    """Describe what an image layer shows.

    Nothing is computed of lazy arrays, but for a sample where the layer comes from a file: if it
    shows that unchanged, the file is worked on, with all that it says of itself. This may take a
    moment, and may be done in any thread.

    Parameters
    ----------
    layer : Image
        Grey or colour, with any number of resolutions. Axes before rows and columns are depth and
        time, or what the layer's axis labels say (``c`` for channels).
    channels : int, str, or sequence of these, optional
        One or three of several; by default those that were chosen before, or the first ones.

    Raises
    ------
    InputError
        If it has more than four axes and no labels that say what they are.
    """
    upright = upright_of(layer)
    if upright is not layer:
        picture, turned = picture_of(upright, channels), pixel_size_of(layer)
        if picture.pixel_size is None and turned == layer.metadata["image_pixel_size"]:
            turned = None
        return replace(picture, pixel_size=turned, name=layer.name, along=along_of(layer))
    levels: list[Any] = list(layer.data) if layer.multiscale else [layer.data]
    told, axes = axes_of(layer, labels_only=True), axes_of(layer)
    size, path = pixel_size_of(layer), _file(layer)
    read = layer.metadata
    if read.get("image_data") is layer.data_raw and layer.data_raw is not None:
        # Of this package's own reader, and still what that read.
        chosen = read["image_channels"] if channels is None else channels
        image = read["image_path"] if path is None else path
        if size == read["image_pixel_size"]:
            size = None  # nobody changed it, so that the file's own words count
        part = read.get("image_part")
        return Picture(image, read["image_axes"], chosen, size, layer.name, path, part=part)
    content = None if path is None else content_of(path, levels[0], told, axes)
    if content is not None and _is_as_shown(content, layer):
        chosen = content.channel if channels is None else channels
        return Picture(path, content.axes, chosen, size, layer.name, path)
    if axes is None:
        raise InputError(
            f"The layer {layer.name!r} has {layer.ndim} axes, which nothing explains: give it axis "
            f"labels of t, c, z, y and x."
        )
    image = levels[0] if len(levels) == 1 else tuple(levels)
    return Picture(image, axes, channels, size, layer.name)


def image_meant(viewer: napari.Viewer, before: Image | None = None) -> Image:
    """Return the image layer that is meant where nobody names one.

    Parameters
    ----------
    viewer : napari.Viewer
        The active layer counts, if it is an image.
    before : Image, optional
        What is worked on, which counts next; then the only image that there is.

    Raises
    ------
    InputError
        If there is none, or it is not clear which.
    """
    active = viewer.layers.selection.active
    if isinstance(active, Image):
        return active
    if before is not None:
        return before
    images = [layer for layer in viewer.layers if isinstance(layer, Image)]
    if len(images) == 1:
        return images[0]
    if not images:
        raise InputError("There is no image: open one first.")
    raise InputError("There are several images: choose one of them in the list of layers.")


def plane_of(layer: Image, dims: Dims, axes: str | None = None) -> tuple[int, int]:
    """Return (t, z) of the plane that a viewer shows of a layer.

    Parameters
    ----------
    layer : Image
        Shown in the viewer.
    dims : Dims
        Of the viewer.
    axes : str, optional
        Of the scene, where it is open: its file may say more than the layer does.
    """
    shown = axes_shown(layer, axes)
    position = np.round(layer_position(layer, dims.point, dims.units))
    last = np.array(layer.data.shape[: layer.ndim]) - 1
    index = np.clip(position, 0, last).astype(int)
    t, z = (int(index[shown.index(axis)]) if axis in shown else 0 for axis in "TZ")
    return t, z


def _file(layer: Image) -> Path | None:
    """Return the file or folder on this machine that a layer was read from."""
    # Layers read from a session are those of its image, whatever folder was opened.
    given = layer.metadata.get("image_path") or layer.source.path
    if not given or "://" in str(given):
        return None
    path = Path(given).absolute()
    return path if path.exists() else None


def _is_as_shown(content: Content, layer: Image) -> bool:
    """Tell whether rows and columns of a file are where the pointer expects them."""
    samples = "S" if layer.rgb else ""
    axes = content.axes if content.channel is None else content.axes.replace("C", "")
    if ("S" in axes) != bool(samples):
        return False  # samples of colour behind a slider
    told = axes_of(layer, labels_only=True)
    return axes == told if told is not None else axes.removesuffix("S").endswith("YX")


def upright_of(layer: Image) -> Image:
    """Return the layer that `sides` turned to make this one; itself if it shows its own pixels."""
    read = layer.metadata
    upright = read.get("image_upright")
    if isinstance(upright, Image) and read.get("image_data") is layer.data_raw:
        return upright
    return layer


def pixel_size_of(layer: Image) -> PixelSize | None:
    """Return what a layer's transform makes of a pixel, if its units are lengths."""
    axes = axes_shown(layer)
    unit = layer.units[axes.index("Y")]
    if unit != layer.units[axes.index("X")] or not unit.is_compatible_with("meter"):
        return None
    origin = np.array(layer.data_to_world(np.zeros(layer.ndim)))
    sides = []
    for axis in "YX":
        step = np.zeros(layer.ndim)
        step[axes.index(axis)] = 1.0
        sides.append(float(np.linalg.norm(np.array(layer.data_to_world(step)) - origin)))
    return PixelSize(sides[0], sides[1], str(unit)) if min(sides) > 0 else None
