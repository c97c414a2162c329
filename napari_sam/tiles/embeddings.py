"""Prompting a store: its tiles, each ready for prompts without being encoded again.

    EmbeddingStore -> Embeddings.at(tile) -> TilePredictor -> masks

A predictor holds one image, and costs nothing but a reference to the model and one to the
embedding. So each tile gets its own, and any number of tiles can be prompted in turn or at once;
what costs time is reading, and what costs memory is the embeddings that are kept.
"""

from __future__ import annotations

import math
import warnings
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from .frames import embed, read_frame
from .geometry import TileId
from .kept_levels import keep_levels
from .rounding import as_float32, rounded, widen
from .store import EmbeddingStore
from .store_errors import StoreUnusable, TileDamaged, TileEmpty, TileNotThere, called
from .subjects import ModelInfo, SceneInfo
from .tile_predictor import TilePredictor
from .tile_states import State

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sam.scene import Scene
    from src_model import Sam

__all__ = ["Embeddings"]


class Embeddings:
    """The embeddings of a store, ready to be prompted.

    Those used last are kept, in float32 and where the model is. Several threads may use one.

    Parameters
    ----------
    store : EmbeddingStore
        Where they are read.
    sam : Sam
        The network that made them, or one with the same image encoder; it hashes its weights.
    scene : Scene, optional
        The Scene they were made from. With it tiles that are missing or damaged are encoded when
        they are asked for, and written to the store; only kept, with a warning, if `sam` computes
        in another precision than the store was encoded in.
    max_bytes : int
        How much memory those that are kept may take; 512 MiB hold 128 of the published models.
    about : ModelInfo, optional
        Of `sam`, where it is known: hashing the weights of a large model takes seconds.

    Raises
    ------
    StoreMismatch
        If the store was made with another model, or from another Scene.
    InputError
        If the Scene cannot be read.
    ValueError
        If `max_bytes` is negative.

    Examples
    --------
    >>> from zarr.storage import MemoryStore
    >>> from napari_sam.scene import open_scene
    >>> from napari_sam.tiles.geometry import TileGeometry
    >>> from src_model import Variant, build_sam
    >>> sam = build_sam(Variant(image_size=64, depth=2, embed_dim=32, num_heads=2, out_chans=32,
    ...                         global_attn_indexes=(1,)))
    >>> scene = open_scene(np.arange(100 * 300, dtype=np.uint16).reshape(100, 300))
    >>> geometry = TileGeometry(scene.shape, tile=64, halo=8)
    >>> store = EmbeddingStore.create(
    ...     MemoryStore(), SceneInfo.of(scene), ModelInfo.of(sam), geometry
    ... )
    >>> embeddings = Embeddings(store, sam, scene)
    >>> tile = embeddings.at(geometry.owner(0, 50, 150))
    >>> tile.window
    Region(row0=0, col0=96, row1=64, col1=160)
    >>> masks, iou, low_res = tile.predictor.predict(tile.to_xy([[50, 150]]), np.array([1]))
    >>> masks.shape
    (3, 64, 64)
    """

    def __init__(
        self,
        store: EmbeddingStore,
        sam: Sam,
        scene: Scene | None = None,
        max_bytes: int = 512 << 20,
        about: ModelInfo | None = None,
    ) -> None:
        if max_bytes < 0:
            raise ValueError(f"max_bytes must be 0 or more, not {max_bytes}.")
        model = ModelInfo.of(sam) if about is None else about
        store.check(
            # What is read may be of another precision: its masks are nearly the same.
            model=replace(model, precision=store.model.precision),
            scene=None if scene is None else SceneInfo.of(scene),
        )
        self._store, self._sam = store, sam
        self._writes = model.number_format == store.model.number_format
        if scene is not None and not self._writes:
            warnings.warn(
                f"Tiles that are missing will be encoded, but not stored, because the store was "
                f"encoded in {store.model.number_format} and the model computes in "
                f"{model.number_format}: load it with precision {store.model.number_format} to "
                f"store them.",
                RuntimeWarning,
                stacklevel=2,
            )
        self._scene = None if scene is None else keep_levels(scene, store)
        # All embeddings of a store have one shape: bytes are a number of them.
        self._room = max_bytes // (4 * math.prod(store.model.embedding_shape))
        self._kept: OrderedDict[TileId, Tensor] = OrderedDict()  # the one used last is last
        self._keeping, self._encoding = Lock(), Lock()

    @property
    def store(self) -> EmbeddingStore:
        """Where they are read."""
        return self._store

    def at(self, tile: TileId) -> TilePredictor:
        """Return a tile that is ready to be prompted.

        Parameters
        ----------
        tile : TileId
            Which.

        Returns
        -------
        TilePredictor
            It has a predictor of its own, and keeps its embedding in memory as long as it is used.

        Raises
        ------
        InputError
            If the store has no such tile, or the Scene cannot be read there.
        TileNotThere
            If it is empty or failed; if it is missing, and there is no Scene to encode it from.
        TileDamaged
            If it is damaged, and there is no Scene.
        TileRefused
            If it was encoded, and is nothing that the store can hold.
        StoreUnusable
            If the store cannot be read. If it cannot be written there is a warning, and a tile
            that was encoded is only kept in memory.
        """
        from src_model import SamPredictor

        self._store.layout.check_tile(tile)
        window = self._store.geometry.window(tile)
        embedding = self._find(tile)
        if embedding is None:
            with self._encoding:
                # Another thread may have encoded it while this one waited.
                embedding = self._find(tile)
                if embedding is None:
                    embedding = self._encode(tile)
        predictor = SamPredictor(self._sam)
        predictor.set_embedding(embedding, window.shape)
        return TilePredictor(tile, window, predictor)

    def _find(self, tile: TileId) -> Tensor | None:
        """Return what is kept or stored; None if it is to be encoded."""
        with self._keeping:
            if tile in self._kept:
                self._kept.move_to_end(tile)
                return self._kept[tile]
        try:
            stored = self._store.read_tensor(tile)
        except (TileNotThere, TileDamaged):
            if self._scene is None or self._store.state(tile) in (State.EMPTY, State.FAILED):
                raise
            return None
        return self._keep(tile, stored)

    def _encode(self, tile: TileId) -> Tensor:
        """Encode a tile as `encode` does, and store it."""
        import torch

        assert self._scene is not None
        frame = read_frame(self._scene, self._store.geometry, tile, self._sam.variant.image_size)
        if isinstance(frame, str):
            with suppress(StoreUnusable):
                self._store.mark_empty(tile, frame)
            raise TileEmpty(
                f"{called(tile)} of {self._scene.name} is empty and has no embedding: prompt where "
                f"something is to be seen."
            )
        values = as_float32(embed(self._sam, [frame])[0])
        if self._writes:
            self._write(tile, values)
        # Rounded as it is stored: the masks of today are those of tomorrow.
        dtype = self._store.layout.dtype
        return self._keep(tile, torch.from_numpy(widen(rounded(values, dtype)[0], dtype)))

    def _write(self, tile: TileId, values: np.ndarray) -> None:
        try:
            self._store.write(tile, values)
        except StoreUnusable as error:
            warnings.warn(
                f"{called(tile)} was encoded, but not stored: {error}", RuntimeWarning, stacklevel=4
            )

    def _keep(self, tile: TileId, embedding: Tensor) -> Tensor:
        """Bring an embedding to the model, and keep it instead of the one used longest ago."""
        import torch

        there = embedding.to(self._sam.device, torch.float32)
        with self._keeping:
            self._kept[tile] = there
            self._kept.move_to_end(tile)
            while len(self._kept) > self._room:
                self._kept.popitem(last=False)
        return there
