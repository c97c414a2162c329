"""A medical volume is shown in its true proportions, with letters for the sides of the patient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QCoreApplication
from qtpy.QtGui import QResizeEvent

from napari_sam.live.picture import Picture
from napari_sam.scene import PixelSize
from napari_sam.widgets.opening import image_layers, tell_notes
from napari_sam.widgets.orientation import show_orientation
from napari_sam.widgets.pictures import picture_of, plane_of
from napari_sam.widgets.readers import get_reader

nibabel = pytest.importorskip("nibabel")

AXIAL = {"top": "A", "bottom": "P", "left": "R", "right": "L"}
CORONAL = {"top": "S", "bottom": "I", "left": "R", "right": "L"}
SAGITTAL = {"top": "S", "bottom": "I", "left": "A", "right": "P"}


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """20 x 30 x 8 voxels of 2 x 3 x 5 mm; the axes of the file run to the left, front and head."""
    values = np.arange(20 * 30 * 8, dtype=np.int16).reshape(20, 30, 8)
    path = tmp_path / "head.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-2, 3, 5, 1])), path)
    return path


def add(viewer: Any, path: Path) -> Image:
    ((data, options, _),) = image_layers(path)
    return viewer.add_image(data, **options)


def test_volumes_have_depth_and_open_in_the_middle(
    make_napari_viewer: Callable[..., Any], volume: Path
) -> None:
    viewer = make_napari_viewer()
    layer = add(viewer, volume)
    assert layer.data.shape == (8, 30, 20)
    assert tuple(layer.scale) == (5, 3, 2)
    assert {str(unit) for unit in layer.units} == {"millimeter"}
    assert plane_of(layer, viewer.dims) in ((0, 3), (0, 4))
    picture = picture_of(layer)
    assert isinstance(picture, Picture)
    scene = picture.open(z=3)
    assert scene.pixel_size == PixelSize(3, 2, "millimeter")
    assert (scene.depth, scene.grid) == (5, layer.metadata["image_grid"])


def test_letters_follow_what_is_displayed(
    make_napari_viewer: Callable[..., Any], volume: Path
) -> None:
    viewer = make_napari_viewer()
    orientation = show_orientation(viewer)
    assert show_orientation(viewer) is orientation
    assert orientation.letters == {}
    layer = add(viewer, volume)
    assert orientation.letters == AXIAL
    viewer.dims.order = (1, 0, 2)
    assert orientation.letters == CORONAL
    viewer.dims.order = (2, 0, 1)
    assert orientation.letters == SAGITTAL
    viewer.dims.order = (0, 2, 1)  # transposed
    assert orientation.letters == {"top": "R", "bottom": "L", "left": "A", "right": "P"}
    viewer.dims.order = (0, 1, 2)
    viewer.scene.camera.orientation2d = ("up", "left")
    assert orientation.letters == {"top": "P", "bottom": "A", "left": "L", "right": "R"}
    viewer.scene.camera.orientation2d = ("down", "right")
    layer.scale = (5, 3, -2)  # mirrored by hand
    assert orientation.letters == AXIAL | {"left": "L", "right": "R"}
    layer.scale = (5, 3, 2)
    viewer.dims.ndisplay = 3
    assert orientation.letters == {}
    viewer.dims.ndisplay = 2
    layer.visible = False
    assert orientation.letters == {}
    layer.visible = True
    viewer.add_image(np.zeros((4, 8, 30, 20)))  # the world has an axis more
    viewer.layers.selection.active = layer
    assert orientation.letters == AXIAL
    viewer.layers.remove(layer)
    assert orientation.letters == {}


def test_letters_stay_at_the_edges(make_napari_viewer: Callable[..., Any], volume: Path) -> None:
    viewer = make_napari_viewer()
    orientation = show_orientation(viewer)
    add(viewer, volume)
    native = orientation.labels["top"].parentWidget()
    for size in ((500, 400), (700, 300)):
        native.resize(*size)
        QCoreApplication.sendEvent(native, QResizeEvent(native.size(), native.size()))  # hidden
        places = {edge: label.geometry().center() for edge, label in orientation.labels.items()}
        width, height = native.width(), native.height()
        assert abs(places["top"].x() - width / 2) < 3
        assert abs(places["left"].y() - height / 2) < 3
        assert places["top"].y() < 40 < height - 40 < places["bottom"].y()
        assert places["left"].x() < 40 < width - 40 < places["right"].x()


def test_other_pixels_in_the_layer_have_no_sides(
    make_napari_viewer: Callable[..., Any], volume: Path
) -> None:
    viewer = make_napari_viewer()
    orientation = show_orientation(viewer)
    layer = add(viewer, volume)
    layer.data = np.asarray(layer.data)[:, ::-1]
    assert orientation.letters == {}


def test_napari_opens_volumes_and_says_once_what_is_odd(
    make_napari_viewer: Callable[..., Any], volume: Path, tmp_path: Path
) -> None:
    viewer = make_napari_viewer()
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4))
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    path = tmp_path / "nowhere.nii"
    nibabel.save(image, path)
    notification_manager.records.clear()
    for given in (volume, path):
        reader = get_reader(str(given))
        assert reader is not None
        for data, options, _ in reader(str(given)):
            viewer.add_image(data, **options)
    assert show_orientation(viewer).letters == AXIAL
    (said,) = [record.message for record in notification_manager.records]
    assert said.startswith("nowhere: ")
    assert "does not say how it lies" in said
    assert get_reader(str(tmp_path / "picture.png")) is None


def test_notes_of_several_channels_are_said_once() -> None:
    notification_manager.records.clear()
    metadata = {"image_path": "a.tif", "image_notes": ("It is odd.",)}
    tell_notes([(None, {"metadata": metadata}, "image")] * 3)
    assert [record.message for record in notification_manager.records] == ["a: It is odd."]


def test_a_real_series_is_shown_in_its_own_window(
    make_napari_viewer: Callable[..., Any], shared: Path
) -> None:
    pytest.importorskip("pydicom")
    viewer = make_napari_viewer()
    layer = add(viewer, shared / "devdata" / "medical" / "ct_dicom")
    assert tuple(layer.scale) == (2, 0.9765625, 0.9765625)
    assert tuple(layer.contrast_limits) == (-110, 189)
    assert show_orientation(viewer).letters == AXIAL
