"""Planes of an image that are open beside the one that is worked on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.errors import InputError
from napari_sam.scene import Normalisation
from napari_sam.scenes.planes import at_plane
from napari_sam.segment.segmenter import Segmenter
from napari_sam.session import Session
from napari_sam.sessions.subject import check_scene
from napari_sam.tiles.reopening import load_like
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo

from .picture import Picture, is_flat
from .stores import find_store, made_store

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from src_model import Sam

__all__ = ["Slice", "Slices", "known_like"]

_OPEN = 4
"""Planes that stay open: those that are followed from both sides, and where that began."""


@dataclass(frozen=True)
class Slice:
    """A plane that is looked at in passing.

    Parameters
    ----------
    scene : Scene
        The plane.
    info : SceneInfo
        What a session says of it.
    store : EmbeddingStore
        Its embeddings.
    segmenter : Segmenter
        What answers prompts on it.
    """

    scene: Scene
    info: SceneInfo
    store: EmbeddingStore
    segmenter: Segmenter


class Slices:
    """Opens planes of an image for one model, and keeps the last few open.

    Parameters
    ----------
    picture : Picture
        The image.
    folder : Path
        Where embeddings are found, and made.
    session : Session
        Which knows the planes that were worked on, and how they were stretched.
    sam : Sam
        The model.
    model_name : str
        By which it was asked for.
    """

    def __init__(
        self, picture: Picture, folder: Path, session: Session, sam: Sam, model_name: str
    ) -> None:
        self._picture, self._folder, self._session = picture, folder, session
        self.sam, self._model_name = sam, model_name
        self._model = ModelInfo.of(sam)
        self._others: dict[str, Sam] = {}
        self._open: dict[tuple[int, int], Slice] = {}

    def get(self, t: int, z: int) -> Slice:
        """Open a plane, or return it if it is open; see `Workplace.slice`."""
        found = self._open.pop((t, z), None) or self._made(t, z)
        self._open[t, z] = found  # the one used last is last
        for forgotten in list(self._open)[:-_OPEN]:
            del self._open[forgotten]
        return found

    def _made(self, t: int, z: int) -> Slice:
        scene = self._scene(t, z)
        info, name = SceneInfo.of(scene), self._model_name
        known = self._session.planes.get((t, z))
        if known is not None:
            check_scene(self._session.path, known, info)
        store, path, _ = find_store(self._picture, self._folder, info, self._model, name)
        if store is None:
            store = made_store(path, scene, info, self._model)
        sam = self._sam_for(store)
        about = self._model if sam is self.sam else None
        return Slice(scene, info, store, Segmenter(scene, store, sam, about))

    def _scene(self, t: int, z: int) -> Scene:
        """Return a plane with the stretch that it had, or else with that of the others."""
        scene = self._session.scene
        scene.check_there()
        if not (0 <= t < scene.times and 0 <= z < scene.planes):
            raise InputError(
                f"{scene.name} has no plane t={t}, z={z}: it has {scene.times} times and "
                f"{scene.planes} planes, counted from 0."
            )
        like = known_like(self._session, t, z)
        if (like.t, like.z) != (t, z) and is_flat(like):
            return self._picture.open(t, z, like=like)  # measured anew
        return at_plane(scene, t, z, Normalisation.from_dict(like.normalisation))

    def _sam_for(self, store: EmbeddingStore) -> Sam:
        """Return the model in the precision of a store."""
        wanted = store.model.number_format
        if wanted == self._model.number_format:
            return self.sam
        if wanted not in self._others:
            self._others[wanted] = load_like(store, self._model_name)
        return self._others[wanted]


def known_like(session: Session, t: int, z: int) -> SceneInfo:
    """Return what a session knows of a plane, or else of the first one."""
    planes = session.planes
    return planes.get((t, z), next(iter(planes.values())))
