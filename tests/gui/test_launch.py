"""From the menu and from the command line to a window in which one can click."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import napari
import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QMenu

import napari_sam
from napari_sam.errors import InputError
from napari_sam.widgets import launch

WIDGETS = ("Segment", "Embed", "Segment everything", "Review", "Fine-tune", "Models")

Make = Callable[..., Any]


@pytest.fixture
def opened(make_napari_viewer: Make, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The viewers that the command line opens, cleaned up as all others are."""
    viewers: list[Any] = []

    def viewer() -> Any:
        viewers.append(make_napari_viewer())
        return viewers[-1]

    monkeypatch.setattr(napari, "Viewer", viewer)
    return viewers


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "cells.tif"
    pixels = np.random.default_rng(1).integers(0, 90, (200, 300), dtype=np.uint8)
    pixels[50:90, 60:110] += 150
    tifffile.imwrite(path, pixels)
    return path


def docked(viewer: Any) -> set[str]:
    return {str(name).split(" (")[0] for name in viewer.window.dock_widgets}


def actions_of(menu: QMenu) -> Iterator[Any]:
    for action in menu.actions():
        if action.menu() is not None:
            action.menu().aboutToShow.emit()
            yield from actions_of(action.menu())
        else:
            yield action


def test_each_entry_of_the_menu_opens_its_widget(make_napari_viewer: Make) -> None:
    viewer = make_napari_viewer()
    menu = viewer.window.plugins_menu
    menu.aboutToShow.emit()
    entries = {one.text().replace("&", "").split(" (")[0]: one for one in actions_of(menu)}
    for number, name in enumerate(WIDGETS, 1):
        entries[name].trigger()
        assert docked(viewer) == set(WIDGETS[:number])


def test_an_image_is_opened_ready_to_click_and_its_session_goes_on(
    opened: list[Any], image: Path
) -> None:
    viewer = launch.show_image(str(image), "vit_nano")
    assert opened == [viewer]
    assert "Segment" in docked(viewer)
    workplace = napari_sam.attach(viewer).ready(60)
    assert workplace.picture.path == image
    assert workplace.scene.shape == (200, 300)
    folder, session = workplace.folder, workplace.session
    assert folder == image.with_name("cells.tif.napari-sam")
    session.add_point(70, 85)
    session.candidates()
    number = session.accept(class_name="cell")
    napari_sam.attach(viewer).close()

    again = launch.show_image(str(folder))
    session = napari_sam.attach(again).ready(60).session
    assert session.ids == [number]
    assert session.info(number).class_name == "cell"
    assert not [layer for layer in again.layers if "as saved" in layer.name]


def test_the_demo_is_the_nuclei(opened: list[Any]) -> None:
    viewer = launch.show_sample("nuclei", "vit_nano")
    assert viewer.layers[0].name == "nuclei"
    assert napari_sam.attach(viewer).ready(60).scene.shape == (520, 696)


def test_what_only_napari_reads_is_opened_by_it(opened: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("index,axis-0,axis-1\n0,3,4\n")
    viewer = launch.show_image(str(path))
    assert opened == [viewer]
    assert [layer.name for layer in viewer.layers] == ["points"]


def test_what_nobody_reads_is_refused_in_one_sentence(opened: list[Any], tmp_path: Path) -> None:
    for name, content in [("nothing.tif", None), ("text.xyz", b"no picture")]:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=name):
            launch.show_image(str(path))
    assert all(not viewer.layers for viewer in opened)
