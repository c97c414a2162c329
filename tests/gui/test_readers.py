"""What napari opens and saves itself: sessions, and stores of embeddings."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari._qt.dialogs.qt_reader_dialog import QtReaderDialog
from napari.layers import Image, Labels
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QRadioButton

from napari_sam.errors import InputError
from napari_sam.scene import PixelSize, open_scene
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.session import Session
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo
from napari_sam.widgets.opening import image_layers
from napari_sam.widgets.pictures import picture_of
from napari_sam.widgets.pointer import scene_position
from napari_sam.widgets.readers import get_reader, write_session

PLUGIN = "napari-sam-tiled"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, np.random.default_rng(1).integers(0, 255, (200, 300), dtype=np.uint8))
    return path


@pytest.fixture
def labels() -> np.ndarray:
    labels = np.zeros((200, 300), np.int32)
    labels[10:30, 20:50], labels[60:90, 100:140] = 1, 7
    return labels


@pytest.fixture
def folder(image: Path, labels: np.ndarray) -> Path:
    """The folder of an image that has a session."""
    folder = image.with_name("cells.tif.napari-sam")
    assert write_session(str(folder), labels, {"name": "cell"}) == [str(folder)]
    return folder


def read(path: Path) -> list[Any]:
    reader = get_reader(str(path))
    assert reader is not None
    return reader(str(path))


@pytest.mark.parametrize("inside", ["", "session", "session/session.json"])
def test_a_session_is_its_image_and_its_objects(
    make_napari_viewer: Callable[..., Any],
    image: Path,
    folder: Path,
    labels: np.ndarray,
    inside: str,
) -> None:
    viewer = make_napari_viewer()
    shown, objects = viewer.open(folder / inside, plugin=PLUGIN)
    assert isinstance(shown, Image)
    assert isinstance(objects, Labels)
    np.testing.assert_array_equal(objects.data, labels)
    assert objects.features["class"].tolist() == ["cell", "cell"]
    # Whoever segments goes on with the same session, not with one of the folder.
    assert picture_of(shown).path == image
    Session.open(folder / "session", open_scene(image)).close()


def test_labels_saved_from_the_menu_become_a_session(
    make_napari_viewer: Callable[..., Any], image: Path, labels: np.ndarray
) -> None:
    viewer = make_napari_viewer()
    viewer.add_labels(labels, name="nuclei")
    path = f"{image}.napari-sam"
    assert viewer.layers.save(path, plugin=PLUGIN) == [path]
    _, (data, options, _) = read(Path(path))
    np.testing.assert_array_equal(data, labels)
    assert options["features"]["class"] == ["nuclei", "nuclei"]


def test_objects_of_a_stack_lie_in_their_planes(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    stack = np.random.default_rng(1).integers(0, 255, (3, 40, 50), dtype=np.uint8)
    tifffile.imwrite(path, stack, metadata={"axes": "ZYX"}, photometric="minisblack")
    where = tmp_path / "stack.tif.napari-sam" / "session"
    with Session.create(where, open_scene(path, z=0)) as session:
        session.add_object(MaskRegion(0, 0, np.ones((5, 5), bool)))
        session.go_to(open_scene(path, z=2))
        session.add_object(MaskRegion(3, 2, np.ones((9, 4), bool)))
    _, (data, options, _) = read(where)
    assert data.shape == stack.shape
    assert options["axis_labels"] == ("z", "y", "x")
    planes = np.asarray(data)
    assert [np.unique(plane).tolist() for plane in planes] == [[0, 1], [0], [0, 2]]
    assert planes[2].astype(bool).sum() == 36


def test_a_large_session_is_painted_where_it_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "large.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (9000, 12_000))[:9, :9] = 1
    where = tmp_path / "large.npy.napari-sam" / "session"
    with Session.create(where, open_scene(path)) as session:
        session.add_object(MaskRegion(4000, 6000, np.ones((40, 40), bool)))
    (_, shown, _), (levels, options, _) = read(where)
    assert shown["multiscale"]
    assert options["multiscale"]
    assert levels[0].shape == (9000, 12_000)
    assert max(levels[-1].shape) <= 2048
    assert levels[0][4000:4040, 6000:6040].all()
    assert levels[2][1000:1010, 1500:1510].all()


def test_a_store_is_a_map_of_its_tiles(make_napari_viewer: Callable[..., Any], image: Path) -> None:
    scene = open_scene(image)
    model = ModelInfo("0" * 64, {"name": "none", "image_size": 64}, (4, 4, 4))
    where = image.with_name("cells.embeddings")
    store = EmbeddingStore.create(
        where, SceneInfo.of(scene), model, TileGeometry(scene.shape, 64, 8)
    )
    store.write(TileId(0, 0, 0), np.zeros((4, 4, 4), np.float32))
    store.mark_failed(TileId(0, 1, 2), "as it happens")
    store.mark_empty(TileId(1, 0, 0), "constant")
    viewer = make_napari_viewer()
    shown, finest, coarser, *_ = viewer.open(where, plugin=PLUGIN)
    assert picture_of(shown).path == image
    core = store.geometry.core(TileId(0, 1, 2))
    assert finest.get_value((core.row0 + 5, core.col0 + 5), world=True) == 3
    assert finest.get_value((3, 3), world=True) == 1
    assert not finest.get_value((150, 250), world=True)
    assert finest.visible
    assert not coarser.visible
    coarser.visible = True
    assert coarser.get_value((2, 2), world=True) == 2


def test_other_folders_are_left_to_others(tmp_path: Path, image: Path) -> None:
    (tmp_path / "pictures.zarr").mkdir()
    (tmp_path / "pictures.zarr" / "zarr.json").write_text("{}")
    (tmp_path / "empty.napari-sam").mkdir()
    for path in (tmp_path, image, tmp_path / "pictures.zarr", tmp_path / "empty.napari-sam"):
        assert get_reader(str(path)) is None
    assert get_reader([str(image), str(image)]) is None


def test_a_session_whose_image_moved_with_it_is_found(
    folder: Path, image: Path, labels: np.ndarray, tmp_path: Path
) -> None:
    there = tmp_path / "elsewhere"
    there.mkdir()
    shutil.move(image, there)
    shutil.move(folder, there)
    _, (data, _, _) = read(there / folder.name)
    np.testing.assert_array_equal(data, labels)


def test_what_cannot_be_opened_or_saved_is_said(
    folder: Path, image: Path, labels: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="is a session already"):
        write_session(str(folder), labels, {})
    with pytest.raises(InputError, match=r"no .*other\.tif that these could be the objects of"):
        write_session(str(tmp_path / "other.tif.napari-sam"), labels, {})
    image.unlink()
    with pytest.raises(InputError, match=r"The image of the session .* is not there"):
        read(folder)


def test_a_session_is_dropped_on_the_window(
    make_napari_viewer: Callable[..., Any],
    folder: Path,
    image: Path,
    labels: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offered: list[str] = []

    def choose(dialog: QtReaderDialog) -> tuple[str, bool]:
        # napari has a reader for all folders as well, and asks.
        offered.extend(button.text() for button in dialog.findChildren(QRadioButton))
        return "Segment Anything", False

    monkeypatch.setattr(QtReaderDialog, "get_user_choices", choose)
    viewer = make_napari_viewer()
    window = viewer.window._qt_viewer
    for path in (folder, folder / "session" / "session.json"):
        viewer.layers.clear()
        dropped = QMimeData()
        dropped.setUrls([QUrl.fromLocalFile(str(path))])
        window.dropEvent(
            QDropEvent(
                QPointF(9, 9),
                Qt.DropAction.CopyAction,
                dropped,
                Qt.MouseButton.LeftButton,
                Qt.KeyboardModifier.NoModifier,
            )
        )
        shown, objects = viewer.layers
        assert picture_of(shown).path == image
        np.testing.assert_array_equal(objects.data, labels)
    assert "Segment Anything" in offered


def test_layers_have_the_size_of_the_file_s_pixels(tmp_path: Path) -> None:
    path = tmp_path / "sized.ome.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (3, 60, 80), dtype=np.uint8)
    size = {"PhysicalSizeY": 0.5, "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(path, pixels, metadata={"axes": "ZYX", **size, "PhysicalSizeYUnit": "µm"})
    ((data, options, _),) = image_layers(path)
    layer = Image(data, **options)
    assert tuple(layer.scale) == (1, 0.5, 0.25)
    assert [str(unit) for unit in layer.units] == ["pixel", "micrometer", "micrometer"]
    assert scene_position(layer, (1, 10, 10)) == (20, 40)
    assert picture_of(layer).pixel_size is None  # the file says it
    assert picture_of(layer).open().pixel_size == PixelSize(0.5, 0.25, "µm")
    layer.scale = (1, 1, 1)
    assert picture_of(layer).open().pixel_size == PixelSize(1, 1, "micrometer")
    scene = picture_of(Image(data, **options)).open()
    session = Session.create(tmp_path / "sized.ome.tif.napari-sam" / "session", scene)
    session.add_object(MaskRegion(4, 6, np.ones((5, 7), bool)))
    session.close()
    reader = get_reader(str(tmp_path / "sized.ome.tif.napari-sam"))
    assert reader is not None
    _, (labels, options, _) = reader(str(session.path))
    assert tuple(Labels(labels, **options).scale) == (1, 0.5, 0.25)
