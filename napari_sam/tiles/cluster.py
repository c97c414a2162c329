"""Tiles done by the workers of a dask.distributed cluster, which write to one store.

    queue -> tasks of some tiles -> workers, each with a kit of its own -> store

The scheduler knows only a few tasks for each worker, however many tiles there are; what is done is
kept in the store and nowhere else.
"""

from __future__ import annotations

import math
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from napari_sam.errors import InputError

from .cluster_worker import Kit, stop_on_worker, work_on_worker
from .geometry import TileId
from .order import Priority, TileQueue
from .pipeline import EncodingProgress, Summary
from .store import State
from .store_errors import StoreUnusable, called
from .tile_states import Failure

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["ClusterRun", "Record", "connect"]

_TASK_SECONDS = 2.0
"""How long a task should take: long beside what the scheduler needs for it (milliseconds), short
for whoever waits for progress, or for a killed worker's tiles."""

_MOST_TILES = 64
"""In a task."""

_TASKS_PER_SLOT = 2
"""Given to the scheduler: one that runs, one that waits."""

_LISTEN = 0.2
"""Seconds of waiting for a task after which `should_stop` is asked again."""

_COUNT_AGAIN = 2.0
"""Seconds after which the workers are counted again."""

_SEEN_WITHIN = 90.0
"""Seconds within which a network disk shows here what a worker wrote."""

_LOOK_AGAIN = 1.0
"""Seconds after which it is looked again."""

_TRIES = 3
"""How often in a row what concerns no single tile may go wrong with nothing done in between."""

_MEASURED = 64
"""Tasks from which the time left is told."""


class Record(Protocol):
    """Where it is kept what became of tiles, as in an `EmbeddingStore`."""

    def state(self, tile: TileId) -> State:
        """Return what became of a tile."""

    def mark_failed(self, tile: TileId, reason: str) -> None:
        """Give a tile up."""


@dataclass(frozen=True)
class _Task:
    """What a worker was asked to do.

    Parameters
    ----------
    tiles : list of TileId
        Which.
    kit : Future
        With what.
    alone : bool
        Whether nothing else runs beside it.
    """

    tiles: list[TileId]
    kit: Future
    alone: bool


@contextmanager
def connect(address: str) -> Iterator[Client]:
    """Connect to a scheduler while the block runs.

    Parameters
    ----------
    address : str
        Such as ``tcp://node7:8786``.

    Raises
    ------
    InputError
        If dask.distributed is not installed, or no scheduler answers within seconds.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            f"A cluster needs a package that is not installed ({error}): pip install "
            f"'napari-sam-tiled[distributed]'."
        ) from error
    try:
        client = Client(address, timeout="5s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"No scheduler of dask answers at {address!r}: start one with 'dask scheduler' and "
            f"give the address that it prints, such as tcp://127.0.0.1:8786."
        ) from error
    with client:
        yield client


class ClusterRun:
    """Tiles that are done on a cluster; used once.

    Parameters
    ----------
    kit : Kit
        What workers need, and what they do with it.
    record : Record
        Where workers leave what they make, as it is seen from here.
    tiles : sequence of TileId
        What to do.
    client : Client
        Of dask.distributed; it stays open.
    priority, batch, on_progress, should_stop
        As for `encoding.encode`.
    """

    def __init__(
        self,
        kit: Kit,
        record: Record,
        tiles: Sequence[TileId],
        client: Client,
        priority: Priority | None,
        batch: int,
        on_progress: Callable[[EncodingProgress], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self._kit, self._record, self._client = kit, record, client
        self._queue = TileQueue(tiles, priority)
        self._total, self._batch, self._size = len(tiles), batch, batch
        self._on_progress, self._should_stop = on_progress, should_stop
        self._stopped = False
        self._sent: Future | None = None  # the kit, where workers find it
        self._running: dict[Future, _Task] = {}
        self._ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
        # Tiles of tasks that were lost with their workers. Dask cannot tell which task killed a
        # worker, so each is tried with no other beside it.
        self._suspects: deque[TileId] = deque()
        self._trouble = 0  # in a row, with nothing done in between
        self._slots, self._counted_at = 0, -math.inf
        self._first: dict[str, tuple[TileId, float]] = {}  # that each worker wrote, and when
        self._seen: set[str] = set()
        self._looked_at = -math.inf
        self._counts = {"done": 0, "empty": 0, "failed": 0}
        self._failures: list[Failure] = []
        self._rounding_error = 0.0
        self._began = time.monotonic()
        self._settled_at = deque([(self._began, 0)], maxlen=_MEASURED + 1)

    def run(self) -> Summary:
        """Go on until nothing is left, or it is asked to stop.

        Raises
        ------
        StoreUnusable
            If the store cannot be written, or workers write somewhere else.
        InputError
            If workers find another scene or model, the scheduler is gone, or every worker dies.
        """
        try:
            while True:
                if not self._stopped and self._should_stop is not None and self._should_stop():
                    self._stopped = True
                    self._stop_workers()
                if not self._stopped:
                    self._submit()
                if self._ended_all():
                    break
                self._collect()
                self._look_for_results()
            while self._first:  # what a network disk has not shown yet
                self._look_for_results()
                time.sleep(_LISTEN)
        finally:
            if self._running:  # an error, or no worker is left: nobody waits for them
                self._stop_workers()
                if self._client.status == "running":
                    self._client.cancel(list(self._running))
        return Summary(
            self._counts["done"],
            self._counts["empty"],
            tuple(self._failures),
            self._total - self._settled,
            time.monotonic() - self._began,
            self._rounding_error,
        )

    @property
    def _settled(self) -> int:
        return sum(self._counts.values())

    def _ended_all(self) -> bool:
        """Tell whether nothing is to be waited for."""
        if self._stopped:
            return not self._running or not self._count_slots()
        return not (self._running or self._queue or self._suspects)

    def _count_slots(self) -> int:
        now = time.monotonic()
        if now - self._counted_at > _COUNT_AGAIN and self._client.status == "running":
            self._slots, self._counted_at = sum(self._client.nthreads().values()), now
        return self._slots

    def _submit(self) -> None:
        """Give the scheduler as many tasks as keep the workers busy."""
        if not self._count_slots():
            return
        # When several tasks in a row killed workers, new ones wait until the suspects are tried.
        while (
            self._queue
            and (self._trouble < _TRIES or not self._suspects)
            and len(self._running) < _TASKS_PER_SLOT * self._slots
        ):
            share = len(self._queue) // (_TASKS_PER_SLOT * self._slots)
            wanted = max(self._batch, min(self._size, share))
            self._start([self._queue.take() for _ in range(min(wanted, len(self._queue)))])
        if self._suspects and not self._running:
            self._start([self._suspects.popleft()], alone=True)

    def _start(self, tiles: list[TileId], alone: bool = False) -> None:
        if self._sent is None:
            # To all, so that it is not lost with a worker. Who comes later gets it from these.
            self._sent = self._client.scatter(self._kit, broadcast=True, hash=False)
        future = self._client.submit(work_on_worker, self._sent, tiles, pure=False)
        self._running[future] = _Task(tiles, self._sent, alone)
        future.add_done_callback(self._ended.put)

    def _collect(self) -> None:
        """Take notice of tasks that ended, or wait for one for a moment."""
        try:
            future = self._ended.get(timeout=_LISTEN)
        except queue.Empty:
            return
        task = self._running.pop(future)
        from distributed import CancelledError, KilledWorker
        from distributed.comm import CommClosedError

        try:
            worker, summary = future.result()
        except KilledWorker as error:
            self._killed(task, error.allowed_failures + 1)
        except (CancelledError, CommClosedError):
            self._lost(task)
        except ModuleNotFoundError as error:
            raise InputError(
                f"A worker has not all that is needed ({error}): install napari-sam-tiled there as "
                f"it is here."
            ) from error
        else:
            self._add(worker, task.tiles, summary)

    def _add(self, worker: str, tiles: list[TileId], summary: Summary) -> None:
        """Count what a task did."""
        settled = len(tiles) - summary.left
        if worker not in self._seen and settled:
            failed = {failure.tile for failure in summary.failed}
            written = next((tile for tile in tiles if tile not in failed), None)
            if written is not None and not summary.left:
                self._seen.add(worker)
                self._first[worker] = written, time.monotonic()
        if settled:
            self._trouble = 0
            wanted = round(_TASK_SECONDS * settled / max(summary.seconds, 1e-3))
            # In whole batches: a part of one takes as long.
            wanted = self._batch * max(1, min(wanted, 2 * self._size) // self._batch)
            self._size = min(wanted, max(_MOST_TILES, self._batch))
        self._rounding_error = max(self._rounding_error, summary.rounding_error)
        self._failures += summary.failed
        self._settle("done", summary.done)
        self._settle("empty", summary.empty)
        self._settle("failed", len(summary.failed))
        self._settled_at.append((time.monotonic(), self._settled))

    def _killed(self, task: _Task, times: int) -> None:
        """Let the tiles of a task that workers died with be tried alone, or give one up."""
        self._trouble += 1
        if not task.alone:
            for tile in task.tiles:
                state = self._record.state(tile)
                if state in (State.DONE, State.EMPTY):
                    self._settle("done" if state is State.DONE else "empty", 1)
                else:
                    self._suspects.append(tile)
            return
        (tile,) = task.tiles
        if self._trouble > 2 * _TRIES and self._settled == self._counts["failed"]:
            raise InputError(
                f"Workers die with every tile, last with {called(tile)}: look at what they log, "
                f"and give them more memory if that is it."
            )
        reason = f"{times} worker{'s' * (times > 1)} died with it: look at what they log"
        self._record.mark_failed(tile, reason)
        self._failures.append(Failure(tile, reason, times))
        self._settle("failed", 1)

    def _lost(self, task: _Task) -> None:
        """Go on when the scheduler dropped a task, as it does when all that had its kit died."""
        if task.kit is self._sent:
            self._sent = None
            self._trouble += 1
        if self._client.status != "running" or self._trouble > _TRIES:
            raise InputError(
                "The scheduler is gone, or drops what it is given: start it again and go on; what "
                "is in the store is kept."
            )
        for tile in task.tiles:
            self._queue.try_again(tile)

    def _look_for_results(self) -> None:
        """Make sure that what workers write arrives in the store as it is seen from here."""
        if not self._first or time.monotonic() - self._looked_at < _LOOK_AGAIN:
            return
        self._looked_at = time.monotonic()
        for worker, (tile, since) in list(self._first.items()):
            if self._record.state(tile) is not State.MISSING:
                del self._first[worker]
            elif time.monotonic() - since > _SEEN_WITHIN:
                raise StoreUnusable(
                    f"The worker {worker} wrote {called(tile)} into {self._record!r}, but it is "
                    f"not there: give a place that all workers and this process see alike."
                )

    def _stop_workers(self) -> None:
        self._kit.stop()
        if self._sent is not None and self._client.status == "running":
            self._client.run(stop_on_worker, self._sent.key, on_error="ignore")

    def _settle(self, kind: Literal["done", "empty", "failed"], count: int) -> None:
        for _ in range(count):
            self._counts[kind] += 1
            if self._on_progress is not None:
                self._on_progress(
                    EncodingProgress(
                        **self._counts, total=self._total, seconds_left=self._seconds()
                    )
                )

    def _seconds(self) -> float | None:
        (began, before), (ended, after) = self._settled_at[0], self._settled_at[-1]
        if after == before:
            return None
        return (self._total - self._settled) * (ended - began) / (after - before)
