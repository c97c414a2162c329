"""Objects of a session: prompted, accepted, changed, taken back."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_sessions import MODEL, SHAPE, Discs, made_scene, made_session, reopened, square

from napari_sam.errors import InputError
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.session import Scribble, Session, SessionEvent
from napari_sam.tiles.regions import Region


@pytest.fixture
def session(tmp_path: Path) -> Any:
    with made_session(tmp_path / "cells") as made:
        yield made


def test_a_click_becomes_an_object_with_its_provenance(session: Session) -> None:
    number = session.add_point(10, 10)
    assert number == session.current_id == 1
    session.add_point(12, 14, foreground=False)
    found = session.candidates()
    session.choose(2)
    assert session.accept(class_name="cell") == 1
    info, mask = session.info(1), session.mask(1)
    assert mask.area == found[2].area
    np.testing.assert_array_equal(mask.mask, found[2].mask)
    assert info.class_name == "cell"
    assert info.provenance.prompts is not None
    assert info.provenance.prompts.points == ((10, 10, True), (12, 14, False))
    assert info.provenance.model == MODEL.hash
    assert info.provenance.predicted_iou == pytest.approx(found[2].predicted_iou)
    assert (info.provenance.user, info.provenance.source) == ("ada", "accepted")
    assert session.prompts == {}
    assert session.current_id == 2
    assert session.object_at(10.4, 9.6) == 1
    assert session.object_at(23, 29) is None


def test_undoing_an_accept_brings_its_prompts_back(session: Session) -> None:
    session.add_point(10, 10)
    session.accept()
    assert session.undo()
    assert session.ids == []
    assert session.prompts[1].points == ((10, 10, True),)
    assert session.undo()
    assert session.prompts == {}
    assert not session.undo()
    assert session.redo()
    assert session.redo()
    assert not session.redo()
    assert session.ids == [1]


def test_clicks_are_moved_and_removed(session: Session) -> None:
    session.prompt(points=[[3, 3], [9, 9]], labels=[1, 0])
    session.move_point(0, 5, 6)
    session.remove_point(1)
    session.set_box((1, 2, 9, 12))
    session.set_scribbles([Scribble(((2.0, 3.0), (4.0, 5.0)))])
    asked = session.prompts[1]
    assert asked.points == ((5, 6, True),)
    assert asked.box == (1, 2, 9, 12)
    session.clear_prompts()
    assert session.prompts == {}
    for _ in range(2):
        session.undo()
    assert session.prompts[1].scribbles == ()
    with pytest.raises(InputError, match="no point 4"):
        session.remove_point(4)
    with pytest.raises(InputError, match="outside"):
        session.add_point(400, 2)


def test_several_objects_are_prompted_at_once(session: Session) -> None:
    session.add_point(5, 5, object_id=7)
    session.add_point(15, 20, object_id=3)
    assert session.current_id == 3
    assert sorted(session.prompts) == [3, 7]
    session.accept(7)
    session.accept()
    assert session.ids == [3, 7]
    assert session.current_id == 8


@pytest.mark.parametrize(
    ("overlap", "col", "areas"),
    [
        ("keep_old", 6, (16, 8)),
        ("take_new", 6, (8, 16)),
        ("cut", 6, (12, 12)),
        ("cut", 7, (16, 12)),
    ],
)
def test_overlaps_are_shared_out_as_told_and_given_back(
    session: Session, overlap: Any, col: int, areas: tuple[int, int]
) -> None:
    session.add_object(square(4, 4))
    before = session.labels()
    session.add_object(square(4, col), overlap=overlap)
    assert (session.mask(1).area, session.mask(2).area) == areas
    session.undo()
    np.testing.assert_array_equal(session.labels(), before)


def test_an_object_that_is_covered_is_gone_until_undone(session: Session) -> None:
    session.add_object(square(5, 5, 2))
    with pytest.raises(InputError, match="belong to other objects"):
        session.add_object(square(5, 5, 2))
    session.add_object(square(4, 4, 5), overlap="take_new")
    assert session.ids == [2]
    session.undo()
    assert session.ids == [1]


def test_objects_are_split_in_three_ways(session: Session) -> None:
    session.add_object(MaskRegion(2, 2, np.kron(np.eye(2), np.ones((3, 3))) > 0))
    assert session.split(1) == [1, 2]
    assert session.mask(1).area == session.mask(2).area == 9
    session.add_object(square(12, 12, 6, 10))
    assert session.split(3, line=[[10, 15], [19, 15]]) == [3, 4]
    assert session.mask(3).area + session.mask(4).area == 60
    assert session.object_at(13, 13) == 4
    assert session.object_at(13, 18) == 3
    with pytest.raises(InputError, match="does not divide"):
        session.split(3, line=[[10, 18], [14, 18]])
    thirds = np.repeat([[1, 2, 0]], 2, axis=1).repeat(6, axis=0)
    assert session.split(3, labels=thirds, at=(12, 15), new_ids=[40]) == [3, 40]
    for _ in range(2):
        session.undo()
    assert session.mask(3).area == 60


def test_what_a_line_does_not_touch_stays_with_the_largest_part(session: Session) -> None:
    mask = np.zeros((10, 12), bool)
    mask[:4], mask[7:, :3] = True, True
    session.add_object(MaskRegion(2, 2, mask))
    assert session.split(1, line=[[0, 9], [7, 9]]) == [1, 2]
    assert session.object_at(10, 3) == session.object_at(3, 3) == session.object_at(3, 9) == 1
    assert session.mask(2).area == 16


def test_merge_delete_and_relabel(session: Session) -> None:
    for place in range(3):
        session.add_object(square(2, 2 + 6 * place), class_name="a")
    session.merge(2, [3])
    assert session.ids == [1, 2]
    assert session.mask(2).area == 32
    session.relabel(2, new_id=9, class_name="b", colour="#102030")
    assert session.info(9).class_name == "b"
    assert session.object_at(3, 9) == 9
    with pytest.raises(InputError, match="already"):
        session.relabel(9, new_id=1)
    session.delete(1, 9)
    assert not session.labels().any()
    with pytest.raises(InputError, match="no object 1"):
        session.delete(1)
    for _ in range(3):
        session.undo()
    assert session.ids == [1, 2, 3]
    assert session.info(3).class_name == "a"


def test_an_object_is_corrected_by_prompts_and_others_are_not_touched(tmp_path: Path) -> None:
    with made_session(tmp_path / "s") as session:
        labels = np.zeros(SHAPE, np.int32)
        labels[2:8, 2:8], labels[12:20, 15:25] = 5, 9
        original = labels.copy()
        assert session.import_labels(labels) == {5: 5, 9: 9}
        np.testing.assert_array_equal(session.labels(), labels)
        session.correct(9, points=[[14, 14]], labels=[1])
        np.testing.assert_array_equal(labels, original)
        np.testing.assert_array_equal(session.labels() == 5, labels == 5)
        assert session.object_at(14, 14) == 9
        assert session.info(9).provenance.source == "corrected"
        segmenter: Any = session._segmenter
        (asked,) = segmenter.asked
        assert (asked["mask"].row, asked["mask"].col, asked["mask"].mask.shape) == (12, 15, (8, 10))
        assert session.prompts == {}
        assert session.undo()  # all of the correction
        np.testing.assert_array_equal(session.labels(), labels)
        assert session.undo()
        assert session.ids == []


def test_imported_ids_that_are_taken_become_others(session: Session) -> None:
    session.add_object(square(2, 2), object_id=5)
    labels = np.zeros(SHAPE, np.uint64)
    labels[10:12, 10:12], labels[14:16, 14:16], labels[3, 3] = 5, 2**40, 8
    assert session.import_labels(labels) == {5: 9, 2**40: 10}
    assert session.mask(5).area == 16
    session.undo()
    assert session.ids == [5]
    for wrong, why in (
        (labels.astype(float), "no labels"),
        (labels[1:], "shape"),
        (-np.ones(SHAPE, int), "negative"),
    ):
        with pytest.raises(InputError, match=why):
            session.import_labels(wrong)
    assert session.ids == [5]


def test_planes_have_objects_of_their_own_and_one_history(tmp_path: Path) -> None:
    with made_session(tmp_path / "s") as session:
        session.add_point(10, 10)
        session.accept()
        session.go_to(made_scene(z=2), Discs())
        assert not session.labels().any()
        session.add_point(10, 12)
        session.accept()
        assert session.labels(plane=(0, 0))[10, 10] == 1
        assert session.labels()[10, 12] == 2
        with pytest.raises(InputError, match="different planes"):
            session.merge(1, [2])
        with pytest.raises(InputError, match="another plane"):
            session.add_point(3, 3, object_id=1)
        with pytest.raises(InputError, match="no plane of"):
            session.go_to(made_scene((20, 20), z=1))
        with pytest.raises(InputError, match="another image"):
            session.go_to(made_scene(z=2, seed=1))
        for _ in range(3):
            session.undo()
        with reopened(session) as again:
            assert again.plane == (0, 2)
            assert not again.labels(plane=(0, 0)).any()
            assert again.redo()
            assert again.labels(plane=(0, 0))[10, 10] == 1


def test_callbacks_hear_what_changed_and_may_use_the_session(session: Session) -> None:
    heard: list[SessionEvent] = []
    counts = []

    def listen(event: SessionEvent) -> None:
        heard.append(event)
        other = threading.Thread(target=lambda: counts.append(len(session.ids)))
        other.start()
        other.join(20)

    stop = session.on_change(listen)
    session.add_point(10, 10)
    session.accept()
    session.undo()
    stop()
    session.redo()
    assert [event.kind for event in heard] == ["step", "candidates", "step", "undo"]
    assert heard[2].ids == {1}
    assert heard[2].regions == {(0, 0): Region(7, 7, 14, 14)}
    assert counts == [0, 0, 1, 0]


def test_candidates_of_prompts_that_changed_meanwhile_are_not_accepted(tmp_path: Path) -> None:
    began, go_on = threading.Event(), threading.Event()

    class Slow(Discs):
        def prompt(self, *arguments: Any, **named: Any) -> Any:
            began.set()
            assert go_on.wait(20)
            return super().prompt(*arguments, **named)

    with Session.create(tmp_path / "s", made_scene(), Slow(), model=MODEL) as session:
        session.add_point(5, 5)
        worker = threading.Thread(target=session.candidates)
        worker.start()
        assert began.wait(20)
        session.move_point(0, 15, 20)  # the session is not blocked
        session.add_object(square(0, 0, 2), object_id=9)
        go_on.set()
        worker.join(20)
        with pytest.raises(InputError, match="no candidates"):
            session.choose(0, 1)
        session.accept(1)
        assert session.object_at(15, 20) == 1


def test_a_window_of_a_huge_scene_costs_what_is_in_it(tmp_path: Path) -> None:
    class Endless:
        """200,000 x 200,000 pixels that are computed."""

        shape, dtype = (200_000, 200_000), np.dtype(np.uint8)

        def __getitem__(self, window: Any) -> np.ndarray:
            rows, cols = (np.arange(s.start, s.stop) for s in window)
            return (np.add.outer(rows, cols) % 251).astype(np.uint8)

    from napari_sam.scene import open_scene

    scene = open_scene(Endless(), axes="YX")
    with Session.create(tmp_path / "s", scene) as session:
        session.add_object(square(150_000, 190_000, 500, 3))
        window = session.labels(Region(150_400, 189_990, 150_600, 190_010))
        assert np.count_nonzero(window) == 300
        coarse = session.labels(level=8)
        assert coarse.shape == (782, 782)
        assert session.object_at(150_499, 190_002) == 1


def test_rows_of_the_table(session: Session) -> None:
    session.add_object(square(2, 3), class_name="cell")
    (row,) = session.table()
    assert (row["id"], row["class"], row["area_px"]) == (1, "cell", 16)
    assert (row["row0"], row["col0"], row["row1"], row["col1"]) == (2, 3, 6, 7)
    assert (row["centroid_row"], row["centroid_col"]) == (3.5, 4.5)


def test_a_session_is_refused_for_another_image(tmp_path: Path) -> None:
    made_session(tmp_path / "s").close()
    with pytest.raises(InputError, match=r"another image.*other pixels"):
        Session.open(tmp_path / "s", made_scene(seed=4))
    with pytest.raises(InputError, match="session already"):
        made_session(tmp_path / "s")
    with pytest.raises(InputError, match="no session"):
        Session.open(tmp_path / "other", made_scene())


def test_another_model_is_recorded_from_then_on(tmp_path: Path) -> None:
    from dataclasses import replace

    with made_session(tmp_path / "s") as session:
        session.add_point(5, 5)
        session.accept()
    other = replace(MODEL, hash="b" * 64)
    with Session.open(tmp_path / "s", made_scene(), Discs(), model=other) as session:
        session.add_point(15, 15)
        session.accept()
    with Session.open(tmp_path / "s", made_scene()) as session:
        assert session.model == other
        assert [row["model"] for row in session.table()] == ["a" * 64, "b" * 64]
        session.add_point(2, 2)
        with pytest.raises(InputError, match="no segmenter"):
            session.accept()


def test_threads_that_change_a_session_at_once_lose_nothing(tmp_path: Path) -> None:
    heard: list[SessionEvent] = []
    with made_session(tmp_path / "s") as session:
        session.on_change(heard.append)

        def work(row: int) -> None:
            for col in range(10):
                number = session.add_object(square(row, 3 * col, 2), overlap="take_new")
                session.add_point(row, 3 * col, object_id=number)
                session.candidates(number)
                session.accept(number, overlap="keep_old")
                session.labels()

        workers = [threading.Thread(target=work, args=(3 * place,)) for place in range(6)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        assert session.ids == list(range(1, 61))
        assert [event.kind for event in heard].count("step") == 180
        digest = session.digest()
        with reopened(session) as again:
            assert again.digest() == digest
            while again.undo():
                pass
            assert again.ids == []


def test_saving_labels_takes_those_of_when_it_began(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_sam import session as module

    written: list[np.ndarray] = []

    def slowly(path: Path, shape: Any, paint: Any, pixel_size: Any) -> None:
        session.delete(1)
        written.append(paint(Region(0, 0, *SHAPE), 0))

    monkeypatch.setattr(module, "write_label_file", slowly)
    session.add_object(square(3, 3))
    labels = session.labels()
    session.save_labels(tmp_path / "labels.tif")
    np.testing.assert_array_equal(written[0], labels)
