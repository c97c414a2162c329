"""The pictures of docs/tutorial_finetuning.md, from a viewer in which all of it is done.

``NAPARI_SAM_PICTURES=docs/images pytest tests/gui/test_tutorial.py`` writes them, in ten minutes or
more, and without that it is not run; ``NAPARI_SAM_THEME=light`` shows the other theme.
"""

# ruff: noqa: F401, F811 (fixtures come from other modules)

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driving import own_sessions
from PIL import Image
from qtpy.QtCore import QCoreApplication
from scipy import ndimage
from skimage import data, filters, measure, morphology
from test_screenshots import folder, picture, rest, shown

from napari_sam.finetune.process import ENDED
from napari_sam.widgets.attached import attach
from napari_sam.widgets.finetune import FineTuneWidget
from napari_sam.widgets.segment import SegmentWidget

pytestmark = pytest.mark.usefixtures("own_sessions")

METHOD = os.environ.get("NAPARI_SAM_TUTORIAL_METHOD", "lora")
STEPS = int(os.environ.get("NAPARI_SAM_TUTORIAL_STEPS", "0"))
"""Of the training; 0 for what the widget suggests."""

BRICK = (110, 132)


def until(there: Callable[[], object], seconds: float) -> None:
    """Run the event loop until something is so, and leave the processor to the training."""
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "it did not happen"
        QCoreApplication.processEvents()
        time.sleep(0.1)


def outlined(image: np.ndarray) -> np.ndarray:
    """Outline the bricks, as a patient person would."""
    smooth = filters.gaussian(image.astype(float), 2)
    dark = smooth < filters.threshold_local(smooth, 101)
    bricks = ndimage.binary_opening(dark, morphology.disk(3))
    labels = measure.label(ndimage.binary_fill_holes(bricks))
    large = np.bincount(labels.ravel()) >= 300
    large[0] = False
    return measure.label(large[labels] * labels, background=0)


def small(path: Path) -> None:
    """Write a picture with fewer colours, which takes a third of the room."""
    with Image.open(path) as image:
        image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def test_from_a_click_that_fails_to_one_that_does_not(
    make_napari_viewer: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    def take(name: str) -> None:
        picture(viewer, folder / f"tutorial-{name}.png")
        small(folder / f"tutorial-{name}.png")

    image = tmp_path / "brick.png"
    Image.fromarray(data.brick()).save(image)
    viewer = make_napari_viewer(show=True)
    viewer.theme = os.environ.get("NAPARI_SAM_THEME", "dark")
    viewer.open(image, plugin="napari")
    dock = shown(viewer, SegmentWidget(viewer), "Segment")
    sam = attach(viewer)
    sam.ready(300)
    sam.prompt(points=[BRICK])
    take("1-before")
    session = sam.workplace.session
    session.clear_prompts()
    session.import_labels(outlined(data.brick()), class_name="brick")
    rest(1.0)
    take("2-outlined")
    dock.hide()

    widget = FineTuneWidget(viewer)
    fine_tune = shown(viewer, widget, "Fine-tune")
    widget.data.finished.choice.setCurrentText("the whole image")
    widget.data.finished.take.click()
    widget.data.prepare.click()
    until(lambda: widget.data.dataset is not None, 300)
    widget.folds[1].open(False)
    rest(1.0)
    take("3-data")
    widget.folds[0].open(False)
    widget.folds[1].open()
    training = widget.training
    training.advanced.steps.setValue(STEPS)
    if "NAPARI_SAM_TUTORIAL_QUICK" not in os.environ:
        training.estimates.measure.click()
        until(training.estimates.measure.isEnabled, 1200)
    training.methods.choose(METHOD)
    training.start.click()
    until(lambda: training.view is not None and training.view.steps > 0, 300)

    def far() -> bool:
        view = training.view
        assert view is not None
        assert view.state not in ("failed", "killed"), view.problem
        return len(view.held_out) >= 3 or view.state in ENDED

    until(far, 3600)
    rest(2.0)
    take("4-training")
    result = widget.result
    until(lambda: result.result is not None, 3600)
    widget.folds[1].open(False)
    rest(2.0)
    take("5-result")
    sam.objects_layer.visible = False  # what a person outlined hides what is found
    result.look.click()
    until(lambda: not result.busy, 600)
    rest(1.0)
    take("6-look")
    result.name.setText("bricks-1")
    result.keep.click()
    until(lambda: not result.busy, 120)
    result.use.click()
    sam.ready(300)
    rest(1.0)
    for name in ("a look with the new model", "training and hold-out"):
        viewer.layers.remove(name)
    for number in session.ids:
        session.delete(number)
    sam.objects_layer.visible = True
    fine_tune.hide()
    shown(viewer, SegmentWidget(viewer), "Segment")
    sam.prompt(points=[BRICK])
    rest(1.0)
    take("7-after")
    print(result.result.sentence)
    print(result.result.forgetting)
    print(result.said.text())
    assert sam.workplace.model_name == "bricks-1"
