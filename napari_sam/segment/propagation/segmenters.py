"""What answers in each plane of an image: made when it is asked for, and left again."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.scenes.planes import at_plane
from napari_sam.segment.segmenter import Segmenter

from .followed import Plane

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from napari_sam.tiles.store import EmbeddingStore
    from src_model import Sam

__all__ = ["PlaneSegmenters"]

_OPEN = 3
"""Planes that stay open: the known one, the last one, and the one that is looked at."""


class PlaneSegmenters:
    """Segmenters of the planes of one image, with one stretch.

    Parameters
    ----------
    scene : Scene
        Any plane.
    model : Sam
        The network.
    folder : Path, optional
        Where the embeddings of each plane are kept in a store of their own, and used again; by
        default they are forgotten with the plane.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_sam.scene import open_scene
    >>> from src_model import Variant, build_sam
    >>> sam = build_sam(Variant(image_size=64, depth=2, embed_dim=32, num_heads=2, out_chans=32,
    ...                         global_attn_indexes=(1,)))
    >>> segmenters = PlaneSegmenters(open_scene(np.zeros((9, 60, 60), np.uint8), axes="ZYX"), sam)
    >>> segmenters((0, 5)).scene.z
    5
    """

    def __init__(self, scene: Scene, model: Sam, folder: Path | None = None) -> None:
        from napari_sam.tiles.subjects import ModelInfo

        self._scene, self._model, self._folder = scene, model, folder
        self._info = ModelInfo.of(model)
        self._open: OrderedDict[Plane, Segmenter] = OrderedDict()

    def __call__(self, plane: Plane) -> Segmenter:
        """Return what answers in a plane.

        Raises
        ------
        InputError
            If its store cannot be used.
        """
        if plane not in self._open:
            scene = at_plane(self._scene, *plane)
            self._open[plane] = Segmenter(scene, self._store(scene), self._model, self._info)
        self._open.move_to_end(plane)
        while len(self._open) > _OPEN:
            self._open.popitem(last=False)
        return self._open[plane]

    def _store(self, scene: Scene) -> EmbeddingStore:
        from zarr.storage import MemoryStore

        from napari_sam.tiles.geometry import TileGeometry
        from napari_sam.tiles.store import EmbeddingStore, SceneInfo

        side = self._model.variant.image_size
        subjects = SceneInfo.of(scene), self._info
        geometry = TileGeometry(scene.shape, side, side // 8)
        if self._folder is None:
            return EmbeddingStore.create(MemoryStore(), *subjects, geometry)
        path = self._folder / f"t{scene.t}-z{scene.z}.embeddings"
        if path.exists():
            return EmbeddingStore.open(path)
        self._folder.mkdir(parents=True, exist_ok=True)
        return EmbeddingStore.create(path, *subjects, geometry)
