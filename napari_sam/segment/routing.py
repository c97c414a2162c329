"""Which tile of which level answers a prompt: the finest in which the object fits.

    points, box, mask -> the finest level with a tile that holds them -> cut off? -> one coarser ...

A mask that ends at a border of its tile which is no border of the scene is cut off there. And a
tile that shows only a part of an object's inside, with no boundary in sight, makes the network
guess: it says so itself by a low predicted IoU, or by logits near the threshold everywhere. Both
are asked again one level coarser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_sam.errors import InputError
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.tile_predictor import to_level

from .decoding import Answer, Decoder, TilePrompt
from .image import mask_stability
from .logit_grid import LogitGrid
from .objects import MaskLike
from .scribbles import mask_logits

__all__ = [
    "Found",
    "ScenePrompt",
    "inner_sides",
    "is_cut",
    "is_guess",
    "route",
    "tile_holding",
]

LEAST_IOU, LEAST_STABILITY = 0.5, 0.2
"""Predicted IoU and stability below which a mask is compared with that of the next coarser level.
Networks that know an object are far above."""

_CUT_NODES = 3
"""Nodes at one inner border of a tile from which a mask is cut off there."""

_ALIKE = 0.5
"""IoU from which a coarser mask is the same object; else the decoder's order tells."""


@dataclass(frozen=True, eq=False)
class ScenePrompt:
    """Everything that is known of one object, checked, in pixels of level 0.

    Parameters
    ----------
    points : (n, 2) ndarray
        float64, (row, col).
    labels : (n,) ndarray
        1 foreground, 0 background.
    box : (4,) ndarray, optional
        (row0, col0, row1, col1).
    mask : MaskLike, optional
        A region.
    kind : str
        As in `Candidate`.
    """

    points: np.ndarray
    labels: np.ndarray
    box: np.ndarray | None
    mask: MaskLike | None
    kind: str

    @property
    def ambiguous(self) -> bool:
        """Whether it may mean a part, an object or a group."""
        return self.kind == "point"

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """(row0, col0, row1, col1) of all that it says."""
        corners = [self.points] if len(self.points) else []
        if self.box is not None:
            corners.append(self.box.reshape(2, 2))
        if self.mask is not None:
            first = np.array([self.mask.row, self.mask.col])
            corners.append(np.stack([first, first + self.mask.mask.shape - 1]))
        places = np.concatenate(corners)
        (row0, col0), (row1, col1) = places.min(axis=0), places.max(axis=0)
        return float(row0), float(col0), float(row1), float(col1)


@dataclass(frozen=True, eq=False)
class Found:
    """A mask and where it was found.

    Parameters
    ----------
    tile : TileId
        Which answered.
    grid : LogitGrid
        Its logits.
    iou : float
        Predicted.
    stability : float
        Of its logits.
    cut : bool
        Whether it goes on outside of the tile.
    """

    tile: TileId
    grid: LogitGrid
    iou: float
    stability: float
    cut: bool

    @property
    def sure(self) -> bool:
        """Whether it needs no other level's opinion."""
        return not is_guess(self.iou, self.stability)


def route(decoder: Decoder, prompt: ScenePrompt) -> list[Found]:
    """Find the masks that a prompt may mean, each at the finest level in which it fits.

    Parameters
    ----------
    decoder : Decoder
        Whatever answers prompts on tiles.
    prompt : ScenePrompt
        What is asked.

    Returns
    -------
    list of Found
        Three of an ambiguous prompt, else one, in the decoder's order; each may have come from
        another level. A mask is cut only if no coarser level is stored.

    Raises
    ------
    InputError
        If no tile holds all of the prompt, or none that does has an embedding.
    """
    chains: list[list[Found]] = []
    held = False
    for level in decoder.levels:
        open_ = [number for number, chain in enumerate(chains) if _goes_on(chain[-1])]
        if chains and not open_:
            break
        tile = tile_holding(decoder.geometry, level, prompt.extent)
        if tile is None:
            continue
        held = True
        (answer,) = decoder.decode(
            [tile], [_for_tile(decoder, tile, prompt)], ambiguous=prompt.ambiguous
        )
        if answer is None:
            continue
        found = _found(decoder, answer)
        if not chains:
            chains = [[one] for one in found]
            continue
        ends = [chains[number][-1] for number in open_]
        for number, index in zip(
            open_, _matches(ends, open_, found, decoder.threshold), strict=True
        ):
            chains[number].append(found[index])
    if not chains:
        raise InputError(_nowhere(held))
    return [_best(chain) for chain in chains]


def is_guess(iou: float, stability: float) -> bool:
    """Tell from a mask's scores whether the network does not know what it sees.

    Examples
    --------
    >>> is_guess(0.9, 0.8), is_guess(0.9, 0.0), is_guess(0.2, 0.8)
    (False, True, True)
    """
    return iou < LEAST_IOU or stability < LEAST_STABILITY


def tile_holding(geometry: TileGeometry, level: int, extent: Sequence[float]) -> TileId | None:
    """Return the tile in which a rectangle is most central, of those that hold it with a margin.

    The margin is half the halo, and is not asked for at the scene's border.

    Parameters
    ----------
    geometry : TileGeometry
        Where the tiles lie.
    level : int
        Of the tile.
    extent : (float, float, float, float)
        (row0, col0, row1, col1) in pixels of level 0.

    Returns
    -------
    TileId or None
        None if no tile of this level holds it.

    Examples
    --------
    >>> geometry = TileGeometry((3000, 5000), tile=1024, halo=128)
    >>> tile_holding(geometry, 0, (900, 900, 900, 900))
    TileId(level=0, row=1, col=1)
    >>> tile_holding(geometry, 0, (0, 0, 1500, 10))
    >>> tile_holding(geometry, 1, (0, 0, 1500, 10))
    TileId(level=1, row=0, col=0)
    """
    row0, col0, row1, col1 = to_level(extent, level).tolist()
    rows, cols = geometry.level_shape(level)
    high, wide = geometry.grid(level)
    row_windows = [
        (r.row0, r.row1) for r in (geometry.window(TileId(level, i, 0)) for i in range(high))
    ]
    col_windows = [
        (r.col0, r.col1) for r in (geometry.window(TileId(level, 0, i)) for i in range(wide))
    ]
    row = _most_central(row_windows, rows, row0, row1, geometry.halo / 2)
    col = _most_central(col_windows, cols, col0, col1, geometry.halo / 2)
    return None if row is None or col is None else TileId(level, row, col)


def is_cut(grid: LogitGrid, geometry: TileGeometry, tile: TileId, threshold: float) -> bool:
    """Tell whether a mask goes on beyond a border of its tile.

    Parameters
    ----------
    grid : LogitGrid
        The mask, at the tile's nodes.
    geometry, tile
        Which tile; where it ends with the scene nothing is cut.
    threshold : float
        The logit above which a pixel belongs to the mask.
    """
    inside = grid.values > threshold
    edges = inside[0], inside[-1], inside[:, 0], inside[:, -1]
    return any(
        inner and np.count_nonzero(edge) >= min(_CUT_NODES, edge.size)
        for inner, edge in zip(inner_sides(geometry, tile), edges, strict=True)
    )


def inner_sides(geometry: TileGeometry, tile: TileId) -> tuple[bool, bool, bool, bool]:
    """Tell at which sides (top, bottom, left, right) of a tile the scene goes on.

    Examples
    --------
    >>> inner_sides(TileGeometry((100, 40), tile=64, halo=8), TileId(0, 0, 0))
    (False, True, False, False)
    """
    window, (rows, cols) = geometry.window(tile), geometry.level_shape(tile.level)
    return window.row0 > 0, window.row1 < rows, window.col0 > 0, window.col1 < cols


def _most_central(
    windows: Sequence[tuple[int, int]], length: int, low: float, high: float, margin: float
) -> int | None:
    """Return which window holds low to high with the most room to its inner borders."""
    best: tuple[float, float] | None = None
    chosen = None
    for index, (start, stop) in enumerate(windows):
        before = np.inf if start == 0 else low - start
        after = np.inf if stop == length else stop - 1 - high
        room = float(min(before, after))
        if room < margin:
            continue
        score = room, -abs((low + high) - (start + stop - 1))
        if best is None or score > best:
            best, chosen = score, index
    return chosen


def _for_tile(decoder: Decoder, tile: TileId, prompt: ScenePrompt) -> TilePrompt:
    mask = None
    if prompt.mask is not None:
        mask = mask_logits(prompt.mask, tile.level, *decoder.nodes(tile))
    return TilePrompt(prompt.points, prompt.labels, prompt.box, mask)


def _found(decoder: Decoder, answer: Answer) -> list[Found]:
    return [
        Found(
            answer.tile,
            grid,
            iou,
            mask_stability(grid.values, decoder.threshold),
            is_cut(grid, decoder.geometry, answer.tile, decoder.threshold),
        )
        for grid, iou in zip(answer.grids, answer.ious, strict=True)
    ]


def _goes_on(found: Found) -> bool:
    return found.cut or not found.sure


def _best(chain: Sequence[Found]) -> Found:
    """Choose of one mask's answers: whole before cut, then the surest."""
    whole = [found for found in chain if not found.cut] or [chain[-1]]
    return max(whole, key=lambda found: (found.sure, found.iou * found.stability))


def _matches(
    ends: Sequence[Found], numbers: Sequence[int], coarser: Sequence[Found], threshold: float
) -> list[int]:
    """Give each mask that goes on one of the coarser level, no two the same.

    The pairs that agree most come first. A mask that resembles none, or that is a guess itself,
    keeps its number: the decoder's outputs each have a scale of their own.
    """
    agreement = np.array(
        [
            [_agreement(end.grid, other.grid, threshold) if end.sure else 0.0 for other in coarser]
            for end in ends
        ]
    )
    given: dict[int, int] = {}
    for flat in np.argsort(-agreement, axis=None, kind="stable"):
        end, other = divmod(int(flat), len(coarser))
        if agreement[end, other] < _ALIKE:
            break
        if end not in given and other not in given.values():
            given[end] = other
    free = [i for i in range(len(coarser)) if i not in given.values()]
    for end, number in enumerate(numbers):
        if end not in given:
            given[end] = number if number in free else free[0]
            free.remove(given[end])
    return [given[end] for end in range(len(ends))]


def _agreement(fine: LogitGrid, coarse: LogitGrid, threshold: float) -> float:
    """Return the IoU of two masks where the finer one was looked for."""
    rows, cols = fine.nodes(0), fine.nodes(1)
    seen = coarse.at(fine.level, rows, cols) > threshold
    inside = fine.values > threshold
    either = np.count_nonzero(seen | inside)
    return np.count_nonzero(seen & inside) / either if either else 0.0


def _nowhere(held: bool) -> str:
    if held:
        return (
            "Nothing is to be seen around the prompt at any level: prompt where the image is "
            "neither empty nor of one value."
        )
    return (
        "The prompt reaches farther than a tile of the coarsest level that is stored: encode the "
        "coarser levels too, or prompt a smaller part."
    )
