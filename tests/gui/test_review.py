"""Looking through objects in a viewer: right, corrected or deleted, and what is like one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from everything_scenes import discs, pixels_of
from made_sessions import MODEL, Discs
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from small_model import save_small_model

from napari_sam.live.object_rows import ObjectRows
from napari_sam.segment.objects import Candidate
from napari_sam.session import Session
from napari_sam.tiles.encoding import encode
from napari_sam.widgets.attached import Attachment, attach
from napari_sam.widgets.object_table import ObjectTable
from napari_sam.widgets.review import ReviewWidget
from napari_sam.widgets.window import canvas

LABELS = discs((160, 190), (6, 10), 5)
PATIENCE = 20_000


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def opened(
    make_napari_viewer: Callable[..., Any],
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Attachment, Session]:
    """An image with five objects; the higher an id, the more doubtful."""
    monkeypatch.setenv("NAPARI_SAM_DATA", str(tmp_path))
    viewer = make_napari_viewer(show=True)
    viewer.add_image(pixels_of(LABELS), name="discs")
    attachment = attach(viewer)
    attachment.use(model=str(weights))
    session = attachment.ready(60).session
    assert attachment.embedder is not None
    attachment.embedder.stop()
    found = []
    for number in range(1, 6):
        rows, cols = np.nonzero(number == LABELS)
        box = rows.min(), cols.min()
        mask = LABELS[box[0] : rows.max() + 1, box[1] : cols.max() + 1] == number
        found.append(Candidate(int(box[0]), int(box[1]), mask, 1 - number / 10, 1.0, "grid"))
    session.add_objects(found)
    session.use(Discs(LABELS.shape), MODEL)
    return attachment, session


def docked(attachment: Attachment, widget: Any, qtbot: Any) -> Any:
    attachment.viewer.window.add_dock_widget(widget)
    qtbot.waitUntil(widget.isVisible, timeout=PATIENCE)
    return widget


def press(button: Any) -> None:
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def test_objects_are_looked_through_by_buttons(
    opened: tuple[Attachment, Session], qtbot: Any
) -> None:
    attachment, session = opened
    review = docked(attachment, ReviewWidget(attachment.viewer), qtbot)
    qtbot.waitUntil(lambda: review.progress.maximum() == 5, timeout=PATIENCE)
    press(review.next_button)
    assert review.current == 5
    assert session.mask(5).box in attachment.viewport()
    assert "Object 5" in review.about.text()
    press(review.accept_button)
    assert (review.current, review.progress.value()) == (4, 1)
    press(review.delete_button)
    qtbot.waitUntil(lambda: review.progress.maximum() == 4, timeout=PATIENCE)
    assert session.ids == [1, 2, 3, 5]
    assert review.current == 3
    session.undo()
    qtbot.waitUntil(lambda: review.progress.maximum() == 5, timeout=PATIENCE)
    press(review.next_button)
    assert review.current == 2
    press(review.back_button)
    assert review.current == 3
    # A row of the table is clicked.
    place = review.table.objects.place_of(1)
    cell = review.table.visualRect(review.table.objects.index(place, 0)).center()
    QTest.mouseClick(review.table.viewport(), Qt.MouseButton.LeftButton, pos=cell)
    assert review.current == 1
    assert session.mask(1).box in attachment.viewport()
    (outline,) = [layer for layer in attachment.viewer.layers if layer.name == "chosen object"]
    assert len(outline.data) == 1
    # Another widget finds what was reviewed.
    again = docked(attachment, ReviewWidget(attachment.viewer), qtbot)
    assert again.progress.value() == 1


def test_one_that_is_corrected_is_reviewed(opened: tuple[Attachment, Session], qtbot: Any) -> None:
    attachment, session = opened
    review = docked(attachment, ReviewWidget(attachment.viewer), qtbot)
    press(review.next_button)
    press(review.fix_button)
    assert session.prompts[5].mask == "object"
    before = session.mask(5)
    qtbot.waitUntil(lambda: 5 in attachment.offers.candidates, timeout=PATIENCE)
    QTest.keyClick(canvas(attachment.viewer), Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: review.current == 4, timeout=PATIENCE)
    assert review.progress.value() == 1
    assert session.mask(5) != before
    session.undo()
    qtbot.waitUntil(lambda: review.progress.value() == 0, timeout=PATIENCE)


def test_the_keys_of_a_review(opened: tuple[Attachment, Session], qtbot: Any) -> None:
    attachment, session = opened
    review = docked(attachment, ReviewWidget(attachment.viewer), qtbot)
    native = canvas(attachment.viewer)
    for key, then in (
        (Qt.Key.Key_J, lambda: review.current == 5),
        (Qt.Key.Key_A, lambda: review.current == 4 and review.progress.value() == 1),
        (Qt.Key.Key_X, lambda: session.ids == [1, 2, 3, 5]),
        (Qt.Key.Key_K, lambda: review.current == 5),
        (Qt.Key.Key_F, lambda: session.prompts[5].mask == "object"),
    ):
        QTest.keyClick(native, key)
        qtbot.waitUntil(then, timeout=PATIENCE)


def test_objects_like_one(opened: tuple[Attachment, Session], qtbot: Any) -> None:
    attachment, session = opened
    workplace = attachment.workplace
    assert workplace is not None
    review = docked(attachment, ReviewWidget(attachment.viewer), qtbot)
    review.go_to(2)
    encode(workplace.scene, workplace.sam, workplace.store)
    press(review.alike_button)
    qtbot.waitUntil(review.all_button.isEnabled, timeout=PATIENCE)
    model = review.table.objects
    assert sorted(model.rows.ids.tolist()) == [1, 3, 4, 5]
    heads = [
        model.headerData(column, Qt.Orientation.Horizontal) for column in range(model.columnCount())
    ]
    alike = heads.index("Alike")
    values = [float(model.data(model.index(row, alike))) for row in range(4)]
    assert values == sorted(values, reverse=True)
    session.delete(3)
    qtbot.waitUntil(lambda: model.rowCount() == 3, timeout=PATIENCE)
    press(review.all_button)
    assert sorted(model.rows.ids.tolist()) == [1, 2, 4, 5]


def many(count: int) -> ObjectRows:
    random = np.random.default_rng(0)
    return ObjectRows(
        ids=np.arange(1, count + 1),
        classes=np.full(count, "", object),
        areas=random.integers(1, 1000, count),
        predicted_ious=random.random(count),
        stabilities=random.random(count),
        doubts=np.where(np.arange(count) % 7, random.random(count), np.nan),
        levels=np.zeros(count, np.int64),
        boxes=np.zeros((count, 4), np.int64),
    )


def test_a_table_keeps_what_is_chosen_when_objects_change(qtbot: Any) -> None:
    table = ObjectTable(None)
    qtbot.addWidget(table)
    rows = many(10_000)
    table.objects.set_rows(rows)
    table.select(777)
    doubts = table.objects.rows.doubts
    known = doubts[~np.isnan(doubts)]
    assert (np.diff(known) <= 0).all()  # the most doubtful first
    assert np.isnan(doubts[len(known) :]).all()  # what is unknown comes last

    def marked() -> int:
        return int(table.objects.data(table.currentIndex(), Qt.ItemDataRole.UserRole))

    assert marked() == 777
    table.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    assert marked() == 777
    assert table.objects.rows.ids[0] == 10_000
    table.objects.set_rows(rows.replaced({5, 6}, ObjectRows.none()))
    assert marked() == 777
    assert table.objects.rowCount() == 9_998
    table.objects.set_rows(rows.replaced({777}, ObjectRows.none()))
    assert table.current is None
