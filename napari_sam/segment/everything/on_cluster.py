"""Clicking through tiles on the workers of a dask.distributed cluster.

What each finds lies in the store; only counts come back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from napari_sam.tiles.cluster import ClusterRun
from napari_sam.tiles.cluster_worker import Kit
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.geometry import TileId
from napari_sam.tiles.pipeline import EncodingProgress, Summary
from napari_sam.tiles.store import EmbeddingStore, Failure, State

from .records import RawRecords, Settings
from .running import TileRun

if TYPE_CHECKING:
    from distributed import Client

    from napari_sam.scene import Scene
    from src_model import Sam

__all__ = ["click_on_cluster"]


def click_on_cluster(
    scene: Scene,
    store: EmbeddingStore,
    sam: Sam,
    records: RawRecords,
    tiles: Sequence[TileId],
    client: Client,
    on_progress: Callable[[EncodingProgress], None] | None,
    should_stop: Callable[[], bool] | None,
) -> Summary:
    """Let workers click through tiles.

    Parameters
    ----------
    scene, store, sam
        As `segment_everything` takes them, and checked.
    records : RawRecords
        Where candidates are kept.
    tiles : sequence of TileId
        Those to do.
    client : Client
        Of dask.distributed.
    on_progress, should_stop
        As for `encoding.encode`.

    Raises
    ------
    StoreUnusable, InputError
        As `encoding.encode` with a client.
    """
    kit = _ClickingKit(scene, sam, store, records.settings)
    run = ClusterRun(kit, _Record(records), tiles, client, None, 1, on_progress, should_stop)
    return run.run()


class _ClickingKit(Kit):
    """Clicks through tiles; embeddings that are missing are made on the way."""

    own: ClassVar[frozenset[str]] = Kit.own | {"_embeddings"}

    def __init__(self, scene: Scene, sam: Sam, store: EmbeddingStore, settings: Settings) -> None:
        super().__init__(scene, sam, store, 1)
        self._settings = settings

    def _begin(self) -> None:
        super()._begin()
        self._embeddings: Embeddings | None = None

    def work(self, tiles: list[TileId]) -> Summary:
        """Click through tiles as `segment_everything` does in one process."""
        began = time.monotonic()
        scene, sam, store = self.opened()
        with self._opening:
            if self._embeddings is None:
                # Each tile is seen once: what is kept would only be memory.
                self._embeddings = Embeddings(store, sam, scene, max_bytes=0)
        run = TileRun(self._embeddings, RawRecords.make(store, self._settings), tiles)
        run.go(None, self.stopped)
        return Summary(run.done, 0, tuple(run.failed), run.left, time.monotonic() - began, 0.0)


class _Record:
    """What became of tiles, as a cluster's run asks for it."""

    def __init__(self, records: RawRecords) -> None:
        self._records = records

    def __repr__(self) -> str:
        return repr(self._records)

    def state(self, tile: TileId) -> State:
        """Return whether a tile's candidates are there."""
        return State.DONE if self._records.has(tile) else State.MISSING

    def mark_failed(self, tile: TileId, reason: str) -> None:
        """Give a tile up."""
        self._records.fail(Failure(tile, reason, 1))
