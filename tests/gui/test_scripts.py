"""The same from a script: one thing after the other."""

# ruff: noqa: F401 (fixtures come from another module)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from driving import own_sessions

import napari_sam
from napari_sam.errors import InputError

pytestmark = pytest.mark.usefixtures("own_sessions")


def test_a_script_prompts_chooses_and_accepts(make_napari_viewer: Callable[..., Any]) -> None:
    rows, cols = np.mgrid[:160, :200]
    pixels = np.where(np.hypot(rows - 80, cols - 90) < 35, 190, 60).astype(np.uint8)
    viewer = make_napari_viewer()
    sam = napari_sam.attach(viewer)
    assert napari_sam.attach(viewer) is sam
    with pytest.raises(InputError, match="no image"):
        sam.use()
    viewer.add_image(pixels)
    sam.use()
    workplace = sam.ready(60)
    candidates = sam.prompt(points=[[80, 90]])
    assert len(candidates) == 3
    assert sam.choose(1) is candidates[1]
    assert sam.accept(class_name="disc") == 1
    assert workplace.session.mask(1).area == candidates[1].area
    with pytest.raises(InputError, match="no prompts"):
        sam.accept()
    with pytest.raises(InputError, match="outside"):
        sam.prompt(points=[[800, 90]])
    found = sam.everything(sizes=(40, None))
    assert len(workplace.session.add_objects(found, overlap="take_new")) == len(found)
    sam.close()
    assert [layer.name for layer in viewer.layers] == ["pixels"]
