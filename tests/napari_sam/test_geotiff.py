"""What our rasters say of where they lie is what is read from them again."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.files.edge_files import write_edges
from napari_sam.files.geotiff import at_level, geotiff_tags, ome_size
from napari_sam.files.rasters import blocks, write_tiff
from napari_sam.scene import PixelSize, open_scene
from napari_sam.scenes.georeference import Georeference, is_usable
from napari_sam.segment.edge_map import EdgeMap

STEPS = st.floats(-1e3, 1e3).filter(lambda step: abs(step) > 1e-6)
PLACES = st.floats(-1e7, 1e7)
SYSTEMS = st.sampled_from(
    [
        ("EPSG:32633", "metre"),
        ("EPSG:2263", "US survey foot"),
        ("EPSG:4326", "degree"),
        ("Our own grid", "metre"),
        (None, "metre"),
    ]
)


def written(path: Path, **how: object) -> None:
    pixels = np.arange(40 * 50, dtype=np.float32).reshape(40, 50)
    parts = ((part, pixels[part.rows, part.cols]) for part in blocks(pixels.shape, 32))
    write_tiff(path, parts, pixels.shape, np.float32, 32, 1 << 32, **how)  # type: ignore[arg-type]
    np.testing.assert_array_equal(tifffile.imread(path), pixels)


@settings(deadline=None, max_examples=30)
@given(
    affine=st.tuples(
        STEPS, STEPS | st.just(0.0), PLACES, STEPS | st.just(0.0), STEPS, PLACES
    ).filter(is_usable),
    system=SYSTEMS,
)
def test_a_georeference_is_read_again(
    affine: tuple[float, ...], system: tuple[str | None, str]
) -> None:
    one = Georeference(system[0], affine, system[1])  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "raster.tif"
        written(path, tags=geotiff_tags(one))
        read = open_scene(path).georeference
    assert read is not None
    assert (read.crs, read.unit) == (one.crs, one.unit)
    assert read.affine == pytest.approx(one.affine)


def test_edges_lie_where_their_scene_lies(tmp_path: Path) -> None:
    import zarr

    squares = zarr.zeros((40, 50), dtype="float32", store=zarr.storage.MemoryStore())
    edges = EdgeMap(2, 1.0, (), squares)
    place = Georeference("EPSG:32633", (0.5, 0.0, 1000.0, 0.0, -0.5, 2000.0), "metre")
    write_edges(edges, tmp_path / "map.tif", georeference=place)
    scene = open_scene(tmp_path / "map.tif")
    assert scene.georeference == at_level(place, 2)
    assert scene.pixel_size == PixelSize(2.0, 2.0, "metre")
    write_edges(edges, tmp_path / "cells.tif", pixel_size=PixelSize(0.5, 0.25, "micrometer"))
    assert open_scene(tmp_path / "cells.tif").pixel_size == PixelSize(2.0, 1.0, "µm")
    # What OME has no word for is not told.
    write_edges(edges, tmp_path / "other.tif", pixel_size=PixelSize(1, 1, "furlong"))
    assert ome_size(PixelSize(1, 1, "furlong"), 0) is None
    assert open_scene(tmp_path / "other.tif").pixel_size is None
