"""Large pictures are cut into tiles that lose no object and move none."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import io

from napari_sam.finetune.data import open_pictures
from napari_sam.finetune.tiled import TiledPictures, crop_objects, tile_corners
from src_model.training.pictures import ObjectMasks


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(4, 64))
def test_tiles_cover_a_picture_and_stay_inside(height: int, width: int, side: int) -> None:
    covered = np.zeros((height, width), bool)
    for top, left in tile_corners((height, width), side):
        assert top >= 0
        assert left >= 0
        assert top + min(side, height) <= height
        assert left + min(side, width) <= width
        covered[top : top + side, left : left + side] = True
    assert covered.all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 20), st.integers(0, 20))
def test_cropped_objects_are_cropped_masks(seed: int, top: int, left: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (5, 5)).repeat(6, axis=0).repeat(6, axis=1)
    objects = ObjectMasks.from_labels(labels)
    shape = (10, 10)
    cropped = crop_objects(objects, (top, left), shape)
    window = labels[top : top + 10, left : left + 10]
    present = [value for value in np.unique(labels) if value and (window == value).any()]
    assert len(cropped) == len(present)
    for index, value in enumerate(present):
        np.testing.assert_array_equal(cropped.full(index), window == value)
        item = cropped.items[index]
        assert item.mask[[0, -1]].any(axis=1).all()


def test_only_large_pictures_are_cut(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    rng = np.random.default_rng(0)
    for name, side in (("large", 300), ("small", 100)):
        labels = np.zeros((side, side), np.uint8)
        labels[10:30, 10:40] = 1
        image = rng.integers(0, 255, (side, side, 3)).astype(np.uint8)
        io.imsave(tmp_path / "images" / f"{name}.png", image, check_contrast=False)
        io.imsave(tmp_path / "labels" / f"{name}.png", labels, check_contrast=False)
    tiled = TiledPictures(open_pictures(tmp_path / "images", tmp_path / "labels"), 64)
    # Tiles of the large picture without its one object are left out.
    assert [corner for _, corner in tiled.tiles] == [(0, 0), None]
    for source in (tiled, pickle.loads(pickle.dumps(tiled))):
        tile = source[0]
        assert tile.image.shape == (64, 64, 3)
        assert tile.objects.box(0) == (10, 10, 39, 29)
        assert "large" in tile.name
        assert source[1].image.shape == (100, 100, 3)
