"""A viewer driven by mouse and keys, and an image that is segmented without a network."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QCoreApplication, QPoint, Qt
from qtpy.QtTest import QTest

from napari_sam.segment.objects import Candidate, cut_candidate
from napari_sam.widgets.attached import Attachment
from napari_sam.widgets.pointer import world_position
from napari_sam.widgets.segment import SegmentWidget
from napari_sam.widgets.window import canvas

PLAIN, CTRL = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ControlModifier
SHIFT, ALT = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.AltModifier
LEFT = Qt.MouseButton.LeftButton


class Discs:
    """Answers at once: discs of three sizes around the middle of what it is asked for."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.asked: list[dict[str, Any]] = []

    def prompt(self, **prompts: Any) -> list[Candidate]:
        self.asked.append(prompts)
        return [self.disc(prompts, radius, 0.9 - radius / 100) for radius in (8, 12, 4)]

    def disc(self, prompts: dict[str, Any], radius: float, iou: float) -> Candidate:
        row, col = self.middle(prompts)
        rows, cols = np.mgrid[: self.shape[0], : self.shape[1]]
        mask = np.hypot(rows - row, cols - col) <= radius
        labels = prompts.get("labels", ())
        for (r, c), label in zip(prompts.get("points", ()), labels, strict=False):
            if not label:
                mask &= np.hypot(rows - r, cols - c) > 3
        return cut_candidate(mask, iou, 0.8, "point")

    def middle(self, prompts: dict[str, Any]) -> tuple[float, float]:
        if "mask" in prompts:
            region = prompts["mask"]
            row, col = np.argwhere(region.mask).mean(axis=0) + np.array([region.row, region.col])
        elif "box" in prompts:
            row, col = np.reshape(prompts["box"], (2, 2)).mean(axis=0)
        elif "scribble" in prompts:
            row, col = np.mean(prompts["scribble"], axis=0)
        else:
            row, col = prompts["points"][0]
        return float(row), float(col)


@pytest.fixture
def own_sessions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let arrays that are opened have no sessions of other tests."""
    monkeypatch.setenv("NAPARI_SAM_DATA", str(tmp_path))


@pytest.fixture
def discs(monkeypatch: pytest.MonkeyPatch, own_sessions: None) -> list[Discs]:
    """Let every workplace answer with discs, and return those that answer."""
    made: list[Discs] = []

    def segmenter(scene: Any, *_: Any) -> Discs:
        made.append(Discs(scene.shape))
        return made[-1]

    monkeypatch.setattr("napari_sam.live.workplace.Segmenter", segmenter)
    return made


def until(there: Callable[[], object], seconds: float = 60) -> None:
    """Run the event loop until something is so."""
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "it did not happen"
        QCoreApplication.processEvents()
        time.sleep(0.002)


@dataclass
class Driven:
    """A viewer with the widget Segment docked, and an image that is open."""

    viewer: Any
    widget: SegmentWidget

    @property
    def sam(self) -> Attachment:
        return self.widget.attachment

    @property
    def session(self) -> Any:
        assert self.sam.workplace is not None
        return self.sam.workplace.session

    @property
    def native(self) -> Any:
        return canvas(self.viewer)

    def at(self, row: float, col: float) -> QPoint:
        """Where on the canvas a pixel of the scene is."""
        dims, camera = self.viewer.dims, self.viewer.scene.camera
        assert self.sam.image_layer is not None
        world = np.array(world_position(self.sam.image_layer, row, col, dims.point, dims.units))
        across = (world[list(dims.displayed)] - camera.center[-2:]) * camera.zoom
        return QPoint(
            round(self.native.width() / 2 + across[1]), round(self.native.height() / 2 + across[0])
        )

    def click(self, row: float, col: float, modifier: Any = PLAIN) -> None:
        QTest.mouseClick(self.native, LEFT, modifier, self.at(row, col))
        self.settle()

    def drag(self, *places: tuple[float, float]) -> None:
        """Press at the first place, move over all, and let go at the last."""
        points = [self.at(*place) for place in places]
        QTest.mouseMove(self.native, points[0])
        QTest.mousePress(self.native, LEFT, PLAIN, points[0])
        for one, other in pairwise(points):
            for part in (0.25, 0.5, 0.75, 1.0):
                between = one + (other - one) * part
                _move(self.native, between)
                QTest.qWait(20)  # napari looks at a moving mouse only so often
        QTest.mouseRelease(self.native, LEFT, PLAIN, points[-1])
        self.settle()

    def key(self, key: Any, modifier: Any = PLAIN) -> None:
        QTest.keyClick(self.native, key, modifier)
        self.settle()

    def settle(self) -> None:
        """Wait until all that was done is answered and shown."""
        sam = self.sam
        end = time.monotonic() + 60
        quiet = 0
        while quiet < 5:
            assert time.monotonic() < end, "it does not come to rest"
            QCoreApplication.processEvents()
            if sam.layers is not None:
                sam.layers.flush()
            busy = sam.busy or sam.offers.busy
            quiet = 0 if busy else quiet + 1
            time.sleep(0.002)

    def shown(self, name: str = "preview") -> np.ndarray:
        """The preview, in pixels of the scene."""
        assert self.sam.workplace is not None
        found = np.zeros(self.sam.workplace.scene.shape, int)
        layer = self.viewer.layers[name]
        row, col = np.round(layer.translate).astype(int)
        rows, cols = layer.data.shape
        found[row : row + rows, col : col + cols] = layer.data
        return found


def _move(widget: Any, place: QPoint) -> None:
    """Move the mouse with the left button held, which QTest.mouseMove does not say."""
    from qtpy.QtCore import QEvent, QPointF
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    event = QMouseEvent(
        QEvent.Type.MouseMove,
        QPointF(place),
        QPointF(widget.mapToGlobal(place)),
        Qt.MouseButton.NoButton,
        LEFT,
        PLAIN,
    )
    QApplication.sendEvent(widget, event)


def drive(viewer: Any, image: Any = None, **options: Any) -> Driven:
    """Show an image, dock the widget, and wait until the image is open."""
    if image is None:
        image = np.random.default_rng(0).integers(0, 255, (80, 100), dtype=np.uint8)
    layer = viewer.add_image(image, **{"name": "cells", **options})
    viewer.layers.selection.active = layer
    widget = SegmentWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment")
    driven = Driven(viewer, widget)
    if not driven.sam.busy:
        widget.start.click()
    driven.sam.ready(60)
    driven.settle()
    return driven
