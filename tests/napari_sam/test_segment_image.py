"""What is asked of the network, and what is made of its answers."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

import napari_sam.segment.image as image_module
from napari_sam.errors import InputError
from napari_sam.segment.image import segment_everything, segment_prompts
from napari_sam.segment.prompts import Box, Point, Prompt
from src_model import Sam, SamPredictor
from src_model.automatic_thresholds import AutomaticThresholds

IMAGE = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def test_one_click_takes_the_best_of_three(tiny_sam: Sam) -> None:
    (found,) = segment_prompts(tiny_sam, IMAGE, [Prompt((Point(10, 40),))])
    predictor = SamPredictor(tiny_sam)
    predictor.set_image(IMAGE)
    masks, ious, _ = predictor.predict(np.array([[40, 10]]), np.array([1]))
    assert len(ious) == 3
    assert found.predicted_iou == pytest.approx(ious.max())
    whole = np.zeros(IMAGE.shape[:2], bool)
    whole[found.region] = found.mask
    np.testing.assert_array_equal(whole, masks[ious.argmax()])


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        (
            Prompt((Point(10, 40), Point(5, 6, False))),
            {"point_coords": np.array([[40, 10], [6, 5]]), "point_labels": np.array([1, 0])},
        ),
        (Prompt(box=Box(1, 2, 30, 44)), {"box": np.array([2, 1, 44, 30])}),
        (
            Prompt((Point(10, 40),), Box(1, 2, 30, 44)),
            {
                "point_coords": np.array([[40, 10]]),
                "point_labels": np.array([1]),
                "box": np.array([2, 1, 44, 30]),
            },
        ),
    ],
    ids=["points", "box", "box+points"],
)
def test_clear_prompts_take_the_single_mask(
    tiny_sam: Sam, prompt: Prompt, asked: dict[str, Any]
) -> None:
    (found,) = segment_prompts(tiny_sam, IMAGE, [prompt])
    predictor = SamPredictor(tiny_sam)
    predictor.set_image(IMAGE)
    masks, ious, _ = predictor.predict(**asked, multimask_output=False)
    assert found.predicted_iou == pytest.approx(ious[0])
    assert found.area == masks[0].sum()
    assert found.prompt == prompt.kind


def test_a_variant_that_cannot_choose_takes_the_single_mask(
    tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_sam, "variant", replace(tiny_sam.variant, name="vit_nano"))
    (found,) = segment_prompts(tiny_sam, IMAGE, [Prompt((Point(10, 40),))])
    predictor = SamPredictor(tiny_sam)
    predictor.set_image(IMAGE)
    _, ious, _ = predictor.predict(np.array([[40, 10]]), np.array([1]), multimask_output=False)
    assert found.predicted_iou == pytest.approx(ious[0])


def test_several_boxes_share_one_encoding(tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    original = SamPredictor.set_image
    monkeypatch.setattr(
        SamPredictor, "set_image", lambda self, *a: (encoded.append(1), original(self, *a))
    )
    boxes = [Prompt(box=Box(1, 2, 30, 44)), Prompt(box=Box(5, 20, 40, 60))]
    assert len(segment_prompts(tiny_sam, IMAGE, boxes)) == 2
    assert len(encoded) == 1


def test_prompts_outside_never_reach_the_network(tiny_sam: Sam) -> None:
    with pytest.raises(InputError, match="48 rows and 64 columns"):
        segment_prompts(tiny_sam, IMAGE, [Prompt((Point(50, 2),))])


def test_everything_is_without_specks_and_duplicates(
    tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_module, "_CLICKS", 4)
    sure = deepcopy(tiny_sam)  # of everything it draws
    with torch.no_grad():
        sure.mask_decoder.iou_prediction_head.layers[-1].bias += 5
    steps: list[tuple[int, int]] = []
    found = segment_everything(
        sure,
        IMAGE,
        lambda done, total: steps.append((done, total)),
        AutomaticThresholds(0, 0, 0.7),
    )
    assert found
    done, total = steps[-1]
    assert done == total > 16  # a click on each point, and one in each mask
    assert (16, 16) in steps
    scores = [candidate.predicted_iou for candidate in found]
    assert scores == sorted(scores, reverse=True)
    assert {candidate.prompt for candidate in found} == {"grid"}
    masks = []
    for candidate in found:
        mask = np.zeros(IMAGE.shape[:2], bool)
        mask[candidate.region] = candidate.mask
        masks.append(mask)
        for part in (mask, ~mask):  # neither islands nor holes of much less than a tenth
            sizes = np.bincount(ndimage.label(part, np.ones((3, 3)))[0].ravel())[1:]
            assert len(sizes) == 1 or (sizes >= 0.05 * candidate.area).all()
    for i, mask in enumerate(masks):
        for other in masks[:i]:
            assert (mask & other).sum() <= 0.7 * (mask | other).sum()


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (2, 3)])
def test_pictures_of_any_shape(tiny_sam: Sam, shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 200, np.uint8)
    (found,) = segment_prompts(tiny_sam, image, [Prompt((Point(0, 0),))])
    assert 0 <= found.area <= image[..., 0].size
