"""A napari window with an image and the Segment widget, ready to click: for the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import napari
from napari.layers import Image

from napari_sam.errors import InputError
from napari_sam.live.preload import preload

from .attached import attach
from .opening import image_layers, layers_of_parts, tell_notes
from .readers import get_reader, holds_session

if TYPE_CHECKING:
    from napari.types import LayerData

__all__ = ["show_image", "show_sample", "wait"]

PLUGIN = "napari-sam-tiled"


def show_image(path: str, model: str | None = None, part: str | None = None) -> napari.Viewer:
    """Open a window with an image, and begin to segment it.

    Parameters
    ----------
    path : str
        An image, a session of one, or a store of embeddings.
    model : str, optional
        As `napari_sam.loading.load` takes it.
    part : str, optional
        Which image of a file that holds several.

    Returns
    -------
    napari.Viewer
        The model is still being loaded.

    Raises
    ------
    InputError
        If neither this package nor napari can open it; then there is no window.
    """
    preload()
    try:
        layers = _layers(path, part)
    except InputError as problem:
        if "://" not in path and not Path(path).exists():
            raise
        viewer = _opened_by_napari(path, problem)
    else:
        viewer = napari.Viewer()
        for data, options, kind in layers:
            getattr(viewer, f"add_{kind}")(data, **options)
    return _begin(viewer, model)


def show_sample(key: str, model: str | None = None) -> napari.Viewer:
    """Open a window with a sample of the plugin, and begin to segment it."""
    preload()
    viewer = napari.Viewer()
    viewer.open_sample(PLUGIN, key)
    return _begin(viewer, model)


def wait() -> None:
    """Wait until all windows are closed."""
    napari.run()


def _layers(path: str, part: str | None) -> list[LayerData]:
    read = get_reader(path) if part is None else None
    if read is None:
        layers = layers_of_parts(path) if part is None else image_layers(path, part)
        tell_notes(layers)
        return layers
    layers = read(path)
    # Of a session the image suffices: with it the plugin opens its objects, to be worked on.
    return [layer for layer in layers if layer[2] == "image"] if holds_session(path) else layers


def _opened_by_napari(path: str, problem: InputError) -> napari.Viewer:
    """Open what only a reader of napari, or of another plugin, knows."""
    viewer = napari.Viewer()
    try:
        viewer.open(path)
    except Exception:  # of whatever type a plugin's reader raises
        viewer.close()
        raise problem from None
    return viewer


def _begin(viewer: napari.Viewer, model: str | None) -> napari.Viewer:
    attachment = attach(viewer)
    try:
        attachment.use(_image(viewer), model)
    except InputError as error:
        attachment.say(str(error), "error")
    viewer.window.add_plugin_dock_widget(PLUGIN, "Segment")
    return viewer


def _image(viewer: napari.Viewer) -> Image:
    for layer in viewer.layers:
        if isinstance(layer, Image):
            viewer.layers.selection.active = layer
            return layer
    raise InputError("There is no image in it: open the image that it belongs to.")
