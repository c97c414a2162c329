"""An object is followed from plane to plane, across gaps, between fixed planes, until lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.errors import InputError
from napari_sam.scene import open_scene
from napari_sam.scenes.planes import at_plane
from napari_sam.segment.objects import Candidate, cut_candidate
from napari_sam.segment.propagation import Followed, Plane, Settings, affected, propagate
from napari_sam.segment.propagation.flow import carry
from napari_sam.segment.propagation.motion import expected
from napari_sam.segment.propagation.shapes import area, between, centre, iou, moved, tight
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.segment.segmenter import Segmenter
from napari_sam.tiles.geometry import TileGeometry
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo

SHAPE = 90, 120


def disc(row: float, col: float, radius: float) -> np.ndarray:
    rows, cols = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return np.hypot(rows - row, cols - col) <= radius


def region(mask: np.ndarray) -> MaskRegion:
    found = tight(MaskRegion(0, 0, mask))
    assert found is not None
    return found


def drawn(mask: Candidate) -> np.ndarray:
    whole = np.zeros(SHAPE, bool)
    whole[mask.region] = mask.mask
    return whole


@dataclass
class Stack:
    """Planes whose model sees what is there; `wrong` planes tell something else, or fail."""

    truth: Callable[[int], np.ndarray]
    wrong: dict[int, Any] = field(default_factory=dict)
    along: int = 1
    asked: list[int] = field(default_factory=list)

    def __call__(self, plane: Plane) -> Stack.Slice:
        return self.Slice(self, plane[self.along])

    @dataclass
    class Slice:
        stack: Stack
        number: int
        shape: tuple[int, int] = SHAPE

        def prompt(self, **prompt: Any) -> list[Candidate]:
            assert prompt["box"][0] >= -0.5
            assert prompt["box"][3] <= SHAPE[1] - 0.5
            self.stack.asked.append(self.number)
            seen = self.stack.wrong.get(self.number, self.stack.truth(self.number))
            if isinstance(seen, str):
                raise InputError(seen)
            return [cut_candidate(seen, 0.9, 0.8, "box")]


def planes(count: int, along: int = 1) -> list[Plane]:
    return [(0, n) if along == 1 else (n, 0) for n in range(count)]


def moving(number: int) -> np.ndarray:
    return disc(40, 20 + 3 * number, 10)


def numbers(found: Sequence[Followed], along: int = 1) -> list[int]:
    return [one.plane[along] for one in found]


@pytest.mark.parametrize("along", [0, 1])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_moving_object_is_found_in_every_plane(along: int, backwards: bool) -> None:
    stack, told = Stack(moving, along=along), []
    order = planes(20, along)[:: -1 if backwards else 1]
    start = planes(20, along)[8]
    found = propagate(stack, start, region(moving(8)), order, on_slice=told.append)
    assert [one.plane for one in found.followed] == [p for p in order if p != start]
    assert sorted(numbers(told, along)) == sorted(numbers(found.followed, along))
    assert set(found.stops.values()) == {"the last plane was reached"}
    assert not found.skipped
    for one in found.followed:
        assert (drawn(one.mask) == moving(one.plane[along])).all()
        assert one.confidence > 0.7
        assert not one.interpolated
        assert one.mask.prompt == "propagated"


def test_it_ends_where_the_evidence_ends_and_says_why() -> None:
    def seen(z: int) -> np.ndarray:
        return disc(40, 50, 10) if z < 12 else disc(40, 50, 21)

    found = propagate(Stack(seen), (0, 9), region(seen(9)), planes(30))
    assert numbers(found.followed) == [*range(9), 10, 11]
    said = "plane 12: what is found there is 4.3 times as large as the object before"
    assert found.stops == {"forward": said, "backward": "the last plane was reached"}

    vanishing = Stack(seen, wrong=dict.fromkeys(range(12, 30), np.zeros(SHAPE, bool)))
    found = propagate(vanishing, (0, 9), region(seen(9)), planes(30))
    assert found.stops["forward"] == "plane 12: the model finds nothing there"
    assert max(vanishing.asked) == 14  # no farther than it looks across

    elsewhere = Stack(seen, wrong={z: disc(40, 80, 10) for z in range(12, 30)})
    found = propagate(elsewhere, (0, 9), region(seen(9)), planes(30))
    assert (
        "overlaps with the place where the object is expected by only 0 %"
        in (found.stops["forward"])
    )

    leaving = propagate(
        Stack(lambda t: disc(40, 60 + 12 * t, 10) if t < 6 else np.zeros(SHAPE, bool), along=0),
        (0, 0),
        region(disc(40, 60, 10)),
        planes(12, 0),
        settings=Settings(change=12),
    )
    assert leaving.stops["forward"].startswith("frame 6: ")


def test_gaps_are_looked_across() -> None:
    blind = "Nothing is to be seen around the prompt."
    stack = Stack(moving, wrong={5: disc(40, 35, 30), 6: disc(10, 100, 10), 9: blind, 10: blind})
    found = propagate(stack, (0, 2), region(moving(2)), planes(14))
    assert numbers(found.followed) == [0, 1, 3, 4, 5, 6, 7, 8, 11, 12, 13]
    assert found.skipped[(0, 9)] == f"plane 9: {blind}"
    assert sorted(plane[1] for plane in found.skipped) == [5, 6, 9, 10]
    for one in found.followed:
        # What lies between is not the object that the model shows there, but the shape between.
        assert one.interpolated == (one.plane[1] in (5, 6))
        assert iou(one.mask, region(moving(one.plane[1]))) > 0.8
        assert (one.confidence <= 0.25) == one.interpolated
    alone = propagate(stack, (0, 2), region(moving(2)), planes(14), settings=Settings(gap=1))
    assert numbers(alone.followed) == [0, 1, 3, 4]


def test_only_planes_that_are_needed_are_asked() -> None:
    stack = Stack(moving, wrong=dict.fromkeys(range(12), np.zeros(SHAPE, bool)))
    stack.wrong[7] = moving(7)
    propagate(stack, (0, 7), region(moving(7)), planes(12)[4:])
    assert set(stack.asked) == {4, 5, 6, 7, 8, 9, 10}
    stack.asked.clear()
    propagate(stack, (0, 7), region(moving(7)), planes(12)[6:9])
    assert set(stack.asked) == {6, 7, 8}


def test_who_stops_it_keeps_what_was_found() -> None:
    told: list[Followed] = []
    found = propagate(
        Stack(moving),
        (0, 4),
        region(moving(4)),
        planes(20),
        on_slice=told.append,
        should_stop=lambda: len(told) >= 3,
    )
    assert numbers(found.followed) == [5, 6, 7]
    assert found.stops == {"forward": "it was asked to stop", "backward": "it was asked to stop"}


@settings(max_examples=30)
@given(
    count=st.integers(3, 12),
    start=st.integers(0, 11),
    fixed=st.sets(st.integers(0, 11), max_size=4),
    wrong=st.sets(st.integers(0, 11), max_size=6),
)
def test_fixed_planes_never_change_and_all_between_them_have_a_mask(
    count: int, start: int, fixed: set[int], wrong: set[int]
) -> None:
    start = min(start, count - 1)
    stack = Stack(moving, wrong={z: disc(70, 100, 14) for z in wrong})
    masks = {(0, z): region(moving(z)) for z in fixed}  # some lie beyond the last plane
    before = {plane: mask.mask.copy() for plane, mask in masks.items()}
    found = propagate(stack, (0, start), region(moving(start)), planes(count), fixed=masks)
    known = {start} | {z for z in fixed if z < count}
    there = numbers(found.followed)
    assert there == sorted(set(there))
    assert not set(there) & known
    assert set(there) <= set(range(count))
    assert set(range(min(known), max(known))) <= known | set(there)
    assert all((masks[plane].mask == mask).all() for plane, mask in before.items())
    for one in found.followed:
        assert iou(one.mask, region(moving(one.plane[1]))) > 0.6
        assert 0 <= one.confidence <= 1
    assert set(found.stops) == {"forward", "backward"}


@settings(max_examples=20)
@given(fixed=st.sets(st.integers(0, 13), min_size=1, max_size=4), changed=st.integers(0, 13))
def test_a_correction_concerns_the_span_between_its_neighbours_only(
    fixed: set[int], changed: int
) -> None:
    every, fixed = planes(14), fixed | {changed}
    masks = {(0, z): region(moving(z)) for z in fixed}
    span = affected(every, list(masks), (0, changed))
    assert (0, changed) in span
    inner = [z for _, z in span[1:-1]]
    assert not set(inner) & (fixed - {changed})
    whole = propagate(Stack(moving), (0, changed), masks[0, changed], every, fixed=masks)
    # Wherever the changed mask has a say, the span alone gives what all planes give.
    bent = {**masks, (0, changed): region(disc(42, 20 + 3 * changed, 11))}
    again = propagate(Stack(moving), (0, changed), bent[0, changed], every, fixed=bent)
    alone = propagate(Stack(moving), (0, changed), bent[0, changed], span, fixed=bent)
    outside = {plane for plane in whole.masks() if plane not in span}
    for plane in outside:
        assert (drawn(whole.masks()[plane]) == drawn(again.masks()[plane])).all()
    assert set(alone.masks()) == {plane for plane in again.masks() if plane in span}
    for plane, mask in alone.masks().items():
        assert (drawn(mask) == drawn(again.masks()[plane])).all()


def test_between_two_fixed_planes_the_better_of_both_ways_counts() -> None:
    """From the first end it is lost at once, from the last it is followed all the way."""

    def jumps(z: int) -> np.ndarray:
        return disc(40, 20, 10) if z < 2 else disc(40, 60 + 2 * z, 10)

    fixed = {(0, 0): region(jumps(0)), (0, 9): region(jumps(9))}
    found = propagate(Stack(jumps), (0, 0), fixed[0, 0], planes(10), fixed=fixed)
    assert numbers(found.followed) == list(range(1, 9))
    for one in found.followed:
        assert iou(one.mask, region(jumps(one.plane[1]))) > 0.9


def test_what_cannot_be_followed_is_told() -> None:
    mask = region(moving(0))
    with pytest.raises(InputError, match="t = 0, z = 9, in which the object is known, is not"):
        propagate(Stack(moving), (0, 9), mask, planes(3))
    with pytest.raises(InputError, match="differ in both t and z"):
        propagate(Stack(moving), (0, 0), mask, [(0, 0), (1, 1)])
    with pytest.raises(InputError, match="not in order"):
        propagate(Stack(moving), (0, 0), mask, [(0, 0), (0, 2), (0, 1)])
    empty = MaskRegion(0, 0, np.zeros((3, 3), bool))
    with pytest.raises(InputError, match="The mask in plane 1 is empty"):
        propagate(Stack(moving), (0, 0), mask, planes(3), fixed={(0, 1): empty})
    for wrong in ({"gap": -1}, {"change": -1}, {"most_growth": 1}, {"least_overlap": 2}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            Settings(**wrong)


def test_thick_stacks_may_change_more() -> None:
    flat = open_scene(np.zeros((3, 9, 9), np.uint8), axes="ZYX", pixel_size=(1, 1, "mm"))
    assert Settings.through_depth(flat) == Settings()
    thick, thin = (Settings.through_depth(_with_depth(flat, depth)).change for depth in (8.0, 0.5))
    assert thin < Settings().change < thick


def _with_depth(scene: Any, depth: float) -> Any:
    from dataclasses import replace

    return replace(scene, depth=depth)


@given(
    row=st.floats(-30, 110),
    col=st.floats(-30, 140),
    growth=st.floats(0.5, 2),
    radius=st.floats(5, 20),
)
def test_moved_masks_lie_where_they_should(
    row: float, col: float, growth: float, radius: float
) -> None:
    mask = region(disc(45, 60, radius))
    found = moved(mask, np.array([row - 45, col - 60]), growth, SHAPE)
    truth = disc(row, col, radius * growth)
    if found is None:
        assert truth.sum() <= 3 * radius * growth
        return
    assert 0 <= found.row <= found.row + found.mask.shape[0] <= SHAPE[0]
    assert 0 <= found.col <= found.col + found.mask.shape[1] <= SHAPE[1]
    wrong = (1 - iou(found, MaskRegion(0, 0, truth))) * max(area(found), truth.sum())
    assert wrong <= 2.5 * np.pi * radius * growth + 4  # about a pixel along the outline


@settings(max_examples=40)
@given(share=st.floats(0, 1), radius=st.floats(5, 15), other=st.floats(5, 15), way=st.floats(0, 60))
def test_shapes_between_two_go_from_one_to_the_other(
    share: float, radius: float, other: float, way: float
) -> None:
    one, last = region(disc(40, 25, radius)), region(disc(45, 25 + way, other))
    found = between(one, last, share, SHAPE)
    assert found is not None
    assert np.abs(centre(found) - (centre(one) + share * (centre(last) - centre(one)))).max() < 1
    wanted = np.pi * (radius + share * (other - radius)) ** 2
    assert 0.75 < area(found) / wanted < 1.3


@given(velocity=st.floats(-6, 6), growth=st.floats(-0.5, 0.5), steps=st.integers(1, 3))
def test_motion_and_growth_go_on_in_part(velocity: float, growth: float, steps: int) -> None:
    known = [(z, region(disc(45, 60 + velocity * z, 12 + growth * z))) for z in range(-3, 1)]
    found = expected(known, steps, SHAPE)
    assert found is not None
    gone = centre(found)[1] - 60
    assert abs(gone - 0.75 * velocity * steps) < 1
    assert (np.sqrt(area(found) / np.pi) - 12) * np.sign(growth) >= -0.5


def textured(shift: tuple[float, float], seed: int = 0) -> np.ndarray:
    """Return a picture of a blob on a background that stays."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    still, own = (ndimage.gaussian_filter(rng.normal(0, 1, SHAPE), 2) for _ in range(2))
    own = ndimage.shift(own, shift, mode="wrap")
    there = disc(45 + shift[0], 40 + shift[1], 12)
    return np.clip(90 + 60 * there + 60 * np.where(there, own, still), 0, 255).astype(np.uint8)


@settings(max_examples=10)
@given(row=st.integers(-8, 8), col=st.integers(-8, 30), grey=st.booleans())
def test_a_mask_goes_along_with_the_motion_that_is_seen(row: int, col: int, grey: bool) -> None:
    stack = np.stack([textured((0, 0)), textured((row, col))])
    if not grey:
        stack = stack.astype(np.uint16) * 100
    scene = open_scene(stack, axes="ZYX")
    before = region(disc(45, 40, 12))
    warp = carry(scene, at_plane(scene, 0, 1), before, None, SHAPE)
    assert warp is not None
    found = warp.carried(before, SHAPE)
    reached = max(abs(row), abs(col)) <= 8  # farther things are looked for by a guess
    if reached:
        assert found is not None
        assert iou(found, region(disc(45 + row, 40 + col, 12))) > 0.8


def test_a_guess_leads_farther_than_is_looked() -> None:
    stack = np.stack([textured((0, 0)), textured((3, 50))])
    scene = open_scene(stack, axes="TYX")
    before, guess = region(disc(45, 40, 12)), region(disc(45, 88, 12))
    warp = carry(scene, at_plane(scene, 1, 0), before, guess, SHAPE)
    assert warp is not None
    found = warp.carried(before, SHAPE)
    assert found is not None
    assert iou(found, region(disc(48, 90, 12))) > 0.8


def test_large_objects_are_carried_at_a_coarser_level() -> None:
    from scipy import ndimage

    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(0, 1, (900, 1000)), 8)
    rows, cols = np.ogrid[:900, :1000]

    def picture(row: float, col: float) -> tuple[np.ndarray, np.ndarray]:
        there = np.hypot(rows - row, cols - col) < 250
        return np.clip(90 + 70 * there + 300 * noise, 0, 255).astype(np.uint8), there

    (one, mask), (other, truth) = picture(430, 450), picture(438, 460)
    scene = open_scene(np.stack([one, other]), axes="ZYX")
    start = tight(MaskRegion(0, 0, mask))
    assert start is not None
    warp = carry(scene, at_plane(scene, 0, 1), start, None, (900, 1000))
    assert warp is not None
    assert warp.level > 0
    found = warp.carried(start, (900, 1000))
    assert found is not None
    assert iou(found, MaskRegion(0, 0, truth)) > 0.95


def test_where_nothing_is_shown_nothing_is_carried() -> None:
    scene = open_scene(np.stack([textured((0, 0)), np.full(SHAPE, 7, np.uint8)]), axes="ZYX")
    assert carry(scene, at_plane(scene, 0, 1), region(disc(45, 40, 12)), None, SHAPE) is None


def test_the_shipped_model_follows_a_bright_body_through_a_stack_with_an_empty_plane() -> None:
    from zarr.storage import MemoryStore

    from src_model import load_model

    rng = np.random.default_rng(0)
    truth = np.stack([disc(40 + 2 * z, 40 + 4 * z, 12 + z) for z in range(5)])
    pixels = np.where(truth, 180, 80) + rng.normal(0, 6, truth.shape)
    pixels[2] = 0  # nothing was recorded
    model = load_model("vit_nano", "cpu")
    first = open_scene(pixels.astype(np.uint8), axes="ZYX")
    encoded: list[Plane] = []

    def segmenter(plane: Plane) -> Segmenter:
        encoded.append(plane)
        scene = at_plane(first, *plane)
        store = EmbeddingStore.create(
            MemoryStore(), SceneInfo.of(scene), ModelInfo.of(model), TileGeometry(scene.shape)
        )
        return Segmenter(scene, store, model)

    found = propagate(segmenter, (0, 0), region(truth[0]), planes(5)[:4])
    assert numbers(found.followed) == [1, 3]
    assert found.skipped[0, 2].startswith("plane 2: Nothing is to be seen")
    assert (0, 4) not in encoded
    for one in found.followed:
        assert iou(one.mask, region(truth[one.plane[1]])) > 0.85
