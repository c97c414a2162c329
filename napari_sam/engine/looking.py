"""What the network has to say of the regions of an image: candidates, doubts, embeddings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from napari_sam.live.workplace import Workplace
from napari_sam.segment.everything import EverythingProgress, FoundObjects, segment_everything
from napari_sam.segment.everything.thresholds import default_thresholds, raw_thresholds
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.regions import Region
from napari_sam.tiles.roi import Roi
from napari_sam.tiles.store import EmbeddingStore, State, TileDamaged, TileNotThere

_PARTS = 16
"""Of a tile, along each axis: the one in the middle of its core lies within that."""

__all__ = [
    "Looked",
    "doubts_of",
    "find_candidates",
    "in_region",
    "look_at",
    "mean_embeddings",
    "roi_of",
    "some_tiles",
    "told_as",
]

Progress = Callable[[int, int], object]


@dataclass(frozen=True, eq=False)
class Looked:
    """The regions of an image in which something is to be seen; arrays have an entry for each.

    Parameters
    ----------
    regions : tuple of Region
        Pixels of level 0.
    counts : (n,) ndarray
        int64, candidates with the centre there.
    doubts : (n,) ndarray
        float64, the mean of theirs; NaN without any.
    vectors : (n, channels) ndarray
        float64, the mean embedding.
    """

    regions: tuple[Region, ...]
    counts: np.ndarray
    doubts: np.ndarray
    vectors: np.ndarray

    @classmethod
    def nothing(cls, channels: int) -> Looked:
        """Return no regions."""
        return cls((), np.zeros(0, np.int64), np.zeros(0), np.zeros((0, channels)))


def look_at(
    workplace: Workplace,
    regions: Sequence[Region],
    tiles: np.ndarray,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Looked:
    """Look at regions of an image; embeddings and candidates are made and kept beside it.

    Parameters
    ----------
    workplace : Workplace
        The image, open.
    regions : sequence of Region
        Pixels of level 0.
    tiles : ndarray
        bool (tile row, tile column): which tiles of level 0 are looked at.
    on_progress : callable, optional
        Called with how many tiles are done, and how many are to be.
    should_stop : callable, optional
        Asked before every tile.

    Returns
    -------
    Looked
        Without regions in which nothing is to be seen, or that were not looked at.
    """
    found = find_candidates(
        workplace, roi_of(workplace.store.geometry, tiles), on_progress, should_stop
    )
    described = mean_embeddings(workplace.store, regions, tiles, should_stop)
    seen = sorted(described)
    doubts, counts = doubts_of(found, [regions[index] for index in seen])
    channels = workplace.store.model.embedding_shape[0]
    return Looked(
        tuple(regions[index] for index in seen),
        counts,
        doubts,
        np.array([described[index] for index in seen]).reshape(-1, channels),
    )


def find_candidates(
    workplace: Workplace,
    roi: Roi | None,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> FoundObjects:
    """Find all that may be an object, also what the network is little sure of."""
    least = raw_thresholds(workplace.sam)
    thresholds = replace(
        default_thresholds(workplace.sam),
        predicted_iou=least.predicted_iou,
        stability=least.stability,
    )
    return segment_everything(
        workplace.scene,
        workplace.store,
        workplace.sam,
        roi=roi,
        thresholds=thresholds,
        on_progress=told_as(on_progress),
        should_stop=should_stop,
    ).objects


def doubts_of(found: FoundObjects, regions: Sequence[Region]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean doubt of the candidates in each region, and how many there are.

    Returns
    -------
    doubts : (n,) ndarray
        float64; NaN where there is no candidate.
    counts : (n,) ndarray
        int64.
    """
    each = found.doubts
    doubts, counts = np.full(len(regions), np.nan), np.zeros(len(regions), np.int64)
    for index, region in enumerate(regions):
        inside = in_region(found.centroids, region)
        counts[index] = np.count_nonzero(inside)
        if counts[index]:
            doubts[index] = each[inside].mean()
    return doubts, counts


def in_region(places: np.ndarray, region: Region) -> np.ndarray:
    """Tell which places (n, 2), (row, col) with pixel centres at integers, lie in a region.

    Examples
    --------
    >>> in_region(np.array([[0.0, 4.4], [0.0, 4.6]]), Region(0, 0, 2, 5))
    array([ True, False])
    """
    rows, cols = places.reshape(-1, 2).T
    inside = (rows >= region.row0 - 0.5) & (rows < region.row1 - 0.5)
    return np.asarray(inside & (cols >= region.col0 - 0.5) & (cols < region.col1 - 0.5))


def some_tiles(geometry: TileGeometry, most: int, seed: int) -> np.ndarray:
    """Choose tiles of level 0, spread over the scene.

    Parameters
    ----------
    geometry : TileGeometry
        Of the scene.
    most : int
        How many; all if there are no more.
    seed : int
        Another one gives others.

    Returns
    -------
    ndarray
        bool (tile row, tile column).

    Examples
    --------
    >>> int(some_tiles(TileGeometry((4000, 4000)), 4, seed=0).sum())
    4
    >>> some_tiles(TileGeometry((400, 500)), 4, seed=0)
    array([[ True]])
    """
    rows, cols = geometry.grid(0)
    count = rows * cols
    if count <= most:
        return np.ones((rows, cols), bool)
    # At equal distances along the rows, from a place by lot.
    start = np.random.default_rng(seed).integers(count)
    places = (start + np.arange(most) * count // most) % count
    chosen = np.zeros(count, bool)
    chosen[places] = True
    return chosen.reshape(rows, cols)


def roi_of(geometry: TileGeometry, tiles: np.ndarray) -> Roi | None:
    """Return what stands for tiles of level 0 as a region of interest; None for all of them.

    It is a mask over the scene with a part in the core of each of them alone.
    """
    if tiles.all():
        return None
    shape = tuple(min(n, k * _PARTS) for n, k in zip(geometry.shape, tiles.shape, strict=True))
    mask = np.zeros(shape, bool)
    for row, col in np.argwhere(tiles).tolist():
        core = geometry.core(TileId(0, row, col))
        middle = (core.row0 + core.row1) // 2, (core.col0 + core.col1) // 2
        mask[
            middle[0] * shape[0] // geometry.shape[0], middle[1] * shape[1] // geometry.shape[1]
        ] = True
    return mask


def mean_embeddings(
    store: EmbeddingStore,
    regions: Sequence[Region],
    tiles: np.ndarray | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> dict[int, np.ndarray]:
    """Return what the network sees in regions, on the average.

    Parameters
    ----------
    store : EmbeddingStore
        Of the scene.
    regions : sequence of Region
        Pixels of level 0; of one that reaches over several tiles counts what the tile sees that
        has its middle.
    tiles : ndarray, optional
        bool (tile row, tile column): only regions of these.
    should_stop : callable, optional
        Asked before every tile.

    Returns
    -------
    dict of int to ndarray
        float64 (channels,), by place in `regions`; without those that are not encoded.
    """
    done = store.states(0) == State.DONE
    if tiles is not None:
        done &= tiles
    by_tile: defaultdict[TileId, list[int]] = defaultdict(list)
    for index, region in enumerate(regions):
        middle = (region.row0 + region.row1 - 1) // 2, (region.col0 + region.col1 - 1) // 2
        tile = store.geometry.owner(0, *middle)
        if done[tile.row, tile.col]:
            by_tile[tile].append(index)
    described = {}
    for tile, indices in sorted(by_tile.items()):
        if should_stop is not None and should_stop():
            break
        with suppress(TileNotThere, TileDamaged):
            embedding = store.read(tile)
            for index in indices:
                described[index] = _mean(store, embedding, tile, regions[index])
    return described


def _mean(store: EmbeddingStore, embedding: np.ndarray, tile: TileId, region: Region) -> np.ndarray:
    """Return the mean of the cells that a region has in a tile of level 0."""
    window, grid = store.geometry.window(tile), embedding.shape[1:]
    part = (region & window).within(window)
    side = max(window.shape)  # its longer side fills the encoder's frame
    rows, cols = (
        slice(first * cells // side, -(-last * cells // side))
        for first, last, cells in zip(
            (part.row0, part.col0), (part.row1, part.col1), grid, strict=True
        )
    )
    mean: np.ndarray = embedding[:, rows, cols].mean((1, 2), dtype=np.float64)
    return mean


def told_as(on_progress: Progress | None) -> Callable[[EverythingProgress], None] | None:
    """Return what takes the progress of a search, for what takes two numbers."""
    if on_progress is None:
        return None

    def told(progress: EverythingProgress) -> None:
        on_progress(progress.settled, progress.total)

    return told
