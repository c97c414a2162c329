"""Tiles of scenes of any size: partition, halo, levels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.regions import Region


@st.composite
def geometries(draw: st.DrawFn, longest: int = 700) -> TileGeometry:
    tile = draw(st.integers(1, 64))
    halo = draw(st.integers(0, (tile - 1) // 2))
    shape = draw(st.integers(1, longest)), draw(st.integers(1, longest))
    # Not so many tiles that a test takes long.
    step = tile - 2 * halo
    return TileGeometry((min(shape[0], 40 * step), min(shape[1], 40 * step)), tile, halo)


@given(geometry=geometries(), data=st.data())
def test_cores_partition_every_level(geometry: TileGeometry, data: st.DataObject) -> None:
    level = data.draw(st.integers(0, geometry.levels - 1))
    owners = np.zeros(geometry.level_shape(level), np.int64)
    for tile in geometry.tiles(level):
        core = geometry.core(tile)
        assert core.area > 0
        owners[core.rows, core.cols] += 1
    assert (owners == 1).all()


@given(geometry=geometries(), data=st.data())
def test_a_tile_sees_its_core_and_the_halo_around_it(
    geometry: TileGeometry, data: st.DataObject
) -> None:
    level = data.draw(st.integers(0, geometry.levels - 1))
    rows, cols = geometry.level_shape(level)
    whole = Region(0, 0, rows, cols)
    for tile in geometry.tiles(level):
        core, window = geometry.core(tile), geometry.window(tile)
        halo = geometry.halo
        around = Region(
            max(0, core.row0 - halo),
            max(0, core.col0 - halo),
            min(rows, core.row1 + halo),
            min(cols, core.col1 + halo),
        )
        assert around in window
        assert window in whole
        # Always the encoder's square, unless the scene is smaller.
        assert window.shape == (min(rows, geometry.tile), min(cols, geometry.tile))


@given(geometry=geometries(), data=st.data())
def test_the_owner_of_a_pixel_has_it_in_its_core(
    geometry: TileGeometry, data: st.DataObject
) -> None:
    level = data.draw(st.integers(0, geometry.levels - 1))
    rows, cols = geometry.level_shape(level)
    row, col = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
    core = geometry.core(geometry.owner(level, row, col))
    assert Region(row, col, row + 1, col + 1) in core


@given(geometry=geometries(), data=st.data())
def test_tiles_of_a_region_are_those_whose_cores_it_touches(
    geometry: TileGeometry, data: st.DataObject
) -> None:
    level = data.draw(st.integers(0, geometry.levels - 1))
    rows, cols = geometry.level_shape(level)
    row0, col0 = data.draw(st.integers(-50, rows)), data.draw(st.integers(-50, cols))
    region = Region(
        row0, col0, row0 + data.draw(st.integers(0, 100)), col0 + data.draw(st.integers(0, 100))
    )
    touched = [t for t in geometry.tiles(level) if (geometry.core(t) & region).area]
    assert list(geometry.tiles(level, region)) == touched


@given(geometry=geometries())
def test_levels_end_where_one_tile_holds_everything(geometry: TileGeometry) -> None:
    assert geometry.grid(geometry.levels - 1) == (1, 1)
    if geometry.levels > 1:
        assert geometry.grid(geometry.levels - 2) != (1, 1)


@given(geometry=geometries(), data=st.data())
def test_a_region_is_found_again_in_coarser_levels(
    geometry: TileGeometry, data: st.DataObject
) -> None:
    level = data.draw(st.integers(0, geometry.levels - 1))
    rows, cols = geometry.shape
    row, col = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
    region = geometry.level_region(Region(row, col, row + 1, col + 1), level)
    assert region == Region(
        row // 2**level, col // 2**level, row // 2**level + 1, col // 2**level + 1
    )
    assert region in Region(0, 0, *geometry.level_shape(level))


@pytest.mark.parametrize("side", [20_000, 200_000])
def test_coarser_levels_are_a_third_more_work(side: int) -> None:
    geometry = TileGeometry((side, side), 1024, 128)
    counts = [np.prod(geometry.grid(level)) for level in range(geometry.levels)]
    assert sum(counts[1:]) <= counts[0] * 0.36


def test_a_huge_scene_is_only_arithmetic() -> None:
    geometry = TileGeometry((200_000, 200_000), 1024, 128)
    assert geometry.grid(0) == (261, 261)
    assert geometry.levels == 9
    last = geometry.owner(0, 199_999, 199_999)
    assert last == TileId(0, 260, 260)
    assert geometry.window(last) == Region(198_976, 198_976, 200_000, 200_000)


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (1, 1), (600, 1000)])
def test_thin_and_small_scenes(shape: tuple[int, int]) -> None:
    geometry = TileGeometry(shape)
    covered = sum(geometry.core(tile).area for tile in geometry.tiles(0))
    assert covered == shape[0] * shape[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": (0, 5)}, "has no tiles"),
        ({"shape": (5, 5), "tile": 16, "halo": 8}, "between 0 and 7"),
        ({"shape": (5, 5), "halo": -1}, "leaves no core"),
    ],
)
def test_impossible_tiles_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TileGeometry(**settings)  # type: ignore[arg-type]


def test_what_is_not_there_is_refused() -> None:
    geometry = TileGeometry((3000, 3000))
    with pytest.raises(ValueError, match="outside level 0"):
        geometry.owner(0, 3000, 0)
    with pytest.raises(ValueError, match="there is none at 9, 0"):
        geometry.core(TileId(0, 9, 0))
    with pytest.raises(ValueError, match="end before it begins"):
        Region(5, 0, 4, 3)
