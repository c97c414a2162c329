"""A search beside a person: partial results, stopped and gone on with, filtered, painted."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from everything_scenes import discs, make_store, perfect, scene_of
from hypothesis import given
from hypothesis import strategies as st

from napari_sam.errors import InputError
from napari_sam.live.found_labels import found_levels, paint_found
from napari_sam.live.search import Partial, Search, Wanted, within
from napari_sam.segment.everything import FoundObjects, Thresholds, running
from napari_sam.segment.everything.label_pyramid import paint
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.geometry import TileId
from napari_sam.tiles.regions import Region
from src_model import Sam

SMALL = discs((160, 190), (6, 10), 30)
THRESHOLDS = Thresholds(0.88, 0.8, overlap=0.7)
WANTED = Wanted(sizes=(10, 25))


def whole_of(shown: Partial) -> np.ndarray:
    return shown.levels[0].paint(Region(0, 0, *shown.found.shape))


@pytest.fixture
def clicked(monkeypatch: pytest.MonkeyPatch) -> list[TileId]:
    """Make the network see `SMALL`, and return the tiles that it is asked for."""
    asked: list[TileId] = []
    click = perfect(SMALL)

    def ready(embeddings: Embeddings, tile: TileId) -> Any:
        return SimpleNamespace(tile=tile, window=embeddings.store.geometry.window(tile))

    def counted(ready: Any, *given: Any) -> Any:
        asked.append(ready.tile)
        return click(ready, *given)

    monkeypatch.setattr(Embeddings, "at", ready)
    monkeypatch.setattr(running, "click_tile", counted)
    return asked


@pytest.fixture
def search(tiny_sam: Sam) -> Search:
    scene = scene_of(SMALL)
    return Search(scene, make_store(scene, tiny_sam), tiny_sam)


def test_objects_appear_while_tiles_come(search: Search, clicked: list[TileId]) -> None:
    partial: list[Partial] = []
    result, last = search.run(WANTED, THRESHOLDS, on_partial=partial.append)
    assert result.left == 0
    assert partial
    assert 0 < len(partial[0].found) < len(last.found) == SMALL.max()
    np.testing.assert_array_equal(whole_of(last) > 0, SMALL > 0)
    # What was shown on the way is right as far as it goes.
    shown = whole_of(partial[0]) > 0
    assert shown.any()
    assert not (shown & (SMALL == 0)).any()


def test_what_was_stopped_goes_on_where_it_was(search: Search, clicked: list[TileId]) -> None:
    result, shown = search.run(WANTED, THRESHOLDS, should_stop=lambda: len(clicked) >= 3)
    assert result.left > 0
    assert 0 < len(shown.found) < SMALL.max()
    before = list(clicked)
    result, shown = search.run(WANTED, THRESHOLDS)
    assert not set(before) & set(clicked[len(before) :])
    assert (result.left, len(shown.found)) == (0, SMALL.max())


def test_a_filter_needs_no_network(search: Search, clicked: list[TileId]) -> None:
    with pytest.raises(InputError, match="start a search first"):
        search.filter(THRESHOLDS)
    _, shown = search.run(WANTED, THRESHOLDS)
    asked = len(clicked)
    sizes = np.sqrt(shown.found.areas)
    middle = 13.0
    small = search.filter(Thresholds(0.88, 0.8, 0.7, largest=middle))
    assert len(small.found) == (sizes <= middle).sum()
    with pytest.raises(InputError, match="cannot be used"):
        search.filter(Thresholds(0.1, 0.8))
    assert len(clicked) == asked


def test_a_region_and_a_tile_that_fails(
    search: Search, clicked: list[TileId], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = TileId(0, 0, 1)
    click = running.click_tile

    def failing(ready: Any, *given: Any) -> Any:
        if ready.tile == bad:
            raise RuntimeError("no reply")
        return click(ready, *given)

    with monkeypatch.context() as patch:
        patch.setattr(running, "click_tile", failing)
        wanted = Wanted((10, 25), roi=Region(0, 0, 30, 190))
        search.run(wanted, THRESHOLDS)
    assert {tile.row for tile in clicked} == {0}
    assert [(one.tile, one.reason) for one in search.failed] == [(bad, "no reply")]
    search.run(wanted, THRESHOLDS, retry_failed=True)
    assert search.failed == ()


@pytest.fixture
def found(search: Search, clicked: list[TileId]) -> FoundObjects:
    return search.run(Wanted(sizes=(10, None)), THRESHOLDS)[1].found


def test_every_level_is_every_second_pixel_of_the_finer_one(found: FoundObjects) -> None:
    whole = paint(found, Region(0, 0, *found.shape))
    for level in range(4):
        step = 1 << level
        rows, cols = (-(-side // step) for side in found.shape)
        painted = paint_found(found, Region(0, 0, rows, cols), level)
        np.testing.assert_array_equal(painted, whole[::step, ::step])


def test_levels_go_on_until_one_fits_a_window(found: FoundObjects) -> None:
    assert len(found_levels(found, threading.Lock())) == 2
    wide = FoundObjects(**{**vars(found), "shape": (3000, 5000)})
    levels = found_levels(wide, threading.Lock())
    assert [level.shape for level in levels] == [
        (3000, 5000), (1500, 2500), (750, 1250), (375, 625),
    ]  # fmt: skip
    whole = paint(wide, Region(0, 0, *wide.shape))
    for number, level in enumerate(levels):
        step = 1 << number
        part = Region(2, 3, 20, 25)
        painted = whole[::step, ::step][part.rows, part.cols]
        np.testing.assert_array_equal(level.paint(part), painted)


@given(st.data())
def test_objects_of_a_region_are_those_whose_centre_lies_in_it(data: st.DataObject) -> None:
    row0, row1 = sorted(data.draw(st.tuples(*[st.integers(0, 60)] * 2)))
    col0, col1 = sorted(data.draw(st.tuples(*[st.integers(0, 40)] * 2)))
    row1, col1 = row1 + 1, col1 + 1
    found = small_found((64, 64))
    box = within(found, Region(row0, col0, row1, col1))
    mask = np.zeros((64, 64), bool)
    mask[row0:row1, col0:col1] = True
    corners = np.array([[row0, col0], [row0, col1], [row1, col1], [row1, col0]]) - 0.5
    inside = [row0 <= 17 < row1 and col0 <= 20 < col1, row0 <= 9 < row1 and col0 <= 15 < col1]
    for part in (box, within(found, mask), within(found, corners)):
        assert part.areas.tolist() == found.areas[inside].tolist()
        np.testing.assert_array_equal(
            paint(part, Region(0, 0, 64, 64)) > 0,
            sum(
                (found.mask_at(n, Region(0, 0, 64, 64)) for n in np.flatnonzero(inside)),
                mask & False,
            ),
        )


def small_found(shape: tuple[int, int]) -> FoundObjects:
    """Return two objects, one in the other."""
    boxes = np.array([[4, 3, 30, 37], [8, 10, 12, 20]], np.int64)
    return FoundObjects(
        shape=shape,
        levels=np.array([1, 0]),
        boxes=boxes - np.array([[0, 1, 0, -1], [0, 0, 0, 0]]),
        areas=np.array([26 * 36, 40]),
        centroids=np.array([[17.0, 20.0], [9.0, 15.0]]),
        predicted_ious=np.ones(2, np.float32),
        stabilities=np.ones(2, np.float32),
        cuts=np.zeros(2, bool),
        pieces=np.ones(2, np.int64),
        _mask=lambda index: np.ones([(13, 18), (4, 10)][index], bool),
    )
