"""Long work in a thread, told about in the thread of the windows."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from qtpy.QtCore import QObject, Qt, Signal

from napari_sam.errors import InputError, first_line

__all__ = ["Job", "Mailbox", "in_words", "run_job"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Mailbox(QObject):
    """Calls functions in the thread of the windows, in the order in which any thread asks for it.

    Parameters
    ----------
    parent : QObject
        With whom it goes.
    """

    _came = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._letters: deque[Callable[[], object]] = deque()
        self._lock, self._open = threading.Lock(), True
        self._came.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def post(self, letter: Callable[[], object]) -> None:
        """Have a function called soon; not at all if the mailbox is closed by then."""
        with self._lock:
            if self._open:
                self._letters.append(letter)
                try:
                    self._came.emit()
                except RuntimeError:  # the window is gone, and this with it
                    self._open = False

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be called."""
        with self._lock:
            return not self._letters

    def close(self) -> None:
        """Forget what waits, and whatever comes."""
        with self._lock:
            self._open = False
            self._letters.clear()

    def _deliver(self) -> None:
        while True:
            with self._lock:
                if not self._letters:
                    return
                letter = self._letters.popleft()
            letter()


class Job(QObject):
    """Work that runs; made by `run_job`. All signals arrive in the thread of the windows.

    Exactly one of `finished`, `failed` and `stopped` comes, and it is the last. None comes once the
    job's parent is gone.
    """

    progressed = Signal(object)
    """What the work reports."""
    finished = Signal(object)
    """What the work returned."""
    failed = Signal(str)
    """Why not, in a sentence."""
    stopped = Signal()
    """It ended because of `stop`, without a result."""

    def __init__(
        self,
        parent: QObject,
        work: Callable[[Callable[[object], None], Callable[[], bool]], Any],
        name: str,
    ) -> None:
        super().__init__(parent)
        self.name = name
        self._mailbox = Mailbox(self)
        self._stop, self._ended = threading.Event(), False
        self._thread = threading.Thread(
            target=_work, args=(work, name, self._stop, self._mailbox, self), daemon=True, name=name
        )
        # Only the event is named here: what the parent keeps must not keep the job.
        parent.destroyed.connect(self._stop.set)

    @property
    def running(self) -> bool:
        """Whether its end was not told yet."""
        return not self._ended

    def stop(self) -> None:
        """Ask it to stop; `stopped` comes when it has, or `finished` if there is a result."""
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the thread, without the event loop; False if it still works."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def abandon(self, seconds: float = 2.0) -> bool:
        """Stop it, wait for a while, and tell nobody about it."""
        self._mailbox.close()
        self._ended = True
        self.stop()
        return self.wait(seconds)

    def _end(self, kind: str, told: Any) -> None:
        self._ended = True
        if kind == "finished":
            self.finished.emit(told)
        elif kind == "failed":
            self.failed.emit(told)
        else:
            self.stopped.emit()
        self.deleteLater()  # not at once: a part of it is what calls this


def run_job(
    parent: QObject,
    work: Callable[[Callable[[object], None], Callable[[], bool]], T],
    name: str,
) -> Job:
    """Run work in a thread of its own.

    Parameters
    ----------
    parent : QObject
        With whom it goes: when that is destroyed, the work is asked to stop and nothing is told.
    work : callable
        ``work(report, should_stop)``: `report` takes anything and comes out of `progressed`; work
        that is long asks `should_stop` now and then, and returns when it should.
    name : str
        What is done, as in "opening the image": a sentence about a failure begins with it.

    Returns
    -------
    Job
        It begins when the event loop is back, so that all its signals can be connected.
    """
    job = Job(parent, work, name)
    job._thread.start()
    return job


def in_words(error: BaseException, name: str) -> str:
    """Return what went wrong as one sentence; what nobody expected goes to the log as well."""
    if isinstance(error, InputError):
        return str(error)
    begin = f"{name[:1].upper()}{name[1:]} failed"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"{begin}: there is not enough memory; close other images, or use a smaller model."
    if isinstance(error, OSError):
        place = f" {error.filename}" if error.filename else ""
        return f"{begin}:{place} {error.strerror or first_line(error)}."
    _log.error("%s", begin, exc_info=error)
    reason = first_line(error) if isinstance(error, Exception) else type(error).__name__
    return f"{begin} ({type(error).__name__}: {reason}); the log says where."


def _work(
    work: Callable[[Callable[[object], None], Callable[[], bool]], Any],
    name: str,
    stop: threading.Event,
    mailbox: Mailbox,
    job: Job,
) -> None:
    def report(told: object) -> None:
        mailbox.post(lambda: job.progressed.emit(told))

    try:
        result = work(report, stop.is_set)
    except BaseException as error:  # in this thread nobody else would tell
        sentence = in_words(error, name)
        mailbox.post(lambda: job._end("stopped" if stop.is_set() else "failed", sentence))
        return
    # What was made in spite of a stop is handed over: somebody may have to close it.
    stopped = stop.is_set() and result is None
    mailbox.post(lambda: job._end("stopped" if stopped else "finished", result))
