"""Everything in a mosaic of real images with the default model: as good as in the images alone.

Images of 256 × 256 pixels lie side by side and tiles have 256 pixels too, so that an image fills
the encoder's frame as it does alone. benchmarks/mosaic.py does the same with more images.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import mosaic
import numpy as np
import pytest

from napari_sam.segment.everything import running
from napari_sam.segment.everything.thresholds import default_thresholds
from src_model import load_model
from src_model.training.evaluation.regions import iou_matrix

SPACING = 20.0


def test_a_mosaic_is_as_good_as_its_images(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shared / "devdata/nuclei/val"
    if not folder.is_dir():
        pytest.skip("../shared has no images of nuclei")
    monkeypatch.setattr(running, "plan_grid", running.plan_grid)  # which the benchmark replaces
    sam = load_model("vit_nano", "cpu")
    # The second and the third: large nuclei in good contrast.
    pictures = mosaic.load_pictures(folder / "images", folder / "labels", 3)[1:]
    alone = []
    for image, labels in pictures:
        found, _ = mosaic.find(sam, image, SPACING)
        iou = iou_matrix(mosaic.truth_of(labels), mosaic.masks_of(found.objects))
        alone.append(mosaic.ap(iou))
    pixels = np.concatenate([image for image, _ in pictures], axis=1)
    last = int(pictures[0][1].max())
    second = np.where(pictures[1][1] > 0, pictures[1][1] + last, 0)
    truth = mosaic.truth_of(np.concatenate([pictures[0][1], second], axis=1))
    result, store = mosaic.find(sam, pixels, SPACING)
    thresholds = default_thresholds(store.model)
    unstitched = result.everything.filter(dataclasses.replace(thresholds, stitch=False))
    found_ap, unstitched_ap = (
        mosaic.ap(iou_matrix(truth, mosaic.masks_of(objects)))
        for objects in (result.objects, unstitched)
    )
    # Two images are few: the benchmark tells the difference for many.
    assert found_ap > np.mean(alone) - 0.15
    assert found_ap >= unstitched_ap
    assert len(unstitched) > len(result.objects)
    assert mosaic.duplicates(result.objects) == 0
    assert result.objects.ids.tolist() == list(range(1, len(result.objects) + 1))
