"""Objects on made-up images, for what writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_sam.files.labelled import Labelled
from napari_sam.scene import open_scene

PROVENANCE = {
    "program": "napari-sam-tiled 9.9",
    "image": "cells.tif",
    "created": "2026-11-22T08:00:00+00:00",
    "model": "vit_nano",
    "model_hash": "12ab",
    "model_licence": "Apache-2.0",
}
TABLE = (
    {"id": 1, "class": "cell", "predicted_iou": 0.9, "stability": 0.5, "source": "click"},
    {"id": 300, "class": None},
)
PLANE = np.zeros((40, 60), np.uint32)
PLANE[3:10, 5:20] = 1
PLANE[5:8, 8:12] = 300
PLANE[30:, 50:] = 300

SLOW = settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def labelled(
    labels: np.ndarray,
    axes: str = "YX",
    table: tuple[Mapping[str, Any], ...] = TABLE,
    image: Any = None,
    **options: Any,
) -> Labelled:
    scene = open_scene(
        np.zeros(labels.shape, np.uint8) if image is None else image,
        axes=axes if image is None else None,
        **options,
    )
    return Labelled(scene, labels, axes, table, PROVENANCE)


def stacks(highest: int) -> st.SearchStrategy[np.ndarray]:
    """Small stacks of labels: T, Z, Y, X."""
    return hnp.arrays(np.uint32, (2, 3, 7, 9), elements=st.integers(0, highest), fill=st.just(0))
