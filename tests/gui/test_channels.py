"""Of several channels a person chooses what the network sees."""

# ruff: noqa: F401, F811 (fixtures come from another module)

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from driving import Discs, discs, drive, own_sessions

from napari_sam.widgets.opening import image_layers

PIXELS = np.random.default_rng(0).integers(0, 255, (5, 80, 100), dtype=np.uint8)


def shown(workplace: Any) -> np.ndarray:
    """Return what the network sees, before it is stretched."""
    return np.asarray(workplace.scene.read(0, slice(0, 80), slice(0, 100)))


# Not shown: Mesa's software renderer crashes in what napari draws after layers were removed.
def test_one_or_three_are_chosen(
    make_napari_viewer: Callable[..., Any], discs: list[Discs]
) -> None:
    driven = drive(make_napari_viewer(), PIXELS, axis_labels=("c", "y", "x"))
    widget, sam = driven.widget, driven.sam
    assert not widget.several.isHidden()
    driven.click(40, 40)
    widget.accept.click()
    driven.settle()
    said: list[str] = []
    sam.said.connect(lambda level, sentence: said.append(sentence))
    for wrong, why in (("1, 2", "one or three"), ("0, 1, 5", "no channel 5"), ("red", "numbers")):
        widget.channels.setEditText(wrong)
        widget.start.click()
        assert why in said[-1]
        assert not sam.busy
    widget.channels.setEditText("3, 1, 0")
    widget.start.click()
    sam.ready(60)
    np.testing.assert_array_equal(shown(sam.ready()), np.moveaxis(PIXELS[[3, 1, 0]], 0, -1))
    assert driven.session.ids == []  # of these channels
    widget.channels.setCurrentIndex(0)
    widget.start.click()  # as it is open
    sam.ready(60)
    assert sam.ready().picture.channels == (3, 1, 0)
    widget.channels.setEditText("0, 1, 2")  # which it began with
    widget.start.click()
    sam.ready(60)
    assert driven.session.ids == [1]

    grey = driven.viewer.add_image(PIXELS[0], name="grey")
    widget.image.choose(grey)
    assert widget.several.isHidden()


def test_bands_of_a_file_are_chosen(
    make_napari_viewer: Callable[..., Any], discs: list[Discs], tmp_path: Path
) -> None:
    path = tmp_path / "bands.tif"
    tifffile.imwrite(path, PIXELS, metadata={"axes": "CYX"})
    (data, options, _), *_ = image_layers(path)
    driven = drive(make_napari_viewer(), data, **options)
    driven.widget.channels.setCurrentText("0, 1, 2")
    driven.widget.start.click()
    workplace = driven.sam.ready(60)
    np.testing.assert_array_equal(shown(workplace), np.moveaxis(PIXELS[:3], 0, -1))
    assert workplace.folder.parent == tmp_path
