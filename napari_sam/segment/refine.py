"""A coarse mask refined along its boundary in the finer tiles, without seams.

    coarse logits -> nodes of the next finer level -> each tile that the boundary crosses is asked
    again -> what it says better is blended in -> the next level ... -> level 0

A tile is asked with the coarse logits as mask prompt and points well inside and well outside. Its
answer counts only in a band along the coarse boundary, and not at all if the network is not sure of
it or it does not agree with the coarse mask; weights that fall towards the tile's borders blend it
with its neighbours'. Everything else stays as the coarse mask has it: a tile far from the boundary
knows nothing of the object. Where a tile only guesses, the finer ones, which see less of the
object, are not asked.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.regions import Region

from .decoding import Decoder, TilePrompt, grid_at
from .image import mask_stability
from .logit_grid import LogitGrid
from .routing import is_guess
from .scribbles import spread

__all__ = ["blend_weights", "refine"]

BAND = 8
"""Nodes from the coarse boundary up to which a tile's answer counts."""

AGREEMENT = 0.5
"""IoU with the coarse mask, of the mask and of its surroundings, from which an answer counts."""

LEAST_IOU, LEAST_STABILITY = 0.75, 0.82
"""Predicted IoU and stability from which an answer counts. Of about 150 tiles of made scenes, most
answers of vit_nano above them improved on the coarse mask; those a little below cost as much as
they gave, and the others were mostly far worse."""

POINTS = 3
"""Inside, and as many outside."""

_AWAY = 3.0
"""Least distance of such a point from the boundary, in steps of `_COARSE` nodes."""

_COARSE = 4

_BATCH = 4
"""Tiles that are asked at once."""

_MARGIN = 16
"""Nodes around the mask's bounding box into which a boundary may move at one level."""


def refine(
    decoder: Decoder, grid: LogitGrid, threshold: float
) -> tuple[LogitGrid, tuple[TileId, ...]]:
    """Refine a mask level by level down to level 0.

    Parameters
    ----------
    decoder : Decoder
        Whatever answers prompts on tiles: one prompt for each tile that the boundary crosses.
    grid : LogitGrid
        The mask at some level.
    threshold : float
        The logit above which a pixel belongs to it.

    Returns
    -------
    refined : LogitGrid
        Of level 0, in the mask's bounding box: three floats for 16 pixels at the most are in
        memory at a time.
    tiles : tuple of TileId
        Those that had something to say, from the coarsest level.
    """
    used: list[TileId] = []
    guessed: set[TileId] = set()
    for level in reversed(range(grid.level)):
        grid = _finer(decoder, grid, level, threshold)
        if not grid.values.size:
            break
        if level in decoder.levels:
            grid, tiles, guessed = _refined(decoder, grid, threshold, guessed)
            used += tiles
    return grid, tuple(used)


def blend_weights(geometry: TileGeometry, level: int, places: np.ndarray, axis: int) -> np.ndarray:
    """Weigh the tiles along an axis at some places: together 1, less towards a tile's borders.

    The weight of a tile at a place is the product of those along both axes.

    Parameters
    ----------
    geometry : TileGeometry
        Where the tiles lie.
    level : int
        Which.
    places : (n,) array
        Rows or columns, in pixels of the level.
    axis : int
        0 for rows, 1 for columns.

    Returns
    -------
    (tiles, n) ndarray
        float32.

    Examples
    --------
    >>> geometry = TileGeometry((8, 20), tile=8, halo=2)
    >>> blend_weights(geometry, 0, np.arange(3, 10), 1)[:2]
    array([[1.   , 0.875, 0.625, 0.375, 0.125, 0.   , 0.   ],
           [0.   , 0.125, 0.375, 0.625, 0.875, 0.875, 0.625]], dtype=float32)
    """
    length = geometry.level_shape(level)[axis]
    ramp = max(1, 2 * geometry.halo)
    tents = np.zeros((geometry.grid(level)[axis], len(places)))
    for index, tent in enumerate(tents):
        window = geometry.window(TileId(level, *((index, 0) if axis == 0 else (0, index))))
        start, stop = (window.row0, window.row1) if axis == 0 else (window.col0, window.col1)
        room = np.full(len(places), float(ramp))
        if start > 0:
            room = np.minimum(room, places + 0.5 - start)
        if stop < length:
            room = np.minimum(room, stop - 0.5 - places)
        tent[:] = np.clip(room / ramp, 0, 1)
    return (tents / tents.sum(axis=0)).astype(np.float32)


def _finer(decoder: Decoder, grid: LogitGrid, level: int, threshold: float) -> LogitGrid:
    """Interpolate a mask at the nodes of a finer level, in its bounding box and a margin."""
    extent = grid.extent(threshold)
    if extent is None:
        return LogitGrid(level, (0.0, 0.0), (1.0, 1.0), np.zeros((0, 0), np.float32))
    scale = 1 << (grid.level - level)
    shape = decoder.geometry.level_shape(level)
    places = []
    for axis in (0, 1):
        first = decoder.nodes(TileId(level, 0, 0))[axis]
        spacing = float(first[1] - first[0]) if len(first) > 1 else 1.0
        # Where the first tile has nodes, and so on: those of most other tiles coincide.
        low, high = ((extent[axis + 2 * end] + 0.5) * scale - 0.5 for end in (0, 1))
        last = int(np.ceil((shape[axis] - 0.5 - first[0]) / spacing))
        begin = max(0, int(np.floor((low - first[0]) / spacing)) - _MARGIN)
        end_ = min(last, int(np.ceil((high - first[0]) / spacing)) + _MARGIN)
        places.append(first[0] + spacing * np.arange(begin, max(end_, begin) + 1))
    return grid_at(level, places[0], places[1], grid.at(level, places[0], places[1]))


def _refined(
    decoder: Decoder, grid: LogitGrid, threshold: float, guessed: set[TileId]
) -> tuple[LogitGrid, list[TileId], set[TileId]]:
    """Ask the tiles of the grid's level that the boundary crosses.

    Given and returned are also the tiles, of the level before and of this one, that only guess.
    """
    edges = _edges(grid.values > threshold)
    weights = [
        blend_weights(decoder.geometry, grid.level, grid.nodes(axis), axis) for axis in (0, 1)
    ]
    change = np.zeros_like(grid.values)
    used: list[TileId] = []
    crossed = list(_crossed(decoder.geometry, grid, edges))
    guesses = {tile for tile in crossed if _lies_in(decoder.geometry, tile, guessed)}
    crossed = [tile for tile in crossed if tile not in guesses]
    for start in range(0, len(crossed), _BATCH):
        tiles = crossed[start : start + _BATCH]
        coarse = [grid.sample(*decoder.nodes(tile)) for tile in tiles]
        prompts = [
            _prompt(decoder, tile, logits, threshold)
            for tile, logits in zip(tiles, coarse, strict=True)
        ]
        answers = decoder.decode(tiles, prompts, ambiguous=False)
        for tile, logits, answer in zip(tiles, coarse, answers, strict=True):
            if answer is None:
                continue
            values, iou = answer.grids[0].values, answer.ious[0]
            stability = mask_stability(values, threshold)
            if is_guess(iou, stability):
                guesses.add(tile)
            if iou < LEAST_IOU or stability < LEAST_STABILITY:
                continue
            if not _agree(values > threshold, logits > threshold):
                continue
            used.append(tile)
            difference = grid_at(grid.level, *decoder.nodes(tile), values - logits)
            rows, cols = _inside(decoder.geometry, grid, decoder.geometry.window(tile))
            weight = np.outer(weights[0][tile.row, rows], weights[1][tile.col, cols])
            weight *= _band(edges, rows, cols)
            change[rows, cols] += weight * difference.sample(
                grid.nodes(0)[rows], grid.nodes(1)[cols]
            )
    return LogitGrid(grid.level, grid.origin, grid.spacing, grid.values + change), used, guesses


def _crossed(geometry: TileGeometry, grid: LogitGrid, edges: np.ndarray) -> Iterator[TileId]:
    """Give the tiles near whose core the boundary passes, row by row."""
    rows, cols = geometry.level_shape(grid.level)
    (row0, col0), (high, wide) = grid.origin, grid.spacing
    near = geometry.halo // 2
    extent = Region(
        max(0, int(row0) - near),
        max(0, int(col0) - near),
        min(rows, int(row0 + high * edges.shape[0]) + near + 1),
        min(cols, int(col0 + wide * edges.shape[1]) + near + 1),
    )
    for tile in geometry.tiles(grid.level, extent):
        core = geometry.core(tile)
        # Where a neighbour's weight is much larger, the tile is not worth its time.
        around = Region(
            max(0, core.row0 - near), max(0, core.col0 - near), core.row1 + near, core.col1 + near
        )
        if edges[_inside(geometry, grid, around)].any():
            yield tile


def _lies_in(geometry: TileGeometry, tile: TileId, coarser: set[TileId]) -> bool:
    """Tell whether the middle of a tile's core belongs to one of these coarser tiles."""
    core = geometry.core(tile)
    row, col = (core.row0 + core.row1) // 2, (core.col0 + core.col1) // 2
    return any(
        geometry.owner(level, row >> level - tile.level, col >> level - tile.level) in coarser
        for level in {other.level for other in coarser}
    )


def _prompt(decoder: Decoder, tile: TileId, logits: np.ndarray, threshold: float) -> TilePrompt:
    """Ask for the coarse mask: its logits, and points away from its boundary."""
    rows, cols = decoder.nodes(tile)
    step, scale = _COARSE, 1 << tile.level
    inside = logits[step // 2 :: step, step // 2 :: step] > threshold
    chosen = [spread(part, POINTS, _AWAY) for part in (inside, ~inside)]
    index = np.concatenate(chosen).astype(np.intp) * step + step // 2
    points = np.stack([rows[index[:, 0]], cols[index[:, 1]]], axis=1)
    return TilePrompt(
        (points + 0.5) * scale - 0.5,
        np.repeat([1, 0], [len(part) for part in chosen]),
        mask=logits,
    )


def _agree(answer: np.ndarray, coarse: np.ndarray) -> bool:
    """Tell whether a mask and its surroundings are about those of the coarse one."""
    for one, other in ((answer, coarse), (~answer, ~coarse)):
        either = np.count_nonzero(one | other)
        if either and np.count_nonzero(one & other) < AGREEMENT * either:
            return False
    return True


def _edges(inside: np.ndarray) -> np.ndarray:
    """Return which nodes have a neighbour on the other side of the boundary."""
    edges = np.zeros_like(inside)
    across, down = inside[:, 1:] != inside[:, :-1], inside[1:] != inside[:-1]
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    edges[1:] |= down
    edges[:-1] |= down
    return edges


def _band(edges: np.ndarray, rows: slice, cols: slice) -> np.ndarray:
    """Return 1 at the boundary, falling to 0 at `BAND` nodes from it, for a part of the grid."""
    from scipy import ndimage

    top, left = max(0, rows.start - BAND), max(0, cols.start - BAND)
    near = edges[top : rows.stop + BAND, left : cols.stop + BAND].astype(np.float32)
    grown, blur = BAND - BAND // 4, BAND // 4
    near = ndimage.maximum_filter(near, 2 * grown + 1, mode="constant")
    near = ndimage.uniform_filter(near, 2 * blur + 1, mode="nearest")
    band: np.ndarray = near[rows.start - top : rows.stop - top, cols.start - left :]
    return band[:, : cols.stop - cols.start]


def _inside(geometry: TileGeometry, grid: LogitGrid, region: Region) -> tuple[slice, slice]:
    """Return the nodes that lie in a region; one beyond the scene's end lies where it ends."""
    spans, shape = [], geometry.level_shape(grid.level)
    for axis, (start, stop) in enumerate(((region.row0, region.row1), (region.col0, region.col1))):
        first, last = (
            int(np.ceil((end - 0.5 - grid.origin[axis]) / grid.spacing[axis] - 1e-6))
            for end in (start, stop)
        )
        count = grid.values.shape[axis]
        if stop >= shape[axis]:
            last = count
        spans.append(slice(min(max(first, 0), count), min(max(last, 0), count)))
    return spans[0], spans[1]
