"""An object followed through the planes of a workplace: in one step, corrected, gone on with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sam.errors import InputError
from napari_sam.live.propagating import Outcome, Progress, Reach, propagate_object, recompute
from napari_sam.live.track_cells import track_cells, track_of
from napari_sam.live.workplace import Picture, Workplace
from napari_sam.segment.objects import Candidate, cut_candidate
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.tiles.subjects import SceneInfo

SHAPE = (9, 60, 70)
ENDS = 7
"""The first plane in which the object is not any more."""


class Tube:
    """Sees a disc that goes two columns to the right in each plane, and ends."""

    def __init__(self, scene: Any, *_: Any) -> None:
        self.shape, self.z = scene.shape, scene.z + scene.t

    def prompt(self, **prompts: Any) -> list[Candidate]:
        if self.z >= ENDS:
            raise InputError("There is nothing to be seen.")
        rows, cols = np.mgrid[: self.shape[0], : self.shape[1]]
        mask = np.hypot(rows - 30, cols - 20 - 2 * self.z) <= 9
        return [cut_candidate(mask, 0.9, 0.9, "box")]


def disc(z: int, radius: float = 9, row: float = 30) -> MaskRegion:
    rows, cols = np.mgrid[: SHAPE[1], : SHAPE[2]]
    return MaskRegion(0, 0, np.hypot(rows - row, cols - 20 - 2 * z) <= radius)


@pytest.fixture
def workplace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Workplace]:
    for module in ("workplace", "slices"):
        monkeypatch.setattr(f"napari_sam.live.{module}.Segmenter", Tube)
    stack = np.random.default_rng(0).integers(0, 4000, SHAPE, dtype=np.uint16)
    picture = Picture(stack, axes="ZYX", pixel_size=(0.5, 0.5, "micrometer"))
    with Workplace.open(picture, folder=tmp_path / "folder", z=3) as opened:
        opened.session.add_object(disc(3), class_name="vessel")
        yield opened


def kinds(workplace: Workplace, outcome: Outcome | None = None) -> str:
    lost = None if outcome is None else outcome.lost
    cells = track_cells(workplace.session, workplace.scene, "z", 1, lost)
    return "".join(cell.kind[0] if cell.kind != "followed" else "+" for cell in cells)


def test_planes_are_opened_beside_the_one_that_is_worked_on(workplace: Workplace) -> None:
    first = workplace.slice(0, 0)
    for z in range(SHAPE[0]):
        one = workplace.slice(0, z)
        assert (one.scene.z, one.store.place.folder.name[-11:]) == (z, ".embeddings")
        like = workplace.session.planes[0, 3]
        assert one.info == SceneInfo.of(workplace.picture.open(0, z, like=like))
        assert workplace.slice(0, z) is one
    assert workplace.slice(0, 0) is not first  # only a few stay open
    assert (workplace.scene.z, list(workplace.session.planes)) == (3, [(0, 3)])
    with pytest.raises(InputError, match="no plane t=0, z=9"):
        workplace.slice(0, 9)
    store = workplace.slice(0, 5).store
    workplace.go_to(0, 5)
    assert workplace.store.place == store.place
    assert workplace.slice(0, 5).scene.normalisation == workplace.scene.normalisation


def test_it_is_followed_until_it_is_lost_and_kept_in_one_step(workplace: Workplace) -> None:
    told: list[Progress] = []
    outcome = propagate_object(workplace, 1, on_progress=told.append)
    assert sorted(outcome.made) == [(0, z) for z in (0, 1, 2, 4, 5, 6)]
    assert list(outcome.lost) == [(0, ENDS)]
    assert "nothing to be seen" in outcome.lost[0, ENDS]
    assert "6 other planes. It ends here: Plane 7" in outcome.sentence
    assert kinds(workplace) == "+++f+++ln"
    assert {one.found.plane for one in told if one.found} == set(outcome.made)
    assert max(one.looked for one in told) <= told[0].total == 8
    assert told[-1].seconds_left is None or told[-1].seconds_left >= 0
    session = workplace.session
    for z in range(ENDS):
        number = session.track(1)[0, z]
        assert session.mask(number).area == np.count_nonzero(disc(z).mask)
        assert session.info(number).class_name == "vessel"
    session.undo()
    assert session.ids == [1]
    assert kinds(workplace, outcome) == "nnnfnnnln"


@pytest.mark.parametrize(
    ("reach", "expected"),
    [
        (Reach(planes=1), "nn+f+nnnn"),
        (Reach(planes=2, direction="forward"), "nnnf++nnn"),
        (Reach(planes=50, direction="backward"), "+++fnnnnn"),
    ],
)
def test_it_goes_as_far_as_it_was_asked_to(
    workplace: Workplace, reach: Reach, expected: str
) -> None:
    outcome = propagate_object(workplace, 1, reach)
    assert (kinds(workplace), dict(outcome.lost)) == (expected, {})


def test_what_was_found_until_it_was_stopped_is_kept(workplace: Workplace) -> None:
    told: list[Progress] = []
    outcome = propagate_object(
        workplace, 1, on_progress=told.append,
        should_stop=lambda: sum(one.found is not None for one in told) >= 2,
    )  # fmt: skip
    assert (outcome.stopped, kinds(workplace)) == (True, "nnnf++nnn")
    assert outcome.sentence.startswith("Stopped: object 1 was found in 2")


def test_only_the_planes_between_corrections_are_found_again(workplace: Workplace) -> None:
    session = workplace.session
    propagate_object(workplace, 1)
    before = {plane: session.info(one).provenance for plane, one in session.track(1).items()}
    fifth = session.track(1)[0, 5]
    session.replace(fifth, disc(5, 8))
    told: list[Progress] = []
    outcome = recompute(workplace, 1, (0, 4), on_progress=told.append)
    assert sorted(outcome.made) == [(0, 4)]
    assert {one.plane for one in told} == {(0, 4)}
    assert session.mask(fifth).area == np.count_nonzero(disc(5, 8).mask)
    assert session.info(session.track(1)[0, 6]).provenance == before[0, 6]
    outcome = recompute(workplace, 1, (0, 5), Reach(planes=1))
    assert sorted(outcome.made) == [(0, 4), (0, 6)]
    assert kinds(workplace) == "+++f+f+nn"  # beyond it was not looked for again
    session.delete(1)  # it goes by the corrected one now
    assert sorted(recompute(workplace, 1, (0, 5)).made) == [(0, z) for z in (0, 1, 2, 3, 4, 6)]
    session.delete(fifth)
    with pytest.raises(InputError, match="correct one first"):
        recompute(workplace, 1, (0, 4))


def test_where_it_is_not_found_any_more_it_is_gone(workplace: Workplace) -> None:
    session = workplace.session
    propagate_object(workplace, 1)
    session.replace(session.track(1)[0, 4], disc(4, 2, row=5))  # it is somewhere else from here on
    outcome = recompute(workplace, 1, (0, 4))
    assert (0, 5) in outcome.lost
    assert kinds(workplace, outcome)[4:] == "flnnn"
    session.undo()
    assert kinds(workplace)[4:] == "f++ln"


def test_what_cannot_be_followed_is_said(workplace: Workplace) -> None:
    with pytest.raises(InputError, match="one plane only through time"):
        propagate_object(workplace, 1, Reach("t"))
    with pytest.raises(InputError, match="no object 9"):
        propagate_object(workplace, 9)
    with pytest.raises(InputError, match="0 planes"):
        Reach(planes=0)
    with pytest.raises(InputError, match="sideways"):
        Reach(direction="sideways")  # type: ignore[arg-type]
    assert track_of(workplace.session, 1) == 1
    assert track_of(workplace.session, 9) is None
    assert kinds(workplace) == "nnnfnnnnn"


def test_cells_say_what_became_of_it(workplace: Workplace) -> None:
    session, scene = workplace.session, workplace.scene
    infos = {(0, z): workplace.slice(0, z).info for z in range(SHAPE[0])}
    found = {(0, z): disc(z) for z in (4, 5)}
    session.propagate(1, found, infos, skipped={(0, 4): "Plane 4: dark."}, stops={(0, 5): "Gone."})
    cells = track_cells(session, scene, "z", 1)
    assert [cell.kind for cell in cells[3:7]] == ["fixed", "guessed", "followed", "lost"]
    assert "Plane 4: dark." in cells[4].note
    assert "Plane 6: it ends. Gone." in cells[6].note
    assert "drawn by a person" in cells[3].note
    assert {cell.kind for cell in track_cells(session, scene, "z", 99)} == {"none"}
