"""What napari opens and saves itself: sessions, stores of embeddings, images of special formats."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np

from napari_sam.errors import InputError
from napari_sam.scene import Scene, open_scene
from napari_sam.scenes.formats import find_format
from napari_sam.scenes.lazy import Lazy
from napari_sam.scenes.turning import looked_along
from napari_sam.session import Session
from napari_sam.sessions.folder import read_head
from napari_sam.sessions.opening import ENDING, find_image, image_of, sessions_in
from napari_sam.tiles.places import ROOT
from napari_sam.tiles.regions import Region
from napari_sam.tiles.reopening import choices
from napari_sam.tiles.store import EmbeddingStore, SceneInfo

from .map_position import show_map_position
from .opening import image_layers, layers_of_parts, tell_notes
from .orientation import show_orientation
from .sides import SIDES, Side, axes_turned, transposed

if TYPE_CHECKING:
    from napari.types import LayerData

    from napari_sam.tiles.geometry import TileGeometry

__all__ = ["get_reader", "holds_session", "write_session"]

_LARGE = 4096
"""Rows or columns of labels from which coarser levels of them are shown."""

_MAP = 1024
"""Rows or columns that a map of tiles has at most."""

_STATES = {0: "missing", 1: "done", 2: "empty", 3: "failed"}
_COLOURS = {0: "transparent", 1: "#2ca02c60", 2: "#7f7f7f60", 3: "#d62728a0", None: "transparent"}


def get_reader(path: str | list[str]) -> Callable[[str], list[LayerData]] | None:
    """Return what reads a session, a store, or an image of a format in the table; else None.

    Parameters
    ----------
    path : str
        A session's folder, the ``session.json`` in it, or the folder ``IMAGE.napari-sam`` that the
        session lies in: image and objects are read. Or the folder of a store: the image, and
        a map of the tiles at each level. Or what `napari_sam.scenes.formats` has a reader for:
        the image.

    Returns
    -------
    callable or None
        Takes the path and returns layers.
    """
    if not isinstance(path, str):
        return None
    if holds_session(path):
        return _read_sessions
    if _is_store(Path(path)):
        return _read_store
    return _read_image if find_format(Path(path)) is not None else None


def holds_session(path: str) -> bool:
    """Tell whether a path is that of a session, or of the folder of an image's sessions."""
    return bool(sessions_in(Path(path)))


def write_session(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Save labels as a session of an image, so that they can be corrected by prompts.

    Parameters
    ----------
    path : str
        The image's with ``.napari-sam`` behind it: ``cells.tif.napari-sam`` beside ``cells.tif``.
    data : array or sequence of arrays
        Labels of the image's rows and columns; of several levels the first counts.
    meta : dict
        Of the layer, whose name becomes the class of the objects.

    Raises
    ------
    InputError
        If there is no image of this name, it has other rows and columns, or it has a session.
    """
    folder = Path(path)
    image = folder.with_name(folder.name.removesuffix(ENDING))
    if not image.exists():
        raise InputError(
            f"There is no {image} that these could be the objects of: save them beside the image "
            f"and under its name, such as cells.tif{ENDING} for cells.tif."
        )
    labels = data[0] if meta.get("multiscale") else data
    with Session.create(folder / "session", open_scene(image)) as session:
        session.import_labels(labels, class_name=meta.get("name"))
    return [path]


def _is_store(path: Path) -> bool:
    if not (path / ROOT).is_file():
        return False
    try:
        EmbeddingStore.open(path)
    except InputError:
        return False  # any other Zarr
    return True


def _read_image(path: str) -> list[LayerData]:
    layers = layers_of_parts(path)
    tell_notes(layers)
    viewer = napari.current_viewer()
    if viewer is not None:
        show_orientation(viewer)
        show_map_position(viewer)
    return layers


def _read_sessions(path: str) -> list[LayerData]:
    layers: list[LayerData] = []
    for folder in sessions_in(Path(path)):
        was = SceneInfo.from_dict(read_head(folder)["scene"])
        image = image_of(folder, was)
        scene = open_scene(image, **choices(was))
        # Closed at once, so that the plugin can go on with it; what was read can be looked at.
        with Session.open(folder, scene) as session:
            rows = session.table()
        if not layers:
            layers += image_layers(image)
        layers.append(_objects(session, scene, layers[0], rows))
    return layers


def _objects(
    session: Session, scene: Scene, image: LayerData, rows: list[dict[str, Any]]
) -> LayerData:
    """Show all objects of a session, in the plane of the image where each lies."""
    data, options = image[0], image[1]
    first = data[0] if options["multiscale"] else data
    axes = "".join(options["axis_labels"]).upper()
    order = axes_turned(axes, side := _side_of(scene, options["metadata"]["image_axes"]))
    front = tuple(first.shape[axis] for axis in order[:-2])
    largest = max(scene.shape)
    count = 1 if side != "z" or largest <= _LARGE else max(1, (largest // _MAP).bit_length())
    levels = [
        Lazy(
            (*front, *level.shape),
            np.dtype(np.uint32),
            partial(_painted, session, number, axes[:-2]),
        )
        for number, level in enumerate(scene.levels[:count])
    ]
    if side != "z":  # shown where they are in the volume, whose layer is looked at along z
        levels = [transposed(levels[0], np.argsort(order).tolist())]
    seen = "" if side == "z" else f", along {side}"
    several = len(levels) > 1
    features = {
        "index": [row["id"] for row in rows],
        "class": [row["class"] or "" for row in rows],
        "area_px": [row["area_px"] for row in rows],
    }
    shown = {
        "name": f"objects of {options['name']}{seen} (as saved)",
        "multiscale": several,
        "axis_labels": options["axis_labels"],
        "features": features,
        **{name: options[name] for name in ("scale", "units") if name in options},
    }
    return levels if several else levels[0], shown, "labels"


def _side_of(scene: Scene, axes: str) -> Side:
    """Return from which side of an image, whose axes these are, a scene was looked at."""
    if "Z" in axes:
        for side in SIDES:
            if looked_along(axes, side, scene.name) == scene.axes:
                return side
    return "z"


def _painted(session: Session, level: int, front: str, parts: tuple[slice, ...]) -> np.ndarray:
    """Paint a window of the labels of all planes."""
    rows, cols = parts[-2:]
    region = Region(rows.start, cols.start, rows.stop, cols.stop)
    block = np.empty([part.stop - part.start for part in parts], np.uint32)
    for place in np.ndindex(block.shape[:-2]):
        plane = dict(
            zip(front, (p.start + n for p, n in zip(parts, place, strict=False)), strict=True)
        )
        block[place] = session.labels(region, level, (plane.get("T", 0), plane.get("Z", 0)))
    return block


def _read_store(path: str) -> list[LayerData]:
    store = EmbeddingStore.open(path)
    image = find_image(Path(path), store.scene)
    layers = [] if image is None else image_layers(image)
    for level in store.levels:
        options = {
            "name": f"tiles at level {level} of {Path(path).name}",
            "visible": level == store.levels[0],
            "colormap": _COLOURS,
            "features": {"index": list(_STATES), "state": list(_STATES.values())},
        }
        data, placed = _tile_map(store.geometry, level, store.states(level))
        if layers and "scale" in layers[0][1]:
            pixel = layers[0][1]["scale"][-2:]
            placed = {key: tuple(np.multiply(given, pixel)) for key, given in placed.items()}
            placed["units"] = layers[0][1]["units"][-2:]
        layers.append((data, options | placed, "labels"))
    return layers


def _tile_map(
    geometry: TileGeometry, level: int, states: np.ndarray
) -> tuple[np.ndarray, dict[str, Any]]:
    """Draw the cores of the tiles, coarsely, and say where that lies in level 0."""
    shape = geometry.level_shape(level)
    step = 1 << max(0, (max(shape) - 1).bit_length() - _MAP.bit_length() + 1)
    rows = [geometry.owner(level, row, 0).row for row in range(0, shape[0], step)]
    cols = [geometry.owner(level, 0, col).col for col in range(0, shape[1], step)]
    side = step << level
    return states[np.ix_(rows, cols)], {"scale": (side, side), "translate": ((side - 1) / 2,) * 2}
