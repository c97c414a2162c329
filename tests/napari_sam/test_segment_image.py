"""What is asked of the network, and what is made of its answers."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import src_model
from napari_sam.errors import InputError
from napari_sam.segment.image import segment_everything, segment_prompts
from napari_sam.segment.prompts import Box, Point, Prompt
from src_model import Sam, SamAutomaticMaskGenerator, SamPredictor

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


def test_everything_is_what_the_generator_finds_without_specks_and_duplicates(
    tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lenient(model: Sam, **options: Any) -> SamAutomaticMaskGenerator:
        options |= {"pred_iou_thresh": -9, "stability_score_thresh": 0, "box_nms_thresh": 0.9999}
        return SamAutomaticMaskGenerator(model, points_per_side=4, **options)

    monkeypatch.setattr(src_model, "SamAutomaticMaskGenerator", lenient)
    steps: list[tuple[int, int]] = []
    found = segment_everything(tiny_sam, IMAGE, lambda done, total: steps.append((done, total)))
    expected = lenient(tiny_sam).generate(IMAGE)
    assert found
    assert steps[-1] == (16, 16)
    scores = [candidate.predicted_iou for candidate in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == max(record["predicted_iou"] for record in expected)
    assert {candidate.prompt for candidate in found} == {"grid"}
    records = {record["predicted_iou"]: record["segmentation"] for record in expected}
    masks = []
    for candidate in found:
        mask = np.zeros(IMAGE.shape[:2], bool)
        mask[candidate.region] = candidate.mask
        masks.append(mask)
        area = np.count_nonzero(records[candidate.predicted_iou]) / 10
        for part in (mask, ~mask):  # neither islands nor holes of less than a tenth
            sizes = np.bincount(ndimage.label(part, np.ones((3, 3)))[0].ravel())[1:]
            assert len(sizes) == 1 or (sizes >= area).all()
    for i, mask in enumerate(masks):
        for other in masks[:i]:
            assert (mask & other).sum() <= 0.7 * (mask | other).sum()


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (2, 3)])
def test_pictures_of_any_shape(tiny_sam: Sam, shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 200, np.uint8)
    (found,) = segment_prompts(tiny_sam, image, [Prompt((Point(0, 0),))])
    assert 0 <= found.area <= image[..., 0].size
