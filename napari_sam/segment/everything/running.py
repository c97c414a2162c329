"""Clicking through the tiles of a scene: resumed where it ended, and no tile silently missing."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import InputError, first_line
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.geometry import TileId
from napari_sam.tiles.pipeline import EncodingProgress
from napari_sam.tiles.roi import Roi, check_roi, tiles_in
from napari_sam.tiles.store import EmbeddingStore, Failure, State, StoreUnusable
from napari_sam.tiles.store_errors import TileEmpty

from .clicking import click_tile
from .everything import Everything
from .filtering import Thresholds
from .found import FoundObjects
from .grid import Grid, plan_grid, sizes_in_pixels
from .raw import RawCandidates
from .records import RawRecords, Settings
from .thresholds import raw_thresholds

if TYPE_CHECKING:
    from distributed import Client

    from napari_sam.scene import Scene
    from src_model import Sam

__all__ = ["EverythingProgress", "EverythingResult", "found_so_far", "segment_everything"]

_TRIES = 3
"""How often a tile is tried before it is said to have failed."""

_MEASURED = 64
"""Tiles from which the time left is told."""


@dataclass(frozen=True)
class EverythingProgress:
    """How far `segment_everything` is.

    Parameters
    ----------
    done, failed : int
        Tiles of this run that were clicked through, that were given up.
    total : int
        Tiles of this run.
    candidates : int or None
        Raw candidates that were found in them; None where a cluster's workers know.
    seconds_left : float or None
        About; None before two tiles are settled.
    """

    done: int
    failed: int
    total: int
    candidates: int | None
    seconds_left: float | None

    @property
    def settled(self) -> int:
        """Tiles with which nothing more is to be done."""
        return self.done + self.failed


@dataclass(frozen=True, eq=False)
class EverythingResult:
    """What `segment_everything` found.

    Parameters
    ----------
    everything : Everything
        All raw candidates, to be filtered again.
    objects : FoundObjects
        The objects, with the thresholds asked for.
    failed : tuple of Failure
        Tiles in which nothing could be found; their objects are missing.
    done : int
        Tiles that were clicked through now.
    left : int
        Tiles not settled, because it was asked to stop.
    seconds, clicking_seconds : float
        How long it took; of these, how long for reading tiles, the network, and its masks (with a
        cluster, until all of its tiles were there).
    """

    everything: Everything
    objects: FoundObjects
    failed: tuple[Failure, ...]
    done: int
    left: int
    seconds: float
    clicking_seconds: float


def segment_everything(
    scene: Scene,
    store: EmbeddingStore,
    sam: Sam,
    *,
    sizes: tuple[float | None, float | None] = (None, None),
    unit: str = "px",
    roi: Roi | None = None,
    thresholds: Thresholds | None = None,
    retry_failed: bool = False,
    on_progress: Callable[[EverythingProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    client: Client | None = None,
) -> EverythingResult:
    """Find all objects of a scene of any size.

    It may be killed at any moment and called again: tiles that are in the store are not done
    again, and what comes out is the same. Embeddings that are missing are made on the way.

    Parameters
    ----------
    scene : Scene
        The image.
    store : EmbeddingStore
        Made for this scene, and this model or one with the same image encoder; raw candidates
        are kept in it too, those of each model for themselves.
    sam : Sam
        The network.
    sizes : (float or None, float or None)
        Smallest and largest objects: sides of squares of the same area. Levels and points follow
        from them. By default all there are.
    unit : str
        Of `sizes`: "px" of level 0, or a unit of length.
    roi : Roi, optional
        Only tiles with a core in it.
    thresholds : Thresholds, optional
        What makes an object; by default what suits the model, and `sizes`.
    retry_failed : bool
        Also repeat tiles that failed before.
    on_progress : callable, optional
        Called with an `EverythingProgress` for every tile that is settled.
    should_stop : callable, optional
        Asked before every tile.
    client : Client, optional
        Of dask.distributed: its workers click through the tiles, each with a copy of `sam`, and
        write to the store themselves, as `encode` lets them; the objects are the same.

    Returns
    -------
    EverythingResult

    Raises
    ------
    StoreMismatch
        If the store was made for another scene or model.
    StoreUnusable
        If the store can no longer be written.
    InputError
        If sizes, levels or region of interest do not go with the scene; if the cluster cannot reach
        scene or store, or is gone.
    """
    began = time.monotonic()
    embeddings = Embeddings(store, sam, scene)
    records, wanted = _plan(scene, store, sam, sizes, unit, roi)
    for tile in Everything(store, records, wanted).damaged:
        records.drop(tile)
    known = records.done()
    if not retry_failed:
        known |= {failure.tile for failure in records.failures()}
    tiles = [tile for tile in wanted if tile not in known]
    if client is None:
        run = TileRun(embeddings, records, tiles)
        run.go(on_progress, should_stop)
        done, left, clicking = run.done, run.left, run.clicking_seconds
    else:
        from .on_cluster import click_on_cluster

        def told(now: EncodingProgress) -> None:
            if on_progress is not None:
                on_progress(
                    EverythingProgress(now.done, now.failed, now.total, None, now.seconds_left)
                )

        summary = click_on_cluster(scene, store, sam, records, tiles, client, told, should_stop)
        done, left, clicking = summary.done, summary.left, summary.seconds
    everything = Everything(store, records, wanted)
    chosen = set(wanted)
    return EverythingResult(
        everything=everything,
        objects=everything.filter(thresholds),
        failed=tuple(failure for failure in records.failures() if failure.tile in chosen),
        done=done,
        left=left,
        seconds=time.monotonic() - began,
        clicking_seconds=clicking,
    )


def found_so_far(
    scene: Scene,
    store: EmbeddingStore,
    sam: Sam,
    *,
    sizes: tuple[float | None, float | None] = (None, None),
    unit: str = "px",
    roi: Roi | None = None,
) -> Everything:
    """Return what `segment_everything` found with the same choices until now.

    It may run meanwhile; it costs reading what was found, and nothing of the network.

    Parameters
    ----------
    scene, store, sam, sizes, unit, roi
        As `segment_everything` takes them.

    Raises
    ------
    StoreUnusable
        If the store cannot be read.
    InputError
        If sizes, levels or region of interest do not go with the scene.
    """
    return Everything(store, *_plan(scene, store, sam, sizes, unit, roi))


def _plan(
    scene: Scene,
    store: EmbeddingStore,
    sam: Sam,
    sizes: tuple[float | None, float | None],
    unit: str,
    roi: Roi | None,
) -> tuple[RawRecords, list[TileId]]:
    """Return where candidates are kept, and the tiles that are to be looked at."""
    from src_model.weight_files import model_hash

    in_pixels = sizes_in_pixels(sizes, unit, scene.pixel_size)
    grid = plan_grid(store.geometry, sam.variant.image_size, in_pixels)
    wanted = _tiles(store, grid, roi)
    own = model_hash(sam)
    settings = Settings(
        grid,
        thresholds=raw_thresholds(sam),
        sizes=in_pixels,
        # Another decoder on the same embeddings finds other masks.
        model="" if own == store.model.hash else own,
        best=sam.automatic,
    )
    return RawRecords.make(store, settings), wanted


def _tiles(store: EmbeddingStore, grid: Grid, roi: Roi | None) -> list[TileId]:
    """Return the tiles that are to be looked at, from the finest level, row by row."""
    levels = [level.level for level in grid.levels]
    unknown = [level for level in levels if level not in store.levels]
    if unknown:
        raise InputError(
            f"Objects of these sizes are looked for at the levels {', '.join(map(str, levels))}, "
            f"and the store has no level {', '.join(map(str, unknown))}: make one with all levels, "
            f"or ask for other sizes."
        )
    if roi is not None:
        check_roi(roi, store.geometry.shape)
    return [
        TileId(level, row, col)
        for level in levels
        for row, col in np.argwhere(tiles_in(store.geometry, level, roi)).tolist()
    ]


class TileRun:
    """Tiles that wait, and what became of the others; used once.

    Parameters
    ----------
    embeddings : Embeddings
        Of the store; they encode what is missing.
    records : RawRecords
        Where candidates go.
    tiles : list of TileId
        Those to do, in this order.
    """

    def __init__(self, embeddings: Embeddings, records: RawRecords, tiles: list[TileId]) -> None:
        self._embeddings, self._records = embeddings, records
        self._queue, self._tries = deque(tiles), dict.fromkeys(tiles, 0)
        self.total, self.done, self._candidates = len(tiles), 0, 0
        self.failed: list[Failure] = []
        self.clicking_seconds = 0.0

    @property
    def left(self) -> int:
        """Tiles that are not settled."""
        return self.total - self.done - len(self.failed)

    def go(
        self,
        on_progress: Callable[[EverythingProgress], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        """Do one tile after the other, until nothing is left or it is asked to stop."""
        settled_at = deque([time.monotonic()], maxlen=_MEASURED + 1)
        while self._queue and not (should_stop is not None and should_stop()):
            tile = self._queue.popleft()
            if not self._try(tile):
                continue
            settled_at.append(time.monotonic())
            if on_progress is not None:
                pace = (settled_at[-1] - settled_at[0]) / (len(settled_at) - 1)
                on_progress(
                    EverythingProgress(
                        self.done,
                        len(self.failed),
                        self.total,
                        self._candidates,
                        self.left * pace if len(settled_at) > 2 else None,
                    )
                )

    def _try(self, tile: TileId) -> bool:
        """Do a tile and return whether it is settled; if it fails it waits, or is given up."""
        try:
            found = self._click(tile)
        except StoreUnusable:
            raise
        except Exception as error:  # whatever the many readers of files and the network raise
            self._tries[tile] += 1
            if self._tries[tile] < _TRIES:
                self._queue.append(tile)
                return False
            failure = Failure(tile, first_line(error), self._tries[tile])
            self._records.fail(failure)
            self.failed.append(failure)
            return True
        self._records.write(tile, found)
        self.done += 1
        self._candidates += len(found)
        return True

    def _click(self, tile: TileId) -> RawCandidates:
        store, grid = self._embeddings.store, self._records.settings.grid
        points = grid.points(tile)
        if store.state(tile) is State.FAILED:
            store.mark_missing(tile, "tried again")
        if not len(points):
            return RawCandidates.of([])
        began = time.monotonic()
        try:
            ready = self._embeddings.at(tile)
            return click_tile(
                ready,
                points,
                self._records.settings.thresholds,
                store.geometry.level_shape(tile.level),
            )
        except TileEmpty:
            return RawCandidates.of([])
        finally:
            self.clicking_seconds += time.monotonic() - began
