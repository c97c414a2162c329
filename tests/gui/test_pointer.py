"""Prompts land where the pointer is, under any transform that a layer can have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image

from napari_sam.widgets.pointer import axes_of, scene_position, world_position

ROWS, COLS = 13, 17

_far = st.floats(-1e4, 1e4)
_scale = st.floats(0.01, 100)
_shear = st.floats(-2, 2)
_angle = st.floats(-180, 180)


@st.composite
def transforms(draw: st.DrawFn, ndim: int) -> dict[str, Any]:
    """All that napari offers, alone or together."""
    given: dict[str, Any] = {}
    if draw(st.booleans()):
        given["scale"] = draw(st.lists(_scale, min_size=ndim, max_size=ndim))
    if draw(st.booleans()):
        given["translate"] = draw(st.lists(_far, min_size=ndim, max_size=ndim))
    if draw(st.booleans()):
        turned = np.eye(ndim)
        angle = np.deg2rad(draw(_angle))
        turned[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        given["rotate"] = turned
    if draw(st.booleans()):
        given["shear"] = [0.0] * (ndim * (ndim - 1) // 2 - 1) + [draw(_shear)]
    if draw(st.booleans()):
        affine = np.eye(ndim + 1)
        affine[-3:-1, -3:-1] = [[draw(_scale), draw(_shear)], [0, draw(_scale)]]
        affine[:ndim, ndim] = draw(st.lists(_far, min_size=ndim, max_size=ndim))
        given["affine"] = affine
    return given


@st.composite
def layers(draw: st.DrawFn) -> tuple[ViewerModel, Image, int]:
    """A layer whose pixels tell where they are, in a viewer that may have more axes than it."""
    ndim = draw(st.integers(2, 4))
    front = (2, 3)[4 - ndim :]
    pixels = np.arange(int(np.prod(front, dtype=int)) * ROWS * COLS, dtype=np.int64)
    data: Any = pixels.reshape(*front, ROWS, COLS)
    rgb = draw(st.booleans())
    kind: dict[str, Any] = {"rgb": False}
    if rgb:
        data, kind = np.stack([data] * 3, -1).astype(np.float32), {"rgb": True}
    elif draw(st.booleans()):
        data, kind = [data, data[..., ::2, ::2]], {"rgb": False, "multiscale": True}
    viewer = ViewerModel()
    if draw(st.booleans()):
        viewer.add_image(np.zeros((2, 2, 2, 2, 2), np.uint8))
    layer = viewer.add_image(data, **kind, **draw(transforms(ndim)))
    return viewer, layer, ndim


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(made=layers(), data=st.data())
def test_a_position_is_the_pixel_that_napari_reports_and_back(
    made: tuple[ViewerModel, Image, int], data: st.DataObject
) -> None:
    viewer, layer, ndim = made
    row = data.draw(st.integers(0, ROWS - 1)) + data.draw(st.floats(-0.49, 0.49))
    col = data.draw(st.integers(0, COLS - 1)) + data.draw(st.floats(-0.49, 0.49))
    plane = [data.draw(st.integers(0, size - 1)) for size in (2, 3)[4 - ndim :]]
    world = np.zeros(viewer.dims.ndim)
    world[-ndim:] = layer.data_to_world([*plane, row, col])

    found = scene_position(layer, world)
    np.testing.assert_allclose(found, (row, col), atol=1e-6)

    back = world_position(layer, row, col, world)
    extent = max(1.0, float(np.abs(world).max()))
    np.testing.assert_allclose(back, world, atol=1e-6 * extent)

    if not layer.multiscale:  # there napari reports a pixel of the level that it shows
        layer._slice_dims(viewer.dims.model_copy(update={"point": tuple(world)}))
        reported = layer.get_value(world, world=True)
        index = np.ravel_multi_index(
            (*plane, round(found[0]), round(found[1])), (*(2, 3)[4 - ndim :], ROWS, COLS)
        )
        assert reported is not None
        assert int(np.asarray(reported).reshape(-1)[0]) == index


def test_without_a_plane_the_first_one_is_meant() -> None:
    layer = Image(np.zeros((4, 8, 9)), scale=(5, 2, 3), translate=(1, 1, 1))
    assert world_position(layer, 2, 3) == pytest.approx((1, 5, 10))


def test_rows_and_columns_follow_the_axis_labels() -> None:
    layer = Image(np.zeros((6, 9)), axis_labels=("x", "y"), scale=(2, 3))
    assert scene_position(layer, (8, 15)) == pytest.approx((5, 4))
    assert world_position(layer, 5, 4) == pytest.approx((8, 15))


@pytest.mark.parametrize(
    ("shape", "labels", "axes"),
    [
        ((5, 6), None, "YX"),
        ((4, 5, 6), None, "ZYX"),
        ((3, 4, 5, 6), None, "TZYX"),
        ((2, 3, 4, 5, 6), None, None),
        ((2, 3, 4, 5, 6), ("time", "channel", "z", "y", "x"), "TCZYX"),
        ((4, 5, 6), ("c", "y", "x"), "CYX"),
        ((4, 5, 6), ("round", "y", "x"), "ZYX"),
    ],
)
def test_what_axes_are(shape: Any, labels: Any, axes: str | None) -> None:
    assert axes_of(Image(np.zeros(shape), axis_labels=labels)) == axes


def test_colour_is_an_axis_of_its_own() -> None:
    assert axes_of(Image(np.zeros((5, 6, 3)), rgb=True)) == "YXS"


def test_a_world_in_other_units_than_the_layer() -> None:
    """napari draws a layer in nanometres in a world of micrometres a thousand times smaller."""
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((50, 60)), scale=(100, 200), units="nm")
    viewer.add_image(np.zeros((5, 6)), units="um")
    viewer.layers.units = ("um", "um")
    world = (1.0, 2.0)  # micrometres: 1,000 and 2,000 nm
    assert scene_position(layer, world, viewer.layers.units) == pytest.approx((10, 10))
    assert world_position(layer, 10, 10, units=viewer.layers.units) == pytest.approx(world)
