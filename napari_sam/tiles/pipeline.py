"""Tiles through the encoder: reads ahead and writes behind, a constant number of tiles in memory.

    queue -> readers (threads) -> encoder (the calling thread) -> writers (threads) -> store

The encoder waits for the others only if they are slower than it is.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import first_line
from napari_sam.scenes.pyramid import Emptiness

from .frames import embed, read_frame
from .geometry import TileId
from .kept_levels import keep_levels
from .order import Priority, TileQueue
from .store import EmbeddingStore, StoreUnusable, TileRefused
from .tile_states import Failure

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from src_model import Sam

__all__ = ["EncodingProgress", "Pipeline", "Summary"]

_TRIES = 3
"""How often a tile is tried before it is said to have failed."""

_READERS = _WRITERS = 2
"""Threads of each kind: where one waits for a disk or a network, another can go on."""

_MEASURED = 64
"""Tiles from which the time left is told: the last ones, as levels take differently long."""

_LISTEN = 0.2
"""Seconds of waiting for a file after which `should_stop` is asked again."""


@dataclass(frozen=True)
class EncodingProgress:
    """How far `encode` is.

    Parameters
    ----------
    done, empty, failed : int
        Tiles of this run that were encoded, that show nothing, that were given up.
    total : int
        Tiles of this run.
    seconds_left : float or None
        About; None before two tiles are settled.
    """

    done: int
    empty: int
    failed: int
    total: int
    seconds_left: float | None

    @property
    def settled(self) -> int:
        """Tiles with which nothing more is to be done."""
        return self.done + self.empty + self.failed


@dataclass(frozen=True)
class Summary:
    """What `encode` did.

    Parameters
    ----------
    done, empty : int
        Tiles that were encoded, and that show nothing.
    failed : tuple of Failure
        Tiles that were given up, with how often they were tried now.
    left : int
        Tiles not settled, because it was asked to stop.
    seconds : float
        How long it took.
    rounding_error : float
        The largest relative error of storing embeddings in 16 bits, see `rounding.rounded`.
    """

    done: int
    empty: int
    failed: tuple[Failure, ...]
    left: int
    seconds: float
    rounding_error: float


class Pipeline:
    """Tiles that wait, are read, encoded, written; used once.

    Only the calling thread changes what is here; the others read a frame or write an embedding
    and are forgotten.

    Parameters
    ----------
    scene, sam, store
        As for `encoding.encode`, and checked.
    tiles : sequence of TileId
        What to encode.
    priority, batch, on_progress, should_stop
        As for `encoding.encode`.
    """

    def __init__(
        self,
        scene: Scene,
        sam: Sam,
        store: EmbeddingStore,
        tiles: Sequence[TileId],
        priority: Priority | None,
        batch: int,
        on_progress: Callable[[EncodingProgress], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self._scene, self._sam, self._store = keep_levels(scene, store), sam, store
        self._queue = TileQueue(tiles, priority)
        self._total, self._batch = len(tiles), batch
        self._on_progress, self._should_stop = on_progress, should_stop
        self._stopped = False
        # Of both kinds there are at most a batch and what the threads have in hand.
        self._reading: deque[tuple[TileId, Future[np.ndarray | Emptiness]]] = deque()
        self._ahead = batch + _READERS
        self._writing: deque[tuple[TileId, str, Future[float]]] = deque()
        self._behind = batch + _WRITERS
        self._readers = ThreadPoolExecutor(_READERS, "napari-sam-read")
        self._writers = ThreadPoolExecutor(_WRITERS, "napari-sam-write")
        self._tries: dict[TileId, int] = {}
        self._failures: list[Failure] = []
        self._counts = {"done": 0, "empty": 0, "failed": 0}
        self._rounding_error = 0.0
        self._began = time.monotonic()
        self._settled_at = deque([self._began], maxlen=_MEASURED + 1)

    def run(self) -> Summary:
        """Encode until nothing is left, or it is asked to stop.

        Raises
        ------
        StoreUnusable
            If the store cannot be written; what is in flight is finished if possible.
        InputError
            If the image cannot be read any more; likewise.
        """
        try:
            while not self._stopped:
                frames = self._next_frames()
                if frames:
                    self._encode(frames)
                elif self._writing:
                    self._collect_one()  # which may have to be tried again
                elif not self._queue and not self._reading:
                    break
            while self._writing:
                self._collect_one()
        finally:
            self._readers.shutdown(cancel_futures=True)
            self._writers.shutdown()
        return Summary(
            self._counts["done"],
            self._counts["empty"],
            tuple(self._failures),
            self._total - sum(self._counts.values()),
            time.monotonic() - self._began,
            self._rounding_error,
        )

    def _asked_to_stop(self) -> bool:
        if self._should_stop is not None and not self._stopped:
            self._stopped = self._should_stop()
        return self._stopped

    def _read_ahead(self) -> None:
        size = self._sam.variant.image_size
        while self._queue and len(self._reading) < self._ahead:
            tile = self._queue.take()
            read = self._readers.submit(read_frame, self._scene, self._store.geometry, tile, size)
            self._reading.append((tile, read))

    def _next_frames(self) -> list[tuple[TileId, np.ndarray]]:
        """Return what is to be encoded next: a batch, less at the end, nothing when stopped."""
        frames: list[tuple[TileId, np.ndarray]] = []
        while len(frames) < self._batch:
            self._read_ahead()
            if not self._reading:
                break
            # Asked for every tile: many empty ones may follow each other.
            if self._asked_to_stop():
                return []
            if not wait([self._reading[0][1]], _LISTEN).done:
                continue
            tile, read = self._reading.popleft()
            try:
                found = read.result()
            except StoreUnusable:  # which keeps coarse levels of the scene
                raise
            except Exception as error:  # whatever the many readers of files raise
                self._scene.check_readable()  # or all other tiles would fail too
                self._failed(tile, error)
                continue
            if isinstance(found, str):
                self._scene.check_there()
                self._write(tile, "empty", partial(self._mark_empty, tile, found))
            else:
                frames.append((tile, found))
        self._read_ahead()
        return frames

    def _encode(self, frames: list[tuple[TileId, np.ndarray]]) -> None:
        """Encode a batch; if that fails, in smaller parts."""
        most = len(frames)
        while frames:
            size = self._batch
            part = frames[: min(most, size)]
            problem = self._try_to_encode(part)
            if problem is not None and self._batch < size:
                continue  # with the smaller batch
            if problem is not None and len(part) > 1:
                most = 1  # so that only the one to blame fails
                continue
            if problem is not None:
                self._failed(part[0][0], problem)
            frames = frames[len(part) :]

    def _try_to_encode(self, frames: list[tuple[TileId, np.ndarray]]) -> Exception | None:
        """Encode at most a batch, or return why it failed; batches shrink if memory ran out."""
        import torch

        # Always whole batches: of another size a GPU may compute in another order, and a run that
        # was interrupted has other batches than one that was not.
        padded = [frame for _, frame in frames] + [frames[-1][1]] * (self._batch - len(frames))
        try:
            embeddings = embed(self._sam, padded)
        except (torch.cuda.OutOfMemoryError, MemoryError) as error:
            self._batch = max(1, self._batch // 2)
            return error.with_traceback(None)  # which would hold on to what fills the memory
        except RuntimeError as error:
            return error.with_traceback(None)
        for (tile, _), embedding in zip(frames, embeddings, strict=False):
            self._write(tile, "done", partial(self._store.write, tile, embedding))
        return None

    def _mark_empty(self, tile: TileId, why: Emptiness) -> float:
        self._store.mark_empty(tile, why)
        return 0.0

    def _write(self, tile: TileId, kind: str, work: Callable[[], float]) -> None:
        """Let a tile be written, when there is room."""
        while self._writing and (len(self._writing) >= self._behind or self._writing[0][2].done()):
            self._collect_one()
        self._writing.append((tile, kind, self._writers.submit(work)))

    def _collect_one(self) -> None:
        """Take notice of the oldest tile that was written, or that could not be."""
        tile, kind, written = self._writing.popleft()
        try:
            self._rounding_error = max(self._rounding_error, written.result())
        except StoreUnusable:
            raise
        except (TileRefused, RuntimeError) as error:  # a GPU tells its errors when it is asked
            self._failed(tile, error)
        else:
            self._settle(kind)

    def _failed(self, tile: TileId, error: Exception) -> None:
        """Let a tile be tried again, or give it up."""
        self._tries[tile] = tries = self._tries.get(tile, 0) + 1
        if tries < _TRIES:
            self._queue.try_again(tile)
            return
        reason = first_line(error)
        self._store.mark_failed(tile, reason)
        self._failures.append(Failure(tile, reason, tries))
        self._settle("failed")

    def _settle(self, kind: str) -> None:
        self._counts[kind] += 1
        self._settled_at.append(time.monotonic())
        if self._on_progress is not None:
            self._on_progress(
                EncodingProgress(**self._counts, total=self._total, seconds_left=self._seconds())
            )

    def _seconds(self) -> float | None:
        times = self._settled_at
        if len(times) < 3:
            return None
        left = self._total - sum(self._counts.values())
        return left * (times[-1] - times[0]) / (len(times) - 1)
