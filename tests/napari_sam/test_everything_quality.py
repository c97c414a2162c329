"""Everything in a mosaic of real images with the default model: as good as in the images alone.

Images of 256 × 256 pixels lie side by side and tiles have 256 pixels too, so that an image fills
the encoder's frame as it does alone. benchmarks/mosaic.py does the same with more images and closer
points, and tells the figures; what is asked for here any trained model should give.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import mosaic
import numpy as np
import pytest

from napari_sam.segment.everything import FoundObjects, running
from napari_sam.segment.everything.label_pyramid import paint
from napari_sam.segment.everything.thresholds import thresholds_of
from napari_sam.tiles.regions import Region
from src_model import load_model
from src_model.training.evaluation.regions import iou_matrix

SPACING = 32.0


def ends_at(objects: FoundObjects, places: list[int]) -> float:
    """Return how often labels change across some columns' right borders, for each pixel."""
    labels = paint(objects, Region(0, 0, *objects.shape))
    changes = (labels[:, 1:] != labels[:, :-1]).mean(0)
    return float(changes[places].mean())


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
    thresholds = thresholds_of(str(store.model.variant["name"]))
    unstitched = result.everything.filter(dataclasses.replace(thresholds, stitch=False))
    found_ap = mosaic.ap(iou_matrix(truth, mosaic.masks_of(result.objects)))
    # Two images are few: the benchmark tells the difference for many.
    assert found_ap > np.mean(alone) - 0.3
    assert len(unstitched) >= len(result.objects)
    # Whatever the weights: no object twice, and none ends where tiles do.
    assert mosaic.duplicates(result.objects) == 0
    geometry, cols = store.geometry, pixels.shape[1]
    windows = [geometry.window(tile) for tile in geometry.tiles(0)]
    edges = {edge - 1 for window in windows for edge in (window.col0, window.col1)}
    edges |= {geometry.core(tile).col0 - 1 for tile in geometry.tiles(0)}
    borders = [edge for edge in sorted(edges) if 0 <= edge < cols - 1]
    everywhere = ends_at(result.objects, list(range(cols - 1)))
    assert ends_at(result.objects, borders) < 3 * everywhere
