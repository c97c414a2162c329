"""Labels and table of everything, as they are written and read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from everything_scenes import THRESHOLDS, discs, find, whole

from napari_sam.errors import InputError
from napari_sam.files.zarr_images import open_zarr_image
from napari_sam.scene import PixelSize
from napari_sam.segment.everything import FoundObjects, read_table, write_labels, write_table
from napari_sam.segment.everything.object_table import table_mask
from src_model import Sam


def test_labels_and_table(tiny_sam: Sam, sees: Any, tmp_path: Path) -> None:
    cell = discs((130, 160), (10, 13), 8, seed=2)
    labels = np.zeros_like(cell)
    sees(cell)
    result, _ = find(cell, tiny_sam, sizes=(10, 40))
    objects = result.objects
    assert len(objects) == cell.max()
    size = PixelSize(0.5, 0.25, "micrometer")
    write_labels(objects, tmp_path / "labels.zarr", size)
    image = open_zarr_image(tmp_path / "labels.zarr")
    assert image.scale == (0.5, 0.25)
    assert np.dtype(image.array.dtype) == np.uint32
    painted = np.asarray(image.array[:])
    np.testing.assert_array_equal(painted, whole(objects))
    write_table(objects, tmp_path / "objects.parquet", size)
    rows = read_table(tmp_path / "objects.parquet").to_pylist()
    assert [row["id"] for row in rows] == list(range(1, len(objects) + 1))
    for row in rows:
        mask = table_mask(row)
        part = labels[row["row0"] : row["row1"], row["col0"] : row["col1"]]
        part[mask] = row["id"]
        assert row["area_px"] == mask.sum()
        assert row["area"] == pytest.approx(mask.sum() * 0.125)
        assert row["doubt"] == pytest.approx(1 - 0.81, abs=1e-6)
        assert (row["class"], row["cut"], row["parent"], row["level"]) == (None, False, None, 0)
    np.testing.assert_array_equal(labels, painted)
    with pytest.raises(InputError, match="exists already"):
        write_labels(objects, tmp_path / "labels.zarr")
    with pytest.raises(InputError, match=r"\.parquet"):
        write_table(objects, tmp_path / "objects.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_table(tmp_path / "missing.parquet")
    empty = result.everything.filter(THRESHOLDS, smallest=1e5)
    write_table(empty, tmp_path / "empty.parquet")
    assert read_table(tmp_path / "empty.parquet").num_rows == 0


def test_a_pyramid_of_labels_halves(tmp_path: Path) -> None:
    boxes = np.array([[100, 200, 1500, 2100], [1030, 1000, 1040, 1100]], np.int64)
    objects = FoundObjects(
        shape=(1601, 2200),
        levels=np.array([2, 0]),
        boxes=boxes,
        areas=np.array([1400 * 1900, 1000]),
        centroids=np.zeros((2, 2)),
        predicted_ious=np.ones(2, np.float32),
        stabilities=np.ones(2, np.float32),
        cuts=np.zeros(2, bool),
        pieces=np.ones(2, np.int64),
        _mask=lambda index: np.ones([(350, 475), (10, 100)][index], bool),
    )
    write_labels(objects, tmp_path / "labels.zarr")
    image = open_zarr_image(tmp_path / "labels.zarr")
    expected = np.zeros(objects.shape, np.uint32)
    expected[100:1500, 200:2100] = 1
    expected[1030:1040, 1000:1100] = 2  # the smaller one lies in front
    levels = [image.array, *image.coarser]
    assert len(levels) == 3
    for level in levels:
        np.testing.assert_array_equal(np.asarray(level[:]), expected)
        expected = expected[::2, ::2]
    assert objects.parents().tolist() == [0, 1]
