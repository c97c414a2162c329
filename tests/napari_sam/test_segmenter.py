"""A prompt gives the whole object at full resolution, wherever tiles meet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle import Oracle, disc

from napari_sam.errors import InputError
from napari_sam.segment.objects import Candidate
from napari_sam.segment.refine import blend_weights, refine
from napari_sam.segment.routing import tile_holding
from napari_sam.segment.scribbles import MaskRegion, mask_logits, mask_points, scribble_points
from napari_sam.segment.seams import seam_score
from napari_sam.segment.segmenter import Segmenter
from napari_sam.tiles.geometry import TileGeometry, TileId

SHAPE = 400, 560


def iou(candidate: Candidate, truth: np.ndarray) -> float:
    drawn = np.zeros_like(truth)
    drawn[candidate.region] = candidate.mask
    return np.count_nonzero(drawn & truth) / np.count_nonzero(drawn | truth)


@settings(max_examples=40)
@given(
    row=st.floats(0, 399),
    col=st.floats(0, 559),
    radius=st.floats(6, 160),
    angle=st.floats(0, 6.28),
    depth=st.floats(0, 0.9),
)
def test_a_disc_is_found_whole_from_any_of_its_pixels(
    row: float, col: float, radius: float, angle: float, depth: float
) -> None:
    click = row + depth * radius * np.sin(angle), col + depth * radius * np.cos(angle)
    assume(0 <= click[0] <= 399 and 0 <= click[1] <= 559)
    oracle = Oracle(SHAPE, [disc(row, col, radius)])
    (found,) = Segmenter.of(oracle).prompt(points=[click, click])
    truth = oracle.truth()
    # The outline is at most about a pixel off, whatever the level it was found at.
    outline = 2 * np.pi * radius
    assert iou(found, truth) > 1 - 1.2 * outline / max(truth.sum(), 1)
    assert found.mask.any(axis=0)[[0, -1]].all()
    assert found.mask.any(axis=1)[[0, -1]].all()
    # The finest level at which the tile holds it: at finer ones it was cut, or not asked.
    level = found.tiles[0].level
    assert found.level == level
    assert [tile.level for tile in found.tiles] == sorted(t.level for t in found.tiles)[::-1]
    if level == 0:
        assert len(oracle.asked) == 1


def test_routing_climbs_only_as_far_as_needed() -> None:
    for radius, level, decodes in ((10, 0, 1), (40, 1, None), (60, 2, None), (150, 3, None)):
        oracle = Oracle(SHAPE, [disc(176, 272, radius)])
        (found,) = Segmenter.of(oracle).prompt(points=[[176, 272], [177, 273]])
        assert found.level == level
        assert [tile.level for tile in oracle.asked[: level + 1]] == list(range(level + 1))
        assert decodes is None or len(oracle.asked) == decodes


@pytest.mark.parametrize(
    "prompt",
    [
        {"points": [[60, 100], [340, 300]]},
        {"box": [60, 100, 340, 300]},
        {"scribble": [[60, 100], [100, 120], [340, 300]]},
        {"mask": MaskRegion(60, 100, np.ones((281, 201), bool))},
    ],
)
def test_what_no_tile_holds_goes_straight_to_the_level_that_does(prompt: Any) -> None:
    oracle = Oracle(SHAPE, [disc(200, 200, 150)])
    (found,) = Segmenter.of(oracle).prompt(**prompt)
    assert oracle.asked[0].level == 3 == found.level
    assert iou(found, oracle.truth()) > 0.98


def test_part_object_and_group_keep_their_own_levels() -> None:
    discs = [disc(176, 272, radius) for radius in (12, 40, 140)]

    class Turning(Oracle):
        """Names them differently at each level; and asked to refine, knows only the part."""

        def decode(self, tiles: Any, prompts: Any, ambiguous: bool) -> Any:
            kept = self.objects
            if ambiguous:
                self.objects = [kept[(i + tiles[0].level) % 3] for i in range(3)]
            answers = super().decode(tiles, prompts, ambiguous)
            self.objects = kept
            return answers

    for decoder in (Oracle(SHAPE, discs), Turning(SHAPE, discs)):
        found = Segmenter.of(decoder).prompt(points=[[176, 272]])
        scores = [one.predicted_iou for one in found]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)
        by_area = sorted(found, key=lambda one: one.area)
        assert [one.level for one in by_area] == [0, 1, 3]
        for number, one in enumerate(by_area):
            assert iou(one, decoder.truth(number)) > 0.93, number


def test_the_same_prompt_gives_the_same_answer() -> None:
    first, again = (
        Segmenter.of(Oracle(SHAPE, [disc(190, 300, 110)])).prompt(points=[[200, 280]])
        for _ in range(2)
    )
    for one, other in zip(first, again, strict=True):
        assert (one.row, one.col, one.tiles) == (other.row, other.col, other.tiles)
        np.testing.assert_array_equal(one.mask, other.mask)


def test_refining_gives_detail_that_the_coarse_level_lacks() -> None:
    def notched(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        inside = 150 - np.hypot(rows - 200, cols - 280)
        teeth = 3 * np.sin(np.arctan2(rows - 200, cols - 280) * 40)
        return inside + teeth

    oracle = Oracle(SHAPE, [notched])
    truth = oracle.truth()
    (fine,) = Segmenter.of(oracle).prompt(box=[47, 127, 353, 433])
    assert {tile.level for tile in fine.tiles} == {3, 2, 1, 0}
    oracle.missing = {
        TileId(level, row, col) for level in (0, 1, 2) for row in range(9) for col in range(12)
    }
    (coarse,) = Segmenter.of(oracle).prompt(box=[47, 127, 353, 433])
    assert [tile.level for tile in coarse.tiles] == [3]
    assert iou(fine, truth) > 0.99 > iou(coarse, truth) > 0.95


def test_a_missing_tile_leaves_the_coarse_mask_there() -> None:
    whole = Oracle(SHAPE, [disc(200, 280, 150)])
    (expected,) = Segmenter.of(whole).prompt(box=[50, 130, 350, 430])
    lost = next(tile for tile in expected.tiles if tile.level == 0)
    torn = Oracle(SHAPE, whole.objects, missing={lost})
    (found,) = Segmenter.of(torn).prompt(box=[50, 130, 350, 430])
    assert lost not in found.tiles
    assert iou(found, whole.truth()) > 0.98


@pytest.mark.parametrize("wrong", ["nothing", "everything", "opposite", "noise"])
def test_a_tile_that_talks_nonsense_spoils_nothing(wrong: str) -> None:
    truth = Oracle(SHAPE, [disc(200, 280, 150)])

    def nonsense(tile: TileId, logits: np.ndarray) -> np.ndarray:
        if tile.level > 1:
            return logits
        if wrong == "noise":
            return np.random.default_rng(tile.row * 99 + tile.col).normal(0, 9, logits.shape)
        return {"nothing": logits * 0 - 9, "everything": logits * 0 + 9, "opposite": -logits}[wrong]

    oracle = Oracle(SHAPE, truth.objects, distort=nonsense)
    (found,) = Segmenter.of(oracle).prompt(box=[50, 130, 350, 430])
    assert iou(found, truth.truth()) > 0.97
    assert {tile.level for tile in found.tiles} == {3, 2}


def test_tiles_that_disagree_are_blended_without_a_seam() -> None:
    def shifted(tile: TileId, logits: np.ndarray) -> np.ndarray:
        if tile.level:
            return logits
        return logits + (16 if (tile.row + tile.col) % 2 else -16)  # 4 pixels out or in

    oracle = Oracle((400, 400), [disc(200, 200, 150)], distort=shifted)
    (found,) = Segmenter.of(oracle).prompt(box=[50, 50, 350, 350])
    assert len([tile for tile in found.tiles if tile.level == 0]) > 10
    # The same answers, each in its own core only.
    drawn = np.zeros((400, 400), bool)
    for tile in oracle.geometry.tiles(0):
        core, window = oracle.geometry.core(tile), oracle.geometry.window(tile)
        (answer,) = oracle.decode([tile], [oracle.prompts[0]], ambiguous=False)
        assert answer is not None
        inside = oracle.pixels(answer.grids[0], tile) > 0
        part = core.within(window)
        drawn[core.rows, core.cols] = inside[part.rows, part.cols]
    assert seam_score(MaskRegion(0, 0, drawn), oracle.geometry) > 1.6
    assert seam_score(MaskRegion(0, 0, oracle.truth()), oracle.geometry) < 1.3
    assert seam_score(found, oracle.geometry) < 1.3


@given(
    rows=st.integers(1, 300),
    cols=st.integers(1, 300),
    halo=st.integers(0, 31),
    level=st.integers(0, 2),
)
def test_weights_of_tiles_add_up_to_one(rows: int, cols: int, halo: int, level: int) -> None:
    geometry = TileGeometry((rows, cols), 64, halo)
    for axis in (0, 1):
        places = np.arange(geometry.level_shape(level)[axis], dtype=float)
        weights = blend_weights(geometry, level, places, axis)
        np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-5)
        for index, weight in enumerate(weights):
            window = geometry.window(TileId(level, *((index, 0) if axis == 0 else (0, index))))
            start, stop = (window.row0, window.row1) if axis == 0 else (window.col0, window.col1)
            assert not weight[:start].any()
            assert not weight[stop:].any()


@given(
    shape=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
    halo=st.integers(0, 31),
)
def test_the_tile_chosen_holds_the_prompt(
    shape: tuple[int, int], corners: tuple[float, ...], halo: int
) -> None:
    geometry = TileGeometry(shape, 64, halo)
    row0, row1 = sorted((corners[0] * (shape[0] - 1), corners[1] * (shape[0] - 1)))
    col0, col1 = sorted((corners[2] * (shape[1] - 1), corners[3] * (shape[1] - 1)))
    for level in range(geometry.levels):
        tile = tile_holding(geometry, level, (row0, col0, row1, col1))
        if tile is None:
            assert level < geometry.levels - 1
            # Neighbours share two halos, of which the margins take one.
            assert max(row1 - row0, col1 - col0) / 2**level > halo - 2
            continue
        window = geometry.window(tile)
        for place, low, high in (
            (row0, window.row0, window.row1),
            (col0, window.col0, window.col1),
        ):
            assert low << level <= place + 0.5
            assert place <= high << level
    assert tile is not None  # the coarsest holds everything


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (1, 1), (20, 30), (65, 64)])
def test_scenes_that_are_hardly_there(shape: tuple[int, int]) -> None:
    middle = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    oracle = Oracle(shape, [disc(*middle, 0.4 * max(shape))])
    for prompt in ({"points": [middle, middle]}, {"scribble": [middle, (0, 0)]}):
        (found,) = Segmenter.of(oracle).prompt(**prompt)
        assert iou(found, oracle.truth()) > 0.9


def test_an_empty_mask_is_no_error() -> None:
    oracle = Oracle(SHAPE, [lambda rows, cols: 0 * rows + 0 * cols - 5.0])
    found = Segmenter.of(oracle).prompt(points=[[200, 280]])
    assert [one.area for one in found] == [0, 0, 0]
    assert refine(oracle, oracle._grid(TileId(3, 0, 0), 0), 0.0)[1] == ()


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ({}, "Nothing says where the object is"),
        ({"points": [[3, 4]], "labels": [0]}, "Nothing says where the object is"),
        ({"points": []}, "Nothing says where the object is"),
        ({"labels": [1]}, "labels but no points"),
        ({"points": [[3, 4]], "labels": [1, 0]}, "one label for each of the 1 points"),
        ({"points": [[3, 4]], "labels": [2]}, "1 for the object and 0"),
        ({"points": [[400, 4]]}, "The point 400, 4 lies outside"),
        ({"points": [[3, -1]]}, "The point 3, -1 lies outside"),
        ({"points": [[3, np.nan]]}, "finite"),
        ({"points": [3, 4]}, "shape"),
        ({"points": "here"}, "numbers"),
        ({"box": [3, 4, 3, 9]}, "no area"),
        ({"box": [3, 4, 9]}, r"\(row0, col0, row1, col1\)"),
        ({"box": [3, 4, 9, np.inf]}, "finite"),
        ({"box": [3, 4, 900, 9]}, "reaches out of the scene"),
        ({"scribble": []}, "no vertices"),
        ({"scribble": [[3, 4], [3, 1000]]}, "The vertex 3, 1000 lies outside"),
        ({"mask": MaskRegion(0, 0, np.zeros((3, 3), bool))}, "mask is empty"),
        ({"mask": MaskRegion(399, 0, np.ones((3, 3), bool))}, "reaches out of the scene"),
        ({"mask": MaskRegion(0, 0, np.ones((3, 3)))}, "bool"),
    ],
)
def test_senseless_prompts_are_refused_in_a_sentence(prompt: Any, sentence: str) -> None:
    oracle = Oracle(SHAPE, [disc(200, 280, 50)])
    with pytest.raises(InputError, match=sentence) as error:
        Segmenter.of(oracle).prompt(**prompt)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")
    assert not oracle.asked


def test_where_nothing_is_to_be_seen_is_said() -> None:
    oracle = Oracle((60, 60), [disc(30, 30, 10)], missing={TileId(0, 0, 0)})
    with pytest.raises(InputError, match="Nothing is to be seen"):
        Segmenter.of(oracle).prompt(points=[[30, 30]])


@given(
    line=st.lists(
        st.tuples(st.floats(-1e3, 1e3, width=32), st.floats(-1e3, 1e3, width=32)),
        min_size=1,
        max_size=20,
    )
)
def test_points_of_a_scribble_lie_on_it_evenly(line: list[tuple[float, float]]) -> None:
    points = scribble_points(line)
    vertices = np.array(line)
    length = np.hypot(*np.diff(vertices, axis=0).T).sum()
    assert len(points) == (1 if length == 0 else 8)
    # Going along the line to the next point is at least as far as going straight.
    straight = np.hypot(*np.diff(points, axis=0).T)
    assert (straight <= length / 8 * (1 + 1e-6) + 1e-6).all()


@given(seed=st.integers(0, 2**32 - 1), level=st.integers(0, 3), count=st.integers(1, 5))
def test_a_mask_keeps_its_area_as_logits(seed: int, level: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    high, wide = rng.integers(1, 40, 2)
    mask = rng.random((high, wide)) < rng.random()
    mask[rng.integers(high), rng.integers(wide)] = True
    region = MaskRegion(int(rng.integers(20)), int(rng.integers(20)), mask)
    spacing = 2 ** rng.integers(0, 3)
    places = (np.arange(64 // (spacing << level) + 1) + 0.5) * spacing - 0.5
    logits = mask_logits(region, level, places, places)
    share = (logits / 8 + 1) / 2
    assert share.sum() * (spacing << level) ** 2 == pytest.approx(mask.sum(), rel=1e-4)
    points = mask_points(region, count)
    assert 1 <= len(points) <= count
    for row, col in points.astype(int):
        assert mask[row - region.row, col - region.col]
