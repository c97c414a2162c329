"""Embeddings of an image that are there already, and a place for those that are not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.errors import InputError
from napari_sam.own_models import find_own_model, name_of, whose_embeddings
from napari_sam.tiles.geometry import TileGeometry
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo
from napari_sam.tiles.subjects import model_differences, scene_differences

from .folders import names, short_name
from .picture import Picture

if TYPE_CHECKING:
    from napari_sam.scene import Scene

__all__ = ["find_store", "made_store", "scene_of_a_store", "stores_beside"]

_ENDING = ".embeddings"
_PLANE = re.compile(r"-t(?P<t>\d+)-z(?P<z>\d+)(-\d+)?$")


def stores_beside(picture: Picture) -> list[EmbeddingStore]:
    """Return the stores that lie beside an image, as `napari-sam encode` puts them there.

    Looked at are folders whose name begins with that of the image, or ends in ``.embeddings`` or
    ``.zarr``.
    """
    if picture.path is None:
        return []
    stem, found = picture.path.name.split(".")[0].casefold(), []
    for path in sorted(_folders(picture.path.parent)):
        named = path.suffix in (_ENDING, ".zarr") or path.name.casefold().startswith(stem)
        if named and path != picture.path and (store := _opened(path)) is not None:
            found.append(store)
    return found


def scene_of_a_store(
    picture: Picture, folder: Path, t: int, z: int, model_name: str
) -> Scene | None:
    """Open a plane as it was encoded, so that its embeddings can be used; None if it was not.

    Stores of the model that is asked for come first.
    """
    own = find_own_model(model_name)
    variant = model_name if own is None else own.variant
    stores = [*_stores_in(folder), *stores_beside(picture)]
    for store in sorted(stores, key=lambda one: one.model.variant.get("name") != variant):
        if (store.scene.t, store.scene.z) != (t, z) or picture.is_other_side(store.scene):
            continue
        try:
            scene = picture.open(t, z, like=store.scene)
            store.check(scene=SceneInfo.of(scene))
        except InputError:
            continue  # of another image
        return scene
    return None


def find_store(
    picture: Picture, folder: Path, scene: SceneInfo, model: ModelInfo, model_name: str
) -> tuple[EmbeddingStore | None, Path, list[str]]:
    """Look for the embeddings of a plane.

    Returns
    -------
    store : EmbeddingStore or None
        Of this plane and model, or one with the same image encoder, in whatever precision.
    path : Path
        In `folder`, for a new one: a name that is free.
    notes : list of str
        What is used, and what does not fit and why.
    """
    notes: list[str] = []
    name = f"{short_name(model_name)}-{model.hash[:8]}-t{scene.t}-z{scene.z}{_ENDING}"
    for path in names(folder / name):
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            break
        store = _opened(path)
        why = "it is no store" if store is None else _misfit(store, scene, model)
        if store is not None and not why:
            return store, path, [*notes, _used(store)]
        if store is None or not picture.is_other_side(store.scene):
            notes.append(f"{path} does not fit and is left alone: {why}.")
    for store in _stores_in(folder, (scene.t, scene.z)):
        if store.model.encodes_like(model) and not _misfit(store, scene, model):
            shared = whose_embeddings(store.model, model, model_name)
            return store, path, [*notes, _used(store), *filter(None, [shared])]
    for store in stores_beside(picture):
        why = _misfit(store, scene, model)
        if not why:
            shared = whose_embeddings(store.model, model, model_name)
            return store, path, [*notes, _used(store), *filter(None, [shared])]
        if not scene_differences(store.scene, scene):
            notes.append(
                f"{store.place.name} was encoded with {name_of(store.model)}: choose that model "
                f"to use it."
            )
        elif store.model.hash == model.hash and _is_named_after(store, picture):
            notes.append(f"{store.place.name} does not fit and is left alone: {why}.")
    return None, path, notes


def made_store(path: Path, scene: Scene, info: SceneInfo, model: ModelInfo) -> EmbeddingStore:
    """Make a store for a plane.

    Raises
    ------
    StoreUnusable
        If it cannot be written.
    """
    side = int(model.variant["image_size"])
    geometry = TileGeometry(scene.shape, side, side // 8)
    return EmbeddingStore.create(path, info, model, geometry)


def _stores_in(folder: Path, plane: tuple[int, int] | None = None) -> list[EmbeddingStore]:
    """Return the stores in the folder of an image, but for those named after other planes."""
    found = []
    for path in sorted(_folders(folder)):
        named = _PLANE.search(path.stem)
        if path.suffix != _ENDING or (
            plane and named and plane != (int(named["t"]), int(named["z"]))
        ):
            continue  # of a stack there may be a thousand
        if (store := _opened(path)) is not None:
            found.append(store)
    return found


def _opened(path: Path) -> EmbeddingStore | None:
    """Open a store; None for what is none, or cannot be read."""
    if not (path / "zarr.json").is_file():
        return None
    try:
        return EmbeddingStore.open(path)
    except InputError:
        return None


def _folders(path: Path) -> Iterator[Path]:
    try:
        with os.scandir(path) as entries:
            yield from (Path(entry.path) for entry in entries if entry.is_dir())
    except OSError:
        return  # one that cannot be listed offers nothing


def _misfit(store: EmbeddingStore, scene: SceneInfo, model: ModelInfo) -> str:
    """Say why a store cannot be used; nothing if it can."""
    found = scene_differences(store.scene, scene)
    if not model.encodes_like(store.model):
        found += model_differences(store.model, model)
    if not found and store.geometry.tile != model.variant["image_size"]:
        found.append(f"its tiles are {store.geometry.tile} pixels wide")
    if not found and not _can_be_written(store) and store.progress().missing:
        found.append("it is not complete, and cannot be written")
    return "; ".join(found)


def _can_be_written(store: EmbeddingStore) -> bool:
    folder = store.place.folder
    return folder is not None and os.access(folder, os.W_OK)


def _is_named_after(store: EmbeddingStore, picture: Picture) -> bool:
    folder = store.place.folder
    return (
        folder is not None
        and picture.path is not None
        and folder.name.split(".")[0] == picture.path.name.split(".")[0]
    )


def _used(store: EmbeddingStore) -> str:
    progress = store.progress()
    there = progress.total - progress.missing
    return f"Embeddings that were there are used: {there} of {progress.total} tiles, in " + (
        f"{store.place.name}."
    )
