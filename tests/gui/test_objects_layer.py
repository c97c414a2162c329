"""The objects of a session are seen where they are, in their colours, and only shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_sam.errors import InputError
from napari_sam.live.label_levels import LabelLevels
from napari_sam.scene import open_scene
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.session import Session, SessionEvent
from napari_sam.sessions.records import default_colour
from napari_sam.tiles.regions import Region
from napari_sam.widgets.object_colours import ObjectColours, Palette
from napari_sam.widgets.objects_layer import ObjectsLayer

STACK = np.random.default_rng(0).integers(0, 255, (3, 70, 90), dtype=np.uint8)


def _square(row: int, col: int, side: int = 10) -> MaskRegion:
    return MaskRegion(row, col, np.ones((side, side), bool))


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Session.create(tmp_path / "s", open_scene(STACK, axes="ZYX", z=1)) as made:
        yield made


def _shown(viewer: ViewerModel, session: Session, **options: Any) -> tuple[Image, ObjectsLayer]:
    image = viewer.add_image(STACK, name="cells", **options)
    viewer.dims.set_current_step(0, 1)
    shown = ObjectsLayer(viewer, image, session)
    shown.layer.locked_data_level = 0
    session.on_change(shown.refresh)
    return image, shown


def _seen(shown: ObjectsLayer) -> np.ndarray:
    """What napari has of the layer to draw, as ids."""
    return np.asarray(shown.layer._slice.image.raw)


def test_what_a_session_does_is_seen(session: Session) -> None:
    session.add_object(_square(5, 5))
    _, shown = _shown(ViewerModel(), session)
    np.testing.assert_array_equal(_seen(shown), session.labels())
    for change in (
        lambda: session.add_object(_square(30, 40)),
        lambda: session.erase(1, _square(5, 5, 4)),
        lambda: session.relabel(2, new_id=7),
        session.undo,
        session.undo,
        session.redo,
        lambda: session.delete(1, 2),
    ):
        change()
        np.testing.assert_array_equal(_seen(shown), session.labels())


def test_each_plane_has_its_objects(session: Session) -> None:
    viewer = ViewerModel()
    _, shown = _shown(viewer, session)
    session.add_object(_square(5, 5))
    session.go_to(open_scene(STACK, axes="ZYX", z=2))
    session.add_object(_square(20, 20))
    np.testing.assert_array_equal(_seen(shown), session.labels(plane=(0, 1)))
    viewer.dims.set_current_step(0, 2)
    np.testing.assert_array_equal(_seen(shown), session.labels(plane=(0, 2)))
    viewer.dims.set_current_step(0, 0)
    assert not _seen(shown).any()


def test_only_what_is_visible_is_drawn_again(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = ViewerModel()
    _, shown = _shown(viewer, session)
    drawn: list[int] = []
    monkeypatch.setattr(shown.layer, "refresh", lambda *_, **__: drawn.append(1))
    session.add_object(_square(5, 5))
    assert len(drawn) == 1
    session.add_point(40, 50)
    session.go_to(open_scene(STACK, axes="ZYX", z=2))
    session.add_object(_square(5, 5))
    assert len(drawn) == 1
    shown.layer.corner_pixels = np.array([[0, 40, 40], [0, 60, 60]])
    session.go_to(open_scene(STACK, axes="ZYX", z=1))
    session.add_object(_square(5, 20))
    assert len(drawn) == 1
    session.add_object(_square(55, 55))
    assert len(drawn) == 2


def test_the_layer_has_the_image_s_transform_and_name_also_later(session: Session) -> None:
    turned = {"scale": (3, 0.5, 2), "translate": (1, 2, 3), "rotate": 30, "shear": (0.1, 0, 0.2)}
    image, shown = _shown(ViewerModel(), session, **turned, units=("um",) * 3)
    where = (1, 20.5, 7)
    assert shown.layer.data_to_world(where) == pytest.approx(image.data_to_world(where))
    image.scale, image.affine = (1, 4, 4), np.diag([1, 2, 3, 1])
    assert shown.layer.data_to_world(where) == pytest.approx(image.data_to_world(where))
    assert shown.layer.units == image.units
    image.name = "nuclei"
    assert shown.layer.name == "objects of nuclei"
    shown.layer.name = "mine"
    image.name = "cells"
    assert shown.layer.name == "mine"


def test_nobody_paints_into_it(session: Session) -> None:
    _, shown = _shown(ViewerModel(), session)
    assert not shown.layer.editable
    shown.layer.mode = "paint"
    assert shown.layer.mode == "pan_zoom"


def test_a_layer_that_was_removed_is_told_and_comes_back(session: Session) -> None:
    viewer, told = ViewerModel(), []
    image = viewer.add_image(STACK)
    shown = ObjectsLayer(viewer, image, session, told.append)
    viewer.layers.remove(shown.layer)
    assert "all kept" in told[0]
    session.add_object(_square(5, 5))
    shown.refresh(SessionEvent("step", frozenset([1]), {(0, 1): Region(5, 5, 15, 15)}))
    shown.show()
    shown.layer.locked_data_level = 0
    viewer.dims.set_current_step(0, 1)
    np.testing.assert_array_equal(_seen(shown), session.labels())
    shown.close()
    assert list(viewer.layers) == [image]
    assert len(told) == 1


def test_an_image_that_becomes_another_leaves_the_objects_as_they_are(session: Session) -> None:
    viewer = ViewerModel()
    image, shown = _shown(viewer, session, scale=(2, 1, 1))
    image.data = STACK[0]
    image.scale = (3, 3)
    session.add_object(_square(5, 5))
    assert shown.layer.scale == pytest.approx((2, 1, 1))
    viewer.layers.remove(image)
    session.undo()
    viewer.layers.remove(shown.layer)
    shown.show()
    assert not shown.is_shown
    shown.close()


def test_what_was_selected_stays_selected(session: Session) -> None:
    viewer = ViewerModel()
    other = viewer.add_points()
    image, shown = _shown(viewer, session)
    assert viewer.layers.selection.active is image
    assert viewer.layers.index(shown.layer) == viewer.layers.index(image) + 1
    assert other in viewer.layers


def test_another_image_is_refused(session: Session) -> None:
    viewer = ViewerModel()
    with pytest.raises(InputError, match="70 × 90"):
        ObjectsLayer(viewer, viewer.add_image(np.zeros((3, 8, 9))), session)


def test_colours_are_those_of_the_session(session: Session) -> None:
    viewer = ViewerModel()
    session.add_object(_square(5, 5), colour="#ff8000")
    _, shown = _shown(viewer, session)
    session.add_object(_square(30, 5))
    session.add_object(_square(30, 30), object_id=4_000_000_000)
    for number in session.ids:
        colour = session.info(number).colour
        assert colour is not None
        wanted = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        given = shown.layer.colormap.map(np.array([0, number], np.uint32))
        np.testing.assert_allclose(given[1, :3], wanted, atol=0.02)
        assert given[0, 3] == 0
    session.relabel(2, colour="#0000ff")
    np.testing.assert_allclose(shown.layer.colormap.map(2), (0, 0, 1, 1), atol=0.01)
    session.undo()
    np.testing.assert_allclose(
        shown.layer.colormap.map(2), ObjectColours.of(Palette()).map(2), atol=0.01
    )
    assert session.info(2).colour in (None, default_colour(2))


def test_coarse_levels_are_those_of_the_session(tmp_path: Path) -> None:
    """Painted once and then kept, or painted anew: the same."""
    rng = np.random.default_rng(1)
    scene = open_scene(np.broadcast_to(np.uint8(7), (3001, 2500)))
    with Session.create(tmp_path / "s", scene) as session:
        levels = LabelLevels(session)
        arrays = levels.arrays("YX", scene.shape)
        assert [array.shape for array in arrays] == [
            (3001, 2500), (1501, 1250), (751, 625), (376, 313)
        ]  # fmt: skip
        session.on_change(lambda event: [levels.changed(*x) for x in event.regions.items()])
        for step in range(8):
            if step % 4 == 3:
                session.undo()
            else:
                row, col = (int(rng.integers(0, size - 400)) for size in scene.shape)
                session.add_object(_square(row, col, int(rng.integers(1, 400))), overlap="take_new")
            for level, array in enumerate(arrays):
                np.testing.assert_array_equal(array, session.labels(level=level))
                part = array[100:, 3:200:2]
                np.testing.assert_array_equal(part, session.labels(level=level)[100:, 3:200:2])


@pytest.mark.parametrize(
    ("axes", "shape"),
    [("YX", (6, 8)), ("ZYX", (3, 6, 8)), ("TCZYX", (2, 4, 3, 6, 8)), ("XZY", (8, 3, 6))],
)
def test_an_array_is_indexed_as_one_of_numpy(tmp_path: Path, axes: str, shape: Any) -> None:
    planes = {"T": 1, "Z": 1, **dict(zip(axes, shape, strict=True))}
    pixels = np.zeros(shape, np.uint8)
    with Session.create(tmp_path / "s", open_scene(pixels, axes=axes)) as session:
        whole = np.zeros((planes["T"], planes.get("C", 1), planes["Z"], 6, 8), np.uint32)
        for t in range(planes["T"]):
            for z in range(planes["Z"]):
                session.go_to(open_scene(pixels, axes=axes, t=t, z=z))
                number = session.add_object(_square(t + z, 2 * z, 3))
                whole[t, :, z, t + z : t + z + 3, 2 * z : 2 * z + 3] = number
        array, _ = LabelLevels(session).arrays(axes, shape)
        gone = tuple(place for place, axis in enumerate("TCZ") if axis not in axes)
        order = [axis for axis in "TCZYX" if axis in axes]
        dense = np.squeeze(whole, gone).transpose([order.index(axis) for axis in axes])
        np.testing.assert_array_equal(array, dense)
        keys: list[Any] = [0, (..., 1), (slice(None), 2), (slice(1, 3), ..., slice(0, 8, 3))]
        keys += [(0,) * len(axes), (slice(None, None, -1),), (..., slice(2, 2))]
        keys += [tuple(range(len(axes)))] if min(shape) >= len(axes) else []
        for key in keys:
            np.testing.assert_array_equal(np.asarray(array[key]), dense[key])


def test_a_window_shows_the_colours_of_the_session(
    session: Session, make_napari_viewer: Any
) -> None:
    """The pixels that napari draws, of all objects and of one alone."""
    session.add_object(_square(10, 10, 20), colour="#ff8000")
    session.add_object(_square(10, 50, 20))
    viewer = make_napari_viewer(show=True)
    image = viewer.add_image(STACK, visible=False)
    shown = ObjectsLayer(viewer, image, session)
    shown.layer.opacity = 1.0
    viewer.dims.set_current_step(0, 1)

    def drawn() -> list[str]:
        shot = viewer.screenshot(canvas_only=True, flash=False, scale=1)
        middle, zoom = np.array(shot.shape[:2]) / 2, viewer.scene.camera.zoom
        found = []
        for place in ((20, 20), (20, 60)):
            row, col = (middle + (np.array(place) - viewer.scene.camera.center[-2:]) * zoom).astype(
                int
            )
            found.append("#" + "".join(f"{value:02x}" for value in shot[row, col, :3]))
        return found

    assert drawn() == [session.info(number).colour for number in (1, 2)]
    shown.layer.selected_label = 1
    shown.layer.show_selected_label = True
    alone = drawn()
    assert alone[0] == "#ff8000"
    assert alone[1] != session.info(2).colour
    shown.close()
