"""Samples: what moves with what, and that nothing changes that should not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from src_model.preprocessing import ResizeLongestSide
from src_model.training.augment import Augmentation, make_sample
from src_model.training.pictures import ObjectMask, ObjectMasks, Picture
from src_model.training.warping import Placement, gaussian_blur, warp_image
from src_model.variants import Variant

seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(1, 90), st.integers(1, 90))

MOVES = replace(
    Augmentation.none(), flips=True, quarter_turns=True, rotation=45, scale=(0.6, 1.6), chance=0.7
)


def _noise_picture(rng: np.random.Generator, shape: tuple[int, int], objects: int = 0) -> Picture:
    labels = np.zeros(shape, np.int32)
    for label in range(1, objects + 1):
        top, left = rng.integers(0, shape)
        height, width = rng.integers(1, np.array(shape) // 2 + 2)
        labels[top : top + height, left : left + width] = label
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    return Picture("noise", image, ObjectMasks.from_labels(labels))


def _disc_picture(rng: np.random.Generator, side: int = 160, count: int = 5) -> Picture:
    """Discs whose red value is 40 times their number, on black."""
    labels = np.zeros((side, side), np.uint8)
    row, col = np.mgrid[:side, :side]
    for label in range(1, count + 1):
        centre = rng.integers(0, side, 2)
        labels[np.hypot(row - centre[0], col - centre[1]) < rng.integers(14, 40)] = label
    image = np.zeros((side, side, 3), np.uint8)
    image[..., 0] = labels * 40
    image[..., 1] = (labels > 0) * 255
    return Picture("discs", image, ObjectMasks.from_labels(labels))


def _union(objects: ObjectMasks) -> NDArray[np.bool_]:
    union = np.zeros(objects.shape, bool)
    for item in objects.items:
        union[item.window] |= item.mask
    return union


@settings(deadline=None, max_examples=60)
@given(seeds, sizes, st.integers(16, 120))
def test_without_augmentation_a_sample_is_what_the_predictor_sees(
    seed: int, shape: tuple[int, int], side: int
) -> None:
    rng = np.random.default_rng(seed)
    picture = _noise_picture(rng, shape)
    sample = make_sample(rng, picture, side, Augmentation.none())
    expected = ResizeLongestSide(side).apply_image(picture.image)
    assert sample.image.shape == expected.shape
    assert sample.image.dtype == np.float32
    assert np.abs(sample.image - expected).max() < 1.001


@settings(deadline=None, max_examples=20)
@given(seeds, st.integers(110, 128))
def test_a_crop_shows_pixels_of_the_frame(seed: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    picture = _disc_picture(rng, 100)
    whole = make_sample(rng, picture, 128, Augmentation.none())
    part = make_sample(rng, picture, side, Augmentation.none(), frame=128)
    assert part.image.shape == (side, side, 3)
    windows = np.lib.stride_tricks.sliding_window_view(whole.image[..., 0], (side, side))
    difference = np.abs(windows - part.image[..., 0]).max((2, 3))
    row, col = np.unravel_index(difference.argmin(), difference.shape)
    assert difference[row, col] < 0.01
    masks = {index: whole.objects.full(i) for i, index in enumerate(whole.indices)}
    for i, index in enumerate(part.indices):
        window = masks[index][row : row + side, col : col + side]
        np.testing.assert_array_equal(part.objects.full(i), window)


@settings(deadline=None, max_examples=60)
@given(seeds, st.integers(60, 200), st.sampled_from([100, 160, 230]))
def test_masks_move_with_the_image(seed: int, side: int, frame: int) -> None:
    rng = np.random.default_rng(seed)
    picture = _disc_picture(rng)
    keep_all = replace(MOVES, min_area=1, min_visible=0.0)
    sample = make_sample(rng, picture, min(side, frame), keep_all, frame=frame)
    assert max(sample.image.shape[:2]) <= side
    assert sample.objects.shape == sample.image.shape[:2]
    seen, masks = sample.image[..., 1] > 127.5, _union(sample.objects)
    overlap, union = (seen & masks).sum(), (seen | masks).sum()
    # Where the border passes is uncertain by a part of a pixel.
    edge = masks.sum() - (gaussian_blur(np.float32(masks[..., None]), 1.0) > 0.95).sum()
    assert union - overlap <= 0.35 * edge + 4
    assert overlap / max(union, 1) > 0.8


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_indices_name_the_objects_of_the_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = _disc_picture(rng)
    sample = make_sample(rng, picture, 120, MOVES, frame=160)
    assert list(sample.indices) == sorted(set(sample.indices))
    assert len(sample.indices) == len(sample.objects)
    for i, index in enumerate(sample.indices):
        if sample.objects.items[i].area < 200:  # all border: its colours are mixtures
            continue
        item = picture.objects.items[index]
        row, col = np.argwhere(item.mask)[0]
        red = picture.image[item.top + row, item.left + col, 0]
        assert np.median(sample.image[sample.objects.full(i), 0]) == pytest.approx(red, abs=19)


@settings(deadline=None, max_examples=40)
@given(seeds, st.floats(0.4, 2.5))
def test_areas_scale_with_the_square(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    row, col = np.mgrid[:100, :100]
    mask = np.hypot(row - 50, col - 48) < 10
    picture = Picture(
        "disc", np.zeros((100, 100, 3), np.uint8), ObjectMasks.from_masks([mask], mask.shape)
    )
    augmentation = replace(MOVES, scale=(scale, scale))
    sample = make_sample(rng, picture, 400, augmentation, frame=400)
    expected = mask.sum() * (4 * scale) ** 2
    if 4 * scale * 20 < 100:  # else the sample may cut it: it shows 100 px around a pixel of it
        # Pixels take what is under their centres: a row and a column more or less, up to a twelfth
        # of such a disc, depend on where the grids meet.
        assert sample.objects.items[0].area == pytest.approx(expected, rel=0.08)
    assert all(item.area <= expected * 1.08 for item in sample.objects.items)


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_flips_and_quarter_turns_lose_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = _noise_picture(rng, (24, 33), objects=3)
    still = Augmentation.none()
    sample = make_sample(
        rng, picture, 33, replace(still, flips=True, quarter_turns=True, min_area=1)
    )
    views = {
        (turns, flip): (lambda a, t=turns, f=flip: np.rot90(a[::-1] if f else a, t))
        for turns in range(4)
        for flip in (False, True)
    }
    same = [
        view
        for view in views.values()
        if sample.image.shape == view(picture.image).shape
        and (sample.image == view(picture.image)).all()
    ]
    assert len(same) == 1
    assert sample.indices == tuple(range(len(picture.objects)))
    for index in range(len(picture.objects)):
        np.testing.assert_array_equal(
            sample.objects.full(index), same[0](picture.objects.full(index))
        )


def test_all_eight_symmetries_occur() -> None:
    rng = np.random.default_rng(0)
    picture = _noise_picture(rng, (8, 8))
    turning = replace(Augmentation.none(), flips=True, quarter_turns=True)
    seen = {make_sample(rng, picture, 8, turning).image.tobytes() for _ in range(200)}
    assert len(seen) == 8
    seen = {
        make_sample(rng, picture, 8, replace(turning, quarter_turns=False)).image.tobytes()
        for _ in range(100)
    }
    assert len(seen) == 4


@settings(deadline=None, max_examples=25)
@given(seeds, sizes, st.integers(1, 100))
def test_the_same_seed_gives_the_same_sample(seed: int, shape: tuple[int, int], side: int) -> None:
    picture = _noise_picture(np.random.default_rng(seed), shape, objects=4)
    first, second = (
        make_sample(np.random.default_rng(seed), picture, side, Augmentation(), frame=100)
        for _ in range(2)
    )
    assert first.image.tobytes() == second.image.tobytes()
    assert first.indices == second.indices
    assert max(first.image.shape[:2]) <= side
    assert first.image.min() >= 0
    assert first.image.max() <= 255
    for one, other in zip(first.objects.items, second.objects.items, strict=True):
        assert one.window == other.window
        np.testing.assert_array_equal(one.mask, other.mask)
        assert one.area >= Augmentation().min_area
        for edge in (one.mask[0], one.mask[-1], one.mask[:, 0], one.mask[:, -1]):
            assert edge.any()


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_crops_keep_small_objects_in_sight(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.zeros((300, 300), np.int32)
    top, left = rng.integers(0, 294, 2)
    labels[top : top + 6, left : left + 6] = 1
    picture = Picture("dot", np.zeros((300, 300, 3), np.uint8), ObjectMasks.from_labels(labels))
    sample = make_sample(rng, picture, 64, Augmentation.none(), frame=300)
    assert sample.indices == (0,)
    assert sample.objects.items[0].area == 36


def test_small_and_large_objects_are_met_as_often() -> None:
    labels = np.zeros((400, 400), np.int32)
    labels[:, :250] = 1
    labels[195:205, 380:390] = 2
    picture = Picture("two", np.zeros((400, 400, 3), np.uint8), ObjectMasks.from_labels(labels))
    rng = np.random.default_rng(0)
    samples = [make_sample(rng, picture, 50, Augmentation.none(), frame=400) for _ in range(200)]
    with_small = sum(1 in sample.indices for sample in samples)
    assert 70 < with_small < 130


def test_slivers_are_left_out() -> None:
    labels = np.zeros((100, 100), np.int32)
    labels[:, :40] = 1
    labels[40:60, 45:55] = 2
    picture = Picture("cut", np.zeros((100, 100, 3), np.uint8), ObjectMasks.from_labels(labels))
    still, rng = Augmentation.none(), np.random.default_rng(0)
    for _ in range(50):
        sample = make_sample(rng, picture, 30, still, frame=100)
        for index, item in zip(sample.indices, sample.objects.items, strict=True):
            whole = picture.objects.items[index].area
            # Only the object in the middle of the window may be cut down so far.
            assert item.area >= 0.2 * whole or len(sample.indices) == 1 or index == 0
    everything = replace(still, min_visible=0.0)
    counts = [
        sum(len(make_sample(rng, picture, 30, kind, frame=100).indices) for _ in range(50))
        for kind in (still, everything)
    ]
    assert counts[0] < counts[1]


def test_tiny_objects_are_left_out() -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[10:13, 10:13] = 1
    labels[30:40, 30:40] = 2
    picture = Picture("tiny", np.zeros((64, 64, 3), np.uint8), ObjectMasks.from_labels(labels))
    rng = np.random.default_rng(0)
    assert make_sample(rng, picture, 64, Augmentation.none()).indices == (1,)
    assert make_sample(rng, picture, 128, Augmentation.none()).indices == (0, 1)


def test_overlapping_objects_stay_whole() -> None:
    masks = np.zeros((2, 40, 40), bool)
    masks[0, 5:30, 5:30] = masks[1, 10:20, 10:35] = True
    objects = ObjectMasks.from_masks(list(masks), (40, 40))
    picture = Picture("both", np.zeros((40, 40, 3), np.uint8), objects)
    sample = make_sample(np.random.default_rng(0), picture, 40, Augmentation.none())
    for index in range(2):
        np.testing.assert_array_equal(sample.objects.full(index), masks[index])


def test_a_picture_without_objects_gives_a_sample_without() -> None:
    picture = _noise_picture(np.random.default_rng(0), (50, 70))
    sample = make_sample(np.random.default_rng(1), picture, 32, Augmentation(), frame=64)
    assert len(sample.objects) == 0
    assert sample.image.shape == (32, 32, 3)


@pytest.mark.parametrize("shrink", [1.6, 2.0, 3.7, 8.0])
@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_shrinking_does_not_alias(shrink: float, angle: float) -> None:
    row, col = np.mgrid[:240, :240]
    image = np.repeat((((row + col) % 2) * 255).astype(np.uint8)[..., None], 3, axis=2)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.array([[cos, -sin], [sin, cos]]) / shrink
    middle = np.array([10.0, 10.0]) - matrix @ [120.0, 120.0]
    read = warp_image(image, Placement((240, 240), (20, 20), matrix, middle))
    assert abs(read.mean() - 127.5) < 4
    assert np.ptp(read) < 40  # read pixel by pixel it would be 255


@pytest.mark.parametrize("scale", [0.13, 0.4, 0.8, 1.0, 2.5])
def test_rotation_puts_a_gradient_where_it_belongs(scale: float) -> None:
    row, col = np.mgrid[:200, :200]
    image = np.stack([row, col, row], axis=2).astype(np.uint8)
    matrix = scale * np.array([[0.8, -0.6], [0.6, 0.8]])
    offset = np.array([8.0, 8.0]) - matrix @ [100.0, 100.0]
    placement = Placement((200, 200), (16, 16), matrix, offset)
    read = warp_image(image, placement)
    places = np.stack(np.mgrid[:16, :16], axis=-1) + 0.5 - offset
    native = places @ np.linalg.inv(matrix).T - 0.5
    inside = ((native > 12) & (native < 187)).all(-1)
    np.testing.assert_allclose(read[inside, :2], native[inside], atol=0.05)


def test_what_a_rotation_leaves_empty_has_the_mean_colour() -> None:
    picture = Picture("white", np.full((64, 64, 3), 255, np.uint8), ObjectMasks((64, 64), ()))
    turning = replace(Augmentation.none(), rotation=30, chance=1, scale=(0.5, 0.5), noise=0.1)
    sample = make_sample(np.random.default_rng(3), picture, 64, turning)
    np.testing.assert_array_equal(sample.image[0, 0], np.float32(Variant.pixel_mean))
    middle = sample.image.shape[0] // 2
    assert sample.image[middle, middle].min() > 150


@pytest.mark.parametrize("name", ["brightness", "contrast", "gamma", "colour", "noise", "blur"])
def test_each_photometric_change_changes_the_image_only(name: str) -> None:
    picture = _disc_picture(np.random.default_rng(5), 80)
    still = Augmentation.none()
    plain = make_sample(np.random.default_rng(0), picture, 80, still)
    changing = replace(still, chance=1.0, **{name: getattr(Augmentation(), name)})
    changed = make_sample(np.random.default_rng(0), picture, 80, changing)
    difference = np.abs(plain.image - changed.image)
    assert 0.05 < difference.mean() < 40
    assert changed.image.dtype == np.float32
    assert changed.image.min() >= 0
    assert changed.image.max() <= 255
    assert plain.indices == changed.indices
    never = make_sample(np.random.default_rng(0), picture, 80, replace(changing, chance=0.0))
    np.testing.assert_array_equal(plain.image, never.image)


def test_blur_keeps_the_mean_and_spreads_a_point() -> None:
    point = np.zeros((41, 41, 3), np.float32)
    point[20, 20] = 1
    blurred = gaussian_blur(point, 2.0)
    assert blurred.sum() == pytest.approx(3, rel=1e-5)
    row = np.arange(41) - 20
    assert (blurred[..., 0].sum(1) * row**2).sum() ** 0.5 == pytest.approx(2.0, rel=0.05)


def test_bad_arguments_are_named() -> None:
    rng = np.random.default_rng(0)
    picture = _noise_picture(rng, (20, 20))
    with pytest.raises(ValueError, match="side 80 must lie between 1 and the frame's, 64"):
        make_sample(rng, picture, 80, Augmentation(), frame=64)
    other = replace(
        picture, objects=ObjectMasks((10, 20), (ObjectMask(0, 0, np.ones((1, 1), bool)),))
    )
    with pytest.raises(ValueError, match="noise: the image is"):
        make_sample(rng, other, 64, Augmentation())
    for field, value in [
        ("scale", (2.0, 1.0)),
        ("scale", (0.0, 1.0)),
        ("noise", -1.0),
        ("blur", float("nan")),
        ("chance", 1.5),
        ("min_area", 0),
    ]:
        with pytest.raises(ValueError, match=field):
            Augmentation(**{field: value})  # type: ignore[arg-type]
