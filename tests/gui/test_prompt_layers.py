"""Prompts are ordinary layers: what is done in them is in the session, and comes back from it."""

# ruff: noqa: F401, F811 (fixtures come from another module)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from driving import CTRL, Discs, discs, drive, own_sessions
from qtpy.QtCore import Qt

from napari_sam.widgets import layer_prompts

pytestmark = pytest.mark.usefixtures("own_sessions")


def test_what_is_drawn_is_prompted(
    make_napari_viewer: Callable[..., Any], discs: list[Discs]
) -> None:
    driven = drive(make_napari_viewer(show=True))
    session, viewer = driven.session, driven.viewer
    driven.widget.tools.button(1).click()
    driven.drag((10, 10), (30, 40))
    box = session.prompts[1].box
    np.testing.assert_allclose(box, (10, 10, 30, 40), atol=0.6)
    driven.drag((50, 50), (70, 80))  # another box is another object
    np.testing.assert_allclose(session.prompts[2].box, (50, 50, 70, 80), atol=0.6)
    assert session.prompts[1].box == box
    shown = driven.shown()
    assert shown[20, 25]
    assert shown[60, 65]
    driven.key(Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert session.ids == [1, 2]
    shapes = viewer.layers["prompt shapes"]
    assert len(shapes.data) == 0

    shapes.add([[20, 60], [30, 70]], shape_type="path")
    driven.settle()
    assert session.prompts[3].scribbles[0].line == ((20, 60), (30, 70))
    shapes.add([[[60, 20], [60, 30], [70, 30], [70, 20]]], shape_type="polygon")
    driven.settle()
    assert session.prompts[3].mask.area == 11 * 11  # with its edge
    assert len(shapes.data) == 2
    session.undo()
    driven.settle()
    assert list(shapes.shape_type) == ["path"]
    shapes.data = []
    driven.settle()
    assert not session.prompts


def test_points_are_moved_removed_and_brought_back(
    make_napari_viewer: Callable[..., Any],
    discs: list[Discs],
) -> None:
    driven = drive(make_napari_viewer(show=True), scale=(2, 3), rotate=30, translate=(5, -7))
    session, viewer = driven.session, driven.viewer
    driven.click(20, 30)
    driven.click(24, 34, CTRL)
    points = viewer.layers["prompts"]
    np.testing.assert_allclose(points.data, [[20, 30], [24, 34]], atol=0.5)
    image = driven.sam.image_layer
    assert image is not None
    np.testing.assert_allclose(
        points.data_to_world([20, 30]), image.data_to_world([20, 30]), atol=1e-6
    )
    points.data = points.data + np.array([[10, 0], [0, 0]])
    driven.settle()
    assert session.prompts[1].points[0][0] == pytest.approx(30, abs=0.5)
    points.selected_data = {1}
    points.remove_selected()
    driven.settle()
    assert len(session.prompts[1].points) == 1
    session.undo()
    session.undo()
    driven.settle()
    np.testing.assert_allclose(points.data, [[20, 30], [24, 34]], atol=0.5)
    points.add([40, 40])
    driven.settle()
    assert len(session.prompts[1].points) == 3


def test_other_layers_come_in_through_the_world(
    make_napari_viewer: Callable[..., Any],
    discs: list[Discs],
) -> None:
    driven = drive(make_napari_viewer(), scale=(2, 2))
    session, viewer, sam = driven.session, driven.viewer, driven.sam
    layer = viewer.add_points([[40, 60]], translate=(10, 0), name="mine")
    assert layer_prompts.take_prompts(sam, layer) == [1]
    np.testing.assert_allclose(session.prompts[1].points[0][:2], (25, 30))
    values = np.zeros((160, 200), np.uint8)  # at twice the resolution of the image
    values[40:60, 80:120] = 4
    labels = viewer.add_labels(values, translate=(-0.5, -0.5), name="known")
    labels.selected_label = 4
    number = layer_prompts.label_as_mask(sam, labels)
    assert session.prompts[number].mask.area == 10 * 20
    session.clear_prompts(number)
    found = layer_prompts.import_labels(sam, labels, "known")
    assert session.mask(found[4]).area == 200
    assert labels.data.sum() == values.sum()


def test_an_object_is_painted_on_until_done(
    make_napari_viewer: Callable[..., Any], discs: list[Discs]
) -> None:
    driven = drive(make_napari_viewer(show=True), scale=(2, 3), translate=(5, -7))
    session, viewer, paint = driven.session, driven.viewer, driven.widget.paint
    driven.click(40, 40)
    driven.key(Qt.Key.Key_Return)
    assert not paint.isEnabled()
    driven.click(40, 40, Qt.KeyboardModifier.ShiftModifier)
    paint.click()
    driven.settle()
    assert paint.text() == "Done"
    before = session.mask(1)
    driven.drag((40, 46), (40, 60))
    assert session.object_at(40, 58) == 1
    assert session.mask(1).area > before.area
    driven.key(Qt.Key.Key_Z, CTRL)
    assert session.mask(1) == before
    driven.drag((30, 46), (30, 60))
    assert not session.prompts
    paint.click()
    driven.settle()
    assert paint.text() == "Paint"
    assert "object 1 of cells" not in viewer.layers
    assert session.object_at(30, 58) == 1
    driven.click(60, 80)  # prompts again
    assert session.prompts
