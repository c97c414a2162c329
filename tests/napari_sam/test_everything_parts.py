"""The steps from a grid of clicks to objects, each against a slow and simple way to do it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from everything_scenes import make_store, scene_of
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.errors import InputError
from napari_sam.scene import PixelSize
from napari_sam.segment.everything import clicking
from napari_sam.segment.everything.candidates import AllCandidates, gather
from napari_sam.segment.everything.clicking import RawThresholds, click_tile, cut_sides
from napari_sam.segment.everything.filtering import Thresholds, choose, rank, suppress, too_small
from napari_sam.segment.everything.grid import Grid, GridLevel, plan_grid, sizes_in_pixels
from napari_sam.segment.everything.joining import best_of_each_other, join
from napari_sam.segment.everything.overlaps import Pairs, measure_pairs
from napari_sam.segment.everything.packing import Damaged
from napari_sam.segment.everything.raw import CUT_LEFT, CUT_RIGHT, RawCandidates
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.geometry import TileGeometry, TileId
from src_model import Sam


@settings(max_examples=25)
@given(
    st.tuples(st.integers(1, 150), st.integers(1, 150)),
    st.integers(20, 90),
    st.integers(0, 9),
    st.floats(1.2, 70),
)
def test_every_point_has_one_owner(
    shape: tuple[int, int], tile: int, halo: int, spacing: float
) -> None:
    geometry = TileGeometry(shape, tile, halo)
    for level in range(geometry.levels):
        grid = Grid(geometry, (GridLevel(level, spacing, 0, np.inf),))
        found = np.concatenate([grid.points(tile) for tile in geometry.tiles(level)])
        counts = [max(1, round(side / spacing)) for side in shape]
        assert len(found) == len(np.unique(found, axis=0)) == counts[0] * counts[1]
        assert (found >= -0.5).all()
        assert (found < np.array(shape) - 0.5).all()
        for tile_id in geometry.tiles(level):
            core = geometry.core(tile_id)
            at = (grid.points(tile_id) + 0.5) / (1 << level)
            assert (at >= (core.row0, core.col0)).all()
            assert (at < (core.row1, core.col1)).all()


@given(st.integers(1, 100_000), st.integers(256, 1024), st.floats(1, 400), st.floats(1.5, 100))
def test_every_size_is_seen_whole_in_some_level(
    side: int, tile: int, low: float, ratio: float
) -> None:
    geometry = TileGeometry((side, side), tile, tile // 8)
    grid = plan_grid(geometry, 1024, (low, low * ratio))
    levels = [level.level for level in grid.levels]
    assert levels == list(range(levels[0], levels[-1] + 1))
    assert grid.levels[0].low == low
    assert grid.levels[-1].high >= low * ratio or levels[-1] == geometry.levels - 1
    for finer, coarser in itertools.pairwise(grid.levels):
        assert coarser.low <= finer.high
    for level in grid.levels[:-1]:
        # The tile in whose core an object's middle lies sees it whole.
        assert level.high <= 2 * geometry.halo << level.level


def test_sizes_of_the_scene_are_turned_into_pixels() -> None:
    size = PixelSize(0.5, 0.5, "micrometer")
    assert sizes_in_pixels((5, 20), "µm", size) == (10, 40)
    assert sizes_in_pixels((5, 20), "nm", size) == pytest.approx((0.01, 0.04))
    assert sizes_in_pixels((5, None), "px", None) == (5, None)
    assert sizes_in_pixels((3, 6), "degree", PixelSize(3, 3, "degree")) == (1, 2)
    with pytest.raises(InputError, match="sizes in degree or px"):
        sizes_in_pixels((5, None), "m", PixelSize(3, 3, "degree"))


@st.composite
def raw_candidates(draw: st.DrawFn, most: int = 4, side: int = 40) -> RawCandidates:
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found = []
    for _ in range(draw(st.integers(0, most))):
        rows, cols = random.integers(1, 14, 2)
        mask = random.random((rows, cols)) < 0.7
        mask[0, 0] = mask[-1, -1] = True
        corner = int(random.integers(0, side - rows)), int(random.integers(0, side - cols))
        scores = random.random(2)
        found.append((mask, corner, scores[0], scores[1], (1.0, 2.0), int(random.integers(0, 3))))
    return RawCandidates.of(found)


@settings(max_examples=40)
@given(raw_candidates(), st.integers(0), st.integers(1, 255))
def test_raw_candidates_come_back_or_are_refused(
    raw: RawCandidates, place: int, change: int
) -> None:
    content = bytearray(raw.to_bytes())
    again = RawCandidates.from_bytes(bytes(content))
    for name, values in vars(raw).items():
        np.testing.assert_array_equal(values, getattr(again, name))
        assert values.dtype == getattr(again, name).dtype
    content[place % len(content)] ^= change
    with pytest.raises(Damaged):
        RawCandidates.from_bytes(bytes(content))
    with pytest.raises(Damaged):
        RawCandidates.from_bytes(bytes(content[: place % len(content)]))


@settings(max_examples=50)
@given(st.integers(1, 30), st.data())
def test_suppression_is_greedy(count: int, data: st.DataObject) -> None:
    index = st.integers(0, count - 1)
    drawn = data.draw(st.lists(st.tuples(index, index).filter(lambda p: p[0] != p[1]), max_size=60))
    first, second = np.array(drawn, np.int64).reshape(-1, 2).T
    ranks = np.array(data.draw(st.permutations(range(count))))
    good = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    expected: set[int] = set()
    for one in np.argsort(ranks).tolist():
        rivals = {b for a, b in drawn if a == one} | {a for a, b in drawn if b == one}
        if good[one] and not rivals & expected:
            expected.add(one)
    kept = suppress(ranks, first, second, good)
    assert set(np.flatnonzero(kept).tolist()) == expected


@settings(max_examples=50)
@given(st.integers(1, 20), st.data())
def test_joining_does_not_depend_on_order(count: int, data: st.DataObject) -> None:
    index = st.integers(0, count - 1)
    links = data.draw(st.lists(st.tuples(index, index), max_size=30))
    first, second = np.array(links, np.int64).reshape(-1, 2).T
    groups = join(count, first, second)
    order = np.array(data.draw(st.permutations(range(len(links)))), np.int64)
    np.testing.assert_array_equal(groups, join(count, second[order], first[order]))
    for one in range(count):
        reached = {one}
        while True:
            more = reached | {b for a, b in links if a in reached}
            more |= {a for a, b in links if b in reached}
            if more == reached:
                break
            reached = more
        assert groups[one] == min(reached)


@given(st.data())
def test_best_of_each_other(data: st.DataObject) -> None:
    tile_of = np.array(data.draw(st.lists(st.integers(0, 3), min_size=2, max_size=10)))
    every = [
        pair
        for pair in itertools.combinations(range(len(tile_of)), 2)
        if tile_of[pair[0]] != tile_of[pair[1]]
    ]
    if not every:
        return
    drawn = data.draw(st.lists(st.sampled_from(every), unique=True, max_size=20))
    first, second = np.array(drawn, np.int64).reshape(-1, 2).T
    scores = data.draw(
        st.lists(st.sampled_from([0.6, 0.7, 0.8]), min_size=len(drawn), max_size=len(drawn))
    )
    best = best_of_each_other(first, second, np.array(scores), tile_of)

    def choice(one: int, tile: int) -> int:
        options = [
            (-score, other)
            for (a, b), score in zip(drawn, scores, strict=True)
            for me, other in ((a, b), (b, a))
            if me == one and tile_of[other] == tile
        ]
        return min(options)[1]

    for (a, b), is_best in zip(drawn, best.tolist(), strict=True):
        assert is_best == (choice(a, tile_of[b]) == b and choice(b, tile_of[a]) == a)


def together(parts: dict[TileId, RawCandidates], geometry: TileGeometry) -> AllCandidates:
    return gather(geometry, list(parts), list(parts.values()), parts.__getitem__)


def placed(known: AllCandidates, index: int) -> np.ndarray:
    """Return a mask in a scene that is large enough."""
    level = int(known.levels[index])
    mask = known.mask(index).repeat(1 << level, 0).repeat(1 << level, 1)
    row0, col0, row1, col1 = known.boxes[index].tolist()
    whole = np.zeros((128, 128), bool)
    whole[row0:row1, col0:col1] = mask
    return whole


@settings(max_examples=30)
@given(raw_candidates(), raw_candidates(), raw_candidates(side=30))
def test_pairs_are_measured_exactly(
    left: RawCandidates, right: RawCandidates, coarse: RawCandidates
) -> None:
    geometry = TileGeometry((60, 60), tile=40, halo=8)
    parts = {TileId(0, 0, 0): left, TileId(0, 0, 1): right, TileId(1, 0, 0): coarse}
    # Masks of the right tile lie in its window.
    right.boxes[:, [1, 3]] += 20
    right.first_cols[:] += 20
    known = together(parts, geometry)
    pairs = measure_pairs(known)
    found = {
        (int(a), int(b)): (float(iou), float(agreement), float(evidence))
        for a, b, iou, agreement, evidence in zip(*vars(pairs).values(), strict=True)
    }
    for a, b in itertools.combinations(range(len(known)), 2):
        one, other = placed(known, a), placed(known, b)
        common = (one & other).sum()
        iou = common / (one | other).sum()
        agreement = iou
        tiles = int(known.tile_of[a]), int(known.tile_of[b])
        if tiles[0] != tiles[1] and (known.cuts[a] or known.cuts[b]):
            both = known.window(tiles[0]) & known.window(tiles[1])
            agreement = common / max(1, (one | other)[both.rows, both.cols].sum())
        evidence = common / min(one.sum(), other.sum())
        if iou > 0.2:
            assert found[a, b] == pytest.approx((iou, agreement, evidence), abs=1e-6)
        elif agreement > 0.2 and evidence > 0.1:
            assert found[a, b][1] == pytest.approx(agreement, abs=1e-6)
        elif evidence >= 0.9:
            assert found[a, b][2] == pytest.approx(evidence, abs=1e-6)
        else:
            assert (a, b) not in found or found[a, b][1] > 0.2
    again = Pairs.from_bytes(pairs.to_bytes(b"these"), b"these")
    assert again is not None
    np.testing.assert_array_equal(again.agreement, pairs.agreement)
    assert Pairs.from_bytes(pairs.to_bytes(b"these"), b"others") is None


def select(parts: dict[TileId, RawCandidates], **changes: Any) -> list[tuple[int, ...]]:
    geometry = TileGeometry((60, 60), tile=40, halo=8)
    known = together(parts, geometry)
    grid = plan_grid(geometry, 40, (4, None))

    def area(group: tuple[int, ...]) -> int:
        return int(sum(placed(known, index) for index in group).astype(bool).sum())

    def overlaps(groups: Any, alone: np.ndarray) -> list[tuple[int, int, float, float]]:
        units = [*groups, *((index,) for index in alone.tolist())]
        masks = [sum(placed(known, i) for i in unit).astype(bool) for unit in units]
        found = []
        for a, b in itertools.combinations(range(len(units)), 2):
            common = (masks[a] & masks[b]).sum()
            smaller = min(masks[a].sum(), masks[b].sum())
            if a < len(groups):
                iou = float(common / (masks[a] | masks[b]).sum())
                found.append((a, b, iou, float(common / smaller)))
        return found

    thresholds = Thresholds(**{"predicted_iou": 0.5, "stability": 0.5, "overlap": 0.7, **changes})
    pairs, blurred = measure_pairs(known), too_small(known, grid)
    return choose(known, pairs, rank(known, grid), blurred, thresholds, area, overlaps)


def bar(col0: int, col1: int, cut: int, iou: float = 0.9, rows: int = 8, row: int = 10) -> Any:
    return np.ones((rows, col1 - col0), bool), (row, col0), iou, 0.9, (0.0, 0.0), cut


LEFT, RIGHT, COARSE = TileId(0, 0, 0), TileId(0, 0, 1), TileId(1, 0, 0)


def test_pieces_become_one_object() -> None:
    left, right = bar(5, 40, CUT_RIGHT), bar(20, 58, CUT_LEFT)
    parts = {LEFT: RawCandidates.of([left]), RIGHT: RawCandidates.of([right])}
    assert select(parts) == [(0, 1)]
    assert select(parts, stitch=False) == [(0,), (1,)]


def test_pieces_that_do_not_agree_stay_two() -> None:
    left, right = bar(5, 40, CUT_RIGHT), bar(20, 58, CUT_LEFT, row=15)
    parts = {LEFT: RawCandidates.of([left]), RIGHT: RawCandidates.of([right])}
    assert select(parts) == [(0,), (1,)]


def test_a_whole_object_of_a_coarser_level_stands_for_its_pieces() -> None:
    left, right = bar(5, 40, CUT_RIGHT, 0.99), bar(20, 58, CUT_LEFT, 0.99)
    whole = bar(3, 29, 0, 0.6, rows=4, row=5)
    parts = {
        LEFT: RawCandidates.of([left]),
        RIGHT: RawCandidates.of([right]),
        COARSE: RawCandidates.of([whole]),
    }
    assert select(parts) == [(2,)]
    assert select(parts, predicted_iou=0.8) == [(0, 1)]
    assert select(parts, largest=15.0) == []


def test_small_objects_belong_to_fine_levels() -> None:
    # Level 1 is made for objects from 8 pixels of level 0 on, four of its own.
    small, thin = bar(3, 6, 0, rows=3, row=5), bar(10, 25, 0, rows=1, row=5)
    assert select({COARSE: RawCandidates.of([small, thin])}) == [(1,)]
    assert select({LEFT: RawCandidates.of([small, thin])}) == [(0,), (1,)]


def test_of_duplicates_the_best_stays() -> None:
    good, worse, other = bar(5, 20, 0, 0.9), bar(5, 19, 0, 0.8), bar(22, 30, 0, 0.7)
    parts = {LEFT: RawCandidates.of([worse, good, other])}
    assert select(parts) == [(1,), (2,)]
    assert select(parts, overlap=0.95) == [(0,), (1,), (2,)]
    assert select(parts, smallest=9.0) == [(1,)]
    assert select(parts, predicted_iou=0.85) == [(1,)]


def test_parts_and_groups_may_be_left_out() -> None:
    whole, part = bar(5, 20, 0, 0.9), bar(6, 12, 0, 0.8, rows=2, row=12)
    assert select({LEFT: RawCandidates.of([whole, part])}) == [(0,), (1,)]
    assert select({LEFT: RawCandidates.of([whole, part])}, nested=False) == [(0,)]
    group, one, other = bar(5, 30, 0, 0.7), bar(6, 14, 0, 0.8, 6, 11), bar(20, 29, 0, 0.9, 6, 11)
    assert select({LEFT: RawCandidates.of([group, one, other])}, nested=False) == [(1,), (2,)]
    # A part of an object that two tiles cut does not take its place.
    left, right = bar(5, 40, CUT_RIGHT), bar(20, 58, CUT_LEFT)
    parts = {LEFT: RawCandidates.of([left, part]), RIGHT: RawCandidates.of([right])}
    assert select(parts, nested=False) == [(0, 2)]
    assert select(parts) == [(0, 2), (1,)]


def test_sides_that_cut() -> None:
    free = (False, False, False, False)
    assert cut_sides((2, 0, 10, 39), (40, 40), free) == CUT_LEFT
    assert cut_sides((2, 0, 10, 39), (40, 40), free, near=1) == CUT_LEFT | CUT_RIGHT
    assert cut_sides((2, 0, 10, 40), (40, 40), (False, True, False, False)) == CUT_RIGHT


@pytest.mark.parametrize("click", [(30.0, 40.0), (44.0, 40.0), (30.0, 55.0)])
def test_scores_do_not_depend_on_where_the_grid_hits(
    tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch, click: tuple[float, float]
) -> None:
    """A network that is the surer the deeper a click lies is asked again, deep inside."""
    disc = np.add.outer(np.arange(-16, 17) ** 2, np.arange(-16, 17) ** 2) <= 16**2
    labels = np.zeros((60, 64), np.uint32)
    labels[14:47, 24:57][disc] = 1
    scene = scene_of(labels)
    store = make_store(scene, tiny_sam)
    tile = Embeddings(store, tiny_sam, scene).at(TileId(0, 0, 0))

    def unsure(clicker: Any, in_frame: Any, points: np.ndarray) -> Any:
        depths = 1 - np.hypot(points[:, 0] - 30, points[:, 1] - 40) / 20
        return [
            (clicking._Found(disc, 14, 24, float(depth), 0.9, tuple(point)), number)
            for number, (depth, point) in enumerate(zip(depths, points.tolist(), strict=True))
        ]

    monkeypatch.setattr(clicking._Clicker, "_click_batch", unsure)
    raw = click_tile(tile, np.array([click]), RawThresholds(0.0, 0.0), (60, 64))
    assert raw.points.tolist() == [[30.0, 40.0]]
    assert raw.predicted_ious.tolist() == [1.0]


def test_clicks_give_the_predictors_masks(tiny_sam: Sam) -> None:
    labels = np.zeros((100, 130), np.uint32)
    labels[20:60, 30:90] = 1
    scene = scene_of(labels)
    store = make_store(scene, tiny_sam)
    embeddings = Embeddings(store, tiny_sam, scene)
    tile = embeddings.at(TileId(0, 1, 1))
    points = Grid(store.geometry, (GridLevel(0, 8.0, 0, np.inf),)).points(tile.tile)
    raw = click_tile(tile, points, RawThresholds(-9.0, 0.0), store.geometry.level_shape(0))
    assert 0 < len(raw) < 3 * len(points)
    window = tile.window
    for index in range(len(raw)):
        row0, col0, row1, col1 = raw.boxes[index].tolist()
        mask = np.zeros(window.shape, bool)
        mask[row0 - window.row0 : row1 - window.row0, col0 - window.col0 : col1 - window.col0] = (
            raw.mask(index)
        )
        given_masks, ious, _ = tile.predictor.predict(
            tile.to_xy(raw.points[index : index + 1]), np.array([1])
        )
        same = np.isclose(ious, raw.predicted_ious[index], atol=1e-4)
        # Only specks differ.
        differences = [(given != mask).mean() for given in given_masks[same]]
        assert min(differences) < 0.2
        touches = {
            1: row0 == window.row0 > 0,
            2: col0 == window.col0 > 0,
            4: row1 == window.row1 < 100,
            8: col1 == window.col1 < 130,
        }
        for side, touched in touches.items():
            assert bool(raw.cuts[index] & side) >= touched
    # No two are copies.
    known = together({tile.tile: raw}, store.geometry)
    assert (measure_pairs(known).iou <= 0.9).all()
