"""The pixels of a tile as the encoder sees them, and what it makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_sam.scenes.pyramid import is_valid

from .geometry import TileGeometry, TileId

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sam.scene import Scene
    from src_model import Sam

__all__ = ["Emptiness", "embed", "emptiness", "read_frame"]

Emptiness = Literal["no data", "constant"]
"""Why nothing is to be seen in a tile."""


def emptiness(block: np.ndarray, nodata: float | None) -> Emptiness | None:
    """Tell why nothing is to be seen in a window that was read; None if something is.

    The rule is that of `Scene.is_empty`, which reads the window itself.

    Parameters
    ----------
    block : ndarray
        Shape (row, col, channel), as `Scene.read` gives it.
    nodata : float or None
        The Scene's.

    Examples
    --------
    >>> emptiness(np.full((2, 2, 1), 7), None), emptiness(np.zeros((2, 2, 1)), 0)
    ('constant', 'no data')
    >>> emptiness(np.arange(4).reshape(2, 2, 1), 0) is None
    True
    """
    if not is_valid(block, nodata).any():
        return "no data"
    return "constant" if bool((block == block[:1, :1]).all()) else None


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
    return embeddings
