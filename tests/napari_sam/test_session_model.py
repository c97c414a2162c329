"""A session behaves like dense arrays of which every state was copied."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from made_sessions import SHAPE, Discs, made_scene, made_session, reopened, settle
from scipy import ndimage

from napari_sam.errors import InputError
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.session import Session
from napari_sam.tiles.regions import Region

_OVERLAPS = st.sampled_from(["keep_old", "take_new", "cut"])


@st.composite
def masks(draw: st.DrawFn) -> MaskRegion:
    """Somewhere in the scene: rectangles with holes, and in several parts."""
    rows, cols = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    row = draw(st.integers(0, SHAPE[0] - rows))
    col = draw(st.integers(0, SHAPE[1] - cols))
    mask = np.ones((rows, cols), bool)
    for place in draw(st.lists(st.integers(1, 80), max_size=4)):
        mask.flat[place % max(1, mask.size - 1)] = mask.size == 1
    return MaskRegion(row, col, mask)


def dense(mask: Any) -> np.ndarray:
    drawn = np.zeros(SHAPE, bool)
    drawn[mask.row :, mask.col :][: mask.mask.shape[0], : mask.mask.shape[1]] = mask.mask
    return drawn


def shared_out(labels: np.ndarray, wanted: np.ndarray, own: int, overlap: str) -> np.ndarray:
    """Return what an object gets of the pixels that it wants."""
    others = (labels != 0) & (labels != own)
    if overlap == "take_new":
        return wanted
    if overlap == "keep_old":
        return wanted & ~others
    granted = wanted & ~others
    for other in np.unique(labels[others & wanted]):
        claimed = (labels == other) & wanted
        rows, cols = np.nonzero(claimed)
        margin = 1 + max(np.ptp(rows), np.ptp(cols)) + 1
        near = np.zeros(SHAPE, bool)
        near[
            max(0, rows.min() - margin) : rows.max() + 1 + margin,
            max(0, cols.min() - margin) : cols.max() + 1 + margin,
        ] = True
        distances = [
            ndimage.distance_transform_edt(~part) if part.any() else np.full(SHAPE, np.inf)
            for part in (wanted & ~others & near, (labels == other) & ~wanted & near)
        ]
        granted = granted | (claimed & (distances[0] < distances[1]))
    return granted


class Sessions(RuleBasedStateMachine):
    """`now` is the labels and classes, `past` and `future` are copies of them."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.session: Session = made_session(self.folder / "s")
        self.now: tuple[np.ndarray, dict[int, str | None]] = (np.zeros(SHAPE, np.uint32), {})
        self.past: list[Any] = []
        self.future: list[Any] = []

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.session.close()
            shutil.rmtree(self.folder)

    def done(self, labels: np.ndarray, classes: dict[int, str | None]) -> None:
        self.past.append(self.now)
        self.future.clear()
        left = set(np.unique(labels)) - {0}
        self.now = labels, {number: name for number, name in classes.items() if number in left}

    def one(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.now[1])), label="object")

    @rule(mask=masks(), overlap=_OVERLAPS, name=st.sampled_from([None, "cell"]))
    def add(self, mask: MaskRegion, overlap: Any, name: str | None) -> None:
        labels, classes = self.now
        granted = shared_out(labels, dense(mask), 0, overlap)
        try:
            number = self.session.add_object(mask, class_name=name, overlap=overlap)
        except InputError:
            assert not granted.any()
            return
        assert number not in classes
        self.done(np.where(granted, number, labels), {**classes, number: name})

    @rule(
        row=st.integers(0, SHAPE[0] - 1), col=st.integers(0, SHAPE[1] - 1), choice=st.integers(0, 2)
    )
    def accept(self, row: int, col: int, choice: int) -> None:
        number = self.session.add_point(row, col, object_id=self.session._state.highest + 1)
        self.done(*self.now)
        found = self.session.candidates(number)
        labels, classes = self.now
        granted = shared_out(labels, dense(found[choice]), 0, "keep_old")
        try:
            self.session.accept(number, choice)
        except InputError:
            assert not granted.any()
            return
        self.done(np.where(granted, number, labels), {**classes, number: None})

    @precondition(lambda self: self.now[1])
    @rule(data=st.data(), mask=masks(), overlap=_OVERLAPS)
    def paint(self, data: st.DataObject, mask: MaskRegion, overlap: Any) -> None:
        number, (labels, classes) = self.one(data), self.now
        granted = shared_out(labels, dense(mask), number, overlap)
        self.session.paint(number, mask, overlap)
        if (granted & (labels != number)).any():
            self.done(np.where(granted, number, labels), classes)

    @precondition(lambda self: self.now[1])
    @rule(data=st.data(), mask=masks(), overlap=_OVERLAPS)
    def replace(self, data: st.DataObject, mask: MaskRegion, overlap: Any) -> None:
        number, (labels, classes) = self.one(data), self.now
        granted = shared_out(labels, dense(mask), number, overlap)
        try:
            self.session.replace(number, mask, overlap)
        except InputError:
            assert not granted.any()
            return
        rest = np.where(labels == number, 0, labels)
        after = np.where(granted, number, rest)
        if (after != labels).any():
            self.done(after, classes)

    @precondition(lambda self: self.now[1])
    @rule(data=st.data(), mask=masks())
    def erase(self, data: st.DataObject, mask: MaskRegion) -> None:
        number, (labels, classes) = self.one(data), self.now
        self.session.erase(number, mask)
        after = np.where(dense(mask) & (labels == number), 0, labels)
        if (after != labels).any():
            self.done(after, classes)

    @precondition(lambda self: self.now[1])
    @rule(data=st.data())
    def split(self, data: st.DataObject) -> None:
        number, (labels, classes) = self.one(data), self.now
        parts, count = ndimage.label(labels == number)
        try:
            ids = self.session.split(number)
        except InputError:
            assert count == 1
            return
        assert len(ids) == count
        sizes = np.bincount(parts.ravel())[1:]
        after = labels.copy()
        # The largest first; of equal ones that with the first pixel, as they are numbered.
        for one, part in zip(ids, np.argsort(-sizes, kind="stable"), strict=True):
            after[parts == part + 1] = one
        self.done(after, {**classes, **dict.fromkeys(ids, classes[number])})

    @precondition(lambda self: len(self.now[1]) > 1)
    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        labels, classes = self.now
        chosen = data.draw(
            st.lists(st.sampled_from(sorted(classes)), min_size=2, max_size=3, unique=True)
        )
        self.session.merge(chosen[0], chosen[1:])
        self.done(np.where(np.isin(labels, chosen), chosen[0], labels), classes)

    @precondition(lambda self: self.now[1])
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        number, (labels, classes) = self.one(data), self.now
        self.session.delete(number)
        self.done(np.where(labels == number, 0, labels), classes)

    @precondition(lambda self: self.now[1])
    @rule(data=st.data(), new=st.integers(1, 40), name=st.sampled_from(["a", "b"]))
    def relabel(self, data: st.DataObject, new: int, name: str) -> None:
        number, (labels, classes) = self.one(data), self.now
        if new in classes and new != number:
            return
        self.session.relabel(number, new, name)
        if (new, name) != (number, classes[number]):
            after = {**classes, new: name}
            self.done(np.where(labels == number, new, labels), after)

    @rule(seed=st.integers(0, 99), overlap=st.sampled_from(["keep_old", "take_new"]))
    def import_labels(self, seed: int, overlap: Any) -> None:
        coarse = np.random.default_rng(seed).integers(0, 4, (3, 3))
        given = np.kron(coarse, np.ones((8, 10), int))
        labels, classes = self.now
        ids = self.session.import_labels(given, overlap=overlap)
        after, known = labels.copy(), dict(classes)
        for value, number in ids.items():
            wanted = given == value
            after[wanted & (labels == 0) if overlap == "keep_old" else wanted] = number
            known[number] = None
        if (after != labels).any():
            self.done(after, known)

    @rule()
    def undo(self) -> None:
        assert self.session.undo() == bool(self.past)
        if self.past:
            self.future.append(self.now)
            self.now = self.past.pop()

    @rule()
    def redo(self) -> None:
        assert self.session.redo() == bool(self.future)
        if self.future:
            self.past.append(self.now)
            self.now = self.future.pop()

    @rule()
    def reopen(self) -> None:
        self.session = reopened(self.session)

    @rule()
    def begin_journal(self) -> None:
        folder = self.session._folder
        if folder._journal is not None:
            settle(self.session)
            folder.begin_journal(self.session._snapshot())

    @invariant()
    def is_the_same(self) -> None:
        if not hasattr(self, "session"):
            return
        labels, classes = self.now
        np.testing.assert_array_equal(self.session.labels(), labels)
        assert {one: self.session.info(one).class_name for one in self.session.ids} == classes
        part = Region(3, 5, 17, 21)
        np.testing.assert_array_equal(self.session.labels(part), labels[3:17, 5:21])
        np.testing.assert_array_equal(self.session.labels(level=2), labels[::4, ::4])
        assert (self.session.object_at(11, 13) or 0) == labels[11, 13]


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)


def test_a_session_of_the_machine_ends_as_its_script_does(tmp_path: Path) -> None:
    """All kinds of steps by chance, then the script of it."""
    import importlib.util

    rng = np.random.default_rng(5)
    with made_session(tmp_path / "s") as session:
        for _ in range(60):
            ids = session.ids
            way = rng.integers(0, 9) if len(ids) > 1 else 0
            mask = MaskRegion(
                int(rng.integers(0, 15)), int(rng.integers(0, 20)), rng.random((9, 10)) < 0.8
            )
            overlap: Any = rng.choice(["keep_old", "take_new", "cut"])
            one = int(rng.choice(ids)) if ids else 0
            try:
                if way == 0:
                    session.add_object(mask, overlap=overlap)
                elif way == 1:
                    session.prompt(None, [[mask.row, mask.col]])
                    session.accept(choice=int(rng.integers(3)), overlap=overlap)
                elif way == 2:
                    session.correct(one, [[mask.row, mask.col]], [0], overlap=overlap)
                elif way == 3:
                    session.replace(one, mask, overlap)
                elif way == 4:
                    session.erase(one, mask)
                elif way == 5:
                    session.split(one)
                elif way == 6:
                    session.merge(one, [ids[0], ids[-1]])
                elif way == 7:
                    session.undo()
                else:
                    session.import_labels(
                        np.kron(rng.integers(0, 9, (3, 3)), np.ones((8, 10), int))
                    )
            except InputError:
                continue
        session.save_script(tmp_path / "again.py")
        spec = importlib.util.spec_from_file_location("again", tmp_path / "again.py")
        assert spec is not None
        assert spec.loader is not None
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
        with made_session(tmp_path / "other") as other:
            script.repeat(other, lambda t, z: (made_scene(z=z), Discs()))
            np.testing.assert_array_equal(other.labels(), session.labels())
            assert other.digest() == session.digest() == script.DIGEST
        assert len(session.ids) > 3
