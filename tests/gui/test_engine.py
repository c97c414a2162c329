"""A project in a viewer: its regions are shown and led to, its steps are done beside the person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_projects import made_project, true_masks
from small_model import save_small_model

from napari_sam.engine.project import Project
from napari_sam.engine.proposing import propose
from napari_sam.session import Runs
from napari_sam.tiles.encoding import encode
from napari_sam.tiles.regions import Region
from napari_sam.widgets.engine import EngineWidget
from napari_sam.widgets.proposed_layer import PROPOSED

PATIENCE = 60_000


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("NAPARI_SAM_DATA", str(tmp_path / "data"))
    made = made_project(tmp_path, str(save_small_model(tmp_path)))
    propose(made, 4, side=48)
    return made


@pytest.fixture
def widget(make_napari_viewer: Callable[..., Any], project: Project, qtbot: Any) -> EngineWidget:
    viewer = make_napari_viewer(show=True)
    made = EngineWidget(viewer)
    viewer.window.add_dock_widget(made, name="Data engine")
    made.folder.setText(str(project.folder))
    made.open_project()
    return made


def chosen(widget: EngineWidget, row: int, qtbot: Any) -> Region:
    """Click on a region, and wait until its image is there."""
    number, region = widget._regions[row]
    assert number == 1
    widget.table.selectRow(row)

    def there() -> bool:
        workplace = widget.attachment.workplace
        return workplace is not None and str(workplace.picture.path).endswith(f"{region.image}.tif")

    qtbot.waitUntil(lambda: there() and not widget.attachment.busy, timeout=PATIENCE)
    return region.region


def done(widget: EngineWidget, job: Any, qtbot: Any) -> str:
    assert job is not None
    qtbot.waitUntil(lambda: not job.running, timeout=PATIENCE)
    return widget.note.text()


def test_a_click_on_a_region_leads_to_it(widget: EngineWidget, qtbot: Any) -> None:
    assert widget.table.rowCount() == 4
    assert "2 images" in widget.about.text()
    images = [one.image for _, one in widget._regions]
    other = next(row for row, image in enumerate(images) if image != images[0])
    for row in (0, other):
        region = chosen(widget, row, qtbot)
        seen = widget.attachment.viewport()
        assert (seen & region).area > region.area / 2
        layer = widget.attachment.viewer.layers[PROPOSED]
        assert len(layer.data) == images.count(images[row])
        assert list(layer.features["reason"]) == [
            one.reason for _, one in widget._regions if one.image == images[row]
        ]
        low, high = layer.data[0].min(0)[-2:], layer.data[0].max(0)[-2:]
        first = next(one.region for _, one in widget._regions if one.image == images[row])
        assert low.tolist() == [first.row0 - 0.5, first.col0 - 0.5]
        assert high.tolist() == [first.row1 - 0.5, first.col1 - 0.5]


def test_the_steps_of_a_round_beside_an_image_that_is_open(
    widget: EngineWidget, project: Project, qtbot: Any
) -> None:
    chosen(widget, 0, qtbot)
    workplace = widget.attachment.workplace
    assert workplace is not None
    widget.count.setValue(2)
    assert "Round 1 proposes 2 regions" in done(widget, widget.propose(), qtbot)
    assert widget.table.rowCount() == 2
    assert "filled in" in done(widget, widget.fill(), qtbot)
    workplace.session.add_object(
        Runs.of_mask(workplace.scene.read_rgb(0, slice(9, 20), slice(9, 20))[..., 0] >= 0, 9, 9)
    )
    widget.finished.setChecked(True)
    told = done(widget, widget.import_objects(), qtbot)
    assert "Round 1 has" in told
    assert "not trained" in widget.rounds.toPlainText()
    imported = project.round(1).imported
    assert imported is not None
    assert any(one.kind == "person" for some in imported.objects.values() for one in some)
    assert "rounds.png" in done(widget, widget.draw(), qtbot)
    assert widget.picture.path == project.folder / "rounds.png"
    assert widget.train_button.isEnabled()
    assert not widget.stop_button.isEnabled()


def test_what_is_wrong_is_said(
    widget: EngineWidget, project: Project, tmp_path: Path, qtbot: Any
) -> None:
    assert "Nothing is imported" in done(widget, widget.train(), qtbot)
    (project.round(1).folder / "proposed.json").write_text("{")
    widget.open_project()
    assert "is damaged" in widget.note.text()
    widget.folder.setText(str(tmp_path / "nowhere"))
    widget.open_project()
    assert "is no project" in widget.note.text()
    assert not widget.propose_button.isEnabled()
    assert widget.propose() is None


def test_classes_are_looked_through_from_the_least_sure_one(
    widget: EngineWidget, qtbot: Any
) -> None:
    chosen(widget, 0, qtbot)
    workplace = widget.attachment.workplace
    assert workplace is not None
    session, review = workplace.session, widget.classes
    for runs in true_masks(int(widget._regions[0][1].image[-1])).values():
        session.add_object(runs)
    job = review.ask()
    qtbot.waitUntil(lambda: not job.running, timeout=PATIENCE)
    assert "two or more" in review.note.text()
    session.classify({1: "large", 2: "small", 3: "large"})
    encode(workplace.scene, workplace.sam, workplace.store)
    job = review.ask()
    qtbot.waitUntil(lambda: not job.running, timeout=PATIENCE)
    assert "2 large, 1 small" in review.note.text()
    rows = review.table.rowCount()
    assert rows == len(session.ids) - 3
    shown = [float(review.table.item(row, 2).text()) for row in range(rows)]
    assert shown == sorted(shown)
    first = int(review.table.item(0, 0).text())
    seen, box = widget.attachment.viewport(), session.mask(first).box
    assert (seen & box).area == box.area
    review.name.setCurrentText("odd")
    review.accept()
    assert session.info(first).class_name == "odd"
    assert review.table.rowCount() == rows - 1
    review.least.setValue(0)
    review.apply()
    assert review.table.rowCount() == 0
    assert all(session.info(number).class_name for number in session.ids)
    assert session.undo()
    assert session.info(first).class_name == "odd"
    assert sum(session.info(number).class_name is None for number in session.ids) == rows - 1
