"""Polygons of masks: they hold the pixels, all of them and no others."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from napari_sam.files.medical.contours import outlines

MASKS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays.arrays(bool, shape)
)


def filled(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Count for each pixel how many polygons hold its centre, by crossing numbers."""
    rows, cols = np.indices(shape)
    count = np.zeros(shape, int)
    for polygon in polygons:
        crossings = np.zeros(shape, int)
        for (row, col), (next_row, next_col) in zip(
            polygon, np.roll(polygon, -1, axis=0), strict=True
        ):
            if col == next_col:  # edges run up, down or sideways: a ray to the left meets these
                low, high = sorted((row, next_row))
                crossings += (col < cols) & (low < rows) & (rows < high)
        count += crossings % 2
    return count


@given(MASKS)
def test_polygons_hold_the_centres_of_the_pixels_and_no_others(mask: np.ndarray) -> None:
    assert np.array_equal(filled(outlines(mask), mask.shape), mask)


@given(MASKS)
def test_there_is_one_polygon_for_each_part_and_its_area_is_that_of_its_pixels(
    mask: np.ndarray,
) -> None:
    polygons = outlines(mask)
    parts, count = ndimage.label(mask)
    assert len(polygons) == count
    for number, polygon in enumerate(polygons, 1):
        row, col = polygon.T
        twice = np.dot(col, np.roll(row, -1)) - np.dot(row, np.roll(col, -1))
        assert twice / 2 == (parts == number).sum()  # clockwise is positive with rows going down
        steps = np.roll(polygon, -1, axis=0) - polygon
        assert ((steps != 0).sum(axis=1) == 1).all()


def test_a_hole_is_reached_by_a_channel_without_width() -> None:
    mask = np.ones((3, 3), bool)
    mask[1, 1] = False
    (ring,) = outlines(mask)
    assert len(ring) == 4 + 2 + 4  # the rim, where the channel leaves it and returns, and the hole
    assert np.array_equal(filled([ring], (3, 3)), mask)


def test_an_empty_mask_has_no_polygon() -> None:
    assert outlines(np.zeros((3, 4), bool)) == []
