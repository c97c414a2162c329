"""What one tile answers to a prompt: the network's decoder on an embedding from the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.store_errors import TileNotThere

from .image import SINGLE_MASK_VARIANTS
from .logit_grid import LogitGrid
from .scribbles import SURE

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sam.tiles.embeddings import Embeddings
    from napari_sam.tiles.tile_predictor import TilePredictor
    from src_model import Sam

__all__ = ["Answer", "Decoder", "EmbeddingDecoder", "TilePrompt", "grid_at", "tile_nodes"]


@dataclass(frozen=True, eq=False)
class TilePrompt:
    """What a tile is asked.

    Parameters
    ----------
    points : (n, 2) ndarray
        float64, (row, col) in pixels of level 0.
    labels : (n,) ndarray
        1 foreground, 0 background.
    box : (4,) ndarray, optional
        (row0, col0, row1, col1) in pixels of level 0.
    mask : (rows, cols) ndarray, optional
        Logits at the tile's nodes: see `Decoder.nodes`.
    """

    points: np.ndarray
    labels: np.ndarray
    box: np.ndarray | None = None
    mask: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """The masks that a tile offers.

    Parameters
    ----------
    tile : TileId
        Which.
    grids : tuple of LogitGrid
        Their logits at the tile's nodes.
    ious : tuple of float
        Their predicted IoU.
    """

    tile: TileId
    grids: tuple[LogitGrid, ...]
    ious: tuple[float, ...]


class Decoder(Protocol):
    """Whatever answers prompts on tiles."""

    @property
    def geometry(self) -> TileGeometry:
        """Where the tiles lie."""

    @property
    def levels(self) -> Sequence[int]:
        """Levels that have tiles, ascending."""

    @property
    def threshold(self) -> float:
        """The logit above which a pixel belongs to a mask."""

    @property
    def single_first(self) -> bool:
        """Whether the first of several masks is the best, whatever the predicted IoU."""

    def nodes(self, tile: TileId) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows and the columns of a tile's nodes, in pixels of its level."""

    def decode(
        self, tiles: Sequence[TileId], prompts: Sequence[TilePrompt], ambiguous: bool
    ) -> list[Answer | None]:
        """Ask each tile its prompt: three masks if it is ambiguous, else one.

        None for a tile that has no embedding and gets none: nothing is to be seen there, or it
        failed. The prompts must be alike: all with a box or none, all with a mask or none.
        """

    def pixels(self, grid: LogitGrid, tile: TileId) -> np.ndarray:
        """Return logits of all pixels of a tile's window, float32."""


def tile_nodes(
    geometry: TileGeometry, tile: TileId, frame: int, low_res: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return where the logits of a tile lie.

    The window's longer side fills the frame, and what is left of the frame is padding below or to
    the right: nodes there are left out.

    Parameters
    ----------
    geometry, tile
        Which tile.
    frame : int
        Side of the network's frame in pixels.
    low_res : int
        Logits along it.

    Returns
    -------
    rows, cols : (n,), (m,) ndarray
        float64, in pixels of the tile's level.

    Examples
    --------
    >>> tile_nodes(TileGeometry((30, 90), tile=64, halo=8), TileId(0, 0, 1), 64, 16)[0]
    array([ 1.5,  5.5,  9.5, 13.5, 17.5, 21.5, 25.5, 29.5])
    """
    from src_model.preprocessing import ResizeLongestSide

    window = geometry.window(tile)
    filled = ResizeLongestSide.get_preprocess_shape(*window.shape, frame)
    found = []
    for start, length, content in zip(
        (window.row0, window.col0), window.shape, filled, strict=True
    ):
        count = -(-content * low_res // frame)
        spacing = frame / low_res * length / content
        found.append(start + (np.arange(count) + 0.5) * spacing - 0.5)
    return found[0], found[1]


class EmbeddingDecoder:
    """The network's own decoder.

    Parameters
    ----------
    embeddings : Embeddings
        What it works on; with a Scene they encode tiles that are missing.
    sam : Sam
        The network that made them.
    """

    def __init__(self, embeddings: Embeddings, sam: Sam) -> None:
        self._embeddings, self._sam = embeddings, sam

    @property
    def geometry(self) -> TileGeometry:
        """Where the tiles lie."""
        return self._embeddings.store.geometry

    @property
    def levels(self) -> Sequence[int]:
        """Levels that are stored."""
        return sorted(self._embeddings.store.levels)

    @property
    def threshold(self) -> float:
        """The model's."""
        return float(self._sam.mask_threshold)

    @property
    def single_first(self) -> bool:
        """Whether the model judges its own masks badly."""
        return self._sam.variant.name in SINGLE_MASK_VARIANTS

    def nodes(self, tile: TileId) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows and the columns of a tile's nodes, in pixels of its level."""
        variant = self._sam.variant
        return tile_nodes(self.geometry, tile, variant.image_size, variant.low_res_size)

    def decode(
        self, tiles: Sequence[TileId], prompts: Sequence[TilePrompt], ambiguous: bool
    ) -> list[Answer | None]:
        """Ask each tile its prompt."""
        import torch

        from src_model.decoding import decode, offered

        there = []
        for number, tile in enumerate(tiles):
            try:
                there.append((number, self._embeddings.at(tile)))
            except TileNotThere:
                continue
        answers: list[Answer | None] = [None] * len(tiles)
        if not there:
            return answers
        chosen = [prompts[number] for number, _ in there]
        ready = [tile for _, tile in there]
        every = ambiguous and self.single_first
        with torch.no_grad():
            logits, ious = decode(
                self._sam,
                torch.cat([tile.predictor.get_image_embedding() for tile in ready]),
                *self._tensors(ready, chosen),
                wanted=slice(None) if every else offered(ambiguous),
            )
        for index, (number, of) in enumerate(there):
            masks, scores = logits[index].cpu().numpy(), ious[index].cpu().numpy()
            order = _instead_of_its_like(masks, self.threshold) if every else range(len(masks))
            rows, cols = self.nodes(of.tile)
            answers[number] = Answer(
                of.tile,
                tuple(
                    grid_at(of.tile.level, rows, cols, masks[i, : len(rows), : len(cols)])
                    for i in order
                ),
                tuple(float(scores[i]) for i in order),
            )
        return answers

    def pixels(self, grid: LogitGrid, tile: TileId) -> np.ndarray:
        """Return logits of all pixels of a tile's window, as `SamPredictor` gives them."""
        import torch

        from src_model.preprocessing import ResizeLongestSide

        size = self._sam.variant.low_res_size
        # Nodes in the padding decide nothing but how the outermost pixels are interpolated.
        padded = np.pad(grid.values, [(0, size - side) for side in grid.values.shape], mode="edge")
        window = self.geometry.window(tile).shape
        filled = ResizeLongestSide.get_preprocess_shape(*window, self._sam.variant.image_size)
        logits = self._sam.postprocess_masks(torch.from_numpy(padded)[None, None], filled, window)
        pixels: np.ndarray = logits[0, 0].numpy()
        return pixels

    def _tensors(
        self, tiles: Sequence[TilePredictor], prompts: Sequence[TilePrompt]
    ) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None, Tensor | None]:
        """Bring alike prompts to the frame; missing points are padded."""
        import torch

        device, size = self._sam.device, self._sam.variant.low_res_size
        most = max(len(prompt.points) for prompt in prompts)
        coords = np.zeros((len(prompts), most, 2), np.float32)
        labels = np.full((len(prompts), most), -1, np.int32)
        boxes = np.zeros((len(prompts), 4), np.float32)
        masks = np.full((len(prompts), 1, size, size), -SURE, np.float32)
        for i, (tile, prompt) in enumerate(zip(tiles, prompts, strict=True)):
            resize, window = tile.predictor.transform, tile.window.shape
            count = len(prompt.points)
            if count:
                coords[i, :count] = resize.apply_coords(tile.to_xy(prompt.points), window)
                labels[i, :count] = prompt.labels
            if prompt.box is not None:
                boxes[i] = resize.apply_boxes(tile.to_box(prompt.box)[None], window)[0]
            if prompt.mask is not None:
                rows, cols = prompt.mask.shape
                masks[i, 0, :rows, :cols] = prompt.mask
        return (
            (torch.from_numpy(coords).to(device), torch.from_numpy(labels).to(device))
            if most
            else None,
            None if prompts[0].box is None else torch.from_numpy(boxes).to(device),
            None if prompts[0].mask is None else torch.from_numpy(masks).to(device),
        )


def grid_at(level: int, rows: np.ndarray, cols: np.ndarray, values: np.ndarray) -> LogitGrid:
    """Return logits at evenly spaced positions as a grid."""
    spacing = [float(p[1] - p[0]) if len(p) > 1 else 1.0 for p in (rows, cols)]
    return LogitGrid(
        level, (float(rows[0]), float(cols[0])), (spacing[0], spacing[1]), values.astype(np.float32)
    )


def _instead_of_its_like(masks: np.ndarray, threshold: float) -> list[int]:
    """Put the single mask first, in the place of the one of the three that is most like it."""
    single, *others = masks > threshold
    like = []
    for other in others:
        either = int(np.count_nonzero(single | other))
        like.append(int(np.count_nonzero(single & other)) / max(1, either))
    replaced = 1 + int(np.argmax(like))
    return [0, *(i for i in range(1, len(masks)) if i != replaced)]
