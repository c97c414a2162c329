"""Proposals: ranked by confidence, hardly suppressed, scored as COCO does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from everything_scenes import discs, make_store, perfect, scene_of

from napari_sam.errors import InputError
from napari_sam.segment.everything import Everything, running, segment_everything
from napari_sam.segment.everything.raw import RawCandidates
from napari_sam.segment.proposals import average_recall, rank_proposals
from src_model import Sam
from src_model.training.pictures import ObjectMasks

LABELS = discs((160, 190), (6, 10), 25)


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch, tiny_sam: Sam) -> Everything:
    """A network that finds each disc, and surer of it, its upper half."""
    click = perfect(LABELS)

    def doubtful(ready: Any, *given: Any) -> RawCandidates:
        raw = click(ready, *given)
        masks = []
        for index in range(len(raw)):
            mask, corner = raw.mask(index), tuple(raw.boxes[index, :2].tolist())
            cut = int(raw.cuts[index])
            masks.append((mask, corner, 0.9, 0.95, (0.0, 0.0), cut))
            half = mask[: len(mask) // 2]
            half = half[:, half.any(0)]
            left = int(np.flatnonzero(mask[: len(mask) // 2].any(0))[0])
            masks.append((half, (corner[0], corner[1] + left), 0.97, 0.98, (0.0, 0.0), cut))
        return RawCandidates.of(masks)

    monkeypatch.setattr(running, "click_tile", doubtful)
    scene = scene_of(LABELS)
    return segment_everything(
        scene, make_store(scene, tiny_sam), tiny_sam, sizes=(8, 20)
    ).everything


def test_parts_and_wholes_are_ranked(everything: Everything) -> None:
    proposals = rank_proposals(everything)
    assert (np.diff(proposals.confidences) <= 0).all()
    doubts = proposals.objects.doubts[proposals.order]
    np.testing.assert_allclose(proposals.confidences, 1 - doubts, atol=1e-6)
    areas = proposals.objects.areas[proposals.order]
    sure = proposals.confidences > 0.93
    assert 0 < sure.sum() < len(proposals)
    assert areas[sure].mean() < 0.7 * areas[~sure].mean()
    few = rank_proposals(everything, 3)
    np.testing.assert_array_equal(few.order, proposals.order[:3])


def test_average_recall(everything: Everything) -> None:
    truth = ObjectMasks.from_labels(LABELS)
    proposals = rank_proposals(everything)
    found = average_recall(truth, proposals, (len(truth), len(proposals)))
    # The halves come first, and few of them are more than half of their disc.
    assert found[len(truth)] < 0.2
    assert found[len(proposals)] > 0.95


def test_what_cannot_be_is_refused(everything: Everything) -> None:
    with pytest.raises(InputError, match="0 proposals"):
        rank_proposals(everything, 0)
    proposals = rank_proposals(everything)
    with pytest.raises(InputError, match="those of 50 × 60 pixels"):
        average_recall(ObjectMasks.from_labels(LABELS[:50, :60]), proposals)
    nothing = average_recall(ObjectMasks.from_labels(np.zeros_like(LABELS)), proposals, (5,))
    assert math.isnan(nothing[5])
