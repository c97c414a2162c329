"""Candidates in the background: the newest answer is told, and only that one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from made_sessions import MODEL, SHAPE, Discs, made_scene, made_session

from napari_sam.errors import InputError
from napari_sam.live.preview import Answer, Preview
from napari_sam.session import Session


class Gate(Discs):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__(SHAPE)
        self.began, self.go_on = threading.Semaphore(0), threading.Semaphore(0)

    def prompt(self, *arguments: Any, **options: Any) -> Any:
        self.began.release()
        assert self.go_on.acquire(timeout=30)
        return super().prompt(*arguments, **options)


class Told:
    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.problems: list[tuple[int | None, Exception]] = []

    def problem(self, object_id: int | None, error: Exception) -> None:
        self.problems.append((object_id, error))


def until(there: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not there():
        assert time.monotonic() < end
        time.sleep(0.002)


@contextmanager
def previewing(session: Session, **options: Any) -> Iterator[tuple[Preview, Told]]:
    told = Told()
    preview = Preview(session, told.answers.append, told.problem, wait=0, **options)
    try:
        yield preview, told
    finally:
        assert preview.close(30)


@pytest.fixture
def gated(tmp_path: Path) -> Iterator[tuple[Session, Gate]]:
    gate = Gate()
    with Session.create(tmp_path / "s", made_scene(), gate, model=MODEL) as session:
        yield session, gate


def test_the_candidates_of_all_objects_that_were_asked_come_and_can_be_accepted(
    tmp_path: Path,
) -> None:
    with made_session(tmp_path / "s") as session, previewing(session) as (preview, told):
        session.add_point(8, 8, object_id=1)
        session.add_point(8, 20, object_id=2)
        preview.ask([1, 2])
        until(lambda: preview.idle)
        assert sorted(answer.object_id or 0 for answer in told.answers) == [1, 2]
        session.choose(2, object_id=2)
        session.accept(2)
        assert session.mask(2).area == told.answers[1].candidates[2].area
        assert preview.seconds is not None


def test_only_the_newest_answer_is_told(gated: tuple[Session, Gate]) -> None:
    session, gate = gated
    with previewing(session) as (preview, told):
        session.add_point(5, 5, object_id=1)
        preview.ask([1])
        assert gate.began.acquire(timeout=30)
        for col in (10, 15, 20):  # while the first is still being answered
            session.move_point(0, 5, col, object_id=1)
            preview.ask([1])
        gate.go_on.release(10)
        until(lambda: preview.idle)
        assert len(gate.asked) == 2
        (answer,) = told.answers
        col = answer.candidates[0].col + answer.candidates[0].mask.shape[1] / 2
        assert abs(col - 20) < 2


def test_what_is_not_wanted_any_more_is_not_told(gated: tuple[Session, Gate]) -> None:
    session, gate = gated
    with previewing(session) as (preview, told):
        session.add_point(5, 5, object_id=1)
        preview.ask([1])
        assert gate.began.acquire(timeout=30)
        session.clear_prompts(1)
        preview.forget([1])
        gate.go_on.release()
        until(lambda: preview.idle)
        assert not told.answers
        assert not told.problems


def test_a_problem_is_told_and_the_next_question_is_answered(tmp_path: Path) -> None:
    with made_session(tmp_path / "s") as session, previewing(session) as (preview, told):
        preview.ask([7])
        until(lambda: preview.idle)
        ((object_id, error),) = told.problems
        assert object_id == 7
        assert isinstance(error, InputError)
        session.add_point(8, 8, object_id=7)
        preview.ask([7])
        until(lambda: preview.idle)
        assert len(told.answers) == 1


def test_under_the_pointer_the_last_place_is_answered_and_prompts_come_first(
    gated: tuple[Session, Gate],
) -> None:
    session, gate = gated
    with previewing(session) as (preview, told):
        preview.ask_at(gate, 5, 5)
        assert gate.began.acquire(timeout=30)
        preview.ask_at(gate, 10, 10)
        preview.ask_at(gate, 12, 20)
        gate.go_on.release(2)
        until(lambda: preview.idle)
        (answer,) = told.answers
        assert answer.object_id is None
        assert abs(answer.candidates[0].row + answer.candidates[0].mask.shape[0] / 2 - 12) < 2
        assert session.prompts == {}

        preview.ask_at(gate, 5, 5)
        assert gate.began.acquire(timeout=30)
        assert gate.began.acquire(timeout=30)
        session.add_point(8, 8, object_id=1)
        preview.ask([1])
        gate.go_on.release(10)
        until(lambda: preview.idle)
        assert [answer.object_id for answer in told.answers] == [None, 1]


def test_others_stand_aside_while_it_answers(tmp_path: Path) -> None:
    said: list[str] = []

    @contextmanager
    def aside() -> Iterator[None]:
        said.append("begin")
        yield
        said.append("end")

    with (
        made_session(tmp_path / "s") as session,
        previewing(session, aside=aside) as (preview, _),
    ):
        session.add_point(8, 8, object_id=1)
        preview.ask([1])
        until(lambda: preview.idle)
    assert said == ["begin", "end"]


def test_closing_while_it_answers_tells_nothing(gated: tuple[Session, Gate]) -> None:
    session, gate = gated
    told = Told()
    preview = Preview(session, told.answers.append, told.problem, wait=0)
    session.add_point(5, 5, object_id=1)
    preview.ask([1])
    assert gate.began.acquire(timeout=30)
    assert not preview.close(0.01)
    gate.go_on.release()
    assert preview.close(30)
    assert not told.answers
    assert not told.problems
