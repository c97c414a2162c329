"""A volume is segmented in any of its three planes, and nothing lands elsewhere."""

# ruff: noqa: F401, F811 (fixtures come from another module)

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from driving import PLAIN, Discs, Driven, discs, drive, own_sessions
from napari.layers import Image
from qtpy.QtCore import QCoreApplication, QPoint, Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtTest import QTest

from napari_sam.live.exporting import export_session
from napari_sam.scene import PixelSize
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.session import Session
from napari_sam.widgets.opening import image_layers
from napari_sam.widgets.orientation import show_orientation
from napari_sam.widgets.pictures import picture_of, pixel_size_of, plane_of
from napari_sam.widgets.readers import get_reader
from napari_sam.widgets.side_choice import names_of_sides
from napari_sam.widgets.sides import Sides, turned_layer
from napari_sam.widgets.window import canvas

STACK = np.random.default_rng(0).integers(0, 255, (40, 60, 50), dtype=np.uint8)
"""Another length along each axis."""


def fitted(viewer: Any) -> Any:
    """Let the canvas of a window that is not shown know its size, which the view is fitted to."""
    native = canvas(viewer)
    QCoreApplication.sendEvent(native, QResizeEvent(native.size(), native.size()))
    return viewer


def choose(driven: Driven, side: str) -> None:
    """Look along an axis, as a person does."""
    choice = driven.widget.side
    assert not driven.widget.deep.isHidden()
    index = "zyx".index(side)
    choice.setCurrentIndex(index)
    choice.activated.emit(index)
    driven.settle()
    driven.sam.ready(60)
    driven.settle()


def images(viewer: Any) -> list[str]:
    return [layer.name for layer in viewer.layers if isinstance(layer, Image)]


def test_a_stack_is_segmented_from_all_sides(
    make_napari_viewer: Callable[..., Any], discs: list[Discs]
) -> None:
    driven = drive(fitted(make_napari_viewer()), STACK, scale=(2, 1, 1), name="stack")
    viewer, sam = driven.viewer, driven.sam
    depth = driven.session.plane[1]
    driven.click(30, 20)
    driven.key(Qt.Key.Key_Return)
    assert driven.session.ids == [1]
    upright_session = driven.session.path

    choose(driven, "y")
    assert images(viewer) == ["stack, along y"]
    layer = sam.image_layer
    assert layer is not None
    np.testing.assert_array_equal(layer.data, STACK.transpose(1, 0, 2))
    assert tuple(layer.scale) == (1, 2, 1)
    assert layer.axis_labels == ("y", "z", "x")
    scene = sam.ready().scene
    assert (scene.axes, scene.shape, scene.planes) == ("YZX", (40, 50), 60)
    np.testing.assert_array_equal(
        scene.read(0, slice(0, 40), slice(0, 50))[..., 0], STACK[:, scene.z]
    )
    assert abs(scene.z - 29.5) <= 0.5, "the middle of the view before"
    assert driven.session.ids == [], "objects of this side"
    driven.click(10, 30)
    driven.key(Qt.Key.Key_Return)
    assert driven.session.object_at(10, 30) == 1

    choose(driven, "z")
    assert images(viewer) == ["stack"]
    assert driven.session.path == upright_session
    assert driven.session.plane == (0, depth), "the plane it was left at"
    assert driven.session.object_at(30, 20) == 1


def test_rolled_axes_take_no_prompts(
    make_napari_viewer: Callable[..., Any], discs: list[Discs]
) -> None:
    driven = drive(fitted(make_napari_viewer()), STACK, name="stack")
    viewer, sam, session = driven.viewer, driven.sam, driven.session
    said: list[tuple[str, str]] = []
    sam.said.connect(lambda level, sentence: said.append((level, sentence)))
    driven.click(30, 20)
    before = session.prompts
    layers = [viewer.layers[name] for name in ("prompts", "prompt shapes", "preview")]
    for order, displayed in (((1, 0, 2), 2), ((2, 0, 1), 2), ((0, 1, 2), 3)):
        viewer.dims.ndisplay = displayed
        viewer.dims.order = order
        driven.settle()
        assert "Look along" in said[-1][1]
        said.clear()
        assert not any(layer.visible for layer in layers)
        viewer.layers.selection.active = sam.image_layer
        QTest.mouseClick(driven.native, Qt.MouseButton.LeftButton, PLAIN, QPoint(400, 300))
        driven.settle()
        assert [level for level, _ in said] == ["warning"]
        driven.widget.tools.button(1).click()
        assert str(layers[1].mode) == "pan_zoom"
        assert session.prompts == before
    driven.widget.side.activated.emit(0)  # that which it is
    driven.settle()
    assert viewer.dims.ndisplay == 2
    assert tuple(viewer.dims.order) == (0, 1, 2)
    assert all(layer.visible for layer in layers)
    said.clear()
    driven.click(32, 22)
    assert len(session.prompts[1].points) == 2
    viewer.dims.order = (0, 2, 1)  # rows and columns change places, and still are displayed
    driven.settle()
    driven.click(20, 40)
    np.testing.assert_allclose(session.prompts[1].points[-1][:2], (20, 40), atol=1)
    assert [level for level, _ in said if level != "info"] == []
    viewer.dims.ndisplay = 3
    choose(driven, "x")
    assert viewer.dims.ndisplay == 2
    assert sam.ready().scene.z in (24, 25)
    driven.click(20, 40)
    np.testing.assert_allclose(driven.session.prompts[1].points[-1][:2], (20, 40), atol=1)


def test_without_depth_there_are_no_sides(
    make_napari_viewer: Callable[..., Any], discs: list[Discs]
) -> None:
    driven = drive(
        fitted(make_napari_viewer()), STACK[:3], axis_labels=("t", "y", "x"), name="film"
    )
    assert driven.widget.deep.isHidden()
    said: list[str] = []
    driven.sam.said.connect(lambda level, sentence: said.append(sentence))
    driven.viewer.dims.order = (1, 0, 2)
    driven.settle()
    assert said[-1].endswith("turn its axes back to segment it.")
    with pytest.raises(Exception, match="no depth"):
        driven.sam.look_along("y")
    assert driven.sam.workplace is not None


@pytest.mark.filterwarnings("ignore:Non-orthogonal")  # planes of a volume that lies aslant
@pytest.mark.parametrize("side", ["y", "x"])
def test_turned_layers_keep_what_a_person_chose(side: Any) -> None:
    pixels = np.zeros((2, 4, 5, 6, 3), np.uint8)
    layer = Image(
        pixels,
        rgb=True,
        axis_labels=("t", "z", "y", "x"),
        units=("s", "um", "um", "um"),
        scale=(1, 5, 0.5, 0.25),
        translate=(0, 1, 2, 3),
        rotate=np.eye(4)[[0, 1, 3, 2]] * (1, 1, 1, -1),  # a quarter turn of rows to columns
        gamma=0.7,
        name="film",
    )
    turned = turned_layer(layer, side)
    assert (turned.gamma, turned.name) == (0.7, f"film, along {side}")
    order = {"y": [0, 2, 1, 3], "x": [0, 3, 1, 2]}[side]
    place = np.array([1, 3, 4, 2])
    np.testing.assert_allclose(
        np.array(layer.data_to_world(place))[order], turned.data_to_world(place[order])
    )
    picture = picture_of(turned)
    scene = picture.open(t=1, z=2)
    assert scene.times == 2
    steps = dict(zip("zyx", (5, 0.5, 0.25), strict=True))
    rows, cols = {"y": "zx", "x": "zy"}[side]
    assert scene.pixel_size == PixelSize(steps[rows], steps[cols], "micrometer")


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """12 x 40 x 50 voxels of 5 x 3 x 2 mm; the file's axes run to the front, left and feet."""
    nibabel = pytest.importorskip("nibabel")
    values = np.random.default_rng(1).integers(0, 900, (12, 40, 50)).astype(np.int16)
    affine = np.array([[0, -3, 0, 20], [5, 0, 0, -9], [0, 0, -2, 70], [0, 0, 0, 1]])
    path = tmp_path / "head.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def test_medical_volumes_keep_their_place_in_the_patient(
    make_napari_viewer: Callable[..., Any], discs: list[Discs], volume: Path
) -> None:
    import nibabel

    viewer = fitted(make_napari_viewer())
    ((data, options, _),) = image_layers(volume)
    driven = drive(viewer, data, **options)
    orientation, sam = show_orientation(viewer), driven.sam
    assert sam.image_layer is not None
    assert names_of_sides(sam.image_layer) == ["z (axial)", "y (coronal)", "x (sagittal)"]
    source = np.asarray(nibabel.load(volume).dataobj)
    for side, letters, size in (
        ("y", "SIRL", PixelSize(2, 3, "millimeter")),
        ("x", "SIAP", PixelSize(2, 5, "millimeter")),
    ):
        choose(driven, side)
        assert (
            "".join(orientation.letters[e] for e in ("top", "bottom", "left", "right")) == letters
        )
        workplace = sam.ready()
        assert workplace.scene.pixel_size == size
        assert workplace.folder.parent == volume.parent
        assert not any("something else" in note for note in workplace.notes)
        rows, cols = workplace.scene.shape
        driven.click(rows // 2, cols // 3)
        driven.key(Qt.Key.Key_Return)
        assert driven.session.ids == [1]
        mask = driven.session.labels() == 1
        path = volume.parent / f"{side}.nii.gz"
        export_session(driven.session, path)
        written = nibabel.load(path)
        np.testing.assert_array_equal(written.affine, nibabel.load(volume).affine)
        # Shown from head to feet, front to back and right to left: in the file's own order that is
        # its last axis, its first one reversed, and its second.
        expected, z = np.zeros_like(source, np.uint8), workplace.scene.z
        if side == "y":
            expected[11 - z], seen = mask.T, source[11 - z].T
        else:
            expected[:, z], seen = mask.T[::-1], source[::-1, z].T
        np.testing.assert_array_equal(written.dataobj, expected)
        np.testing.assert_array_equal(
            workplace.scene.read(0, slice(0, rows), slice(0, cols))[..., 0], seen
        )


def test_channels_go_together_and_other_stacks_are_hidden(
    make_napari_viewer: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "cells.ome.tif"
    pixels = np.stack([STACK, STACK[::-1]], axis=1)
    tifffile.imwrite(path, pixels, metadata={"axes": "ZCYX"})
    viewer = make_napari_viewer()
    sides = Sides(viewer)
    other, flat = (viewer.add_image(pixels, name="other") for pixels in (STACK[:9], STACK[0]))
    before = [viewer.add_image(data, **options) for data, options, _ in image_layers(path)]
    before[1].gamma = 0.5
    viewer.dims.set_point(0, 11)
    chosen = sides.turn(before[1], "x")
    turned = [layer for layer in viewer.layers if layer not in (other, flat)]
    assert turned[1] is chosen
    assert chosen.gamma == 0.5
    assert (other.visible, flat.visible) == (False, True)
    for channel, layer in enumerate(turned):
        assert (picture_of(layer).channels, picture_of(layer).along) == (channel, "x")
        np.testing.assert_array_equal(layer.data, np.moveaxis(pixels[:, channel], 2, 0))
    chosen.gamma = 0.8
    assert sides.turn(chosen, "z") is before[1]
    assert list(viewer.layers) == [other, flat, *before]
    assert other.visible
    assert before[1].gamma == 0.8
    assert plane_of(before[1], viewer.dims) == (0, 11)


@pytest.mark.parametrize("side", ["y", "x"])
def test_objects_of_a_side_are_read_where_they_lie(tmp_path: Path, side: Any) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, STACK, metadata={"axes": "ZYX"})
    ((data, options, _),) = image_layers(path)
    picture = picture_of(turned_layer(Image(data, **options), side))
    with Session.create(
        tmp_path / "stack.tif.napari-sam" / "session", picture.open(z=7)
    ) as session:
        session.add_object(MaskRegion(4, 6, np.ones((5, 7), bool)))
    reader = get_reader(str(tmp_path / "stack.tif.napari-sam"))
    assert reader is not None
    _, (labels, options, _) = reader(str(tmp_path / "stack.tif.napari-sam"))
    expected = np.zeros(STACK.shape, int)
    expected[{"y": np.s_[4:9, 7, 6:13], "x": np.s_[4:9, 6:13, 7]}[side]] = 1
    np.testing.assert_array_equal(labels, expected)
    assert options["name"] == f"objects of stack, along {side} (as saved)"
