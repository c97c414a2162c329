"""An object followed through a stack in a viewer: seen, stopped, jumped to, corrected, repeated."""

# ruff: noqa: F401 (fixtures come from another module)

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from driving import CTRL, LEFT, PLAIN, SHIFT, Driven, drive, own_sessions, until
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

import napari_sam
from napari_sam.errors import InputError
from napari_sam.segment.objects import Candidate, cut_candidate
from napari_sam.widgets.propagate import PropagateWidget
from napari_sam.widgets.scripting import propagate

pytestmark = pytest.mark.usefixtures("own_sessions")

PLANES, SIDE, RADIUS = 9, 96, 14
ENDS = 7
"""The first plane in which the object is not any more."""


def middle(z: int) -> tuple[int, int]:
    return 48, 34 + 3 * z


def disc(z: int, radius: float = RADIUS) -> np.ndarray:
    rows, cols = np.mgrid[:SIDE, :SIDE]
    row, col = middle(z)
    return np.hypot(rows - row, cols - col) <= radius


class Tube:
    """Sees the disc of its plane, when it may."""

    gate = threading.Event()

    def __init__(self, scene: Any, *_: Any) -> None:
        self.shape, self.number = scene.shape, scene.z + scene.t

    def prompt(self, **prompts: Any) -> list[Candidate]:
        assert self.gate.wait(30)
        if self.number >= ENDS:
            raise InputError("There is nothing to be seen.")
        missing = np.zeros(self.shape, bool)
        for (_, col), on in zip(prompts.get("points", ()), prompts.get("labels", ()), strict=False):
            if not on:
                missing[:, : int(col) + 1] = True
        sure = 0.95 - 0.1 * abs(self.number - 3)
        return [cut_candidate(disc(self.number) & ~missing, sure, 0.95, "box")]


STACK = np.stack([np.where(disc(z) & (z < ENDS), 190, 60) for z in range(PLANES)]).astype(np.uint8)


@pytest.fixture
def tube(monkeypatch: pytest.MonkeyPatch) -> type[Tube]:
    for module in ("workplace", "slices"):
        monkeypatch.setattr(f"napari_sam.live.{module}.Segmenter", Tube)
    Tube.gate.set()
    return Tube


def opened(viewer: Any, image: Any = STACK, **options: Any) -> tuple[Driven, PropagateWidget]:
    driven = drive(viewer, image, **options)
    widget = PropagateWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Propagate")
    go(driven, 3)
    return driven, widget


def go(driven: Driven, number: int) -> None:
    driven.viewer.dims.set_current_step(0, number)
    until(lambda: 0 <= sum(driven.session.plane) == number and not driven.sam.busy)
    driven.settle()


def keep(driven: Driven, number: int) -> int:
    driven.click(*middle(number))
    driven.key(Qt.Key.Key_Return)
    until(lambda: driven.session.ids)
    driven.settle()
    return int(max(driven.session.ids))


def done(widget: PropagateWidget) -> None:
    until(lambda: widget._job is None)


def kinds(widget: PropagateWidget) -> str:
    return "".join("+" if c.kind == "followed" else c.kind[0] for c in widget.strip.cells)


def jump(widget: PropagateWidget, number: int) -> None:
    """Click on the cell of a plane."""
    place = widget.strip.middle_of(widget.strip.cells[number].plane)
    QTest.mouseClick(widget.strip, LEFT, PLAIN, QPoint(int(place.x()), int(place.y())))


def test_click_follow_jump_correct_again_undo(
    make_napari_viewer: Callable[..., Any], tube: type[Tube]
) -> None:
    driven, widget = opened(make_napari_viewer(show=True))
    assert not widget.start.isEnabled()
    assert "Keep an object" in widget.about.text()
    number = keep(driven, 3)
    assert widget.track == number
    assert kinds(widget) == "nnnfnnnnn"
    widget.planes.setValue(1)
    widget.start.click()
    done(widget)
    assert kinds(widget) == "nn+f+nnnn"
    widget.planes.setValue(0)
    widget.start.click()
    done(widget)
    assert kinds(widget) == "+++f+++ln"
    assert "nothing to be seen" in widget.status.text()
    assert "nothing to be seen" in widget.strip.cells[ENDS].note
    assert "least sure" in widget.said.text()
    layer = driven.sam.objects_layer
    assert layer is not None
    labels = np.asarray(layer.data[0])
    for z in range(ENDS):
        assert ((labels[z] > 0) == disc(z)).all()

    jump(widget, 5)
    until(lambda: driven.session.plane == (0, 5))
    driven.settle()
    assert widget.strip.shown == (0, 5)
    fifth = driven.session.track(number)[0, 5]
    driven.click(*middle(5), SHIFT)
    assert driven.sam.intent.picked == (fifth,)
    assert widget.track == number
    driven.key(Qt.Key.Key_E)
    driven.click(middle(5)[0], middle(5)[1] - 8, CTRL)
    driven.key(Qt.Key.Key_Return)
    until(lambda: driven.session.info(fifth).is_fixed)
    until(lambda: kinds(widget) == "+++f+f+ln")
    corrected = driven.session.mask(fifth)
    assert corrected.area < disc(5).sum()

    times = {n: driven.session.info(n).provenance.time for n in driven.session.ids}
    widget.again.click()
    done(widget)
    assert kinds(widget) == "+++f+f+ln"
    assert driven.session.mask(fifth) == corrected
    changed = {
        driven.session.info(n).plane[1]
        for n, time in times.items()
        if driven.session.info(n).provenance.time != time
    }
    assert changed <= {4, 6}
    driven.session.undo()  # again
    driven.session.undo()  # the correction
    driven.session.undo()  # its click
    driven.session.undo()  # its own mask as a prompt
    until(lambda: kinds(widget) == "+++f+++ln")
    widget.forget.click()
    until(lambda: kinds(widget) == "nnnfnnnnn")
    assert driven.session.ids == [number]


def test_what_was_found_until_stop_is_kept_and_an_image_may_be_removed_meanwhile(
    make_napari_viewer: Callable[..., Any], tube: type[Tube]
) -> None:
    driven, widget = opened(make_napari_viewer(show=True))
    keep(driven, 3)
    tube.gate.clear()
    widget.start.click()
    assert widget.stop.isEnabled()
    assert not widget.start.isEnabled()
    tube.gate.set()
    until(lambda: "+" in kinds(widget))  # a cell appears before it is a step
    tube.gate.clear()
    widget.stop.click()
    assert "Stopping" in widget.status.text()
    tube.gate.set()
    done(widget)
    assert widget.status.text().startswith("Stopped") or kinds(widget) == "+++f+++ln"
    assert "+" in kinds(widget)
    assert driven.session.undo()
    until(lambda: kinds(widget) == "nnnfnnnnn")
    tube.gate.clear()
    job = widget.follow()
    assert job is not None
    driven.viewer.layers.remove("cells")
    until(lambda: driven.sam.workplace is None)
    assert (widget.track, widget.strip.cells) == (None, ())
    assert not widget.stop.isEnabled()
    tube.gate.set()
    until(lambda: not job.running)
    assert widget.status.text() == ""


def test_an_object_kept_in_another_plane_can_be_the_same_one(
    make_napari_viewer: Callable[..., Any], tube: type[Tube]
) -> None:
    driven, widget = opened(make_napari_viewer(show=True))
    number = keep(driven, 3)
    widget.planes.setValue(1)
    widget.direction.setCurrentIndex(widget.direction.findData("backward"))
    widget.start.click()
    done(widget)
    go(driven, 6)
    other = keep(driven, 6)
    until(lambda: widget.track == other)
    assert widget.join.isVisibleTo(widget)
    assert str(number) in widget.join.text()
    widget.join.click()
    until(lambda: kinds(widget) == "nn+fnnfnn")
    assert driven.session.info(other).track == number
    widget.again.click()
    done(widget)
    assert kinds(widget) == "nn+f++fnn"


def test_a_time_series_has_one_axis_and_its_strip_keys(
    make_napari_viewer: Callable[..., Any], tube: type[Tube]
) -> None:
    viewer = make_napari_viewer(show=True)
    driven, widget = opened(viewer, axis_labels=("t", "y", "x"), scale=(1, 0.5, 0.5))
    number = keep(driven, 3)
    assert not widget.through.isVisibleTo(widget)  # there is but one axis
    assert widget.axis.currentData() == "t"
    widget.start.click()
    done(widget)
    assert set(driven.session.track(number)) == {(t, 0) for t in range(ENDS)}
    widget.strip.setFocus()
    QTest.keyClick(widget.strip, Qt.Key.Key_Right)
    until(lambda: driven.session.plane == (4, 0))
    driven.settle()


def test_a_script_follows_with_the_network(make_napari_viewer: Callable[..., Any]) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(STACK[:6], axis_labels=("z", "y", "x"), name="stack")
    viewer.dims.set_current_step(0, 3)
    sam = napari_sam.attach(viewer)
    sam.use()
    sam.ready(60)
    with pytest.raises(InputError, match="no object in this plane"):
        propagate(sam)
    row, col = middle(3)
    box = (row - RADIUS, col - RADIUS, row + RADIUS, col + RADIUS)
    sam.prompt(box=box)
    number = sam.accept(class_name="tube")
    outcome = sam.propagate(planes=1)
    assert set(outcome.made) == {(0, 2), (0, 4)}
    session = sam.workplace.session  # type: ignore[union-attr]
    for z in (2, 4):
        found = session.labels(plane=(0, z)) > 0
        shared = (found & disc(z)).sum() / (found | disc(z)).sum()
        assert shared > 0.8
    assert session.track(number) == {(0, 3): number, **outcome.made}
    with pytest.raises(InputError, match="one plane only through time"):
        sam.propagate(object_id=number, axis="t")
    sam.close()
