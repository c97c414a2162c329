"""From a prompt anywhere in a Scene to the whole object, however many tiles it covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from .checking import check_scene_prompt
from .decoding import Decoder, EmbeddingDecoder
from .image import mask_stability
from .logit_grid import draw
from .objects import Candidate, MaskLike, cut_candidate
from .refine import refine
from .routing import Found, ScenePrompt, inner_sides, route
from .scribbles import SURE

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from napari_sam.tiles.geometry import TileId
    from napari_sam.tiles.store import EmbeddingStore, ModelInfo
    from src_model import Sam

__all__ = ["Segmenter"]


class Segmenter:
    """Prompts on a Scene whose tiles are encoded, or are encoded when they are needed.

    Parameters
    ----------
    scene : Scene
        The image.
    store : EmbeddingStore
        Its embeddings; those that are missing are made and stored.
    model : Sam
        The network that they are made with.
    about : ModelInfo, optional
        Of it, where it is known: hashing the weights of a large model takes seconds.

    Raises
    ------
    StoreMismatch
        If the store was made with another model, or from another Scene.

    Examples
    --------
    >>> import numpy as np
    >>> from zarr.storage import MemoryStore
    >>> from napari_sam.scene import open_scene
    >>> from napari_sam.tiles.geometry import TileGeometry
    >>> from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo
    >>> from src_model import load_model
    >>> pixels = np.full((900, 1500), 40, np.uint8)
    >>> pixels[300:500, 700:1000] = 200
    >>> scene, model = open_scene(pixels), load_model("vit_nano", "cpu")
    >>> store = EmbeddingStore.create(MemoryStore(), SceneInfo.of(scene), ModelInfo.of(model),
    ...                               TileGeometry(scene.shape))
    >>> segmenter = Segmenter(scene, store, model)
    >>> (found,) = segmenter.prompt(box=(300, 700, 499, 999))
    >>> found.level, found.tiles
    (0, (TileId(level=0, row=0, col=1),))
    >>> bool(0.8 < found.area / (200 * 300) < 1.2)
    True
    """

    def __init__(
        self,
        scene: Scene,
        store: EmbeddingStore,
        model: Sam,
        about: ModelInfo | None = None,
    ) -> None:
        from napari_sam.tiles.embeddings import Embeddings

        embeddings = Embeddings(store, model, scene, about=about)
        self._decoder: Decoder = EmbeddingDecoder(embeddings, model)
        self._store: EmbeddingStore | None = store
        self._scene: Scene | None = scene

    @classmethod
    def of(cls, decoder: Decoder) -> Segmenter:
        """Prompt whatever answers for tiles, such as an `EmbeddingDecoder`."""
        segmenter = cls.__new__(cls)
        segmenter._decoder, segmenter._store, segmenter._scene = decoder, None, None
        return segmenter

    @property
    def store(self) -> EmbeddingStore | None:
        """Its embeddings; None for one that was made `of` something else."""
        return self._store

    @property
    def scene(self) -> Scene | None:
        """The image; None for one that was made `of` something else."""
        return self._scene

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the Scene."""
        return self._decoder.geometry.shape

    def prompt(
        self,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: MaskLike | None = None,
        scribble: ArrayLike | None = None,
    ) -> list[Candidate]:
        """Find the object that is meant.

        All positions are (row, col) in pixels of level 0, pixel centres at integers.

        Parameters
        ----------
        points : (n, 2) array, optional
            Clicks.
        labels : (n,) array, optional
            Whether each is on the object, 1 or 0; all are by default.
        box : (4,) array, optional
            (row0, col0, row1, col1): two corners around the object, in any order.
        mask : Candidate or MaskRegion, optional
            A region that is about the object, such as one of a labels layer.
        scribble : (n, 2) array, optional
            The vertices of a line drawn on the object.

        Returns
        -------
        list of Candidate
            The best first: three of a single click, which may mean a part, an object or a group,
            and one of everything else. A mask may be empty.

        Raises
        ------
        InputError
            If there is nothing that says where the object is, or something lies outside of the
            Scene, is no number or has a wrong shape; if nothing is to be seen there; or if the
            image cannot be read.
        StoreUnusable
            If the store cannot be read.
        """
        shape = self._decoder.geometry.shape
        asked = check_scene_prompt(shape, points, labels, box, mask, scribble)
        candidates = [self._candidate(found, asked) for found in route(self._decoder, asked)]
        first = 1 if self._decoder.single_first else 0
        return candidates[:first] + sorted(
            candidates[first:], key=lambda candidate: -candidate.predicted_iou
        )

    def _candidate(self, found: Found, asked: ScenePrompt) -> Candidate:
        """Refine a mask to level 0, and draw its pixels."""
        decoder, threshold = self._decoder, self._decoder.threshold
        tiles: tuple[TileId, ...] = (found.tile,)
        if found.tile.level == 0:
            window = decoder.geometry.window(found.tile)
            logits = decoder.pixels(found.grid, found.tile)
            row, col, mask = window.row0, window.col0, logits > threshold
        else:
            # What few nodes at the window's border say must not go on beyond it.
            sides = inner_sides(decoder.geometry, found.tile)
            grid = found.grid.closed(sides, threshold - SURE)
            if found.sure:  # else details would be guesses too
                grid, finer = refine(decoder, grid, threshold)
                tiles += finer
            region, mask = draw(grid, threshold, decoder.geometry.shape)
            row, col, logits = region.row0, region.col0, grid.values
        cut = cut_candidate(mask, found.iou, mask_stability(logits, threshold), asked.kind)
        if not cut.mask.size:
            row = col = 0
        return Candidate(
            cut.row + row,
            cut.col + col,
            cut.mask,
            cut.predicted_iou,
            cut.stability,
            asked.kind,
            found.tile.level,
            tiles,
        )
