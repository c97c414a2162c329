"""Masks as run lengths, boxes, duplicates, small regions, windows of full-size logits, crops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional as F

from src_model.candidates import measure_mask
from src_model.masks import (
    batched_mask_to_box,
    box_nms,
    calculate_stability_score,
    remove_small_regions,
)
from src_model.rle import (
    Rle,
    area_from_rle,
    box_from_rle,
    coco_decode_rle,
    coco_encode_rle,
    mask_to_rle,
    mask_to_rle_pytorch,
    rle_from_window,
    rle_to_mask,
)
from src_model.upsample import MaskUpsampler, Window, axis_interpolation
from src_model.utils import amg

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
masks = sizes.flatmap(
    lambda size: st.one_of(
        hnp.arrays(bool, size), st.just(np.zeros(size, bool)), st.just(np.ones(size, bool))
    )
)


class TestRle:
    @settings(deadline=None)
    @given(masks)
    def test_decoding_undoes_encoding(self, mask: NDArray[np.bool_]) -> None:
        rle = mask_to_rle(mask)
        np.testing.assert_array_equal(rle_to_mask(rle), mask)
        assert area_from_rle(rle) == mask.sum()
        assert mask_to_rle_pytorch(torch.from_numpy(mask)[None]) == [rle]

    @settings(deadline=None)
    @given(masks)
    def test_runs_are_as_long_as_they_can_be(self, mask: NDArray[np.bool_]) -> None:
        counts = mask_to_rle(mask)["counts"]
        assert all(count > 0 for count in counts[1:])
        assert (counts[0] == 0) == bool(mask[0, 0])

    @settings(deadline=None)
    @given(masks)
    def test_box_without_decoding(self, mask: NDArray[np.bool_]) -> None:
        expected = batched_mask_to_box(torch.from_numpy(mask)).tolist()
        assert list(box_from_rle(mask_to_rle(mask))) == expected

    @settings(deadline=None)
    @given(masks, st.tuples(*[st.integers(0, 3)] * 4))
    def test_window(self, mask: NDArray[np.bool_], margins: tuple[int, ...]) -> None:
        top, bottom, left, right = margins
        whole = np.pad(mask, ((top, bottom), (left, right)))
        rle = rle_from_window(mask.T, (top, left), (whole.shape[0], whole.shape[1]))
        assert rle == mask_to_rle(whole)

    @pytest.mark.parametrize("counts", [[3], [5, -1], [2, 3]])
    def test_counts_must_fit_the_size(self, counts: list[int]) -> None:
        with pytest.raises(ValueError, match="add up to 2 x 2 = 4 pixels"):
            rle_to_mask({"size": [2, 2], "counts": counts})


class TestCocoRle:
    @settings(deadline=None)
    @given(masks)
    def test_decoding_undoes_encoding(self, mask: NDArray[np.bool_]) -> None:
        rle = mask_to_rle(mask)
        assert coco_decode_rle(coco_encode_rle(rle)) == rle

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=8))
    def test_long_runs(self, counts: list[int]) -> None:
        rle: Rle = {"size": [1, sum(counts)], "counts": counts}
        assert coco_decode_rle(coco_encode_rle(rle)) == rle

    # pycocotools has not caught up with NumPy 2's __array__(copy=...).
    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
    @settings(deadline=None)
    @given(masks)
    def test_pycocotools_agrees(self, mask: NDArray[np.bool_]) -> None:
        coco: Any = pytest.importorskip("pycocotools.mask")
        ours, theirs = (
            coco_encode_rle(mask_to_rle(mask)),
            coco.encode(np.asfortranarray(mask, "u1")),
        )
        assert ours == {"size": theirs["size"], "counts": theirs["counts"].decode()}
        np.testing.assert_array_equal(coco.decode(ours), mask)
        assert coco_decode_rle(theirs) == mask_to_rle(mask)

    def test_known_string(self) -> None:
        # 40 = 8 + 32 * 1; 35 - 40 = -5 = 27 - 32: worked out by hand from the format.
        rle: Any = {"size": [10, 20], "counts": [100, 40, 25, 35]}
        assert coco_encode_rle(rle)["counts"] == "T3X1i0K"

    @pytest.mark.parametrize(
        ("counts", "what"),
        [("929 ", "stray"), ("92Y", "cut-off"), ("92", "add up"), ("Y" * 9 + "0", "35 bits")],
    )
    def test_damage_is_noticed(self, counts: str, what: str) -> None:
        with pytest.raises(ValueError, match=what):
            coco_decode_rle({"size": [4, 5], "counts": counts})


class TestBoxes:
    @settings(deadline=None)
    @given(masks)
    def test_box_is_tight(self, mask: NDArray[np.bool_]) -> None:
        x0, y0, x1, y1 = batched_mask_to_box(torch.from_numpy(mask)).tolist()
        if not mask.any():
            assert (x0, y0, x1, y1) == (0, 0, 0, 0)
            return
        assert mask[y0 : y1 + 1, x0 : x1 + 1].sum() == mask.sum()
        assert mask[[y0, y1]].any(axis=1).all()
        assert mask[:, [x0, x1]].any(axis=0).all()

    def test_leading_axes(self) -> None:
        batch = torch.zeros(2, 3, 4, 5, dtype=torch.bool)
        batch[1, 2, 1:3, 4] = True
        boxes = batched_mask_to_box(batch)
        assert boxes.shape == (2, 3, 4)
        assert boxes[1, 2].tolist() == [4, 1, 4, 2]
        assert boxes.sum() == 11
        assert batched_mask_to_box(batch[..., :0]).shape == (2, 3, 4)


def _nms_one_by_one(boxes: NDArray[Any], scores: NDArray[Any], threshold: float) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda index: -scores[index]):
        for j in kept:
            a, b = boxes[i].astype(np.float32), boxes[j].astype(np.float32)
            width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
            shared = max(width, 0) * max(height, 0)
            union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared
            if union > 0 and float(shared / union) > threshold:
                break
        else:
            kept.append(i)
    return kept


class TestNms:
    @given(
        st.integers(0, 200),
        st.integers(2, 30),
        st.sampled_from([0.0, 0.3, 0.5, 0.7]),
        st.integers(0, 2**32 - 1),
    )
    @settings(max_examples=60, deadline=None)
    def test_brute_force_agrees(self, n: int, spread: int, threshold: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        corner = rng.integers(0, spread, (n, 2))
        boxes = np.concatenate([corner, corner + rng.integers(0, 10, (n, 2))], axis=1)
        scores = rng.integers(0, 8, n) / 8  # with ties
        kept = box_nms(boxes, scores, threshold)
        assert kept.tolist() == _nms_one_by_one(boxes, scores, threshold)

    def test_threshold_itself_is_kept(self) -> None:
        boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]])
        assert box_nms(boxes, np.array([1.0, 0.5]), 0.5).tolist() == [0, 1]
        assert box_nms(boxes, np.array([1.0, 0.5]), 0.49).tolist() == [0]

    def test_chain(self) -> None:
        # The middle one would suppress the last, but is itself suppressed.
        boxes = np.array([[0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10]])
        assert box_nms(boxes, np.array([3, 2, 1]), 0.5).tolist() == [0, 2]


def _small_regions_by_definition(
    mask: NDArray[np.bool_], area: int, holes: bool
) -> tuple[NDArray[np.bool_], bool]:
    labels, n = ndimage.label(~mask if holes else mask, structure=np.ones((3, 3)))
    regions = [labels == index + 1 for index in range(n)]
    small = [region for region in regions if region.sum() < area]
    any_small = bool(small)
    if not holes and small and len(small) == n:
        largest = max(region.sum() for region in regions)
        first = next(i for i, region in enumerate(regions) if region.sum() == largest)
        small.pop(first)
    result = mask.copy()
    for region in small:
        result[region] = holes
    return result, any_small


class TestSmallRegions:
    @settings(deadline=None)
    @given(masks, st.tuples(*[st.integers(0, 3)] * 4), st.integers(0, 30), st.booleans())
    def test_definition(
        self, mask: NDArray[np.bool_], margins: tuple[int, ...], area: int, holes: bool
    ) -> None:
        whole = np.pad(mask, (margins[:2], margins[2:]))
        before = whole.copy()
        result, changed = remove_small_regions(whole, area, "holes" if holes else "islands")
        expected, any_small = _small_regions_by_definition(whole, area, holes)
        np.testing.assert_array_equal(result, expected)
        np.testing.assert_array_equal(whole, before)
        assert changed == any_small

    def test_mode(self) -> None:
        with pytest.raises(ValueError, match='"holes" or "islands"'):
            remove_small_regions(np.ones((2, 2), bool), 1, "hole")  # type: ignore[arg-type]


def _postprocess(
    low_res: torch.Tensor, frame: int, content: tuple[int, int], full: tuple[int, int]
) -> torch.Tensor:
    in_frame = F.interpolate(low_res[None, None], (frame, frame), mode="bilinear")
    cut = in_frame[..., : content[0], : content[1]]
    return F.interpolate(cut, full, mode="bilinear")[0, 0]


@st.composite
def upsamplings(draw: st.DrawFn) -> tuple[torch.Tensor, MaskUpsampler, torch.Tensor]:
    """Low-resolution logits (blobs on background), their upsampler, and all full-size logits."""
    low = draw(st.integers(4, 24))
    frame = draw(st.sampled_from([low, 2 * low, 4 * low]))
    content = draw(st.integers(1, frame)), frame
    full = draw(st.integers(1, 150)), draw(st.integers(1, 150))
    if draw(st.booleans()):
        content, full = content[::-1], full[::-1]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    noise = ndimage.gaussian_filter(rng.standard_normal((low, low)), draw(st.sampled_from([0, 2])))
    logits = 4 * noise / np.abs(noise).max() - draw(st.sampled_from([0, 2]))
    low_res = torch.from_numpy(logits.astype(np.float32))
    upsampler = MaskUpsampler((low, low), frame, content, full)
    return low_res, upsampler, _postprocess(low_res, frame, content, full)


class TestUpsample:
    @given(upsamplings(), st.data())
    @settings(max_examples=60, deadline=None)
    def test_window_equals_interpolating_twice(self, case: Any, data: st.DataObject) -> None:
        low_res, upsampler, expected = case
        torch.testing.assert_close(upsampler.logits(low_res), expected, atol=1e-5, rtol=0)
        ranges = []
        for length in expected.shape:
            start = data.draw(st.integers(0, length - 1))
            ranges.append(slice(start, data.draw(st.integers(start + 1, length))))
        window = Window(*ranges)
        part = upsampler.logits(torch.stack([low_res, -low_res])[None], window)[0]
        torch.testing.assert_close(part[0], expected[tuple(ranges)], atol=1e-5, rtol=0)
        torch.testing.assert_close(part[1], -expected[tuple(ranges)], atol=1e-5, rtol=0)
        columns = torch.cat(list(upsampler.column_strips(low_res, window))).T
        torch.testing.assert_close(columns, expected[tuple(ranges)], atol=1e-5, rtol=0)

    @given(upsamplings())
    @settings(max_examples=60, deadline=None)
    def test_nothing_outside_the_active_window(self, case: Any) -> None:
        low_res, upsampler, expected = case
        window = upsampler.active_window(low_res, 0.5)
        outside = torch.ones_like(expected, dtype=torch.bool)
        if window is not None:
            assert min(window.shape) > 0
            outside[window.rows, window.cols] = False
        assert (expected[outside] <= 0.5 + 1e-5).all()

    @given(upsamplings())
    @settings(max_examples=60, deadline=None)
    def test_measured_in_a_window_as_on_the_whole(self, case: Any) -> None:
        low_res, upsampler, expected = case
        # A logit within rounding of a threshold may fall on either side.
        assume(all((expected - threshold).abs().min() > 1e-5 for threshold in (-1, 0, 1)))
        mask = measure_mask(low_res, upsampler, mask_threshold=0.0, stability_offset=1.0)
        whole = torch.zeros_like(expected, dtype=torch.bool)
        whole[mask.window.rows, mask.window.cols] = torch.from_numpy(mask.columns.T)
        assert torch.equal(whole, expected > 0)
        stability = calculate_stability_score(expected, 0.0, 1.0).item()
        np.testing.assert_equal(float(mask.stability), stability)

    def test_active_only_in_the_padding(self) -> None:
        upsampler = MaskUpsampler((16, 16), 64, (20, 64), (40, 128))
        low_res = torch.full((16, 16), -3.0)
        low_res[12] = 3.0
        assert upsampler.active_window(low_res, 0.0) is None

    def test_sizes_are_checked(self) -> None:
        with pytest.raises(ValueError, match="content at most the frame"):
            axis_interpolation(low=4, frame=16, content=17, full=20)


class TestCrops:
    @settings(deadline=None)
    @given(st.integers(1, 12), st.integers(0, 3), st.integers(1, 3))
    def test_point_grids(self, n: int, layers: int, scale: int) -> None:
        assume(n >= scale**layers)
        grids = amg.build_all_layer_point_grids(n, layers, scale)
        assert [grid.shape for grid in grids] == [
            (int(n / scale**layer) ** 2, 2) for layer in range(layers + 1)
        ]
        for grid in grids:
            assert grid.min() > 0
            assert grid.max() < 1
            np.testing.assert_allclose(grid.mean(axis=0), 0.5)
            assert len(np.unique(grid, axis=0)) == len(grid)

    @settings(deadline=None)
    @given(
        st.tuples(st.integers(16, 300), st.integers(16, 300)), st.integers(0, 2), st.floats(0, 0.4)
    )
    def test_crops_cover_the_image(
        self, size: tuple[int, int], layers: int, overlap: float
    ) -> None:
        boxes, of_layer = amg.generate_crop_boxes(size, layers, overlap)
        assert boxes[0] == [0, 0, size[1], size[0]]
        for layer in range(layers + 1):
            of_this = [box for box, at in zip(boxes, of_layer, strict=True) if at == layer]
            assert len(of_this) == 4**layer
            covered = np.zeros(size, bool)
            for x0, y0, x1, y1 in of_this:
                assert 0 <= x0 < x1 <= size[1]
                assert 0 <= y0 < y1 <= size[0]
                covered[y0:y1, x0:x1] = True
            assert covered.all()

    @settings(deadline=None)
    @given(masks, st.tuples(*[st.integers(0, 4)] * 4))
    def test_uncropped_box_is_the_box_of_the_uncropped_mask(
        self, mask: NDArray[np.bool_], margins: tuple[int, ...]
    ) -> None:
        assume(mask.any())
        (height, width), (top, bottom, left, right) = mask.shape, margins
        crop = [left, top, left + width, top + height]
        batch = torch.from_numpy(mask)[None]
        whole = amg.uncrop_masks(batch, crop, top + height + bottom, left + width + right)
        assert whole.shape == (1, top + height + bottom, left + width + right)
        assert whole.sum() == batch.sum()
        boxes = amg.uncrop_boxes_xyxy(amg.batched_mask_to_box(batch), crop)
        assert torch.equal(boxes, amg.batched_mask_to_box(whole))
        corner = amg.batched_mask_to_box(batch)[:, :2]
        assert torch.equal(amg.uncrop_points(corner, crop), boxes[:, :2])

    def test_near_the_crops_edge_but_not_the_images(self) -> None:
        boxes = torch.tensor([[0, 0, 99, 99], [50, 50, 60, 79], [50, 50, 60, 80], [19, 30, 50, 50]])
        inner = amg.is_box_near_crop_edge(boxes, [100, 0, 200, 100], [0, 0, 400, 100])
        assert inner.tolist() == [True, False, False, True]
        whole = amg.is_box_near_crop_edge(boxes, [0, 0, 400, 100], [0, 0, 400, 100])
        assert not whole.any()


def test_batches_need_equal_lengths() -> None:
    with pytest.raises(ValueError, match="one common length"):
        list(amg.batch_iterator(2, [1, 2], [1]))
