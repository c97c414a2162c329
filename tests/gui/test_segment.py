"""The main path, with mouse and keys: open, click, choose, keep, undo."""

# ruff: noqa: F401, F811 (fixtures come from another module)

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driving import ALT, CTRL, SHIFT, Discs, discs, drive, own_sessions, until
from napari.utils.action_manager import action_manager
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_sam.errors import InputError
from napari_sam.session import Session
from napari_sam.widgets import commands
from napari_sam.widgets.help import HelpPopup
from napari_sam.widgets.segment import SegmentWidget
from napari_sam.widgets.window import main_window

pytestmark = pytest.mark.usefixtures("own_sessions")

Make = Callable[..., Any]
Key = Qt.Key


def test_click_choose_keep_undo_redo(make_napari_viewer: Make, tmp_path: Path) -> None:
    rows, cols = np.mgrid[:200, :260]
    pixels = np.where(np.hypot(rows - 90, cols - 120) < 40, 190, 60).astype(np.uint8)
    pixels += np.random.default_rng(0).integers(0, 20, pixels.shape, dtype=np.uint8)
    driven = drive(make_napari_viewer(show=True), pixels)
    driven.click(90, 120)
    found = driven.sam.offers.candidates[1]
    assert len(found) == 3
    assert np.count_nonzero(driven.shown()) == found[0].area
    assert driven.viewer.layers["preview"].data.size < pixels.size  # no more than it covers

    driven.key(Key.Key_2)
    assert np.count_nonzero(driven.shown()) == found[1].area
    driven.key(Key.Key_Tab)
    driven.key(Key.Key_Tab)
    assert driven.widget.candidates.group.checkedId() == 1
    driven.key(Key.Key_3)
    driven.widget.class_name.setEditText("disc")
    driven.key(Key.Key_Return)
    assert driven.session.ids == [1]
    assert driven.session.mask(1).area == found[2].area
    assert driven.session.info(1).class_name == "disc"
    assert not driven.shown().any()
    assert len(driven.viewer.layers["prompts"].data) == 0
    assert driven.widget.object.value() == 2

    driven.key(Key.Key_Z, CTRL)
    assert driven.session.ids == []
    assert len(driven.viewer.layers["prompts"].data) == 1  # to go on with
    driven.key(Key.Key_Z, CTRL | SHIFT)
    assert driven.session.ids == [1]
    picture = tmp_path / "window.png"
    assert main_window(driven.viewer).grab().save(str(picture))


def test_several_objects_at_once(make_napari_viewer: Make, discs: list[Discs]) -> None:
    driven = drive(make_napari_viewer(show=True))
    driven.click(20, 20)
    driven.click(24, 24, CTRL)
    driven.key(Key.Key_N)
    driven.click(20, 70)
    driven.widget.object.setValue(7)
    driven.click(60, 60)
    assert {n: len(p.points) for n, p in driven.session.prompts.items()} == {1: 2, 2: 1, 7: 1}
    labels = driven.viewer.layers["prompts"].features["label"]
    assert list(labels) == ["foreground", "background", "foreground", "foreground"]
    shown = driven.shown()
    assert all(shown[place] for place in ((18, 18), (20, 70), (60, 60)))
    assert not shown[24, 24]
    driven.widget.object.setValue(2)
    driven.key(Key.Key_2)
    driven.key(Key.Key_Return, SHIFT)
    assert driven.session.ids == [1, 2, 7]
    assert driven.session.mask(2).area > driven.session.mask(1).area  # the larger disc was chosen
    driven.key(Key.Key_Z, CTRL)
    assert driven.session.ids == [1, 2]

    driven.key(Key.Key_Escape)
    assert not driven.session.prompts
    driven.key(Key.Key_T)
    assert driven.widget.polarity.text() == "not on the object"
    driven.click(40, 40)
    assert not driven.sam.offers.candidates  # what it is not, is no question yet
    driven.click(44, 44, CTRL)
    assert driven.shown()[44, 44]


def test_keys_belong_to_whoever_needs_them(make_napari_viewer: Make, discs: list[Discs]) -> None:
    driven = drive(make_napari_viewer(show=True))
    viewer, image = driven.viewer, driven.viewer.layers["cells"]
    driven.key(Key.Key_2)
    assert str(image.mode) == "transform"  # nothing to choose: it means what napari says
    driven.key(Key.Key_1)
    labels = viewer.add_labels(np.zeros((80, 100), int), name="mine")
    for active in (image, viewer.layers["prompts"], viewer.layers["preview"], labels, None):
        viewer.layers.selection.active = active
        driven.click(40, 40)
        driven.key(Key.Key_3)
        assert driven.sam.offers.choices == {driven.sam.intent.object_id: 2}
        driven.key(Key.Key_Escape)
        assert not driven.session.prompts

    driven.click(40, 40)
    edit = driven.widget.class_name.lineEdit()
    assert edit is not None
    edit.setFocus()
    QTest.keyClicks(edit, "c1th")
    QTest.keyClick(edit, Key.Key_Return)
    driven.settle()
    assert edit.text() == "c1th"
    assert driven.session.ids == []

    viewer.layers.selection.active = labels
    labels.mode = "paint"
    driven.click(60, 20)  # paints
    assert labels.data[60, 20]
    assert len(driven.session.prompts) == 1
    driven.key(Key.Key_Z, CTRL)  # of what is painted
    assert not labels.data.any()
    assert len(driven.session.prompts) == 1


def test_keys_are_listed_and_can_be_changed(make_napari_viewer: Make, discs: list[Discs]) -> None:
    driven = drive(make_napari_viewer(show=True))
    name = "napari-sam:accept"
    before = action_manager.unbind_shortcut(name)
    try:
        action_manager.bind_shortcut(name, "K")
        driven.click(40, 40)
        driven.key(Key.Key_Return)
        assert driven.session.ids == []
        driven.key(Key.Key_K)
        assert driven.session.ids == [1]
        driven.key(Key.Key_H)
        popup = main_window(driven.viewer).findChild(HelpPopup)
        assert popup is not None
        assert "<b>K</b></td><td>Keep the candidate as an object" in popup.text.text()
        popup.close()
    finally:
        action_manager.unbind_shortcut(name)
        for key in before or ():
            action_manager.bind_shortcut(name, key)


def test_objects_are_picked_corrected_split_merged_deleted(
    make_napari_viewer: Make,
    discs: list[Discs],
) -> None:
    driven = drive(make_napari_viewer(show=True))
    session, sam = driven.session, driven.sam
    for place in ((20, 20), (20, 50)):
        driven.click(*place)
        driven.key(Key.Key_C)
    driven.click(20, 20, SHIFT)
    driven.click(20, 50, SHIFT)
    assert sam.intent.picked == (1, 2)
    driven.key(Key.Key_M)
    assert session.ids == [1]
    driven.key(Key.Key_S)  # it is in two pieces
    assert session.ids == [1, 3]
    driven.click(70, 90, SHIFT)  # nowhere
    assert sam.intent.picked == ()
    driven.click(20, 50, SHIFT)
    driven.key(Key.Key_Delete)
    assert len(session.ids) == 1
    (left,) = session.ids
    area = session.mask(left).area

    driven.click(20, 20, ALT)
    assert session.prompts[left].mask == "object"
    driven.click(20, 24, CTRL)
    driven.key(Key.Key_Return)
    assert session.ids == [left]
    assert session.mask(left).area < area
    assert discs[-1].asked[-1]["mask"].mask.any()

    driven.click(20, 20, SHIFT)
    shapes = driven.viewer.layers["prompt shapes"]
    shapes.add([[4, 20], [40, 20]], shape_type="path")
    driven.settle()
    driven.widget.split.click()
    driven.settle()
    assert len(session.ids) == 2


def test_what_is_under_the_pointer_is_shown(
    make_napari_viewer: Make, discs: list[Discs], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_sam.live.preview.QUICK", 60.0)  # a busy machine is no failure
    driven = drive(make_napari_viewer(show=True))
    assert not driven.widget.hover.isEnabled()  # how long it takes is not known yet
    driven.click(20, 20)
    driven.key(Key.Key_Escape)
    assert driven.widget.hover.isEnabled()
    driven.widget.hover.click()
    QTest.mouseMove(driven.native, driven.at(50, 60))
    until(lambda: driven.sam.offers.hovered is not None)
    assert driven.shown()[50, 60]
    assert not driven.session.prompts
    driven.click(50, 60)
    assert driven.session.prompts


# Not shown: Mesa's software renderer crashes in what napari draws after it removed shapes.
def test_layers_are_removed_renamed_replaced(make_napari_viewer: Make, discs: list[Discs]) -> None:
    viewer = make_napari_viewer()
    driven = drive(viewer)
    commands.point(driven.sam, 20, 20, True)
    driven.settle()
    said: list[str] = []
    driven.sam.said.connect(lambda level, sentence: said.append(sentence))
    viewer.layers.remove("prompts")
    viewer.layers.remove("preview")
    assert "prompts are kept" in said[-1]
    commands.point(driven.sam, 22, 22, True)
    driven.settle()
    assert len(viewer.layers["prompts"].data) == 2
    assert driven.shown()[20, 20]
    driven.key(Key.Key_Return)

    image = viewer.layers["cells"]
    image.name = "others"
    assert driven.widget.image.currentText() == "others"
    commands.point(driven.sam, 60, 60, True)
    driven.settle()
    image.data = np.zeros((80, 100), np.uint8)
    driven.settle()
    assert driven.sam.workplace is None
    assert "other pixels" in said[-1]
    assert [layer.name for layer in viewer.layers] == ["others"]

    viewer.layers.remove(image)
    pixels = np.random.default_rng(0).integers(0, 255, (80, 100), dtype=np.uint8)
    image = viewer.add_image(pixels, name="the first again")
    driven.widget.start.click()
    driven.sam.ready(60)
    driven.settle()
    assert driven.session.ids == [1]
    assert len(viewer.layers["prompts"].data) == 1
    (pending,) = driven.session.prompts
    assert driven.widget.object.value() == pending == commands.target(driven.sam)
    assert all(button.isEnabled() for button in driven.widget.candidates.group.buttons())
    viewer.layers.remove(image)
    driven.settle()
    assert driven.sam.workplace is None
    assert "was removed" in said[-1]
    assert len(viewer.layers) == 0


def test_two_viewers_and_two_images(make_napari_viewer: Make, discs: list[Discs]) -> None:
    one, other = (
        drive(make_napari_viewer()),
        drive(make_napari_viewer(), np.full((60, 60), 7, np.uint8) + np.arange(60, dtype=np.uint8)),
    )
    one.click(20, 20)
    other.click(30, 30)
    other.click(32, 32)
    one.key(Key.Key_Return)
    assert one.session.ids == [1]
    assert other.session.ids == []
    assert len(other.session.prompts[1].points) == 2

    # The same pixels in the second viewer: their session is open in the first.
    same = other.viewer.add_image(one.viewer.layers["cells"].data, name="same")
    other.viewer.layers.selection.active = same
    other.widget.start.click()
    with pytest.raises(InputError):
        other.sam.ready(60)
    assert one.session.ids == [1]
    other.viewer.layers.selection.active = other.viewer.layers["cells"]
    other.widget.start.click()
    other.sam.ready(60)
    other.settle()
    assert len(other.session.prompts[1].points) == 2


def test_what_fails_is_told_in_a_sentence(
    make_napari_viewer: Make,
    discs: list[Discs],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driven = drive(make_napari_viewer(show=True))
    before = len(notification_manager.records)
    said: list[tuple[str, str]] = []
    driven.sam.said.connect(lambda level, sentence: said.append((level, sentence)))

    def fail(self: Any, **_: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Discs, "prompt", fail)
        driven.click(20, 20)
        until(lambda: said)
    level, sentence = said[-1]
    assert level == "warning"
    assert "not enough memory" in sentence
    driven.click(22, 22)
    assert driven.sam.offers.candidates
    driven.widget.delete.setEnabled(True)
    driven.widget.delete.click()
    assert "Pick the objects to be deleted" in said[-1][1]
    assert all(note.severity != "error" for note in notification_manager.records[before:])


def test_closing_while_something_is_answered(
    make_napari_viewer: Make,
    discs: list[Discs],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began, go_on = threading.Event(), threading.Event()

    def wait(self: Any, **prompts: Any) -> Any:
        began.set()
        assert go_on.wait(60)
        return []

    viewer = make_napari_viewer(show=True)
    driven = drive(viewer)
    session = driven.session
    monkeypatch.setattr(Discs, "prompt", wait)
    QTest.mouseClick(
        driven.native, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, driven.at(20, 20)
    )
    until(began.is_set)
    threading.Timer(0.3, go_on.set).start()
    viewer.close()
    with pytest.raises(InputError, match="closed"):
        session.add_point(1, 1)
    with Session.open(session.path, session.scene) as again:  # nobody has it any more
        assert len(again.prompts[1].points) == 1


def test_closing_while_an_image_is_opened(
    make_napari_viewer: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from napari_sam.live.workplace import Workplace

    opened: list[Workplace] = []
    began, go_on = threading.Event(), threading.Event()
    real = Workplace.open.__func__  # type: ignore[attr-defined]

    def slow(cls: Any, *arguments: Any, **options: Any) -> Workplace:
        began.set()
        assert go_on.wait(60)
        opened.append(real(cls, *arguments, **options))
        return opened[-1]

    monkeypatch.setattr(Workplace, "open", classmethod(slow))
    viewer = make_napari_viewer(show=True)
    viewer.add_image(np.random.default_rng(3).integers(0, 255, (60, 70), dtype=np.uint8))
    widget = SegmentWidget(viewer)
    viewer.window.add_dock_widget(widget)
    assert widget.attachment.busy  # the only image is opened by itself
    until(began.is_set)
    threading.Timer(0.2, go_on.set).start()
    viewer.close()
    until(lambda: opened)
    until(lambda: not any(t.name.startswith("opening") for t in threading.enumerate()))
    Session.open(opened[0].session.path, opened[0].scene).close()  # nobody has it
