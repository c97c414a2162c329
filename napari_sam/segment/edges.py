"""Edges of what a network sees: the outlines of all masks of a grid of clicks, none chosen.

tile_edges: the outlines in one tile -> blend_weights: how much each tile has to say about a pixel
-> smooth, thin: lines of one pixel. edge_map.py does this for a Scene.

References
----------
.. [1] Kirillov et al., "Segment Anything", 2023, appendix D.2: zero-shot edge detection.
.. [2] Canny, "A computational approach to edge detection", 1986: thinning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.tile_predictor import TilePredictor

if TYPE_CHECKING:
    from torch import Tensor

    from src_model.upsample import MaskUpsampler

__all__ = ["MARGIN", "blend_weights", "smooth", "thin", "tile_edges"]

GRID = 16
"""Clicks along a side of a tile: the paper's."""

_BATCH = 64
"""Clicks that are decoded at once."""

_REDUNDANT = 0.7
"""Greatest IoU of the boxes of two masks: the paper's for its masks."""

_SMOOTHED, _SHAPE = 1.0, 1.5
"""Standard deviations in pixels: of smoothing, and of what tells which way a line runs."""

_EQUAL = 1.001
"""Strengths that differ by less than this factor are equal."""

_AROUND = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]

MARGIN = 16
"""Pixels around a part that decide about it, in `smooth` and `thin` together."""


def tile_edges(tile: TilePredictor) -> np.ndarray:
    """Find the edges in a tile.

    Each of 16 × 16 clicks gives three masks; masks of about the same box are left out, but none
    because it is bad. The slope of a mask's probability (Sobel's filter) is an edge on the pixels
    just outside of the mask; of several masks' edges the strongest counts.

    Parameters
    ----------
    tile : TilePredictor
        With its embedding.

    Returns
    -------
    ndarray
        float32, of the shape of the tile's window: 0 where there is no edge, about 1 where a
        probability goes from 0 to 1 within two pixels.
    """
    from src_model.masks import box_nms
    from src_model.upsample import MaskUpsampler

    predictor, size = tile.predictor, tile.window.shape
    sam = predictor.model
    frame = sam.image_encoder.img_size
    content = predictor.transform.get_preprocess_shape(*size, frame)
    low_size = sam.prompt_encoder.mask_input_size
    upsampler = MaskUpsampler(low_size, frame, content, size)
    masks, ious = _click(tile)
    # Logits in the padding of the frame are of no pixel.
    seen = tuple(-(-side * low // frame) for side, low in zip(content, low_size, strict=True))
    inside = masks[:, : seen[0], : seen[1]] > sam.mask_threshold
    there = np.flatnonzero(inside.flatten(1).any(1).numpy())
    boxes = _boxes(inside[there].numpy())
    edges = np.zeros(size, np.float32)
    for index in there[box_nms(boxes, ious.numpy()[there], _REDUNDANT)].tolist():
        _add_edges(edges, masks[index], upsampler, sam.mask_threshold)
    return edges


def blend_weights(geometry: TileGeometry, tile: TileId) -> tuple[np.ndarray, np.ndarray]:
    """Tell how much a tile has to say about the rows and the columns of its window.

    At the border between two cores both have the same to say. It falls to nothing half a halo from
    there, so that a tile is not asked near its window's border, where it sees objects cut off. The
    weights of all tiles add up to 1 at every pixel.

    They are meant for squares: of a line that only one of two tiles sees, the mean would keep half
    and make a band of faint lines along every border; the root of the mean square keeps 0.7.

    Parameters
    ----------
    geometry, tile
        Which tile.

    Returns
    -------
    rows, cols : (n,), (m,) ndarray
        float32; a pixel's weight is their product.

    Examples
    --------
    >>> geometry = TileGeometry((8, 14), tile=8, halo=2)
    >>> [blend_weights(geometry, tile)[1].round(2).tolist() for tile in geometry.tiles(0)]
    ... # doctest: +NORMALIZE_WHITESPACE
    [[1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.25, 0.0],
     [0.0, 0.25, 0.75, 1.0, 1.0, 0.75, 0.25, 0.0],
     [0.0, 0.0, 0.0, 0.25, 0.75, 1.0, 1.0, 1.0]]
    """
    core, window = geometry.core(tile), geometry.window(tile)
    rows, cols = geometry.level_shape(tile.level)
    reach = max(geometry.halo / 2, 0.5)
    return (
        _ramps(window.row0, window.row1, core.row0, core.row1, rows, reach),
        _ramps(window.col0, window.col1, core.col0, core.col1, cols, reach),
    )


def smooth(strength: np.ndarray) -> np.ndarray:
    """Smooth edges lightly, so that lines a pixel apart are one.

    Parameters
    ----------
    strength : (rows, cols) ndarray
        float32.

    Returns
    -------
    ndarray
        float32, of the same shape.
    """
    from scipy import ndimage

    smoothed: np.ndarray = ndimage.gaussian_filter(strength, _SMOOTHED, mode="nearest")
    return smoothed


def thin(strength: np.ndarray) -> np.ndarray:
    """Keep of every line its crest: what is no weaker than its neighbours across the line.

    Parameters
    ----------
    strength : (rows, cols) ndarray
        float32, smoothed.

    Returns
    -------
    ndarray
        float32, of the same shape: the strength on crests, 0 elsewhere.

    Examples
    --------
    >>> thin(np.float32([[0, 1, 3, 2, 0]] * 3)).astype(int)
    array([[0, 0, 3, 0, 0],
           [0, 0, 3, 0, 0],
           [0, 0, 3, 0, 0]])
    """
    from scipy import ndimage

    rows, cols = np.nonzero(strength > 0)
    if not rows.size:
        return np.zeros_like(strength)
    # Strength bends most across a line, down at its crest and up beside it: the eigenvector of the
    # second derivative that is greatest, whatever its sign.
    across, down, both = (
        ndimage.gaussian_filter(strength, _SHAPE, order=order, mode="nearest")[rows, cols]
        for order in ((0, 2), (2, 0), (1, 1))
    )
    angle = np.arctan2(2 * both, across - down) / 2
    angle += np.where(across + down < 0, np.pi / 2, 0)
    aside = np.stack([np.sin(angle), np.cos(angle)])
    # One side is the first for all lines of a direction: of two equal crests one stays.
    aside *= np.where((aside[0] < -1e-6) | ((aside[0] < 1e-6) & (aside[1] < 0)), -1, 1)
    places, here = np.stack([rows, cols]), strength[rows, cols]
    ahead, behind = (
        ndimage.map_coordinates(strength, places + side, order=1, mode="nearest")
        for side in (aside, -aside)
    )
    # Between pixels that are nearly equal, interpolation must not leave a gap.
    crest = (here * _EQUAL >= ahead) & (here > behind)
    result = np.zeros_like(strength)
    result[rows[crest], cols[crest]] = here[crest]
    return result


def _click(tile: TilePredictor) -> tuple[Tensor, Tensor]:
    """Return all masks of the grid, (n, h, w) low-resolution logits, and predicted IoU (n,)."""
    import torch

    from src_model.decoding import decode, offered

    sam, size = tile.predictor.model, tile.window.shape
    down, across = ((np.arange(GRID) + 0.5) / GRID * side - 0.5 for side in size)
    xy = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)
    coords = torch.as_tensor(
        tile.predictor.transform.apply_coords(xy, size), dtype=torch.float32, device=sam.device
    )
    masks, ious = [], []
    with torch.no_grad():
        for clicks in coords[:, None].split(_BATCH):
            labels = torch.ones(clicks.shape[:2], dtype=torch.int64, device=sam.device)
            low_res, iou = decode(
                sam,
                tile.predictor.get_image_embedding(),
                (clicks, labels),
                wanted=offered(ambiguous=True),
            )
            masks.append(low_res.flatten(0, 1).cpu())
            ious.append(iou.flatten().cpu())
    return torch.cat(masks), torch.cat(ious)


def _boxes(masks: np.ndarray) -> np.ndarray:
    """Return (x0, y0, x1, y1) of masks, the ends exclusive."""
    sides = []
    for axis in (1, 2):
        marks = np.asarray(masks.any(axis))
        length = marks.shape[1]
        sides.append((marks.argmax(1), length - marks[:, ::-1].argmax(1)))
    (x0, x1), (y0, y1) = sides
    return np.stack([x0, y0, x1, y1], axis=1)


def _add_edges(
    edges: np.ndarray, low_res: Tensor, upsampler: MaskUpsampler, threshold: float
) -> None:
    """Add the edges of one mask to those of others."""
    from scipy import special

    from src_model.upsample import Window

    window = upsampler.active_window(low_res, threshold)
    if window is None:
        return
    # Sobel's filter on the pixels around the mask needs those around them.
    window = Window(
        *(
            slice(max(0, span.start - 2), min(side, span.stop + 2))
            for span, side in zip((window.rows, window.cols), edges.shape, strict=True)
        )
    )
    logits = upsampler.logits(low_res, window).numpy()
    rows, cols = np.nonzero(_outside(logits > threshold))
    padded = np.pad(logits, 1, mode="edge")
    slope_down = slope_across = np.zeros(len(rows), np.float32)
    for down, across in _AROUND:
        near = special.expit(padded[rows + 1 + down, cols + 1 + across])
        slope_down = slope_down + near * (down * (2 - abs(across)))
        slope_across = slope_across + near * (across * (2 - abs(down)))
    part = edges[window.rows, window.cols]
    part[rows, cols] = np.maximum(part[rows, cols], np.hypot(slope_down, slope_across) / 4)


def _outside(mask: np.ndarray) -> np.ndarray:
    """Return the pixels outside of a mask that touch it."""
    wide = np.array(mask)
    wide[1:] |= mask[:-1]
    wide[:-1] |= mask[1:]
    tall = np.array(wide)
    wide[:, 1:] |= tall[:, :-1]
    wide[:, :-1] |= tall[:, 1:]
    outside: np.ndarray = wide & ~mask
    return outside


def _ramps(start: int, stop: int, first: int, last: int, length: int, reach: float) -> np.ndarray:
    """Return weights from start to stop, for a core from first to last on an axis of a length."""
    places = np.arange(start, stop)

    def begun(border: int) -> np.ndarray:
        """Return how much of what is at a border belongs to the core that begins there."""
        if border in (0, length):  # where the scene ends nobody else has anything to say
            return np.full(len(places), float(border == 0))
        return np.clip((places - border + 0.5) / (2 * reach) + 0.5, 0, 1)

    return (begun(first) - begun(last)).astype(np.float32)
