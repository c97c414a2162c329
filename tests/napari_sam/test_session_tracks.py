"""Things of several planes: followed, corrected, renamed, joined, undone, and kept on disk."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_sessions import ENVIRONMENT, MODEL, Discs, made_scene, made_session, reopened, square

from napari_sam.errors import InputError
from napari_sam.segment.objects import Candidate
from napari_sam.session import ObjectInfo, Session
from napari_sam.tiles.subjects import SceneInfo


@dataclass(frozen=True)
class Followed:
    """What a propagation says of one plane."""

    mask: Candidate
    confidence: float


def found(row: int, col: int, size: int = 4, confidence: float = 0.75) -> Followed:
    mask = np.ones((size, size), bool)
    return Followed(Candidate(row, col, mask, 0.9, 0.8, "mask"), confidence)


@pytest.fixture(scope="module")
def infos() -> dict[tuple[int, int], SceneInfo]:
    return {(0, z): SceneInfo.of(made_scene(z=z)) for z in range(3)}


@pytest.fixture
def session(tmp_path: Path) -> Any:
    with made_session(tmp_path / "cells") as made:
        made.add_object(square(5, 5), class_name="organ", colour="#ff8800")
        yield made


Infos = dict[tuple[int, int], SceneInfo]


def test_what_was_followed_comes_in_as_one_step(session: Session, infos: Infos) -> None:
    events: list[Any] = []
    session.on_change(events.append)
    stops = {(0, 2): "Nothing like it is there."}
    made = session.propagate(1, {(0, 1): found(6, 6), (0, 2): found(7, 7)}, infos, stops=stops)
    assert made == {(0, 1): 2, (0, 2): 3}
    assert session.track(1) == {(0, 0): 1, (0, 1): 2, (0, 2): 3}
    assert session.tracks() == {1: session.track(1)}
    assert set(session.planes) == set(infos)
    assert session.plane == (0, 0)
    known = session.info(3)
    assert (known.plane, known.track, known.class_name, known.colour) == (
        (0, 2), 1, "organ", "#ff8800",
    )  # fmt: skip
    assert (known.provenance.source, known.is_fixed) == ("propagated", False)
    assert (known.provenance.confidence, known.provenance.stopped) == (0.75, stops[0, 2])
    assert known.provenance.model == MODEL.hash
    assert session.info(1).is_fixed
    np.testing.assert_array_equal(session.labels(plane=(0, 2))[7:11, 7:11], 3)
    (event,) = events
    assert set(event.regions) == {(0, 1), (0, 2)}
    row = session.table()[1]
    assert (row["track"], row["parent"], row["confidence"]) == (1, None, 0.75)
    session.undo()
    assert session.ids == [1]
    assert session.tracks() == {}
    assert session.info(1).track is None
    session.redo()
    assert session.track(1) == {(0, 0): 1, **made}


def test_fixed_slices_and_other_objects_keep_what_they_have(session: Session, infos: Infos) -> None:
    session.propagate(1, {(0, 1): found(6, 6), (0, 2): found(7, 7)}, infos)
    session.go_to(made_scene(z=2), Discs())
    session.erase(3, square(7, 7, 2))
    assert session.info(3).provenance.source == "corrected"
    neighbour = session.add_object(square(0, 0, 3), 9)
    session.go_to(made_scene(z=1), Discs())
    session.add_object(square(8, 8, 4, 1), 8)
    before = session.mask(3)
    again = session.propagate(2, {(0, z): found(8, 8, 5, 0.5) for z in range(3)})
    assert again == {(0, 1): 2}  # the other two are a person's
    assert session.mask(3) == before
    assert session.mask(1).area == 16
    assert session.mask(neighbour).area == 9
    assert session.mask(2).area == 25 - session.mask(8).area  # what object 8 has stays with it
    assert session.info(2).provenance.confidence == 0.5
    gone = session.propagate(1, {(0, 1): found(11, 8, 1)})
    assert gone == {}
    assert session.track(1) == {(0, 0): 1, (0, 2): 3}


@pytest.mark.parametrize("change", ["paint", "erase", "replace", "split", "merge", "correct"])
def test_a_slice_that_was_changed_is_fixed(session: Session, infos: Infos, change: str) -> None:
    session.propagate(1, {(0, 1): found(6, 6)}, infos)
    session.go_to(made_scene(z=1), Discs())
    other = session.add_object(square(15, 15))
    if change == "paint":
        session.paint(2, square(6, 10))
    elif change == "erase":
        session.erase(2, square(6, 6, 1))
    elif change == "replace":
        session.replace(2, square(1, 1))
    elif change == "split":
        assert session.info(session.split(2, [[7.6, 0], [7.6, 20]])[1]).track is None
    elif change == "merge":
        session.merge(2, [other])
    else:
        session.correct(2, points=[[8, 8]])
    known = session.info(2)
    assert (known.is_fixed, known.provenance.source) == (True, "corrected")
    assert (known.track, known.provenance.confidence) == (1, None)
    assert session.forget_propagated(1) == []
    session.undo()
    assert not session.info(2).is_fixed


def test_all_slices_share_what_they_are_called_and_how_they_look(
    session: Session, infos: Infos
) -> None:
    session.propagate(1, {(0, 1): found(6, 6), (0, 2): found(7, 7)}, infos)
    session.classify({3: "liver"})
    session.relabel(2, colour="#00ff00")
    assert {session.info(n).class_name for n in (1, 2, 3)} == {"liver"}
    assert {session.info(n).colour for n in (1, 2, 3)} == {"#00ff00"}
    session.relabel(2, new_id=20)
    assert session.track(1) == {(0, 0): 1, (0, 1): 20, (0, 2): 3}
    session.relabel(1, new_id=10)  # it began with this one
    assert session.track(10) == {(0, 0): 10, (0, 1): 20, (0, 2): 3}
    session.delete(10)
    assert session.track(10) == {(0, 1): 20, (0, 2): 3}
    with pytest.raises(InputError, match="10 already"):
        session.add_object(square(0, 0), 10)
    assert session.import_labels(np.pad([[10]], ((0, 23), (0, 29)))) == {10: 21}
    session.go_to(made_scene(z=2), Discs())
    session.prompt(3, points=[[9, 9]])
    session.accept(3, class_name="spleen")
    assert session.info(20).class_name == "spleen"
    for _ in range(4):
        session.undo()
    assert session.track(10) == {(0, 0): 10, (0, 1): 20, (0, 2): 3}


def test_tracks_are_joined_forgotten_and_descend_from_each_other(
    session: Session, infos: Infos
) -> None:
    session.propagate(1, {(0, 1): found(6, 6)}, infos)
    session.go_to(made_scene(z=2), Discs())
    late = session.add_object(square(6, 6), class_name="cyst")
    session.join_track(2, [late])
    assert session.track(1) == {(0, 0): 1, (0, 1): 2, (0, 2): late}
    assert session.info(late).class_name == "organ"
    second = session.add_object(square(15, 15))
    with pytest.raises(InputError, match="another slice in the plane t=0, z=2"):
        session.join_track(1, [second])
    session.set_parent(second, 1)
    assert (session.info(second).parent, session.info(second).track) == (1, second)
    with pytest.raises(InputError, match="descend from itself"):
        session.set_parent(1, second)
    session.relabel(1, new_id=30)
    assert session.info(second).parent == 30
    session.set_parent(second, None)
    assert session.info(second).parent is None
    assert session.forget_propagated(30) == [2]
    assert session.track(30) == {(0, 0): 30, (0, 2): late}
    with pytest.raises(InputError, match="slice of 30"):
        session.track(late)
    with pytest.raises(InputError, match="no object 77"):
        session.propagate(77, {})
    with pytest.raises(InputError, match="never worked on"):
        session.propagate(30, {(1, 1): found(1, 1)})
    with pytest.raises(InputError, match="scene has"):
        session.propagate(30, {(0, 1): found(22, 22)})
    before = session.digest()
    assert session.propagate(second, {}) == {}
    assert session.digest() == before


def test_tracks_are_there_again_when_the_session_is_opened(session: Session, infos: Infos) -> None:
    session.propagate(1, {(0, 1): found(6, 6), (0, 2): found(7, 7)}, infos)
    session.relabel(2, class_name="liver")
    session.undo()
    known = [session.info(number) for number in session.ids]
    with reopened(session) as again:
        assert [again.info(number) for number in again.ids] == known
        assert again.track(1) == {(0, 0): 1, (0, 1): 2, (0, 2): 3}
        again.redo()
        assert again.info(1).class_name == "liver"
        again.undo()
        again.undo()
        assert again.tracks() == {}


def test_objects_of_one_plane_are_saved_as_before_there_were_tracks(session: Session) -> None:
    saved = session.info(1).to_json()
    assert set(saved) == {"id", "plane", "class", "colour", "provenance"}
    assert ObjectInfo.from_json(saved) == session.info(1)
    origin = dataclasses.replace(
        session.info(1).provenance, confidence=0.0, stopped="Lost.", skipped="Dark."
    )
    tracked = dataclasses.replace(session.info(1), track=4, parent=2, provenance=origin)
    saved = json.loads(json.dumps(tracked.to_json()))
    assert ObjectInfo.from_json(saved) == tracked
    assert not {"confidence", "stopped", "skipped"} & set(
        saved["provenance"]
    )  # which earlier programs read


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from made_sessions import made_scene, made_session, square
from napari_sam.tiles.subjects import SceneInfo
session = made_session({path!r})
session.add_object(square(5, 5))
infos = {{(0, z): SceneInfo.of(made_scene(z=z)) for z in range(3)}}
session.propagate(1, {{(0, z): square(5 + z, 5) for z in (1, 2)}}, infos)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_loses_no_plane_of_it(tmp_path: Path) -> None:
    code = KILLED.format(tests=str(Path(__file__).parent), path=str(tmp_path / "cells"))
    ended = subprocess.run([sys.executable, "-c", code], check=False, env=ENVIRONMENT)
    assert ended.returncode == -signal.SIGKILL
    with Session.open(tmp_path / "cells", made_scene(), Discs(), model=MODEL) as session:
        assert session.track(1) == {(0, 0): 1, (0, 1): 2, (0, 2): 3}
        session.undo()
        assert session.ids == [1]


def test_a_script_repeats_what_was_followed(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 255, (3, 24, 30), dtype=np.uint8)
    np.save(tmp_path / "stack.npy", stack)
    from napari_sam.scene import open_scene

    scenes = [open_scene(tmp_path / "stack.npy", axes="ZYX", z=z) for z in range(3)]
    infos = {(0, z): SceneInfo.of(scene) for z, scene in enumerate(scenes)}
    with Session.create(tmp_path / "cells", scenes[0]) as session:
        session.add_object(square(5, 5), class_name="organ")
        session.propagate(1, {(0, 1): found(6, 6), (0, 2): found(7, 7)}, infos)
        session.go_to(scenes[1])
        session.paint(2, square(10, 6))
        session.add_object(square(1, 1), 40)
        session.propagate(1, {(0, 1): found(0, 0), (0, 2): found(9, 7, 5)}, gone=[(0, 0)])
        session.set_parent(1, 40)
        session.propagate(40, {(0, 2): found(0, 0)})
        session.forget_propagated(40)
        session.save_script(tmp_path / "again.py")
        labels = [session.labels(plane=(0, z)) for z in range(3)]
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "again.py"), str(tmp_path / "labels.tif")],
        check=False, env=ENVIRONMENT, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    import tifffile

    for z, expected in enumerate(labels):
        written = tifffile.imread(tmp_path / f"labels_t0_z{z}.tif")
        np.testing.assert_array_equal(written, expected)


SLICES = st.dictionaries(
    st.tuples(st.just(0), st.integers(0, 2)),
    st.builds(found, st.integers(0, 18), st.integers(0, 20), st.integers(1, 6)),
    max_size=3,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("propagate"), SLICES),
        st.tuples(st.just("paint"), st.integers(0, 9)),
        st.tuples(st.just("delete"), st.integers(0, 9)),
        st.tuples(st.just("relabel"), st.integers(0, 9)),
        st.tuples(st.just("forget"), st.just(None)),
    ),
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_slices_agree_and_undo_takes_all_back(
    tmp_path_factory: pytest.TempPathFactory, infos: Infos, steps: list[tuple[str, Any]]
) -> None:
    with made_session(tmp_path_factory.mktemp("cells") / "s") as session:
        session.add_object(square(5, 5))
        session.add_object(square(15, 15))
        states = [_state(session)]
        for step, argument in steps:
            if not session.ids:
                break
            chosen = session.ids[(argument if isinstance(argument, int) else 0) % len(session.ids)]
            fixed = {n: session.mask(n) for n in session.ids if session.info(n).is_fixed}
            if step == "propagate":
                session.propagate(chosen, argument, infos)
            elif step == "paint":
                session.paint(chosen, square(3, 3, 9))
            elif step == "delete":
                session.delete(chosen)
            elif step == "relabel":
                session.relabel(chosen, session.next_id, class_name=f"class {argument}")
            else:
                session.forget_propagated(session.info(chosen).track or chosen)
            if step in ("propagate", "forget"):
                assert all(session.mask(number) == mask for number, mask in fixed.items())
            if _state(session) != states[-1]:
                states.append(_state(session))
            for track, slices in session.tracks().items():
                infos_of = [session.info(number) for number in slices.values()]
                assert {info.track for info in infos_of} == {track}
                assert [info.plane for info in infos_of] == list(slices)
                assert len({(info.class_name, info.colour) for info in infos_of}) == 1
                assert track not in session.ids or track in slices.values()
        for state in reversed(states):
            while _state(session) != state:
                assert session.undo()


def _state(session: Session) -> Any:
    return session.digest(), session.tracks(), [session.info(number) for number in session.ids]
