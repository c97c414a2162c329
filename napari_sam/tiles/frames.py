"""The pixels of a tile as the encoder sees them, and what it makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.scenes.pyramid import Emptiness, emptiness

from .geometry import TileGeometry, TileId

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sam.scene import Scene
    from src_model import Sam

__all__ = ["embed", "read_frame"]


def read_frame(
    scene: Scene, geometry: TileGeometry, tile: TileId, size: int
) -> np.ndarray | Emptiness:
    """Read a tile and resize it as `SamPredictor.set_image` does; no network is needed.

    Parameters
    ----------
    scene, geometry, tile
        What to read. The window is read once, its halo included.
    size : int
        Side of the encoder's frame.

    Returns
    -------
    ndarray or str
        uint8 RGB, shape (row, col, 3), the longer side `size`; or why the tile is empty.

    Raises
    ------
    InputError
        If the image is damaged there; whatever else its reader raises.
    """
    from src_model.preprocessing import ResizeLongestSide

    window = geometry.window(tile)
    block = scene.read(tile.level, window.rows, window.cols)
    why = emptiness(block, scene.nodata)
    if why is not None:
        return why
    rgb = scene.normalisation.apply(block, scene.nodata)
    return ResizeLongestSide(size).apply_image(rgb)


def embed(sam: Sam, frames: Sequence[np.ndarray]) -> Tensor:
    """Encode frames at once.

    Parameters
    ----------
    sam : Sam
        The network.
    frames : sequence of ndarray
        As `read_frame` gives them; their shapes may differ.

    Returns
    -------
    Tensor
        float32, shape (frame, C, h, w), on the network's device. For a single frame exactly what
        `SamPredictor` has after `set_image` with the tile's pixels.
    """
    import torch

    with torch.no_grad():
        prepared = []
        for frame in frames:
            pixels = np.require(frame, requirements="W")  # torch warns of read-only arrays
            on_device = torch.as_tensor(pixels, device=sam.device)
            prepared.append(sam.preprocess(on_device.permute(2, 0, 1).contiguous()))
        embeddings: Tensor = sam.image_encoder(torch.stack(prepared))
        # Some networks give the channels innermost; what is stored has them outermost.
        return embeddings.contiguous()
