"""Looking through objects: the doubtful ones first, and none twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_sessions import Discs, made_scene, made_session, reopened, square

from napari_sam.errors import InputError
from napari_sam.live.object_rows import ObjectRows, doubt_of
from napari_sam.live.review import Review
from napari_sam.segment.objects import Candidate
from napari_sam.session import Session
from napari_sam.tiles.regions import Region


def candidate(row: int, col: int, predicted_iou: float, stability: float = 1.0) -> Candidate:
    return Candidate(row, col, np.ones((3, 3), bool), predicted_iou, stability, "grid")


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Objects 1 to 4: sure, doubtful, drawn by hand, and at the border."""
    made = made_session(tmp_path / "session")
    made.add_objects([candidate(5, 5, 0.95), candidate(10, 10, 0.5)])
    made.add_object(square(15, 15))
    made.add_object(candidate(0, 20, 0.95))
    return made


def test_doubtful_ones_come_first_and_unknown_ones_last(session: Session, tmp_path: Path) -> None:
    review = Review(session, tmp_path / "reviewed.jsonl")
    assert review.order == [2, 4, 1, 3]
    assert review.progress == (0, 4)
    seen = []
    now = review.next()
    while now is not None:
        review.accept(now)
        seen.append(now)
        now = review.next(now)
    assert seen == [2, 4, 1, 3]
    assert review.progress == (4, 4)
    assert review.next(3, back=True) == 1


def test_next_begins_again_with_what_was_left_out(session: Session, tmp_path: Path) -> None:
    review = Review(session, tmp_path / "reviewed.jsonl")
    review.accept(4)
    review.accept(1)
    assert review.next(2) == 3
    assert review.next(3) == 2
    review.accept(3)
    assert review.next(2) == 2  # the only one left is the one that is looked at
    review.accept(2)
    assert review.next(2) is None


def test_what_was_reviewed_survives_closing(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "reviewed.jsonl"
    review = Review(session, path)
    review.accept(2)
    review.accept(4)
    review.forget(4)
    with reopened(session) as again:
        assert Review(again, path).reviewed == {2}


def test_a_cut_line_loses_only_its_own_decision(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "reviewed.jsonl"
    review = Review(session, path)
    review.accept(2)
    review.accept(4)
    path.write_bytes(path.read_bytes()[:-20])
    again = Review(session, path)
    assert again.reviewed == {2}
    again.accept(1)
    assert Review(session, path).reviewed == {1, 2}


def test_an_object_that_changed_is_due_again_and_after_undo_it_is_not(
    session: Session, tmp_path: Path
) -> None:
    review = Review(session, tmp_path / "reviewed.jsonl")
    session.on_change(lambda event: review.refresh(event.ids))
    review.accept(2)
    session.paint(2, square(12, 12))
    assert 2 not in review.reviewed
    session.undo()
    assert review.reviewed == {2}
    session.delete(2)
    assert review.progress == (0, 3)
    assert review.next() == 4
    session.undo()
    assert review.progress == (1, 4)


def test_new_objects_and_other_planes(session: Session, tmp_path: Path) -> None:
    review = Review(session, tmp_path / "reviewed.jsonl")
    session.on_change(lambda event: review.refresh(None if event.kind == "plane" else event.ids))
    new = session.add_object(candidate(18, 3, 0.1))
    assert review.next() == new
    review.accept(2)
    session.go_to(made_scene(z=1), Discs())
    assert review.progress == (0, 0)
    assert review.next() is None
    session.go_to(made_scene(), Discs())
    assert review.reviewed == {2}


def test_a_full_disk_is_told_and_nothing_is_lost(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "gone" / "reviewed.jsonl"
    review = Review(session, path)
    with pytest.raises(InputError, match="in memory only"):
        review.accept(2)
    assert review.reviewed == {2}
    path.parent.mkdir()
    review.accept(4)
    assert Review(session, path).reviewed == {2, 4}


@given(
    st.lists(st.sampled_from(["add", "delete", "paint", "undo", "redo"]), max_size=12),
    st.randoms(use_true_random=False),
)
def test_rows_that_follow_events_are_those_read_anew(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], random: object
) -> None:
    with made_session(tmp_path_factory.mktemp("s") / "session") as session:
        review = Review(session, tmp_path_factory.mktemp("r") / "reviewed.jsonl")
        session.on_change(lambda event: review.refresh(event.ids))
        for number, step in enumerate(steps):
            row, col = (number * 7) % 20, (number * 11) % 25
            ids = session.ids
            if step == "add":
                session.add_object(candidate(row, col, number / 20), overlap="take_new")
            elif step in ("undo", "redo"):
                getattr(session, step)()
            elif ids and step == "delete":
                session.delete(ids[number % len(ids)])
            elif ids:
                session.paint(ids[0], square(row, col), overlap="take_new")
        fresh = ObjectRows.of_session(session)
        kept = review.rows.where(np.argsort(review.rows.ids))
        for name in ("ids", "areas", "boxes", "doubts"):
            np.testing.assert_array_equal(getattr(kept, name), getattr(fresh, name))


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 10), st.integers(0, 10), st.integers(1, 10))
def test_doubt_is_a_share_and_falls_with_trust(
    predicted_iou: float, stability: float, row: int, col: int, side: int
) -> None:
    box = Region(row, col, row + side, col + side)
    doubt = doubt_of(predicted_iou, stability, box, (20, 20))
    assert 0 <= doubt <= 1
    assert doubt >= doubt_of(1.0, stability, box, (20, 20))
    assert doubt >= 1 - predicted_iou * stability - 1e-12


def test_what_is_known_of_found_objects_is_shown(tmp_path: Path) -> None:
    assert np.isnan(doubt_of(None, 0.5, Region(0, 0, 1, 1), (5, 5)))
    rows = ObjectRows.none()
    assert rows.replaced({1, 2}, rows).by_doubt().tolist() == []
