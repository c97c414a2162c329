"""What is painted with napari's brush is the object, one step for each stroke."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication

from napari_sam.errors import InputError
from napari_sam.scene import open_scene
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.session import Session
from napari_sam.widgets import brush as brush_module
from napari_sam.widgets.brush import Brush

PIXELS = np.zeros((2, 1200, 1500), np.uint8)


def _square(row: int, col: int, side: int = 20) -> MaskRegion:
    return MaskRegion(row, col, np.ones((side, side), bool))


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Session.create(tmp_path / "s", open_scene(PIXELS, axes="ZYX")) as made:
        made.add_object(_square(600, 700))
        made.add_object(_square(600, 740))
        yield made


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def brush(qapp: QApplication, session: Session, told: list[str]) -> Brush:
    viewer = ViewerModel()
    image = viewer.add_image(PIXELS, scale=(1, 2, 3), translate=(0, 5, 7))
    made = Brush(viewer, image, session, 1, told.append)
    session.on_change(made.refresh)
    return made


def _stroke(brush: Brush, row: int, col: int, label: int = 1) -> None:
    """Paint at a place of the scene."""
    world = brush._viewer.layers[0].data_to_world((0, row, col))
    brush.layer.paint(np.round(brush.layer.world_to_data(world)).astype(int), label)
    QApplication.processEvents()


def test_a_stroke_is_a_step_and_can_be_undone(brush: Brush, session: Session) -> None:
    brush.layer.brush_size = 7
    before = session.mask(1)
    _stroke(brush, 610, 695)
    assert session.object_at(610, 694) == 1
    assert session.mask(1).area > before.area
    _stroke(brush, 605, 705, label=0)
    assert session.object_at(605, 705) is None
    session.undo()
    session.undo()
    assert session.mask(1) == before
    assert np.asarray(brush.layer.data).sum() == before.area


def test_pixels_of_others_stay_with_them(brush: Brush, session: Session) -> None:
    brush.layer.brush_size = 15
    other = session.mask(2)
    _stroke(brush, 610, 738)
    assert session.mask(2) == other
    assert (session.labels(brush._window) == 1).sum() == np.asarray(brush.layer.data).sum()


def test_keys_undo_in_the_session_and_not_in_the_layer(brush: Brush, session: Session) -> None:
    brush.layer.brush_size = 7
    _stroke(brush, 610, 695)
    (undo,) = [call for key, call in brush.layer.keymap.items() if str(key) == "Ctrl+Z"]
    undo(brush.layer)
    assert session.object_at(610, 694) is None
    assert session.ids == [1, 2]


def test_room_to_paint_grows_with_the_object(brush: Brush, session: Session) -> None:
    first = brush._window
    brush.layer.brush_size = 200
    _stroke(brush, 610, first.col0 + 100)
    assert brush._window.col0 < first.col0
    np.testing.assert_array_equal(brush.layer.data, session.labels(brush._window) == 1)
    _stroke(brush, 400, 700)
    assert session.object_at(400, 700) == 1


def test_an_object_that_is_erased_puts_the_brush_away(
    brush: Brush, session: Session, told: list[str]
) -> None:
    brush.layer.brush_size = 60
    _stroke(brush, 610, 710, label=0)
    assert session.ids == [2]
    assert not brush.is_open
    assert "There is no object 1" in told[0]


def test_another_plane_puts_the_brush_away(brush: Brush, session: Session, told: list[str]) -> None:
    session.go_to(open_scene(PIXELS, axes="ZYX", z=1))
    assert not brush.is_open
    assert "put away" in told[0]
    with pytest.raises(InputError, match="go there"):
        Brush(brush._viewer, brush._viewer.layers[0], session, 1, told.append)


def test_what_fails_is_told_and_shown_as_it_is(
    brush: Brush, session: Session, told: list[str]
) -> None:
    session.close()
    brush.layer.brush_size = 7
    _stroke(brush, 610, 695)
    assert "is closed" in told[0]
    assert np.asarray(brush.layer.data).sum() == 400


def test_a_layer_that_a_person_removes_is_no_trouble(brush: Brush, session: Session) -> None:
    brush._viewer.layers.remove(brush.layer)
    session.delete(1)
    assert not brush.is_open


def test_objects_too_large_to_paint_on_are_refused(
    qapp: QApplication, session: Session, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    monkeypatch.setattr(brush_module, "_MOST", 1000)
    viewer = ViewerModel()
    with pytest.raises(InputError, match="correct it by clicks"):
        Brush(viewer, viewer.add_image(PIXELS), session, 1, told.append)
