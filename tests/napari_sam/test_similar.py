"""Objects like one, in embeddings whose content is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from napari_sam.errors import InputError
from napari_sam.live.similar import Likeness, cell_weights
from napari_sam.session import Runs
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.regions import Region
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo

SHAPE, GRID, CHANNELS = (120, 200), 16, 6
GEOMETRY = TileGeometry(SHAPE, tile=64, halo=8)
KINDS = np.eye(CHANNELS)[:3] * 3
"""What the network sees of each kind of object."""


def empty_store() -> EmbeddingStore:
    scene = SceneInfo(
        "made", SHAPE, "YX", ("grey",), "f" * 32, {"kind": "as_is", "low": [0.0], "high": [255.0]}
    )
    model = ModelInfo("0" * 64, {"name": "custom"}, (CHANNELS, GRID, GRID))
    return EmbeddingStore.create(MemoryStore(), scene, model, GEOMETRY)


def encode(store: EmbeddingStore, kinds: np.ndarray, tile: TileId) -> None:
    """Write what a network would that sees kinds of objects, on a ground that differs by tile."""
    window, side = GEOMETRY.window(tile), max(GEOMETRY.window(tile).shape)
    random = np.random.default_rng(tile.row * 100 + tile.col)
    values = np.repeat(random.normal(size=(CHANNELS, 1, 1)), GRID, 1).repeat(GRID, 2) * 5
    values += random.normal(scale=0.05, size=values.shape)
    for row in range(GRID):
        for col in range(GRID):
            at = [int((place + 0.5) * side / GRID) for place in (row, col)]
            if at[0] < window.shape[0] and at[1] < window.shape[1]:
                level0 = [
                    min((first + one) << tile.level, length - 1)
                    for first, one, length in zip(
                        (window.row0, window.col0), at, SHAPE, strict=True
                    )
                ]
                if kind := kinds[tuple(level0)]:
                    values[:, row, col] += KINDS[kind - 1]
    store.write(tile, values)


def scene_with(
    objects: list[tuple[int, int, int, int, int]],
) -> tuple[np.ndarray, dict[int, Runs]]:
    """Return kinds of pixels and masks of rectangles (kind, row, col, rows, cols)."""
    kinds, masks = np.zeros(SHAPE, int), {}
    for number, (kind, row, col, rows, cols) in enumerate(objects, 1):
        kinds[row : row + rows, col : col + cols] = kind
        masks[number] = Runs.of_mask(np.ones((rows, cols), bool), row, col)
    return kinds, masks


def all_encoded(kinds: np.ndarray) -> EmbeddingStore:
    store = empty_store()
    for level in store.levels:
        for tile in GEOMETRY.tiles(level):
            encode(store, kinds, tile)
    return store


SMALL = [
    (kind, row, col, 12, 12)
    for kind, row, col in [
        (1, 5, 5), (2, 5, 40), (1, 5, 80), (3, 5, 120), (2, 70, 5), (1, 70, 90), (3, 70, 160),
    ]
]  # fmt: skip


def test_objects_of_the_same_kind_come_first_wherever_they_lie() -> None:
    kinds, masks = scene_with(SMALL)
    likeness = Likeness(all_encoded(kinds))
    assert set(likeness.rank(1, masks).ids[:2]) == {3, 6}
    assert likeness.rank(2, masks).ids[0] == 5
    found = likeness.rank(4, masks)
    assert found.ids[0] == 7
    assert len(found.ids) == 6
    assert found.unknown == ()
    assert list(found.likenesses) == sorted(found.likenesses, reverse=True)
    assert found.likenesses[0] > 0.8 > found.likenesses[1]


def test_one_larger_than_a_tile_is_compared_at_a_coarser_level() -> None:
    kinds, masks = scene_with([(1, 10, 10, 30, 90), (1, 60, 20, 30, 100), (2, 60, 140, 30, 50)])
    likeness = Likeness(all_encoded(kinds))
    found = likeness.rank(1, masks)
    assert found.ids == (2, 3)
    assert found.likenesses[0] > found.likenesses[1]


def test_what_is_not_encoded_is_said_and_found_when_it_is() -> None:
    kinds, masks = scene_with(SMALL)
    store = empty_store()
    likeness = Likeness(store)
    with pytest.raises(InputError, match="no tile that sees it whole is encoded"):
        likeness.rank(1, masks)
    for tile in GEOMETRY.tiles(0, Region(0, 0, 30, 200)):
        encode(store, kinds, tile)
    found = likeness.rank(1, masks)
    assert found.ids[0] == 3
    assert found.unknown == (5, 6, 7)
    for tile in GEOMETRY.tiles(0):
        encode(store, kinds, tile)
    assert set(likeness.rank(1, masks).ids[:2]) == {3, 6}


def test_an_object_that_changed_is_described_anew_and_one_that_is_gone_is_not() -> None:
    kinds, masks = scene_with(SMALL)
    likeness = Likeness(all_encoded(kinds))
    assert likeness.rank(1, masks).ids[-1] != 3
    moved = {**masks, 3: masks[2]}  # now it is where one of another kind lies
    del moved[6]
    found = likeness.rank(1, moved)
    assert 6 not in found.ids
    assert dict(zip(found.ids, found.likenesses, strict=True))[3] < 0.5


def test_it_stops_when_asked() -> None:
    kinds, masks = scene_with(SMALL)
    found = Likeness(all_encoded(kinds)).rank(1, masks, should_stop=lambda: True)
    assert set(found.ids) | set(found.unknown) == set(masks) - {1}
    assert found.unknown


@given(st.data())
def test_cells_hold_all_pixels_each_once(data: st.DataObject) -> None:
    level = data.draw(st.integers(0, 2))
    side, cells = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 20))
    first = data.draw(st.integers(0, 30))
    window = Region(first, first + 2, first + side, first + 2 + side)
    rows, cols = data.draw(st.integers(1, side)), data.draw(st.integers(1, side))
    row = data.draw(st.integers(0, side - rows))
    col = data.draw(st.integers(0, side - cols))
    mask = data.draw(
        st.lists(
            st.booleans(), min_size=rows * cols << 2 * level, max_size=rows * cols << 2 * level
        )
        if rows * cols << 2 * level < 200
        else st.just(None)
    )
    shape = rows << level, cols << level
    pixels = np.ones(shape, bool) if mask is None else np.array(mask).reshape(shape)
    pixels[0, 0] = True
    corner = (window.row0 + row) << level, (window.col0 + col) << level
    runs = Runs.of_mask(pixels, *corner)
    row0, col0, weights = cell_weights(runs, window, level, side, (cells, cells))
    drawn = np.zeros((cells, cells))
    drawn[row0 : row0 + weights.shape[0], col0 : col0 + weights.shape[1]] = weights
    truth = np.zeros((cells, cells))
    for down, across in np.argwhere(pixels):
        place = [
            int(((at + start + 0.5) / (1 << level) - begin) * cells / side)
            for at, start, begin in zip(
                (down, across), corner, (window.row0, window.col0), strict=True
            )
        ]
        truth[tuple(place)] += 1
    np.testing.assert_array_equal(drawn, truth)
