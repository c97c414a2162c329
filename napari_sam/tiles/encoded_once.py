"""Tiles for work that sees each once: from a store, or encoded when asked for and kept nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .frames import embed, read_frame
from .geometry import TileGeometry, TileId
from .store_errors import TileNotThere, called
from .tile_predictor import TilePredictor
from .tile_states import State

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from src_model import Sam

    from .embeddings import Embeddings

__all__ = ["EncodedOnce", "ReadyTiles", "StoredTiles"]


class ReadyTiles(Protocol):
    """Whatever gives tiles that are ready to be prompted."""

    def at(self, tile: TileId) -> TilePredictor:
        """Return a tile that is ready to be prompted; raise InputError if there is none."""

    def is_empty(self, tile: TileId) -> bool:
        """Tell of a tile that `at` did not give whether nothing is to be seen there."""


class StoredTiles:
    """Tiles of a store.

    Parameters
    ----------
    embeddings : Embeddings
        With a Scene they encode tiles that are missing.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings

    def at(self, tile: TileId) -> TilePredictor:
        """Return a tile; the errors are those of `Embeddings.at`."""
        return self._embeddings.at(tile)

    def is_empty(self, tile: TileId) -> bool:
        """Tell whether nothing is to be seen in a tile."""
        return self._embeddings.store.state(tile) is State.EMPTY


class EncodedOnce:
    """Tiles of a Scene without a store.

    Parameters
    ----------
    scene : Scene
        What is encoded.
    geometry : TileGeometry
        Where the tiles lie.
    sam : Sam
        The network.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_sam.scene import open_scene
    >>> from src_model import Variant, build_sam
    >>> sam = build_sam(Variant(image_size=64, depth=2, embed_dim=32, num_heads=2, out_chans=32,
    ...                         global_attn_indexes=(1,)))
    >>> scene = open_scene(np.arange(100 * 300, dtype=np.uint16).reshape(100, 300))
    >>> tiles = EncodedOnce(scene, TileGeometry(scene.shape, tile=64, halo=8), sam)
    >>> tiles.at(TileId(1, 0, 2)).window
    Region(row0=0, col0=86, row1=50, col1=150)
    """

    def __init__(self, scene: Scene, geometry: TileGeometry, sam: Sam) -> None:
        self._scene, self._geometry, self._sam = scene, geometry, sam
        self._empty: TileId | None = None

    def at(self, tile: TileId) -> TilePredictor:
        """Encode a tile.

        Raises
        ------
        TileNotThere
            If it is empty.
        InputError
            If the Scene cannot be read there.
        """
        from src_model import SamPredictor

        window = self._geometry.window(tile)
        frame = read_frame(self._scene, self._geometry, tile, self._sam.variant.image_size)
        if isinstance(frame, str):
            self._empty = tile
            raise TileNotThere(f"{called(tile)} of {self._scene.name} is empty ({frame}).")
        predictor = SamPredictor(self._sam)
        predictor.set_embedding(embed(self._sam, [frame]), window.shape)
        return TilePredictor(tile, window, predictor)

    def is_empty(self, tile: TileId) -> bool:
        """Tell whether nothing is to be seen in the tile that was asked for last."""
        return tile == self._empty
