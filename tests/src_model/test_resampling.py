"""Resizing images bit by bit as Pillow does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src_model.resampling import resize_bilinear


# Landscape: for tall images Pillow 13 may take rows before columns.
@settings(deadline=None)
@given(
    st.integers(1, 60),
    st.integers(0, 60),
    st.integers(1, 200),
    st.integers(0, 2**32 - 1),
)
def test_pillow_agrees(height: int, wider: int, side: int, seed: int) -> None:
    pillow: Any = pytest.importorskip("PIL.Image")
    width = height + wider
    size = max(1, round(height * side / width)), side
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = pillow.fromarray(image).resize(size[::-1], pillow.Resampling.BILINEAR)
    np.testing.assert_array_equal(resize_bilinear(image, *size), np.asarray(expected))


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 30), st.integers(1, 30))
def test_flat_stays_flat(height: int, width: int, new_height: int, new_width: int) -> None:
    image = np.full((height, width, 3), (0, 100, 255), dtype=np.uint8)
    resized = resize_bilinear(image, new_height, new_width)
    assert resized.shape == (new_height, new_width, 3)
    assert resized.flags.c_contiguous
    assert (resized == (0, 100, 255)).all()


def test_many_blocks_and_channels() -> None:
    # A ramp stays a ramp, over several blocks of output, in each channel.
    ramp = np.repeat(np.arange(0, 250, dtype=np.uint8)[:, None], 4, axis=1)
    image = np.stack([ramp, 250 - ramp], axis=-1)
    resized = resize_bilinear(image, 500, 4).astype(int)
    expected = np.clip((np.arange(500) + 0.5) / 2 - 0.5, 0, 249)
    assert np.abs(resized[:, 0, 0] - expected).max() <= 0.5
    assert np.abs(resized[:, 0, 1] - (250 - expected)).max() <= 0.5
