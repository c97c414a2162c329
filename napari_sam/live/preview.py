"""Candidates as a person points: asked in a thread of their own, only the newest answers told."""

from __future__ import annotations

import atexit
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from napari_sam.segment.objects import Candidate
from napari_sam.session import Asked, Session

__all__ = ["Answer", "Preview"]

QUICK = 0.1
"""Seconds within which masks follow a moving pointer well enough."""

_REMEMBERED = 9
"""Answers of which the usual time is told."""


@dataclass(frozen=True)
class Answer:
    """What the segmenter answered.

    Parameters
    ----------
    object_id : int or None
        Whose prompts were asked; None for a place under the pointer.
    candidates : tuple of Candidate
        The best first.
    seconds : float
        How long it took.
    """

    object_id: int | None
    candidates: tuple[Candidate, ...]
    seconds: float


@dataclass(frozen=True)
class _Place:
    """Where the pointer rests."""

    segmenter: Asked
    row: float
    col: float


class Preview:
    """Asks for candidates in a thread, so that whoever points never waits.

    Asked again for the same object, it forgets what it was asked before: of many quick changes the
    last one is answered, and an answer that was overtaken is not told.

    Parameters
    ----------
    session : Session
        Whose prompts are asked; its `candidates` keeps the answer for `accept`.
    on_answer : callable
        Takes an `Answer`; called in the thread.
    on_problem : callable
        Takes the object's id (None for a place) and the exception; called in the thread.
    aside : callable, optional
        Returns a context in which others that need the processor wait.
    wait : float
        Seconds that prompts must rest before they are asked.
    """

    def __init__(
        self,
        session: Session,
        on_answer: Callable[[Answer], object],
        on_problem: Callable[[int | None, Exception], object],
        *,
        aside: Callable[[], AbstractContextManager[object]] = nullcontext,
        wait: float = 0.02,
    ) -> None:
        self._session, self._on_answer, self._on_problem = session, on_answer, on_problem
        self._aside, self._wait = aside, wait
        self._news = threading.Condition()
        self._asked: dict[int, int] = {}  # the number of the question, by object
        self._number, self._last = 0, 0.0
        self._place: _Place | None = None
        self._busy = self._closed = False
        self._times: deque[float] = deque(maxlen=_REMEMBERED)
        self._thread = threading.Thread(target=self._work, name="preview", daemon=True)
        atexit.register(self.close, 60.0)  # Python's end would abort it, and the process with it
        self._thread.start()

    @property
    def seconds(self) -> float | None:
        """How long an answer usually takes: the median of the last ones, None before the first."""
        times = list(self._times)
        return statistics.median(times) if times else None

    @property
    def is_quick(self) -> bool:
        """Whether answers come so fast that they can follow the pointer."""
        usual = self.seconds
        return usual is not None and usual < QUICK

    @property
    def idle(self) -> bool:
        """Whether all that was asked is answered."""
        with self._news:
            return not (self._asked or self._place or self._busy)

    def ask(self, object_ids: Iterable[int]) -> None:
        """Ask for the candidates of objects whose prompts have changed."""
        with self._news:
            for number in object_ids:
                self._number += 1
                self._asked.pop(number, None)  # the newest is answered last
                self._asked[number] = self._number
            self._place, self._last = None, time.monotonic()
            self._news.notify_all()

    def ask_at(self, segmenter: Asked, row: float, col: float) -> None:
        """Ask what is under the pointer, when nothing else is asked; the session does not know."""
        with self._news:
            self._place, self._last = _Place(segmenter, row, col), time.monotonic()
            self._news.notify_all()

    def forget(self, object_ids: Iterable[int]) -> None:
        """Answer no more for objects whose prompts are gone, nor for the pointer."""
        with self._news:
            for number in object_ids:
                self._asked.pop(number, None)
            self._place = None

    def close(self, seconds: float = 5.0) -> bool:
        """Tell nothing any more and end the thread; False if it still works after so long."""
        with self._news:
            self._closed = True
            self._asked.clear()
            self._place = None
            self._news.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (question := self._next()) is not None:
            if isinstance(question, _Place):
                self._answer_place(question)
            else:
                self._answer(*question)
            with self._news:
                self._busy = False
                self._news.notify_all()
        atexit.unregister(self.close)

    def _next(self) -> tuple[int, int] | _Place | None:
        """Wait for a question that has rested; None at the end."""
        with self._news:
            while not self._closed:
                rest = self._last + self._wait - time.monotonic()
                if not self._asked and self._place is None:
                    self._news.wait()
                elif rest > 0:
                    self._news.wait(rest)
                elif self._asked:
                    self._busy = True
                    return next(iter(self._asked.items()))
                else:
                    self._busy, place, self._place = True, self._place, None
                    return place
            return None

    def _answer(self, object_id: int, number: int) -> None:
        began = time.perf_counter()
        problem: Exception | None = None
        try:
            with self._aside():
                found = tuple(self._session.candidates(object_id))
        except Exception as error:  # a thread has nobody else to tell
            problem = error
        taken = time.perf_counter() - began
        with self._news:
            if self._asked.get(object_id) != number:
                return  # asked again meanwhile, or not wanted any more
            del self._asked[object_id]
        if problem is not None:
            self._on_problem(object_id, problem)
            return
        self._times.append(taken)
        self._on_answer(Answer(object_id, found, taken))

    def _answer_place(self, place: _Place) -> None:
        began = time.perf_counter()
        try:
            with self._aside():
                found = tuple(place.segmenter.prompt(points=[[place.row, place.col]]))
        except Exception as error:  # a thread has nobody else to tell
            self._on_problem(None, error)
            return
        taken = time.perf_counter() - began
        self._times.append(taken)
        with self._news:
            overtaken = self._closed or bool(self._asked) or self._place is not None
        if not overtaken:
            self._on_answer(Answer(None, found, taken))
