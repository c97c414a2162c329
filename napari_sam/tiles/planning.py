"""What is to be encoded, and what it will take: asked before anything is done."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from zarr.storage import MemoryStore

from napari_sam.errors import InputError

from .frames import embed, read_frame
from .geometry import TileGeometry, TileId
from .kept_levels import levels_to_keep
from .roi import Roi, check_roi, tiles_in
from .rounding import HalfType
from .store import EmbeddingStore, State
from .subjects import ModelInfo, SceneInfo

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from src_model import Sam

__all__ = ["LevelPlan", "Plan", "plan", "tiles_to_do"]

_QUICK = 1.0
"""Seconds for a tile below which it is measured twice, as the first one includes starting up."""


@dataclass(frozen=True)
class LevelPlan:
    """What is to be done of a level, in the region of interest.

    Parameters
    ----------
    level : int
        Which.
    to_do : int
        Tiles that will be looked at. Some may turn out to be empty, which only reading them tells.
    done, empty, failed : int
        Tiles that are in the store like this already. Failed ones that are to be repeated count
        here and in `to_do`.
    """

    level: int
    to_do: int
    done: int
    empty: int
    failed: int


@dataclass(frozen=True)
class Plan:
    """What is to be encoded, and what it will take.

    Parameters
    ----------
    levels : tuple of LevelPlan
        Those chosen, from the finest.
    bytes : int or None
        About what will be added on disk: by the tiles to do, and at most by the coarse levels that
        are kept for them (see `kept_levels`); None where the model is unknown.
    seconds : float or None
        About how long it will take; None where nothing was measured.
    """

    levels: tuple[LevelPlan, ...]
    bytes: int | None
    seconds: float | None

    @property
    def to_do(self) -> int:
        """Tiles to do in all levels."""
        return sum(level.to_do for level in self.levels)


def plan(
    scene: Scene,
    target: EmbeddingStore | TileGeometry,
    sam: Sam | None = None,
    *,
    levels: Sequence[int] | None = None,
    roi: Roi | None = None,
    retry_failed: bool = False,
    dtype: HalfType = "float16",
) -> Plan:
    """Find out what `encode` would do, without writing anything.

    Parameters
    ----------
    scene : Scene
        The image.
    target : EmbeddingStore or TileGeometry
        What is there already; or how the scene would be cut, where there is no store yet.
    sam : Sam, optional
        Measured with the middle one of the tiles to do.
    levels, roi, retry_failed
        As for `encode`.
    dtype : {"float16", "bfloat16"}
        Of a store that is not there yet.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        If the levels or the region of interest are not in the scene, or it cannot be read.

    Examples
    --------
    >>> from napari_sam.scene import open_scene
    >>> scene = open_scene(np.zeros((3000, 5000), np.uint8))
    >>> found = plan(scene, TileGeometry(scene.shape), roi=np.array([[True, False]]))
    >>> [(level.level, level.to_do) for level in found.levels], found.to_do
    ([(0, 16), (1, 4), (2, 1), (3, 1)], 22)
    """
    store = target if isinstance(target, EmbeddingStore) else None
    geometry = target.geometry if isinstance(target, EmbeddingStore) else target
    chosen = _chosen(target, levels, roi)
    plans: list[LevelPlan] = []
    tiles: list[TileId] = []
    for level, wanted in chosen.items():
        states = np.zeros(wanted.shape, np.uint8) if store is None else store.states(level)
        to_do = _to_do(level, wanted, states, retry_failed)
        counts = [int((states[wanted] == s).sum()) for s in (State.DONE, State.EMPTY, State.FAILED)]
        plans.append(LevelPlan(level, len(to_do), *counts))
        tiles += to_do
    size: int | None = None
    seconds: float | None = None
    if sam is not None and tiles:
        kind = dtype if store is None else store.layout.dtype
        size, seconds = _measure(scene, sam, geometry, tiles[len(tiles) // 2], kind)
        seconds *= len(tiles)
    elif store is not None:
        size = 2 * math.prod(store.model.embedding_shape)
    if size is not None:
        size = size * len(tiles) + _kept_bytes(scene, geometry, plans)
    return Plan(tuple(plans), size, seconds)


def tiles_to_do(
    store: EmbeddingStore, levels: Sequence[int] | None, roi: Roi | None, retry_failed: bool
) -> list[TileId]:
    """Return the tiles that a store has as missing, from the coarsest level, row by row.

    Raises
    ------
    InputError
        If the levels or the region of interest are not in the store.
    """
    chosen = _chosen(store, levels, roi)
    return [
        tile
        for level in reversed(chosen)
        for tile in _to_do(level, chosen[level], store.states(level), retry_failed)
    ]


def _chosen(
    target: EmbeddingStore | TileGeometry, levels: Sequence[int] | None, roi: Roi | None
) -> dict[int, np.ndarray]:
    """Return which tiles are wanted of each level, from the finest."""
    if isinstance(target, EmbeddingStore):
        geometry, there = target.geometry, target.levels
    else:
        geometry, there = target, tuple(range(target.levels))
    chosen = there if levels is None else tuple(sorted(set(levels)))
    unknown = [level for level in chosen if level not in there]
    if unknown or not chosen:
        raise InputError(
            f"Level {', '.join(map(str, unknown)) or 'none'} cannot be encoded: choose of the "
            f"levels {', '.join(map(str, there))}."
        )
    if roi is not None:
        check_roi(roi, geometry.shape)
    return {level: tiles_in(geometry, level, roi) for level in chosen}


def _to_do(level: int, wanted: np.ndarray, states: np.ndarray, retry_failed: bool) -> list[TileId]:
    open_ = states == State.MISSING
    if retry_failed:
        open_ |= states == State.FAILED
    return [TileId(level, row, col) for row, col in np.argwhere(wanted & open_).tolist()]


def _kept_bytes(scene: Scene, geometry: TileGeometry, plans: Sequence[LevelPlan]) -> int:
    """Return about what the coarse levels take that are kept while tiles are encoded."""
    size = 0.0
    for level in levels_to_keep(scene):
        # What is read of a level lies below the tiles of this level and of all coarser ones.
        shares = [p.to_do / math.prod(geometry.grid(p.level)) for p in plans if p.level >= level]
        pixels = math.prod(scene.levels[level].shape)
        size += pixels * len(scene.channels) * scene.dtype.itemsize * max(shares, default=0)
    return round(size)


def _measure(
    scene: Scene, sam: Sam, geometry: TileGeometry, tile: TileId, dtype: HalfType
) -> tuple[int, float]:
    """Return the bytes and seconds that a tile takes."""
    scratch = _scratch_store(scene, sam, geometry, tile.level, dtype)
    empty_size = scratch.size_on_disk()
    while True:
        times = [time.perf_counter()]
        frame = read_frame(scene, geometry, tile, sam.variant.image_size)
        times.append(time.perf_counter())
        if isinstance(frame, str):  # a black one takes as long
            side = sam.variant.image_size
            frame = np.zeros((side, side, 3), np.uint8)
        embedding = embed(sam, [frame])[0].cpu()
        times.append(time.perf_counter())
        again = scratch.size_on_disk() > empty_size
        scratch.write(tile, embedding)
        times.append(time.perf_counter())
        if again or times[-1] - times[0] > _QUICK:
            break
    # Reading and writing go on beside the encoder: the slowest of the three counts.
    seconds = max(end - start for start, end in pairwise(times))
    return scratch.size_on_disk() - empty_size, seconds


def _scratch_store(
    scene: Scene, sam: Sam, geometry: TileGeometry, level: int, dtype: HalfType
) -> EmbeddingStore:
    """Return a store in memory for a tile; fingerprint and hash, which take time, are made up."""
    about = SceneInfo(
        scene.name,
        scene.shape,
        scene.axes,
        scene.channels,
        "",
        scene.normalisation.to_dict(),
    )
    model = ModelInfo("", sam.variant.to_dict(), sam.variant.embedding_shape)
    return EmbeddingStore.create(MemoryStore({}), about, model, geometry, [level], dtype)
