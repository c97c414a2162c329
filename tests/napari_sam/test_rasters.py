"""Rasters of any size on the disk: whole or not at all, with coarser levels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_sam.errors import InputError
from napari_sam.files import rasters
from napari_sam.files.rasters import (
    Block,
    blocks,
    every_second,
    ome_image,
    strongest_of_four,
    write_pyramid,
    write_tiff,
)

PIXELS = np.random.default_rng(0).integers(0, 9, (75, 101), np.uint16)
PIXELS[:32, 32:80] = 0


def parts(failing: bool = False) -> Iterator[Block]:
    for number, region in enumerate(blocks(PIXELS.shape, 16)):
        if failing and number == 7:
            raise OSError(28, "No space left on device")
        yield region, PIXELS[region.rows, region.cols]


def write_zarr(path: Path, some: Iterator[Block], coarser: Any = every_second) -> None:
    write_pyramid(
        path, some, PIXELS.shape, np.uint16, 16, coarser, lambda n: ome_image("it", n, None)
    )


@given(st.tuples(st.integers(1, 70), st.integers(1, 70)), st.integers(1, 40))
def test_blocks_cover_each_pixel_once(shape: tuple[int, int], side: int) -> None:
    seen = np.zeros(shape, int)
    for block in blocks(shape, side):
        assert max(block.shape) <= side
        seen[block.rows, block.cols] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("big_from", [1 << 20, 1000])
def test_a_tiff_of_tiles(tmp_path: Path, big_from: int) -> None:
    for _ in range(2):  # replaced by the second
        write_tiff(tmp_path / "it.tif", parts(), PIXELS.shape, np.uint16, 16, big_from)
    with tifffile.TiffFile(tmp_path / "it.tif") as tiff:
        assert tiff.is_bigtiff == (big_from == 1000)
        np.testing.assert_array_equal(tiff.asarray(), PIXELS)


@pytest.mark.parametrize("coarser", [every_second, strongest_of_four])
def test_each_level_is_the_coarser_one_of_the_level_before(
    tmp_path: Path, coarser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rasters, "_COARSEST", 20)
    write_zarr(tmp_path / "it.zarr", parts(), coarser)
    group: Any = zarr.open_group(tmp_path / "it.zarr", mode="r")
    expected = PIXELS
    for level in range(4):
        np.testing.assert_array_equal(group[str(level)][:], expected)
        expected = coarser(expected)
    assert len(group.attrs["ome"]["multiscales"][0]["datasets"]) == len(list(group)) == 4


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "it.tif").write_text("old")
    with pytest.raises(InputError, match=r"it.tif cannot be written \(No space left on device\)"):
        write_tiff(tmp_path / "it.tif", parts(True), PIXELS.shape, np.uint16, 16, 1 << 20)
    with pytest.raises(InputError, match=r"it.zarr cannot be written \(No space left on device\)"):
        write_zarr(tmp_path / "it.zarr", parts(True))
    assert [path.name for path in tmp_path.iterdir()] == ["it.tif"]
    assert (tmp_path / "it.tif").read_text() == "old"
    with pytest.raises(InputError, match="exists already"):
        write_zarr(tmp_path / "it.tif", parts())
