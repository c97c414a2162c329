"""The protocol of the evaluation: what is asked of a model, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from src_model import Sam, SamPredictor, Variant, build_sam
from src_model.training.evaluation import evaluate_picture, prompted, summarise
from src_model.training.evaluation.clicks import first_click, next_click
from src_model.training.evaluation.encoded import EncodedPicture
from src_model.training.evaluation.prompted import CLICK_COUNTS, choose_objects, score_prompts
from src_model.training.evaluation.regions import cut_mask, mask_iou
from src_model.training.pictures import ObjectMask, ObjectMasks, Picture
from src_model.training.scenes import generate_scene

PROMPTS = ("1 click", "2 clicks", "3 clicks", "5 clicks", "8 clicks", "box", "jittered box")


@pytest.fixture(scope="module")
def sam() -> Sam:
    torch.manual_seed(0)
    return build_sam(
        Variant(
            image_size=64,
            depth=2,
            embed_dim=32,
            num_heads=2,
            out_chans=32,
            global_attn_indexes=(1,),
        )
    )


@pytest.fixture(scope="module")
def picture() -> Picture:
    image, labels = generate_scene(np.random.default_rng(3), 80, max_objects=9)
    return Picture("scene.png", image[:60], ObjectMasks.from_labels(labels[:60]))


class Oracle:
    """In place of an encoded picture: answers with masks that are right, or never right.

    The logits of an answer hold the number of the mask that is meant.
    """

    def __init__(self, picture: Picture, right_after: int) -> None:
        self.picture, self.right_after = picture, right_after
        self.shape = picture.objects.shape
        self.asked: list[tuple[int, int, bool]] = []  # objects, clicks, whether masks were given

    def decode(
        self,
        points: NDArray[np.floating] | None = None,
        labels: NDArray[np.integer] | None = None,
        boxes: NDArray[np.floating] | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, NDArray[np.float64]]:
        if points is None:
            assert boxes is not None
            count = len(boxes)
            answers = torch.arange(count).float()
        else:
            assert labels is not None
            count, clicks = labels.shape
            self.asked.append((count, clicks, masks is not None))
            assert labels[:, 0].all()  # the first click is on the object
            xs, ys = points[:, 0, 0].astype(int), points[:, 0, 1].astype(int)
            answers = torch.tensor(
                [
                    next(i for i in range(len(self.picture.objects)) if self._full(i)[y, x])
                    for x, y in zip(xs, ys, strict=True)
                ]
            ).float()
            if clicks < self.right_after:
                answers -= 1000  # means nothing at all
        logits = answers[:, None, None, None].expand(count, 4, 2, 2)
        return logits, np.tile([0.9, 0.2, 0.8, 0.3], (count, 1))

    def mask(self, low_res: Tensor) -> ObjectMask:
        number = int(low_res[0, 0])
        if number < 0:
            return cut_mask(np.zeros((0, 0), bool))
        return self.picture.objects.items[number]

    def _full(self, index: int) -> NDArray[np.bool_]:
        return self.picture.objects.full(index)


def test_encoded_pictures_answer_as_the_predictor_does(sam: Sam, picture: Picture) -> None:
    encoded, predictor = EncodedPicture(sam, picture.image), SamPredictor(sam)
    predictor.set_image(picture.image)
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 60, (20, 3, 2))
    labels = rng.integers(0, 2, (20, 3))
    boxes = np.sort(rng.uniform(0, 60, (20, 2, 2)), axis=1).reshape(20, 4)
    masks = torch.randn(20, 16, 16)
    for given in (
        {"points": points, "labels": labels},
        {"points": points, "labels": labels, "masks": masks},
        {"boxes": boxes},
    ):
        low_res, predicted = encoded.decode(**given)  # type: ignore[arg-type]
        assert low_res.shape == (20, 4, 16, 16)
        for i in (0, 7, 19):
            for several, which in ((False, slice(0, 1)), (True, slice(1, 4))):
                full, iou, logits = predictor.predict(
                    points[i] if "points" in given else None,
                    labels[i] if "points" in given else None,
                    boxes[i] if "boxes" in given else None,
                    masks[i : i + 1].numpy() if "masks" in given else None,
                    multimask_output=several,
                )
                np.testing.assert_allclose(low_res[i, which], logits, atol=1e-4)
                np.testing.assert_allclose(predicted[i, which], iou, atol=1e-4)
                for ours, theirs in zip(low_res[i, which], full, strict=True):
                    mask = np.zeros(encoded.shape, bool)
                    found = encoded.mask(ours)
                    mask[found.window] = found.mask
                    assert (mask != theirs).mean() < 0.002  # logits within rounding of 0


def test_the_conversation_is_that_of_a_user_with_the_predictor(sam: Sam, picture: Picture) -> None:
    """Object by object, with the published interface."""
    scores = score_prompts(sam, picture, [0, 1], np.random.default_rng(0), max_clicks=8)
    predictor = SamPredictor(sam)
    predictor.set_image(picture.image)
    for index in (0, 1):
        truth = picture.objects.items[index]
        click, clicks, previous = first_click(truth), [], None
        for count in range(1, 4):
            clicks.append(click)
            offers = [
                predictor.predict(
                    np.array([(c.x, c.y) for c in clicks]),
                    np.array([int(c.foreground) for c in clicks]),
                    mask_input=previous,
                    multimask_output=several,
                )
                for several in (False, True)
            ]
            masks, predicted, low_res = (
                np.concatenate(parts) for parts in zip(*offers, strict=True)
            )
            ious = [mask_iou(truth, cut_mask(mask)) for mask in masks]
            shown = int(predicted[1:].argmax()) + 1 if count == 1 else int(predicted.argmax())
            name = PROMPTS[count - 1]
            for measure, expected in (
                ("best of three", max(ious[1:])),
                ("best predicted", ious[shown]),
                ("single mask", ious[0]),
            ):
                found = scores.values[name, measure][index]
                assert found == pytest.approx(expected, abs=0.02), (name, measure)
            following = next_click(truth, cut_mask(masks[shown]))
            assert following is not None
            click, previous = following, low_res[shown : shown + 1]
        assert list(scores.traces[index].clicks[:3]) == clicks


def test_a_perfect_model(picture: Picture, monkeypatch: pytest.MonkeyPatch, sam: Sam) -> None:
    oracle = Oracle(picture, right_after=1)
    monkeypatch.setattr(prompted, "EncodedPicture", lambda sam, image: oracle)
    indices = range(len(picture.objects))
    scores = score_prompts(sam, picture, indices, np.random.default_rng(0))
    for name in PROMPTS:
        for measure in ("best of three", "best predicted", "single mask", "boundary F"):
            assert (scores.values[name, measure] == 1).all()
    for name in ("NoC@85", "NoC@90"):
        assert (scores.values[name, "clicks"] == 1).all()
        assert (scores.values[name, "reached"] == 1).all()
    assert oracle.asked == [(len(indices), 1, False)]  # nobody clicks on a perfect mask
    assert [trace.ious for trace in scores.traces] == [(1.0,)] * len(indices)


@pytest.mark.parametrize(("right_after", "reached"), [(6, 1), (100, 0)])
def test_clicks_are_counted(
    picture: Picture, monkeypatch: pytest.MonkeyPatch, sam: Sam, right_after: int, reached: int
) -> None:
    oracle = Oracle(picture, right_after)
    monkeypatch.setattr(prompted, "EncodedPicture", lambda sam, image: oracle)
    scores = score_prompts(sam, picture, [1, 2], np.random.default_rng(0))
    for count, name in zip(CLICK_COUNTS, PROMPTS, strict=False):
        assert (scores.values[name, "best predicted"] == (count >= right_after)).all()
        assert (scores.values[name, "boundary F"] == (count >= right_after)).all()
    assert scores.values["NoC@90", "clicks"].tolist() == [min(right_after, 20)] * 2
    assert scores.values["NoC@85", "reached"].tolist() == [reached] * 2
    asked = [(2, count, count > 1) for count in range(1, min(right_after, 20) + 1)]
    assert oracle.asked == asked
    assert len(scores.traces[0].clicks) == 5
    assert scores.traces[0].mask.area == 0
    # Of the three masks after one click: two right guesses of 0.2 and 0.3, one of 0.8, all wrong.
    assert scores.predicted.tolist() == [[0.2, 0.8, 0.3]] * 2
    assert scores.measured.tolist() == [[0, 0, 0]] * 2


def test_floors_stand_beside_every_score(sam: Sam, picture: Picture) -> None:
    scores = score_prompts(sam, picture, [0, 1], np.random.default_rng(0), max_clicks=8)
    for name in PROMPTS:
        for floor in ("floor: disc", "floor: box", "boundary F floor: disc"):
            values = scores.values[name, floor]
            assert values.shape == (2,)
            assert ((values > 0) & (values <= 1)).all()
    box = scores.values["1 click", "floor: box"]
    for i in (0, 1):
        item = picture.objects.items[i]
        assert box[i] == pytest.approx(item.mask.mean())
    assert (box == scores.values["box", "floor: box"]).all()
    assert (box != scores.values["jittered box", "floor: box"]).any()
    reached = scores.values["NoC@85", "floor: box reaches"]
    assert reached.tolist() == (box >= 0.85).astype(float).tolist()


def test_extreme_objects(sam: Sam) -> None:
    """One pixel, the whole picture, and a line at the border."""
    masks = [np.zeros((40, 30), bool) for _ in range(3)]
    masks[0][20, 10] = True
    masks[1][:] = True
    masks[2][:, 29] = True
    image = np.random.default_rng(0).integers(0, 255, (40, 30, 3)).astype(np.uint8)
    picture = Picture("extreme", image, ObjectMasks.from_masks(masks, (40, 30)))
    scores = score_prompts(sam, picture, range(3), np.random.default_rng(0), max_clicks=8)
    for key, values in scores.values.items():
        assert np.isfinite(values).all(), key


def test_objects_are_chosen_by_picture_and_seed_alone(sam: Sam, picture: Picture) -> None:
    assert len(picture.objects) > 2
    first, again = (evaluate_picture(sam, picture, 2) for _ in range(2))
    assert first.values == again.values
    assert [t.index for t in first.traces] == [t.index for t in again.traces]
    drawn = {
        tuple(choose_objects(np.random.default_rng(seed), len(picture.objects), 2))
        for seed in range(20)
    }
    assert len(drawn) > 1
    assert all(len(set(indices)) == 2 for indices in drawn)


def test_summaries_weigh_objects_equally(sam: Sam, picture: Picture) -> None:
    few = evaluate_picture(sam, picture, 1)
    many = evaluate_picture(sam, picture, 4)
    summary = summarise([few, many])
    assert (summary.pictures, summary.objects) == (2, few.objects + many.objects)
    for key, estimate in summary.estimates.items():
        total = few.values[key][0] + many.values[key][0]
        assert estimate.value == pytest.approx(total / (few.values[key][1] + many.values[key][1]))
        assert estimate.low <= estimate.value <= estimate.high
    assert summary.calibration.count == 3 * summary.objects
    assert summary.calibration.error == pytest.approx(
        summary.estimates["predicted IoU", "mean error"].value
    )


def test_nothing_to_ask_for_is_told(sam: Sam, picture: Picture) -> None:
    with pytest.raises(ValueError, match="at least one object"):
        score_prompts(sam, picture, [], np.random.default_rng(0))
    with pytest.raises(ValueError, match="max_clicks must be at least 8"):
        score_prompts(sam, picture, [0], np.random.default_rng(0), max_clicks=3)
