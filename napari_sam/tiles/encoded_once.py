"""Tiles that are encoded when asked for and kept nowhere: for work that sees each once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .frames import embed, read_frame
from .geometry import TileGeometry, TileId
from .store_errors import TileEmpty, called
from .tile_predictor import TilePredictor

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from src_model import Sam

__all__ = ["EncodedOnce", "ReadyTiles"]


class ReadyTiles(Protocol):
    """Whatever gives tiles that are ready to be prompted, as `Embeddings` and `EncodedOnce` do."""

    def at(self, tile: TileId) -> TilePredictor:
        """Return a tile; raise TileEmpty if nothing is in it, another InputError if it fails."""


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

    def at(self, tile: TileId) -> TilePredictor:
        """Encode a tile.

        Raises
        ------
        TileEmpty
            If nothing is to be seen in it.
        InputError
            If the Scene cannot be read there.
        """
        from src_model import SamPredictor

        window = self._geometry.window(tile)
        frame = read_frame(self._scene, self._geometry, tile, self._sam.variant.image_size)
        if isinstance(frame, str):
            raise TileEmpty(f"{called(tile)} of {self._scene.name} is empty ({frame}).")
        predictor = SamPredictor(self._sam)
        predictor.set_embedding(embed(self._sam, [frame]), window.shape)
        return TilePredictor(tile, window, predictor)
