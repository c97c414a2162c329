"""Which tiles belong to a region of interest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from napari_sam.errors import InputError
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.regions import Region
from napari_sam.tiles.roi import check_roi, tiles_in

GEOMETRIES = st.builds(
    lambda rows, cols, tile, halo: TileGeometry((rows, cols), tile, min(halo, (tile - 1) // 2)),
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(3, 40),
    st.integers(0, 12),
)
BOXES = st.builds(
    lambda row, col, height, width: Region(row, col, row + height, col + width),
    st.integers(-20, 100),
    st.integers(-20, 100),
    st.integers(0, 60),
    st.integers(0, 60),
)


def owners(geometry: TileGeometry, level: int, pixels: np.ndarray) -> np.ndarray:
    """Tiles that own one of the pixels of level 0, found pixel by pixel."""
    found = np.zeros(geometry.grid(level), bool)
    for row, col in np.argwhere(pixels):
        tile = geometry.owner(level, int(row) >> level, int(col) >> level)
        found[tile.row, tile.col] = True
    return found


@given(GEOMETRIES, BOXES, st.data())
def test_a_box_has_the_owners_of_its_pixels(
    geometry: TileGeometry, box: Region, data: st.DataObject
) -> None:
    level = data.draw(st.integers(0, geometry.levels - 1))
    pixels = np.zeros(geometry.shape, bool)
    part = box & Region(0, 0, *geometry.shape)
    if part.area:
        pixels[part.rows, part.cols] = True
    found = tiles_in(geometry, level, box)
    np.testing.assert_array_equal(found, owners(geometry, level, pixels))
    np.testing.assert_array_equal(found, tiles_in(geometry, level, pixels))  # as a mask


@given(GEOMETRIES, BOXES, st.data())
def test_a_box_as_polygon_is_the_same(
    geometry: TileGeometry, box: Region, data: st.DataObject
) -> None:
    level = data.draw(st.integers(0, geometry.levels - 1))
    r0, c0, r1, c1 = box.row0 - 0.5, box.col0 - 0.5, box.row1 - 0.5, box.col1 - 0.5
    corners = np.array([[r0, c0], [r0, c1], [r1, c1], [r1, c0]])
    turned = np.roll(corners, data.draw(st.integers(0, 3)), axis=0)
    found = tiles_in(geometry, level, turned)
    if box.area:
        np.testing.assert_array_equal(found, tiles_in(geometry, level, box))


@given(
    GEOMETRIES,
    st.lists(st.tuples(st.integers(-40, 260), st.integers(-40, 260)), min_size=3, max_size=3),
)
def test_a_triangle_is_cut_exactly(geometry: TileGeometry, corners: list[tuple[int, int]]) -> None:
    polygon = np.array(corners) / 2
    assume(clipped_area(polygon, (-1e3, 1e3, -1e3, 1e3)) > 0)
    found = tiles_in(geometry, 0, polygon)
    for tile in [*geometry.tiles(0)][:400]:
        core = geometry.core(tile)
        ends = (core.row0 - 0.5, core.row1 - 0.5, core.col0 - 0.5, core.col1 - 0.5)
        assert found[tile.row, tile.col] == (clipped_area(polygon, ends) > 1e-9)


def clipped_area(polygon: np.ndarray, ends: tuple[float, float, float, float]) -> float:
    """Area that a convex polygon shares with a rectangle: Sutherland and Hodgman's clipping."""
    points = [tuple(map(float, point)) for point in polygon]
    for axis, sign, bound in ((0, 1, ends[0]), (0, -1, ends[1]), (1, 1, ends[2]), (1, -1, ends[3])):
        kept = []
        for a, b in zip(points, [*points[1:], *points[:1]], strict=True) if points else []:
            inner_a, inner_b = sign * (a[axis] - bound), sign * (b[axis] - bound)
            if inner_a >= 0:
                kept.append(a)
            if inner_a * inner_b < 0:
                part = inner_a / (inner_a - inner_b)
                kept.append((a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1])))
        points = kept
    rows, cols = np.array(points or [(0.0, 0.0)]).T
    return abs(float(rows @ np.roll(cols, -1) - cols @ np.roll(rows, -1))) / 2


def test_a_hole_and_a_concave_side_are_left_out() -> None:
    geometry = TileGeometry((50, 50), tile=10, halo=0)
    u_shape = [[0, 0], [49, 0], [49, 49], [0, 49], [0, 40], [40, 40], [40, 9], [0, 9]]
    found = tiles_in(geometry, 0, np.array(u_shape))
    np.testing.assert_array_equal(found[:4, 1:4], False)
    assert found[:, 0].all()
    assert found[4].all()
    assert found[:, 4].all()


@given(GEOMETRIES, st.integers(1, 30), st.integers(1, 30), st.randoms(use_true_random=False))
def test_a_mask_of_any_size_is_stretched(
    geometry: TileGeometry, height: int, width: int, random: object
) -> None:
    rng = np.random.default_rng(random.randrange(1 << 30))  # type: ignore[attr-defined]
    mask = rng.random((height, width)) < 0.1
    found = tiles_in(geometry, 0, mask)
    rows, cols = geometry.shape
    for tile in geometry.tiles(0):
        core = geometry.core(tile)
        shared = [
            i * rows < core.row1 * height
            and (i + 1) * rows > core.row0 * height
            and j * cols < core.col1 * width
            and (j + 1) * cols > core.col0 * width
            for i, j in np.argwhere(mask).tolist()
        ]
        assert found[tile.row, tile.col] == any(shared)


def test_a_large_scene_is_no_trouble() -> None:
    geometry = TileGeometry((200_000, 200_000))
    angles = np.linspace(0, 2 * np.pi, 500, endpoint=False)
    circle = 100_000 + 50_000 * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    found = tiles_in(geometry, 0, circle)
    assert found.mean() == pytest.approx(np.pi / 16, rel=0.02)
    middle = geometry.owner(0, 100_000, 100_000)
    assert found[middle.row, middle.col]
    assert tiles_in(geometry, geometry.levels - 1, circle).all()
    assert TileId(0, 0, 0) == geometry.owner(0, 0, 0)
    assert not found[0, 0]


@pytest.mark.parametrize(
    ("roi", "words"),
    [
        (Region(5, 5, 5, 9), "shares no area"),
        (Region(100, 0, 120, 9), "rows 0 to 99 and columns 0 to 49"),
        (np.zeros((4, 4), bool), "shares no area"),
        (np.zeros((0, 2), bool), "bool mask"),
        (np.array([[1, 2], [3, 4]]), "three or more corners"),
        (np.array([[1, 2], [3, 4], [5, 6]]), "on one line"),
        (np.array([[1, 2], [3, np.nan], [5, 6]]), "finite"),
        (np.array([[1, 2], [3, 4], [5, 7]]) + 200, "shares no area"),
        (np.zeros((3, 3)), "polygon of shape"),
        (np.zeros((3, 2), complex), "polygon of shape"),
        ("everything", "polygon of shape"),
    ],
)
def test_what_is_no_region_is_refused(roi: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_roi(roi, (100, 50))  # type: ignore[arg-type]
