"""A picture of each widget in use, to be looked at.

``NAPARI_SAM_PICTURES=docs/images pytest tests/gui/test_screenshots.py`` writes those of the docs.
"""

# ruff: noqa: F401 (fixtures come from another module)

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driving import own_sessions, until
from qtpy.QtCore import QCoreApplication
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QWidget

from napari_sam.tiles.regions import Region
from napari_sam.widgets.attached import attach
from napari_sam.widgets.embed import EmbedWidget
from napari_sam.widgets.everything import EverythingWidget
from napari_sam.widgets.finetune import FineTuneWidget
from napari_sam.widgets.models import ModelsWidget
from napari_sam.widgets.review import ReviewWidget
from napari_sam.widgets.segment import SegmentWidget
from napari_sam.widgets.window import main_window

pytestmark = pytest.mark.usefixtures("own_sessions")

Make = Callable[..., Any]
NUCLEI = [(90, 217), (108, 129), (170, 312), (274, 264), (365, 530), (390, 287), (480, 331)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where pictures go."""
    given = os.environ.get("NAPARI_SAM_PICTURES")
    folder = tmp_path if given is None else Path(given)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def shown(viewer: Any, widget: QWidget, name: str) -> Any:
    """Dock a widget in a window of the size of the docs' pictures; return its dock."""
    dock = viewer.window.add_dock_widget(widget, name=name)
    window = main_window(viewer)
    window.resize(1400, 900)
    window.show()
    rest()
    viewer.reset_view()
    return dock


def rest(seconds: float = 0.3) -> None:
    """Let what was changed be drawn."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QCoreApplication.processEvents()
        time.sleep(0.005)


def picture(viewer: Any, path: Path) -> QImage:
    """Write what is on the window, and look whether it is there: the image, and text beside it."""
    viewer.status = ""
    rest()
    viewer.screenshot(str(path), canvas_only=False, flash=False)
    image = QImage(str(path))
    assert image.width() >= 1200
    assert image.height() >= 700
    beside = range(image.width() - 380, image.width() - 10)
    assert len({image.pixel(x, y) for x in beside for y in range(40, 400, 7)}) > 20
    return image


def test_segment_review_and_the_others(make_napari_viewer: Make, folder: Path) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.theme = os.environ.get("NAPARI_SAM_THEME", "dark")
    viewer.open_sample("napari-sam-tiled", "nuclei")
    widget: QWidget = SegmentWidget(viewer)
    dock = shown(viewer, widget, "Segment")
    sam = attach(viewer)
    sam.ready(120)
    for place in NUCLEI:
        sam.prompt(points=[place])
        sam.accept(class_name="nucleus")
    sam.prompt(points=[(374, 385)])
    picture(viewer, folder / "segment.png")

    for kind, name in (
        (ReviewWidget, "review"),
        (ModelsWidget, "models"),
        (FineTuneWidget, "fine-tune"),
    ):
        dock.hide()
        widget = kind(viewer)
        dock = shown(viewer, widget, name.title())
        if kind is ReviewWidget:
            widget.next_button.click()
            rest(1.0)
        if kind is FineTuneWidget:
            widget.data.prepare.click()
            until(widget.data.map.isVisible, 120)
        picture(viewer, folder / f"{name}.png")


def test_everything_with_sliders(make_napari_viewer: Make, folder: Path) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.theme = os.environ.get("NAPARI_SAM_THEME", "dark")
    viewer.open_sample("napari-sam-tiled", "nuclei")
    sam = attach(viewer)
    sam.use()
    sam.ready(120)
    widget = EverythingWidget(viewer)
    shown(viewer, widget, "Segment everything")
    # As large as nuclei are here, for pictures that are looked at; larger ones take fewer clicks.
    looked_at = "NAPARI_SAM_PICTURES" in os.environ
    widget.smallest.setValue(20 if looked_at else 30)
    widget.start.click()
    least = 10 if looked_at else 0
    until(lambda: widget.table.objects.rowCount() > least and widget.start.isEnabled(), 300)
    picture(viewer, folder / "everything.png")


def test_embed_with_its_tiles(make_napari_viewer: Make, folder: Path) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.theme = os.environ.get("NAPARI_SAM_THEME", "dark")
    viewer.open_sample("napari-sam-tiled", "pyramid")
    sam = attach(viewer)
    sam.use()
    sam.ready(120)
    widget = EmbedWidget(viewer)
    shown(viewer, widget, "Embed")
    sam.show(Region(0, 0, 2200, 2000))
    assert sam.embedder is not None
    embedder = sam.embedder
    until(lambda: np.count_nonzero(embedder.states(embedder.level_in_view())) >= 3, 120)
    rest(1.5)
    picture(viewer, folder / "embed.png")
