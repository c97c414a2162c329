"""Classes learned from a few objects, in embeddings whose content is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_projects import annotate, made_project
from hypothesis import given, settings
from hypothesis import strategies as st
from made_sessions import made_session, square
from test_similar import all_encoded, empty_store, scene_with

from napari_sam.cli import main
from napari_sam.engine.classes import apply_classes, learn_classes, propose_classes
from napari_sam.errors import InputError
from napari_sam.live.workplace import Workplace
from napari_sam.scene import open_scene
from napari_sam.session import Session
from napari_sam.tiles.encoding import encode as encode_scene

PLACES = [(row, col) for row in (4, 40, 80) for col in range(4, 190, 24)]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Objects of two textures, turn by turn."""
    made = Session.create(tmp_path / "session", open_scene(np.zeros((120, 200), np.uint8)))
    kinds, masks = scene_with([(1 + n % 2, r, c, 12, 12) for n, (r, c) in enumerate(PLACES)])
    made.add_masks(masks)
    made.kinds = kinds  # type: ignore[attr-defined]
    return made


def test_the_rest_is_of_the_class_that_looks_like_it(session: Session) -> None:
    store = all_encoded(session.kinds)  # type: ignore[attr-defined]
    session.classify({1: "oak", 2: "pine", 3: "oak", 4: "pine", 5: "oak", 6: "pine"})
    found = propose_classes(session, store)
    assert found.learned_from == {"oak": 3, "pine": 3}
    assert found.agreement is not None
    assert found.agreement > 0.7
    assert len(found.proposals) == len(PLACES) - 6
    assert all(
        one.class_name == ("oak" if one.id % 2 else "pine") and one.confidence > 0.5
        for one in found.proposals
    )
    confidences = [one.confidence for one in found.proposals]
    assert confidences == sorted(confidences)
    session.relabel(9, class_name="birch")  # meanwhile
    applied = apply_classes(session, found)
    assert len(applied) == len(PLACES) - 7
    assert session.info(7).class_name == "oak"
    assert session.info(9).class_name == "birch"
    assert session.undo()
    assert session.info(7).class_name is None
    assert session.info(9).class_name == "birch"
    assert session.redo()
    assert session.info(8).class_name == "pine"


def test_only_confident_ones_are_applied(session: Session) -> None:
    store = all_encoded(session.kinds)  # type: ignore[attr-defined]
    session.classify({1: "oak", 2: "pine"})
    found = propose_classes(session, store)
    assert found.agreement is None
    middle = found.proposals[len(found.proposals) // 2].confidence
    applied = apply_classes(session, found, middle)
    assert applied == [one for one in found.proposals if one.confidence >= middle]


def test_what_cannot_be_learned_from_is_said(session: Session) -> None:
    store = all_encoded(session.kinds)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="objects of two or more"):
        propose_classes(session, store)
    session.relabel(1, class_name="oak")
    with pytest.raises(InputError, match="objects of two or more"):
        propose_classes(session, store)
    session.relabel(2, class_name="pine")
    with pytest.raises(InputError, match="objects of two or more"):
        propose_classes(session, empty_store())  # nothing is encoded
    with pytest.raises(InputError, match="Stopped"):
        propose_classes(session, store, should_stop=lambda: True)


def test_classes_are_given_all_or_none_and_a_script_repeats_them(tmp_path: Path) -> None:
    with made_session(tmp_path / "session") as session:
        for col in (2, 9, 16):
            session.add_object(square(3, col))
        with pytest.raises(InputError, match="There is no object 7"):
            session.classify({1: "a", 7: "b"})
        assert session.info(1).class_name is None
        session.classify({1: "a", 2: "b", 3: "b"})
        session.classify({2: ""})
        session.save_script(tmp_path / "again.py")
    text = (tmp_path / "again.py").read_text()
    assert "session.classify({1: 'a', 2: 'b', 3: 'b'})" in text
    assert "session.classify({2: ''})" in text
    compile(text, "again.py", "exec")


@settings(max_examples=20)
@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 99))
def test_confidences_are_shares_and_the_best_class_is_named(
    classes: int, examples: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    names = {number: f"c{number % classes}" for number in range(classes * examples)}
    looks = {number: random.normal(size=4) for number in names}
    others = {number: random.normal(size=4) for number in range(1000, 1005)}
    found, agreement = learn_classes(looks, names, others)
    assert [one.id for one in found] == list(others)
    assert all(1 / classes - 1e-9 <= one.confidence <= 1 for one in found)
    assert {one.class_name for one in found} <= set(names.values())
    assert (agreement is None) == (examples == 1)


def test_the_command_proposes_and_applies(
    tmp_path: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = made_project(tmp_path, str(tiny_weights), images=2)
    annotate(project, 0)
    command = ["engine", "classes", str(project.folder)]
    assert main(command) == 2
    assert "two or more classes" in capsys.readouterr().err
    with Workplace.open(project.images[0].picture, project.base) as workplace:
        workplace.session.classify({1: "round", 2: "other"})
        encode_scene(workplace.scene, workplace.sam, workplace.store)
        count = len(workplace.session.ids)
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "cells0: learned from 1 other, 1 round" in told
    assert told.count("  object ") == count - 2
    assert main([*command, "--image", "cells0", "--apply"]) == 0
    assert f"{count - 2} objects classified" in capsys.readouterr().out
    with Workplace.open(project.images[0].picture, project.base) as workplace:
        session = workplace.session
        assert all(session.info(number).class_name for number in session.ids)
        assert session.undo()
        assert sum(session.info(number).class_name is None for number in session.ids) == count - 2
    assert main([*command, "--image", "nowhere"]) == 2
    assert "has no image nowhere" in capsys.readouterr().err
