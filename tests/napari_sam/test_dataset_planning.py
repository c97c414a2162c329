"""Where crops lie: parts never share a pixel, every object is shown once or told to be left out."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.errors import InputError
from napari_sam.finetune.datasets.blocks import HOLD_OUT, TRAIN, VALIDATION, plan_blocks
from napari_sam.finetune.datasets.crops import LARGEST, Planned, levels_of, plan_crops
from napari_sam.finetune.datasets.cutting import cut_objects, known_region, sampled
from napari_sam.finetune.datasets.parting import choose_blocks, choose_units
from napari_sam.finetune.datasets.places import Outlined, Place
from napari_sam.finetune.datasets.planning import Surveyed, plan_dataset
from napari_sam.scenes.pyramid import halved
from napari_sam.sessions.runs import Runs
from napari_sam.tiles.regions import Region


@st.composite
def annotated(draw: st.DrawFn) -> tuple[tuple[int, int], np.ndarray]:
    """A scene's shape, and boxes of objects in it: scattered, in clusters, of many sizes."""
    shape = (draw(st.integers(40, 6000)), draw(st.integers(40, 6000)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(2, 80))
    extent = np.array(shape) * draw(st.sampled_from([1.0, 0.3]))
    sides = np.exp(rng.uniform(np.log(2), np.log(draw(st.sampled_from([12, 60, 900]))), count))
    corner = rng.uniform(0, 1, (count, 2)) * extent
    size = sides[:, None] * rng.uniform(0.5, 1, (count, 2))
    low = np.minimum(corner, np.array(shape) - 2).astype(np.int64)
    high = np.minimum(low + np.maximum(size, 1), shape).astype(np.int64)
    return shape, np.concatenate([low, high], axis=1)


def at_level_0(crop: Planned) -> Region:
    region, level = crop.region, crop.level
    return Region(*(end << level for end in (region.row0, region.col0, region.row1, region.col1)))


def apart(one: Region, other: Region, gap: int) -> bool:
    grown = Region(one.row0 - gap, one.col0 - gap, one.row1 + gap, one.col1 + gap)
    return not (grown & other).area


@given(annotated(), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_crops_of_different_parts_are_apart_and_show_every_object_once(
    scene: tuple[tuple[int, int], np.ndarray], seed: int
) -> None:
    shape, boxes = scene
    blocks = plan_blocks(shape, boxes, 1 << int(levels_of(boxes).max()))
    blocks = choose_blocks(blocks, boxes, 0.25, HOLD_OUT, seed)
    blocks = choose_blocks(blocks, boxes, 0.15, VALIDATION, seed, 2)
    crops = plan_crops(blocks, shape, boxes)

    for crop in crops:
        whole = Region(0, 0, *halved(shape, crop.level))
        assert crop.region in whole
        assert 0 < max(crop.region.shape) <= LARGEST
    by_part = {part: [at_level_0(c) for c in crops if c.part == part] for part in range(3)}
    for one, other in combinations((TRAIN, VALIDATION, HOLD_OUT), 2):
        for first in by_part[one]:
            assert all(apart(first, second, blocks.gap) for second in by_part[other])
    shown = sorted(index for crop in crops for index in crop.objects)
    assert shown == np.flatnonzero(~blocks.crossing(boxes)).tolist()


@given(annotated(), st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_what_is_held_out_stays_held_out(
    scene: tuple[tuple[int, int], np.ndarray], seed: int
) -> None:
    shape, boxes = scene
    first = choose_blocks(plan_blocks(shape, boxes), boxes, 0.25, HOLD_OUT, seed)
    others = boxes[first.parts_of(boxes) == TRAIN]
    second = choose_blocks(first, others, 0.25, VALIDATION, seed)
    np.testing.assert_array_equal(second.parts == HOLD_OUT, first.parts == HOLD_OUT)


@given(annotated())
@settings(max_examples=40, deadline=None)
def test_objects_are_shown_at_the_level_where_they_fill_at_most_half_a_crop(
    scene: tuple[tuple[int, int], np.ndarray],
) -> None:
    shape, boxes = scene
    blocks = plan_blocks(shape, boxes, 1 << int(levels_of(boxes).max()))
    for crop in plan_crops(blocks, shape, boxes):
        sides = (boxes[list(crop.objects), 2:] - boxes[list(crop.objects), :2]).max(1)
        assert (sides <= LARGEST // 2 << crop.level).all()
        assert crop.level == 0 or (sides > LARGEST // 4 << crop.level).all()
        # All is one part: nothing keeps a crop from showing its objects whole.
        seen = at_level_0(crop)
        for box in boxes[list(crop.objects)].tolist():
            assert seen.row0 <= box[0]
            assert seen.col0 <= box[1]
            assert min(box[2], shape[0]) <= seen.row1 + (1 << crop.level)
            assert min(box[3], shape[1]) <= seen.col1 + (1 << crop.level)


def test_one_picture_gives_several_blocks() -> None:
    corners = np.stack(np.meshgrid(range(0, 250, 20), range(0, 250, 20)), -1).reshape(-1, 2)
    boxes = np.concatenate([corners, corners + 6], axis=1)
    blocks = choose_blocks(plan_blocks((256, 256), boxes), boxes, 0.25)
    crops = plan_crops(blocks, (256, 256), boxes)
    held_out = sum(len(crop.objects) for crop in crops if crop.part == HOLD_OUT)
    assert sum(crop.part == HOLD_OUT for crop in crops) >= 4
    assert sum(crop.part == TRAIN for crop in crops) >= 8
    assert 0.2 < held_out / len(boxes) < 0.35


def test_far_apart_objects_are_held_out_all_over_the_scene() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 15900, (800, 2))
    boxes = np.concatenate([corners, corners + 30], axis=1)
    blocks = choose_blocks(plan_blocks((16000, 16000), boxes), boxes, 0.25)
    held_out = np.argwhere(blocks.parts == HOLD_OUT)
    assert (np.ptp(held_out, axis=0) > np.array(blocks.parts.shape) / 2).all()
    assert blocks.crossing(boxes).mean() <= 0.05


@given(st.lists(st.integers(1, 500), min_size=2, max_size=40), st.integers(0, 5))
def test_some_units_are_held_out_and_never_all(objects: list[int], seed: int) -> None:
    chosen = choose_units(objects, [1] * len(objects), 0.25, seed)
    assert 1 <= len(chosen) <= max(1, 0.4 * len(objects))
    assert chosen == choose_units(objects, [1] * len(objects), 0.25, seed)


def place(name: str, group: str, shape: tuple[int, int] = (200, 200)) -> Place:
    def nothing() -> None:
        raise AssertionError("planning reads no pixels")

    return Place(name, "picture", name, group, None, shape, None, None, nothing, nothing)  # type: ignore[arg-type]


def boxes_of(count: int) -> np.ndarray:
    corners = np.random.default_rng(count).integers(0, 180, (count, 2))
    return np.concatenate([corners, corners + 15], axis=1)


def test_groups_are_held_out_whole() -> None:
    found = [Surveyed(place(f"{n}.png", f"patient {n % 5}"), boxes_of(10)) for n in range(40)]
    plan = plan_dataset(found, 0.25, 0)
    parts: dict[str, set[int]] = {}
    for index, crop in plan.crops:
        parts.setdefault(found[index].place.group, set()).add(crop.part)
    assert all(found == {HOLD_OUT} for found in parts.values() if HOLD_OUT in found)
    assert {HOLD_OUT} in parts.values()
    assert plan.count(TRAIN) > plan.count(HOLD_OUT) > plan.count(VALIDATION) > 0
    assert not plan.notes


def test_pictures_are_held_out_whole_where_there_are_few_groups() -> None:
    found = [Surveyed(place(f"{n}.png", "one site"), boxes_of(10)) for n in range(20)]
    plan = plan_dataset(found, 0.25, 0)
    assert len(plan.crops) == 20
    assert 4 <= plan.count(HOLD_OUT) <= 8
    assert any("only 1 group," in note for note in plan.notes)


def test_planes_of_a_stack_are_held_out_at_the_same_places() -> None:
    stack = Place(
        "stack", "session", "stack", "stack", (0, 0), (200, 200), None, None, *[print] * 2
    )  # type: ignore[arg-type, list-item]
    found = [Surveyed(stack, boxes_of(30)), Surveyed(stack, boxes_of(29))]
    plan = plan_dataset(found, 0.25, 0)
    by_part = {p: [c.region for _, c in plan.crops if c.part == p] for p in range(3)}
    assert by_part[HOLD_OUT]
    assert by_part[TRAIN]
    for one, other in combinations(range(3), 2):
        for first in by_part[one]:
            assert all(apart(first, second, 1) for second in by_part[other])


@pytest.mark.parametrize("count", [1, 3])
def test_nothing_to_hold_out_is_said(count: int) -> None:
    boxes = np.array([[50, 50, 60, 60]] * count)
    with pytest.raises(InputError, match="lie in one place"):
        plan_dataset([Surveyed(place("a.png", "a"), boxes)], 0.25, 0)


@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_sampling_takes_the_middle_pixel(seed: int, level: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((33, 41)) < 0.5
    step = 1 << level
    expected = mask[(step - 1) // 2 :: step, (step - 1) // 2 :: step]
    found = sampled(Runs.of_mask(mask), level).within(Region(0, 0, *expected.shape))
    np.testing.assert_array_equal(found, expected)


def outlined(*boxes: tuple[int, int, int, int]) -> Outlined:
    runs = tuple(
        Runs.of_mask(np.ones((row1 - row0, col1 - col0), bool), row0, col0)
        for row0, col0, row1, col1 in boxes
    )
    return Outlined(tuple(range(1, len(runs) + 1)), runs)


def test_what_a_crop_shows_of_others_is_unknown() -> None:
    objects = outlined((2, 2, 6, 6), (4, 10, 8, 20), (0, 0, 1, 1))
    cut = cut_objects(objects, Planned(TRAIN, 0, Region(0, 0, 12, 12), (0, 2)), None)
    assert list(cut.objects) == [1]
    assert cut.objects[1].area == 16
    assert cut.tiny == 1
    assert not cut.known[4:8, 10:12].any()
    assert not cut.known[0, 0]
    assert np.count_nonzero(~cut.known) == 9


def test_only_finished_regions_are_known() -> None:
    region = Region(10, 10, 30, 40)
    square = np.array([[14.6, 9.0], [14.6, 20.4], [25.4, 20.4], [25.4, 9.0]])
    known = known_region(region, 0, [square])
    expected = np.zeros(region.shape, bool)
    expected[5:16, :11] = True
    np.testing.assert_array_equal(known, expected)
    assert not known_region(region, 0, ()).any()
    assert known_region(region, 0, None).all()


def test_overlaps_are_noticed() -> None:
    assert outlined((0, 0, 4, 4), (3, 3, 6, 6)).overlapping
    assert outlined((0, 0, 9, 9), (5, 20, 6, 22), (4, 4, 5, 5)).overlapping
    assert not outlined((0, 0, 4, 4), (0, 4, 4, 8), (4, 0, 8, 4)).overlapping
    assert not outlined().overlapping
