"""Filling in, importing and exporting: what is whose, what it took, and what others can read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_projects import SHAPE, annotate, labels_of, made_project, true_masks
from hypothesis import given
from hypothesis import strategies as st
from made_sessions import MODEL, Discs, made_scene, made_session, square

from napari_sam.cli import main
from napari_sam.engine.effort import PAUSE, read_effort
from napari_sam.engine.exporting import export_project
from napari_sam.engine.filling import fill, fill_automatically
from napari_sam.engine.importing import costs_of, import_round
from napari_sam.engine.kinds import kinds_of
from napari_sam.engine.proposing import propose
from napari_sam.errors import InputError
from napari_sam.finetune.data import open_pictures
from napari_sam.live.review import REVIEW_FILE, Review
from napari_sam.live.workplace import Picture, Workplace
from napari_sam.segment.objects import Candidate
from napari_sam.session import Session
from napari_sam.sessions import folder as session_folder


@pytest.fixture
def model(tiny_weights: Path) -> str:
    return str(tiny_weights)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the journal's time go on as told."""

    class Clock:
        now = 1000.0

        def time(self) -> float:
            return self.now

        def __getattr__(self, name: str) -> Any:
            import time

            return getattr(time, name)

    clock = Clock()
    monkeypatch.setattr(session_folder, "time", clock)
    return clock


def found(row: int, col: int) -> Candidate:
    return Candidate(row, col, np.ones((3, 3), bool), 0.95, 0.9, "grid")


# What objects cost


def test_clicks_and_seconds_of_each_object(tmp_path: Path, clock: Any) -> None:
    session = made_session(tmp_path / "session")

    def after(seconds: float) -> Session:
        clock.now += seconds
        return session

    after(5).add_point(5, 5)
    after(3).add_point(6, 6, foreground=False)
    after(2).accept()
    after(4).set_box((12, 12, 18, 18))
    after(1).accept()
    after(PAUSE + 1).paint(2, square(18, 18))
    after(2).undo()
    after(7).add_objects([found(0, 20)])
    session.close()
    efforts = read_effort(session.path, tmp_path / REVIEW_FILE)
    assert (efforts[1].clicks, efforts[2].clicks) == (2, 2)
    # Nobody works on one object during a pause, and the program alone on none.
    assert (efforts[1].seconds, efforts[2].seconds) == (10, 7)
    assert 3 not in efforts
    later = read_effort(session.path, tmp_path / REVIEW_FILE, since=clock.now - 20)
    assert (later[1].clicks, later[1].timed, later[1].changed) == (0, False, True)
    assert later[2].clicks == 1


def test_who_is_behind_an_object(tmp_path: Path) -> None:
    with made_session(tmp_path / "session") as session:
        session.add_objects([found(0, 0), found(5, 5), found(10, 10), found(15, 15)])
        session.add_object(square(20, 20))
        session.paint(2, square(5, 8, 2))
        session.paint(3, square(10, 13, 2))
        session.undo()
        review = Review(session, tmp_path / REVIEW_FILE)
        review.accept(4)
        session.import_labels(np.pad([[9]], ((0, 23), (29, 0))))
        assert kinds_of(session) == {
            1: "automatic",
            2: "changed",
            3: "automatic",
            4: "checked",
            5: "person",
            9: "imported",
        }
        session.relabel(2, new_id=12)
        session.erase(4, square(15, 15, 1))
        kinds = kinds_of(session)
        assert (kinds[12], kinds[4]) == ("changed", "changed")
        assert read_effort(session.path, tmp_path / REVIEW_FILE)[12].clicks == 1


def test_labels_that_take_ids_of_before_are_no_changed_objects(tmp_path: Path) -> None:
    with made_session(tmp_path / "session") as session:
        session.add_objects([found(0, 0), found(5, 5)])
        session.paint(1, square(0, 3, 2))
        session.delete(1, 2)
        session.import_labels(np.pad([[1, 2]], ((0, 23), (28, 0))))
        assert kinds_of(session) == {1: "imported", 2: "imported"}
        assert 1 not in read_effort(session.path, tmp_path / REVIEW_FILE)


def test_a_correction_counts_its_clicks_and_no_own_mask(tmp_path: Path) -> None:
    with made_session(tmp_path / "session") as session:
        session.add_object(square(5, 5))
        session.correct(1, points=[[7, 7], [9, 9]], labels=[1, 0])
        effort = read_effort(session.path, tmp_path / REVIEW_FILE)[1]
        assert effort.clicks == 3  # drawn once, two points
        assert effort.changed


@given(st.lists(st.sampled_from(["add", "auto", "paint", "undo", "redo", "delete"]), max_size=10))
def test_untouched_automatic_objects_are_never_taken_for_a_person_s(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """What is true of pixels now decides: undone changes are none."""
    with made_session(tmp_path_factory.mktemp("s") / "session") as session:
        original: dict[int, Any] = {}
        for number, step in enumerate(steps):
            if step == "auto":
                made = session.add_objects([found(2 * number, 3 * (number % 9))])
                original |= {one: session.mask(one) for one in made.values()}
            elif step == "add":
                session.add_object(square(2 * number, 3 * (number % 9)), overlap="take_new")
            elif step == "paint" and session.ids:
                session.paint(session.ids[-1], square(2 * number, 20))
            elif step == "delete" and session.ids:
                session.delete(session.ids[0])
            elif step in ("undo", "redo"):
                getattr(session, step)()
        kinds = kinds_of(session)
        for one, kind in kinds.items():
            if kind == "changed":
                assert one in original
            if session.info(one).provenance.source == "found" and kind == "automatic":
                assert not (session.mask(one) - original[one])


# Filling in


def test_sure_masks_are_filled_in_beside_what_is_there(
    tmp_path: Path, model: str, sees: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sees(labels_of(0), encoded=True)
    project = made_project(tmp_path, model, images=1)
    with pytest.raises(InputError, match="Nothing is proposed"):
        fill(project)
    annotate(project, 0, range(1, 3))
    propose(project, 6, side=200)
    with Workplace.open(Picture.of(project.images[0].where), model) as workplace:
        before = {number: workplace.session.mask(number) for number in workplace.session.ids}
    arguments = ["engine", "fill", str(project.folder), "--stability", "0.8"]
    assert main(arguments) == 0
    truth = true_masks(0)
    with Workplace.open(Picture.of(project.images[0].where), model) as workplace:
        session = workplace.session
        assert {number: session.mask(number) for number in before} == before
        assert len(session.ids) == len(truth)
        new = [session.info(number).provenance for number in session.ids if number not in before]
        assert {one.source for one in new} == {"found"}
        assert {one.model for one in new} == {workplace.store.model.hash}
        assert all(one.predicted_iou == pytest.approx(0.9) for one in new)
        digest = session.digest()
    noted = json.loads((project.round(1).folder / "prefilled" / "cells0.json").read_text())
    assert len(noted["filled"][0]["objects"]) == len(new)
    assert main(arguments) == 0  # again: nothing new
    with Workplace.open(Picture.of(project.images[0].where), model) as workplace:
        assert workplace.session.digest() == digest
        assert workplace.session.undo()
        assert set(workplace.session.ids) == set(before)
    assert "0 new objects" in capsys.readouterr().out
    assert main([*arguments, "--predicted-iou", "0.1"]) == 2
    assert "cannot be used" in capsys.readouterr().err


def test_only_in_the_regions_that_are_proposed(tmp_path: Path, model: str, sees: Any) -> None:
    sees(labels_of(0), encoded=True)
    project = made_project(tmp_path, model, images=1)
    _, proposed = propose(project, 1, side=64)
    filled = fill(project, stability=0.8)
    region = proposed.regions[0].region
    with Workplace.open(Picture.of(project.images[0].where), model) as workplace:
        centres = [workplace.session.mask(number).centroid for number in workplace.session.ids]
    assert filled.counts == {"cells0": len(centres)}
    assert 0 < len(centres) < len(true_masks(0))
    assert all(region.row0 - 0.5 <= row < region.row1 - 0.5 for row, _ in centres)


# Importing


def test_an_import_keeps_people_and_network_apart(tmp_path: Path, model: str, sees: Any) -> None:
    sees(labels_of(0), encoded=True)
    project = made_project(tmp_path, model)
    with pytest.raises(InputError, match="was worked on yet"):
        import_round(project)
    annotate(project, 0, range(1, 4))
    propose(project, 12, side=200)
    fill(project, stability=0.8)
    current, imported = import_round(project, finished="regions")
    kinds = [one.kind for one in imported.objects["cells0"]]
    assert kinds.count("person") == 3
    assert kinds.count("automatic") == len(true_masks(0)) - 3
    assert set(imported.objects) == {"cells0", "cells1"}
    assert current.imported == imported
    assert project.finished("cells0") == list(imported.finished["cells0"])
    costs = costs_of(imported, 0.0)
    assert costs.objects == 3
    assert costs.clicks is not None
    assert costs.clicks.value == 1
    assert all(one.user for one in imported.objects["cells0"])


def test_sessions_from_elsewhere(tmp_path: Path, model: str) -> None:
    project = made_project(tmp_path, model)
    path = annotate(project, 1)
    shutil.move(path.parent, tmp_path / "mailed")
    _, imported = import_round(project, [tmp_path / "mailed" / "session"])
    assert list(imported.sessions) == ["cells1"]
    assert import_round(project)[1].sessions == imported.sessions  # it is known from then on
    again = annotate(project, 1)
    with pytest.raises(InputError, match="go on with that session"):
        import_round(project, [again])
    stranger = Session.create(tmp_path / "stranger", made_scene(), Discs(), model=MODEL)
    stranger.close()
    with pytest.raises(InputError, match="is no image of"):
        import_round(project, [tmp_path / "stranger"])
    with pytest.raises(InputError, match="is no session"):
        import_round(project, [tmp_path])


def test_a_session_that_is_open_elsewhere(tmp_path: Path, model: str) -> None:
    project = made_project(tmp_path, model, images=1)
    annotate(project, 0)
    opened = Workplace.open(Picture.of(project.images[0].where), model)
    with opened, pytest.raises(InputError, match="is open already"):
        import_round(project)
    assert project.current().imported is None


# Exporting


def annotated(tmp_path: Path, model: str) -> Any:
    project = made_project(tmp_path, model)
    annotate(project, 0)
    with Workplace.open(Picture.of(project.images[1].where), model) as workplace:
        session = workplace.session
        session.add_object(square(0, 0, 5), class_name="debris")
        session.add_object(found(80, 100))
        session.add_objects([found(80, 120)])
        session.add_point(40, 40)  # a random network may find anything
        session.candidates()
        session.accept(class_name="nucleus")
    return project


@pytest.mark.parametrize("format_name", ["sa1b", "coco"])
def test_an_export_is_read_back_by_our_readers(
    tmp_path: Path, model: str, format_name: Any
) -> None:
    project = annotated(tmp_path, model)
    done = export_project(project, tmp_path / "out", format_name)
    pictures = open_pictures(tmp_path / "out")
    assert len(pictures) == done.pictures == 2
    first = pictures[0]
    assert first.image.shape == (*SHAPE, 3)
    exported = {(item.top, item.left, item.area) for item in first.objects.items}
    truth = {(runs.row, runs.col, runs.area) for runs in true_masks(0).values()}
    assert exported == truth
    assert len(pictures[1].objects) == 3  # not the one that nobody looked at
    more = export_project(project, tmp_path / "out", format_name, automatic=True)
    assert more.objects == done.objects + 1
    assert len(open_pictures(tmp_path / "out")[1].objects) == 4


def test_pycocotools_agrees_about_coco(tmp_path: Path, model: str) -> None:
    tools = pytest.importorskip("pycocotools.coco")
    project = annotated(tmp_path, model)
    export_project(project, tmp_path / "out", "coco")
    coco = tools.COCO(str(tmp_path / "out" / "annotations.json"))
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == [
        "object",
        "debris",
        "nucleus",
    ]
    assert len(coco.getAnnIds()) == len(true_masks(0)) + 3
    masks = true_masks(0)
    for known in coco.loadAnns(coco.getAnnIds(imgIds=coco.getImgIds()[:1])):
        mask = coco.annToMask(known).astype(bool)
        assert mask.sum() == known["area"]
        np.testing.assert_array_equal(mask, masks[known["object_id"]].within(_whole()))
    for known in coco.loadAnns(coco.getAnnIds()):
        box = tools.maskUtils.toBbox(known["segmentation"]).tolist()
        assert box == known["bbox"]
        assert known["user"]
        assert known["time"].endswith("+00:00")
    nucleus = coco.loadAnns(coco.getAnnIds(catIds=[3]))[0]
    assert nucleus["source"] == "accepted"
    assert nucleus["object_id"] == 4
    assert nucleus["scored"]
    assert nucleus["point_coords"] == [[40.5, 40.5]]


def test_sa_1b_has_the_fields_of_the_data_set(tmp_path: Path, model: str) -> None:
    masks = pytest.importorskip("pycocotools.mask")
    project = annotated(tmp_path, model)
    assert main(["engine", "export", str(project.folder), "-o", str(tmp_path / "out")]) == 0
    files = sorted(path.name for path in (tmp_path / "out").iterdir() if path.name[0] != ".")
    assert files == ["sa_1000000.jpg", "sa_1000000.json", "sa_2000000.jpg", "sa_2000000.json"]
    content = json.loads((tmp_path / "out" / "sa_2000000.json").read_text())
    assert {"image_id", "width", "height", "file_name"} <= content["image"].keys()
    ids = set()
    for one in content["annotations"]:
        assert {
            *("id", "segmentation", "bbox", "area", "predicted_iou", "stability_score"),
            *("point_coords", "crop_box"),
        } <= one.keys()
        assert masks.area(one["segmentation"]) == one["area"]
        x, y = one["point_coords"][0]
        if one["source"] != "accepted":  # a random network may leave the click out
            assert masks.decode(one["segmentation"])[int(y), int(x)]
        assert one["crop_box"] == [0, 0, SHAPE[1], SHAPE[0]]
        ids.add(one["id"])
    assert len(ids) == 3
    drawn = next(one for one in content["annotations"] if one["class"] == "debris")
    assert (drawn["scored"], drawn["predicted_iou"], drawn["kind"]) == (False, 1.0, "person")


def test_large_images_are_cut_and_no_object_is_lost(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_sam.engine import exported

    monkeypatch.setattr(exported, "_SIDE", 60)
    project = made_project(tmp_path, model, images=1)
    annotate(project, 0)
    export_project(project, tmp_path / "out")
    numbers = []
    for path in sorted((tmp_path / "out").glob("sa_*.json")):
        content = json.loads(path.read_text())
        assert max(content["image"]["width"], content["image"]["height"]) <= 60
        for one in content["annotations"]:
            numbers.append(one["object_id"])
            assert one["cut"] == (one["area"] < true_masks(0)[one["object_id"]].area)
    assert sorted(numbers) == sorted(true_masks(0))


def test_pseudo_labels_come_with_scores_and_beside_objects(
    tmp_path: Path, model: str, sees: Any
) -> None:
    sees(labels_of(0), encoded=True)
    project = made_project(tmp_path, model, images=1)
    assert fill_automatically(project, stability=0.8).counts == {"cells0": len(true_masks(0))}
    export_project(project, tmp_path / "out", automatic=True)
    before = len(open_pictures(tmp_path / "out")[0].objects)
    annotate(project, 0, range(1, 4))
    export_project(project, tmp_path / "out", automatic=True)
    content = json.loads(next((tmp_path / "out").glob("sa_*.json")).read_text())
    assert len(content["annotations"]) == before == len(true_masks(0))
    scores = {one["kind"]: one["predicted_iou"] for one in content["annotations"]}
    assert scores == {"person": 1.0, "automatic": pytest.approx(0.9)}
    assert len({one["id"] for one in content["annotations"]}) == before


def test_what_is_not_an_export_is_not_replaced(tmp_path: Path, model: str) -> None:
    project = made_project(tmp_path, model, images=1)
    with pytest.raises(InputError, match="no objects to export"):
        export_project(project, tmp_path / "out")
    assert not list(tmp_path.glob(".out*"))
    annotate(project, 0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(InputError, match="not empty"):
        export_project(project, tmp_path / "mine")
    with pytest.raises(InputError, match="is a file"):
        export_project(project, tmp_path / "mine" / "notes.txt")
    assert (tmp_path / "mine" / "notes.txt").exists()


def _whole() -> Any:
    from napari_sam.tiles.regions import Region

    return Region(0, 0, *SHAPE)
