"""All objects of an image: partial results, filter, jump, keep; with a perfect network."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from everything_scenes import discs, perfect, pixels_of
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from small_model import save_small_model

from napari_sam.segment.everything import running
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.geometry import TileId
from napari_sam.widgets.attached import Attachment, attach
from napari_sam.widgets.everything import EverythingWidget

LABELS = discs((160, 190), (6, 10), 30)
COUNT = int(LABELS.max())
PATIENCE = 20_000


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("weights"))


class Gate:
    """Lets tiles through one by one, or all."""

    def __init__(self) -> None:
        self.tiles: list[TileId] = []
        self._permits = threading.Semaphore(0)
        self._all = threading.Event()
        self.failing: set[TileId] = set()

    def open(self, count: int | None = None) -> None:
        if count is None:
            self._all.set()
        for _ in range(1 if count is None else count):
            self._permits.release()

    def pass_through(self, tile: TileId) -> None:
        if not self._all.is_set():
            self._permits.acquire()
        self.tiles.append(tile)
        if tile in self.failing:
            raise RuntimeError("no reply")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Gate]:
    monkeypatch.setenv("NAPARI_SAM_DATA", str(tmp_path))  # each test finds nothing done before
    gate, click = Gate(), perfect(LABELS)

    def ready(embeddings: Embeddings, tile: TileId) -> Any:
        return SimpleNamespace(tile=tile, window=embeddings.store.geometry.window(tile))

    def gated(ready: Any, *given: Any) -> Any:
        gate.pass_through(ready.tile)
        found = click(ready, *given)
        return replace(found, stabilities=np.full(len(found), 0.97, np.float32))

    monkeypatch.setattr(Embeddings, "at", ready)
    monkeypatch.setattr(running, "click_tile", gated)
    yield gate
    gate.open()


@pytest.fixture
def opened(
    make_napari_viewer: Callable[..., Any], weights: Path, gate: Gate, qtbot: Any
) -> tuple[EverythingWidget, Attachment]:
    """The widget beside an image of a known scale."""
    viewer = make_napari_viewer(show=True)
    viewer.add_image(
        pixels_of(LABELS), name="discs", scale=(0.5, 0.5), units=("micrometer", "micrometer")
    )
    widget = EverythingWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment everything")
    attachment = attach(viewer)
    attachment.use(model=str(weights))
    attachment.ready(60)
    assert attachment.embedder is not None
    attachment.embedder.stop()
    widget.smallest.setValue(5)
    widget.largest.setValue(8)
    widget.regions.setCurrentText("The whole image")
    return widget, attachment


def find(widget: EverythingWidget, qtbot: Any, gate: Gate) -> None:
    gate.open()
    QTest.mouseClick(widget.start, Qt.MouseButton.LeftButton)
    wait_idle(widget, qtbot)


def wait_idle(widget: EverythingWidget, qtbot: Any) -> None:
    qtbot.waitUntil(widget.start.isEnabled, timeout=PATIENCE)


def shown(widget: EverythingWidget) -> int:
    return len(widget.table.objects.rows)


def test_objects_appear_tile_by_tile_and_a_stopped_search_goes_on(
    opened: tuple[EverythingWidget, Attachment], gate: Gate, qtbot: Any
) -> None:
    widget, attachment = opened
    assert widget.unit.currentText() == "µm"
    gate.open(3)
    QTest.mouseClick(widget.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.progress.value() == 3, timeout=PATIENCE)
    qtbot.waitUntil(lambda: 0 < shown(widget) < COUNT, timeout=PATIENCE)
    layer = widget._layer.layer
    assert layer is not None
    painted = np.asarray(layer.data[0][:, :])
    assert painted.any()
    assert not (painted[LABELS == 0]).any()
    QTest.mouseClick(widget.stop, Qt.MouseButton.LeftButton)
    gate.open(1)
    wait_idle(widget, qtbot)
    assert "tiles are left" in widget.status.text()
    done = list(gate.tiles)
    find(widget, qtbot, gate)
    assert widget.status.text() == f"{COUNT} objects found."
    assert not set(done) & set(gate.tiles[len(done) :])
    np.testing.assert_array_equal(np.asarray(layer.data[0][:, :]) > 0, LABELS > 0)
    assert attachment.viewer.layers.selection.active is attachment.image_layer


def test_sliders_filter_without_the_network(
    opened: tuple[EverythingWidget, Attachment], gate: Gate, qtbot: Any
) -> None:
    widget, _ = opened
    find(widget, qtbot, gate)
    asked = len(gate.tiles)
    sizes = np.sqrt(widget.table.objects.rows.areas) * 0.5
    widget.sliders.sizes.setValue((5.0, 6.5))
    few = int((sizes <= 6.5).sum())
    qtbot.waitUntil(lambda: few <= shown(widget) < COUNT, timeout=PATIENCE)
    assert (np.sqrt(widget.table.objects.rows.areas) * 0.5 <= 6.5).all()
    assert f"{shown(widget)}" in widget.keeping.keep.text()
    widget.sliders.predicted_iou.setValue(0.95)  # the perfect network is sure of 0.9
    qtbot.waitUntil(lambda: shown(widget) == 0, timeout=PATIENCE)
    assert not widget.keeping.keep.isEnabled()
    QTest.mouseClick(widget.defaults, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: shown(widget) == COUNT, timeout=PATIENCE)
    assert len(gate.tiles) == asked


def test_the_table_is_sorted_and_a_click_goes_there(
    opened: tuple[EverythingWidget, Attachment], gate: Gate, qtbot: Any
) -> None:
    widget, attachment = opened
    find(widget, qtbot, gate)
    table = widget.table
    heads = [
        table.objects.headerData(column, Qt.Orientation.Horizontal)
        for column in range(table.objects.columnCount())
    ]
    assert "Area, µm²" in heads
    table.sortByColumn(heads.index("Area, px"), Qt.SortOrder.DescendingOrder)
    assert (np.diff(table.objects.rows.areas) <= 0).all()
    place = table.visualRect(table.objects.index(2, 0)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    box = table.objects.rows.region(2)
    assert box in attachment.viewport()
    assert attachment.viewport().area < 0.5 * LABELS.size
    (outline,) = [layer for layer in attachment.viewer.layers if layer.name == "chosen object"]
    inside = np.array([attachment.to_scene(outline.data_to_world(v)) for v in outline.data[0]])
    low, high = inside.min(0), inside.max(0)
    np.testing.assert_allclose(low, (box.row0 - 0.5, box.col0 - 0.5), atol=0.6)
    np.testing.assert_allclose(high, (box.row1 - 0.5, box.col1 - 0.5), atol=0.6)
    QTest.keyClick(table, Qt.Key.Key_Down)
    assert table.objects.rows.region(3) in attachment.viewport()


def test_what_is_kept_is_one_step_of_the_session(
    opened: tuple[EverythingWidget, Attachment], gate: Gate, qtbot: Any
) -> None:
    widget, attachment = opened
    assert attachment.workplace is not None
    session = attachment.workplace.session
    find(widget, qtbot, gate)
    widget.keeping._name.setText("disc")
    QTest.mouseClick(widget.keeping.keep, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "undo takes all of them back" in widget.status.text(), timeout=PATIENCE)
    assert len(session.ids) == COUNT
    assert {row["class"] for row in session.table()} == {"disc"}
    np.testing.assert_array_equal(session.labels() > 0, LABELS > 0)
    assert widget._layer.layer is None
    session.undo()
    assert session.ids == []


def test_only_a_drawn_shape_is_searched(
    opened: tuple[EverythingWidget, Attachment], gate: Gate, qtbot: Any
) -> None:
    widget, attachment = opened
    shapes = attachment.viewer.add_shapes(name="part")
    shapes.add_rectangles(np.array([[0, 0], [0, 40], [40, 40], [40, 0]]))  # µm: 80 pixels
    shapes.add_lines(np.array([[0, 0], [60, 60]]))
    widget.regions.offer()
    widget.regions.setCurrentText("The shape in part")
    gate.open()
    said: list[str] = []
    attachment.said.connect(lambda _, sentence: said.append(sentence))
    QTest.mouseClick(widget.start, Qt.MouseButton.LeftButton)
    assert "select the one that is meant" in said[-1]
    shapes.selected_data = {0}
    find(widget, qtbot, gate)
    inside = {
        int(number)
        for number in np.unique(LABELS[LABELS > 0])
        if (np.argwhere(number == LABELS).mean(0) < 79.5).all()
    }
    assert shown(widget) == len(inside)
    assert max(tile.row for tile in gate.tiles) < 3


def test_failed_tiles_are_listed_and_tried_again(
    opened: tuple[EverythingWidget, Attachment], gate: Gate, qtbot: Any
) -> None:
    widget, _ = opened
    gate.failing = {TileId(0, 0, 1)}
    find(widget, qtbot, gate)
    assert widget.failed.isVisible()
    assert "1 tile failed" in widget.failed.text()
    assert "row 0, column 1: no reply" in widget.failed.text()
    gate.failing = set()
    QTest.mouseClick(widget.retry, Qt.MouseButton.LeftButton)
    wait_idle(widget, qtbot)
    assert not widget.failed.isVisible()
    assert shown(widget) == COUNT


def test_closing_the_image_forgets_what_was_found(
    opened: tuple[EverythingWidget, Attachment], gate: Gate, qtbot: Any
) -> None:
    widget, attachment = opened
    find(widget, qtbot, gate)
    attachment.viewer.layers.remove("discs")
    qtbot.waitUntil(lambda: attachment.workplace is None, timeout=PATIENCE)
    assert shown(widget) == 0
    assert not widget.start.isEnabled()
    assert [layer.name for layer in attachment.viewer.layers] == []
