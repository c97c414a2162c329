"""Metrics of the evaluation against other people's definitions of them."""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from skimage.io import imread
from skimage.measure import label
from skimage.morphology import dilation, disk

from src_model.training.evaluation.bootstrap import bootstrap_difference, bootstrap_ratio
from src_model.training.evaluation.boundary import boundary_f
from src_model.training.evaluation.calibration import calibrate
from src_model.training.evaluation.clicks import Click, deepest_point, first_click, next_click
from src_model.training.evaluation.floors import best_disc, filled_box
from src_model.training.evaluation.groups import picture_kind
from src_model.training.evaluation.instances import score_instances
from src_model.training.evaluation.matching import (
    AP_THRESHOLDS,
    AR_THRESHOLDS,
    average_precision,
    coverage,
    recalled,
)
from src_model.training.evaluation.regions import cut_mask, iou_matrix, mask_iou
from src_model.training.pictures import ObjectMask, ObjectMasks

SEEDS = st.integers(0, 2**32 - 1)
NOTHING = ObjectMask(0, 0, np.zeros((0, 0), bool))


def random_blob(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a random mask that is neither empty nor the whole picture, often in pieces."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(0.5, 4))
    mask: NDArray[np.bool_] = noise > np.quantile(noise, rng.uniform(0.3, 0.97))
    if rng.random() < 0.5:
        mask = label(mask) == 1
    return mask


def random_objects(
    rng: np.random.Generator, shape: tuple[int, int], count: int
) -> list[NDArray[np.bool_]]:
    """Return ellipses, which may overlap."""
    rows, cols = np.indices(shape)
    masks = []
    for _ in range(count):
        row, col = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        a, b = rng.uniform(2, 10, 2)
        masks.append(((rows - row) / a) ** 2 + ((cols - col) / b) ** 2 < 1)
    return [mask for mask in masks if mask.any()]


def shifted(
    rng: np.random.Generator, masks: list[NDArray[np.bool_]], reach: int
) -> list[NDArray[np.bool_]]:
    """Move each mask a little; some are lost."""
    moved = [
        np.roll(mask, rng.integers(-reach, reach + 1, 2), axis=(0, 1))
        for mask in masks
        if rng.random() < 0.8
    ]
    return [mask for mask in moved if mask.any()]


def encode(mask: NDArray[np.bool_]) -> dict[str, object]:
    rle: dict[str, object] = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return rle


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_iou_is_that_of_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(5, 50)), int(rng.integers(5, 50)))
    truth, found = (random_objects(rng, shape, int(rng.integers(1, 6))) for _ in range(2))
    ours = iou_matrix([cut_mask(m) for m in truth], [cut_mask(m) for m in found])
    theirs = coco_mask.iou([encode(m) for m in truth], [encode(m) for m in found], [0] * len(found))
    np.testing.assert_allclose(ours, np.reshape(theirs, ours.shape), atol=1e-12)
    for i, j in np.ndindex(ours.shape):
        assert mask_iou(cut_mask(truth[i]), cut_mask(found[j])) == ours[i, j]


def coco_average_recall(
    pictures: list[tuple[list[NDArray[np.bool_]], list[NDArray[np.bool_]], NDArray[np.float64]]],
    limits: tuple[int, ...],
) -> list[float]:
    """Return AR at each limit as COCOeval computes it."""
    truth, found = [], []
    for number, (masks, guesses, scores) in enumerate(pictures, start=1):
        for mask in masks:
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": int(mask.sum()),
                    "segmentation": encode(mask),
                }
            )
        for mask, score in zip(guesses, scores, strict=True):
            found.append(
                {
                    "image_id": number,
                    "category_id": 1,
                    "score": float(score),
                    "segmentation": encode(mask),
                }
            )
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": n, "height": 40, "width": 50} for n in range(1, len(pictures) + 1)],
        "categories": [{"id": 1}],
        "annotations": truth,
    }
    with contextlib.redirect_stdout(io.StringIO()):  # it tells everything it does
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "segm")
        evaluation.params.maxDets = list(limits)
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    recall = evaluation.eval["recall"]  # (thresholds, categories, areas, limits)
    return [float(recall[:, 0, 0, i].mean()) for i in range(len(limits))]


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_average_recall_is_that_of_pycocotools(seed: int) -> None:
    rng, limits = np.random.default_rng(seed), (1, 3, 100)
    pictures, right, objects = [], np.zeros(len(limits)), 0
    for _ in range(int(rng.integers(1, 4))):
        truth = random_objects(rng, (40, 50), int(rng.integers(1, 8)))
        found = shifted(rng, truth * 2, 2) or truth[:1]
        scores = rng.integers(0, 5, len(found)) / 5  # with ties
        pictures.append((truth, found, scores))
        iou = iou_matrix([cut_mask(m) for m in truth], [cut_mask(m) for m in found])
        right += [recalled(iou, scores, limit).mean() for limit in limits]
        objects += len(truth)
    np.testing.assert_allclose(right / objects, coco_average_recall(pictures, limits))


@given(SEEDS)
@settings(max_examples=50, deadline=None)
def test_average_precision_is_the_best_assignment(seed: int) -> None:
    rng = np.random.default_rng(seed)
    iou = rng.uniform(size=(int(rng.integers(0, 7)), int(rng.integers(0, 7))))
    for threshold, ours in zip(AP_THRESHOLDS, average_precision(iou), strict=True):
        hits = iou > threshold
        right = hits[linear_sum_assignment(hits, maximize=True)].sum()
        union = sum(iou.shape) - right
        assert ours == pytest.approx(right / union if union else 1)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_average_precision_of_label_maps(seed: int) -> None:
    """Without overlaps a pair above one half is the only one, as the challenge relies on."""
    rng = np.random.default_rng(seed)
    maps = [label(random_blob(rng, (40, 40)), connectivity=1) for _ in range(2)]
    maps[1][rng.random((40, 40)) < 0.9] = maps[0][rng.random((40, 40)) < 0.9].max()
    truth, found = (ObjectMasks.from_labels(each) for each in maps)
    table = np.zeros((len(truth), len(found)))
    ids = [np.unique(each[each > 0]) for each in maps]
    for i, a in enumerate(ids[0]):
        for j, b in enumerate(ids[1]):
            one, other = maps[0] == a, maps[1] == b
            table[i, j] = (one & other).sum() / (one | other).sum()
    ours = average_precision(iou_matrix(truth.items, found.items))
    for value, threshold in zip(ours, AP_THRESHOLDS, strict=True):
        right = (table > threshold).sum()
        assert value == pytest.approx(right / (len(truth) + len(found) - right))


def test_average_precision_at_its_ends() -> None:
    assert average_precision(np.eye(3)).tolist() == [1.0] * 9
    assert average_precision(np.zeros((2, 0))).tolist() == [0.0] * 9
    assert average_precision(np.zeros((0, 2))).tolist() == [0.0] * 9
    assert average_precision(np.zeros((0, 0))).tolist() == [1.0] * 9
    assert average_precision(np.array([[0.5]]), (0.5,)).tolist() == [0.0]
    assert recalled(np.array([[0.5]]), np.ones(1), 1, (0.5,)).tolist() == [1]
    assert recalled(np.zeros((2, 0)), np.zeros(0), 100).tolist() == [0] * len(AR_THRESHOLDS)


def davis_f(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """Return the contour accuracy computed on whole pictures with dilations, as DAVIS does."""

    def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
        result = (mask != padded[:-1, 1:]) | (mask != padded[1:, :-1])
        result[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
        return result

    reach = disk(math.ceil(0.008 * math.hypot(*truth.shape)))
    a, b = outline(truth), outline(found)
    if not a.any() or not b.any():
        return float(a.any() == b.any())
    precision = (b & dilation(a, reach)).sum() / b.sum()
    recall = (a & dilation(b, reach)).sum() / a.sum()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_boundary_f_is_that_of_davis(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(10, 200)), int(rng.integers(10, 200)))
    truth, found = random_blob(rng, shape), random_blob(rng, shape)
    if rng.random() < 0.3:
        found = ndimage.shift(truth.astype(int), (1, 2), order=0) > 0
    if not found.any():
        found = truth
    ours = boundary_f(cut_mask(truth), cut_mask(found), shape)
    assert ours == pytest.approx(davis_f(truth, found))


def test_boundary_f_at_its_ends() -> None:
    whole = cut_mask(np.ones((20, 20), bool))
    part = cut_mask(np.pad(np.ones((4, 4), bool), 8))
    assert boundary_f(whole, whole, (20, 20)) == 1
    assert boundary_f(part, part, (20, 20)) == 1
    assert boundary_f(whole, NOTHING, (20, 20)) == 0
    assert boundary_f(part, NOTHING, (20, 20)) == 0
    assert boundary_f(part, whole, (20, 20)) == 0


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_clicks_are_deep_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(8, 60)), int(rng.integers(8, 60)))
    truth, found = random_blob(rng, shape), random_blob(rng, shape)
    click = first_click(cut_mask(truth))
    depth = ndimage.distance_transform_edt(np.pad(truth, 1))[1:-1, 1:-1]
    assert depth[click.y, click.x] == depth.max()
    misses, alarms = (label(m, connectivity=2) for m in (truth & ~found, found & ~truth))
    sizes = [np.bincount(parts.ravel())[1:] for parts in (misses, alarms)]
    second = next_click(cut_mask(truth), cut_mask(found))
    if not (truth != found).any():
        assert second is None
        return
    assert second is not None
    parts = misses if second.foreground else alarms
    hit = parts == parts[second.y, second.x]
    assert parts[second.y, second.x] > 0
    assert hit.sum() == max(s.max(initial=0) for s in sizes)
    depth = ndimage.distance_transform_edt(np.pad(hit, 1))[1:-1, 1:-1]
    assert depth[second.y, second.x] == depth.max()


def test_clicks_on_little() -> None:
    pixel = ObjectMask(3, 4, np.ones((1, 1), bool))
    assert first_click(pixel) == Click(4, 3)
    assert next_click(pixel, pixel) is None
    assert next_click(pixel, NOTHING) == Click(4, 3)
    assert deepest_point(np.array([[False, True]])) == (0, 1)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_the_best_disc_is_the_best_of_all_radii(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(6, 40)), int(rng.integers(6, 40)))
    truth = random_blob(rng, shape)
    click = first_click(cut_mask(truth))
    rows, cols = np.indices(shape)
    squares = (rows - click.y) ** 2 + (cols - click.x) ** 2
    ious = [
        (truth & (squares <= r)).sum() / (truth | (squares <= r)).sum() for r in np.unique(squares)
    ]
    disc = best_disc(cut_mask(truth), click, shape)
    assert mask_iou(cut_mask(truth), disc) == pytest.approx(max(ious))


def test_boxes_are_filled_inside_the_picture() -> None:
    truth = cut_mask(np.pad(np.ones((3, 5), bool), 2))
    objects = ObjectMasks((7, 9), (truth,))
    assert mask_iou(truth, filled_box(objects.box(0), (7, 9))) == 1
    assert filled_box((-3, -3, 100, 0.5), (7, 9)).mask.shape == (1, 9)
    assert filled_box((2.2, 2.2, 2.8, 2.8), (7, 9)).area == 0
    assert filled_box((20, 20, 30, 30), (7, 9)).area == 0


def test_coverage_counts_pixels_once() -> None:
    rng = np.random.default_rng(1)
    truth, found = (random_objects(rng, (40, 40), 5) for _ in range(2))
    ours = coverage([cut_mask(m) for m in truth], [cut_mask(m) for m in found], (40, 40))
    assert ours == ((np.any(truth, 0) & np.any(found, 0)).sum(), np.any(truth, 0).sum())
    assert coverage([cut_mask(truth[0])], [NOTHING], (40, 40)) == (0, truth[0].sum())


def test_instances_found_without_error() -> None:
    masks = [np.zeros((30, 30), bool) for _ in range(2)]
    masks[0][2:9, 3:10] = True
    masks[1][15:25, 12:28] = True
    truth = ObjectMasks.from_masks(masks, (30, 30))
    scores = score_instances(truth, truth.items, truth.items, [0.9, 0.8])
    for name in ("AP@50", "AP@75", "mean AP", "AR@100", "AR@1000", "coverage"):
        for measure in ("model", "floor: box"):  # the objects are boxes
            total, count = scores[name, measure]
            assert total == count
        assert 0 < scores[name, "floor: disc"][0] <= scores[name, "floor: disc"][1]
    nothing = score_instances(truth, [], [], [])
    assert nothing["mean AP", "model"] == (0, 1)
    assert nothing["AR@100", "model"] == (0, 2)
    assert nothing["coverage", "model"] == (0, 49 + 160)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_calibration_is_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 60))
    predicted, measured = rng.uniform(-0.2, 1.2, count), rng.uniform(0, 1, count)
    found = calibrate(predicted, measured)
    assert found.error == pytest.approx(np.abs(predicted - measured).mean())
    assert found.error <= np.abs(predicted - measured).max()
    assert sum(each.count for each in found.bins) == count
    weighted = [
        each.count * abs(each.predicted - each.measured) for each in found.bins if each.count
    ]
    assert found.expected_error == pytest.approx(sum(weighted) / count)
    assert abs(found.bias) <= found.expected_error + 1e-12 <= found.error + 2e-12
    # No constant is better than the median.
    constants = np.linspace(0, 1, 11)
    assert found.constant_error <= np.abs(measured - constants[:, None]).mean(1).min() + 1e-12


def test_calibration_needs_masks() -> None:
    with pytest.raises(ValueError, match="at least one mask"):
        calibrate(np.zeros(0), np.zeros(0))


def test_intervals_cover_the_mean_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        counts = rng.integers(1, 20, 40)
        means = rng.normal(0.6, 0.1, 40)  # objects of one picture are alike
        estimate = bootstrap_ratio(counts * means, counts, resamples=400)
        assert estimate.low < estimate.value < estimate.high
        inside += estimate.low <= 0.6 <= estimate.high
    assert 0.88 <= inside / 200 <= 0.99


def test_intervals_resample_pictures_and_not_objects() -> None:
    few = bootstrap_ratio([100, 0], [100, 100])
    many = bootstrap_ratio([1, 0] * 100, [1, 1] * 100)
    assert (few.low, few.value, few.high) == (0, 0.5, 1)
    assert 0.4 < many.low < many.value < many.high < 0.6


def test_intervals_are_repeatable_and_narrow_without_spread() -> None:
    assert bootstrap_ratio([1, 4, 2], [2, 5, 3]) == bootstrap_ratio([1, 4, 2], [2, 5, 3])
    flat = bootstrap_ratio([1, 2, 3], [2, 4, 6])
    assert (flat.low, flat.value, flat.high) == pytest.approx((0.5, 0.5, 0.5))
    alone = bootstrap_ratio([1], [2])
    assert alone.value == 0.5
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)
    with pytest.raises(ValueError, match="at least one object"):
        bootstrap_ratio([], [])


def test_a_difference_is_paired() -> None:
    counts = np.array([4, 2, 6, 3, 5])
    before = counts * np.array([0.1, 0.9, 0.4, 0.7, 0.2])
    change = bootstrap_difference(before, before + 0.05 * counts, counts)
    assert (change.low, change.value, change.high) == pytest.approx((0.05, 0.05, 0.05))
    same = bootstrap_difference(before, before, counts)
    assert (same.low, same.value, same.high) == (0, 0, 0)
    back = bootstrap_difference(before, counts * 0.5, counts)
    forth = bootstrap_difference(counts * 0.5, before, counts)
    assert (-back.high, -back.value) == pytest.approx((forth.low, forth.value), abs=0.02)


def test_a_difference_of_few_pictures_is_less_sure() -> None:
    rng = np.random.default_rng(0)
    for pictures in (4, 6, 40):
        gains = rng.normal(0.1, 0.2, pictures)
        ones = np.ones(pictures)
        wide = bootstrap_difference(np.zeros(pictures), gains, ones)
        plain = bootstrap_ratio(gains, ones, resamples=5000)
        assert wide.value == pytest.approx(plain.value)
        assert wide.low <= plain.low
        assert wide.high >= plain.high
        factor = (wide.high - wide.low) / (plain.high - plain.low)
        assert factor > 1.2 if pictures < 10 else 1 <= factor < 1.15


def test_pictures_without_objects_do_not_make_a_difference_surer() -> None:
    alone = bootstrap_difference([0, 1, 0], [0, 2, 0], [0, 4, 0])
    assert alone.value == 0.25
    assert math.isnan(alone.low)
    with pytest.raises(ValueError, match="at least one object"):
        bootstrap_difference([0], [0], [0])


def test_kinds_of_pictures(shared: Path) -> None:
    """The guess agrees with the list beside the development images."""
    nuclei = shared / "devdata" / "nuclei"
    kinds = set()
    for entry in json.loads((nuclei / "manifest.json").read_text())["val"]:
        image = imread(nuclei / "val" / "images" / f"{entry['name']}.png")
        image = np.stack([image] * 3, -1) if image.ndim == 2 else image[..., :3]
        kinds.add((picture_kind(image), entry["grey"]))
    assert kinds == {("H&E-like", False), ("fluorescence-like", True), ("other", True)}
