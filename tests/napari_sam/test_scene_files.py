"""Files of all kinds become Scenes, with what they tell of levels, axes, scale and place."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_sam.scene import Georeference, PixelSize, open_scene

ALL = slice(None)
RNG = np.random.default_rng(6)
GREY = RNG.integers(0, 256, (301, 200), dtype=np.uint8)
RGB = RNG.integers(0, 256, (301, 200, 3), dtype=np.uint8)


def stored(path: Any) -> list[int]:
    return [level.downsample for level in open_scene(path).levels if level.stored]


@pytest.mark.parametrize("image", [GREY, RGB], ids=["grey", "rgb"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".zarr"])
def test_plain_files(tmp_path: Path, image: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    if suffix == ".npy":
        np.save(path, image)
    elif suffix == ".zarr":
        zarr.save_array(path, image)
    else:
        Image.fromarray(image).save(path)
    scene = open_scene(str(path))
    assert scene.name == str(path)
    np.testing.assert_array_equal(
        scene.read_rgb(0, ALL, ALL), image if image.ndim == 3 else np.stack([image] * 3, axis=2)
    )


def test_a_memory_mapped_array(tmp_path: Path) -> None:
    GREY.tofile(tmp_path / "raw")
    scene = open_scene(np.memmap(tmp_path / "raw", np.uint8, "r", shape=GREY.shape))
    block = scene.read(0, slice(5, 9), slice(7, 8))
    np.testing.assert_array_equal(block[..., 0], GREY[5:9, 7:8])


@pytest.mark.parametrize("halves", ["up", "down"])
@pytest.mark.parametrize("kind", ["subifds", "pages"])
def test_pyramids_in_tiff_are_used(
    tmp_path: Path, kind: str, halves: Literal["up", "down"]
) -> None:
    path = tmp_path / "pyramid.tif"
    levels = [np.full((301, 200), 10, np.uint8), np.full((151, 100), 20, np.uint8)]
    levels.append(np.full((76, 50), 30, np.uint8))
    if halves == "down":
        levels = [levels[0], levels[1][:150], levels[2][:75]]
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        subifds = 2 if kind == "subifds" else None
        writer.write(levels[0], tile=(64, 64), subifds=subifds, compression="zlib")
        for level in levels[1:]:
            writer.write(level, tile=(64, 64), subfiletype=1, compression="zlib")
    scene = open_scene(path)
    assert [level.shape for level in scene.levels[:4]] == [
        (301, 200),
        (151, 100),
        (76, 50),
        (38, 25),
    ]
    assert stored(path) == [1, 2, 4]
    for number, value in enumerate((10, 20, 30, 30)):
        whole = scene.read(number, ALL, ALL)
        assert whole.shape == (*scene.levels[number].shape, 1)
        assert (whole == value).all()
    # The last row, which a file that halves downwards lacks, can be read alone.
    assert (scene.read(1, slice(150, 151), slice(0, 9)) == 20).all()
    there = pickle.loads(pickle.dumps(scene))
    assert (there.read(1, slice(0, 1), slice(0, 1)) == 20).all()


def test_levels_that_are_no_halves_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(RGB, tile=(64, 64), subifds=1)
        writer.write(RGB[::4, ::4], tile=(64, 64), subfiletype=1)
    assert stored(path) == [1, 4]
    with tifffile.TiffWriter(path) as writer:
        writer.write(RGB, tile=(64, 64), subifds=1)
        writer.write(RGB[::3, ::3], tile=(64, 64), subfiletype=1)
    assert stored(path) == [1]


def test_masks_in_a_cloud_optimised_tiff_are_no_levels(tmp_path: Path) -> None:
    path = tmp_path / "cog.tif"
    options: dict[str, Any] = {"tile": (64, 64), "compression": "zlib", "metadata": None}
    mask = np.ones(RGB.shape[:2], bool)
    with tifffile.TiffWriter(path) as writer:
        for step, coarse in ((1, 0), (2, 1), (4, 1)):
            part = slice(None, None, step)
            writer.write(RGB[part, part], photometric="rgb", subfiletype=coarse, **options)
            writer.write(mask[part, part], photometric=4, subfiletype=4 + coarse, **options)
    assert stored(path) == [1, 2, 4]
    np.testing.assert_array_equal(open_scene(path).read(1, ALL, ALL), RGB[::2, ::2])


def test_one_tile_of_a_huge_tiff_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"

    def tiles() -> Iterator[np.ndarray | None]:
        yield np.zeros((1024, 1024), np.uint8)
        for number in range(1, 49 * 49):
            yield np.full((1024, 1024), 7, np.uint8) if number == 3 * 49 + 2 else None

    tifffile.imwrite(
        path,
        tiles(),
        shape=(50_000, 50_000),
        dtype="uint8",
        tile=(1024, 1024),
        bigtiff=True,
        compression="zlib",
    )
    assert path.stat().st_size < 1 << 20
    open_scene(path).read(0, slice(0, 1), slice(0, 1))  # what is imported late
    tracemalloc.start()
    scene = open_scene(path)
    assert (scene.read(0, slice(3080, 3090), slice(2050, 2060)) == 7).all()
    assert (scene.read(0, slice(49_990, 50_000), slice(0, 10)) == 0).all()
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_an_uncompressed_tiff_of_one_strip_is_mapped(tmp_path: Path) -> None:
    image = RNG.integers(0, 60000, (3, 400, 300), dtype=np.uint16)
    metadata = {"axes": "ZYX"}
    tifffile.imwrite(
        tmp_path / "stack.tif", image, byteorder=">", photometric="minisblack", metadata=metadata
    )
    scene = open_scene(tmp_path / "stack.tif", z=2)
    block = scene.read(0, slice(300, 400), ALL)
    assert block.dtype == np.uint16
    np.testing.assert_array_equal(block[..., 0], image[2, 300:])


def test_tiff_colours_that_need_a_conversion(tmp_path: Path) -> None:
    Image.fromarray(RGB).quantize(16).save(tmp_path / "palette.tif")
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "cmyk.tif")
    tifffile.imwrite(tmp_path / "inverted.tif", GREY, photometric="miniswhite")
    for name in ("palette.tif", "cmyk.tif"):
        assert open_scene(tmp_path / name).channels == ("red", "green", "blue")
    inverted = open_scene(tmp_path / "inverted.tif").read(0, ALL, ALL)
    np.testing.assert_array_equal(inverted[..., 0], ~GREY)


def test_jpeg_in_tiff_comes_as_rgb(tmp_path: Path) -> None:
    smooth = np.zeros((128, 128, 3), np.uint8)
    smooth[..., 0], smooth[..., 1] = 200, np.arange(128)
    options: dict[str, Any] = {"photometric": "rgb", "compression": "jpeg"}  # stored as YCbCr
    tifffile.imwrite(tmp_path / "slide.tif", smooth, tile=(64, 64), **options)
    seen = open_scene(tmp_path / "slide.tif").read(0, slice(30, 100), ALL)
    assert np.abs(seen.astype(int) - smooth[30:100]).max() < 9


def test_threads_read_one_file(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "t.tif", RGB, tile=(32, 32), compression="zlib")
    scene = open_scene(tmp_path / "t.tif")

    def read(row: int) -> bool:
        block = scene.read(0, slice(row, row + 40), slice(row % 150, 200))
        return np.array_equal(block, RGB[row : row + 40, row % 150 :])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(0, 260, 3)))


def test_separate_planes_of_colour(tmp_path: Path) -> None:
    planes = np.moveaxis(RGB, -1, 0)
    tifffile.imwrite(tmp_path / "p.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(open_scene(tmp_path / "p.tif").read(0, ALL, ALL), RGB)


def test_ome_tiff(tmp_path: Path) -> None:
    image = RNG.integers(0, 60000, (2, 3, 4, 30, 40), dtype=np.uint16)
    path = tmp_path / "cells.ome.tif"
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.25}
    names = {"Name": ["DAPI", "GFP", "RFP"]}
    tifffile.imwrite(path, image, metadata={"axes": "TCZYX", **size, "Channel": names})
    scene = open_scene(path, channels="GFP", t=1, z=3)
    assert (scene.axes, scene.channel_names) == ("TCZYX", ("DAPI", "GFP", "RFP"))
    assert scene.pixel_size == PixelSize(0.25, 0.5, "µm")
    np.testing.assert_array_equal(scene.read(0, ALL, ALL)[..., 0], image[1, 1, 3])
    composite = open_scene(path, channels=["RFP", "GFP", "DAPI"])
    np.testing.assert_array_equal(composite.read(0, ALL, ALL)[..., 0], image[0, 2, 0])


def test_imagej(tmp_path: Path) -> None:
    image = RNG.integers(0, 60000, (4, 2, 30, 40), dtype=np.uint16)
    metadata = {"axes": "ZCYX", "unit": "um"}
    tifffile.imwrite(
        tmp_path / "i.tif", image, imagej=True, resolution=(2.0, 4.0), metadata=metadata
    )
    scene = open_scene(tmp_path / "i.tif", z=3, channels=1)
    assert scene.pixel_size == PixelSize(0.25, 0.5, "um")
    np.testing.assert_array_equal(scene.read(0, ALL, ALL)[..., 0], image[3, 1])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, version: str) -> None:
    image = RNG.integers(0, 60000, (2, 5, 31, 40), dtype=np.uint16)
    path = tmp_path / "cells.ome.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("s0", data=image)
    group.create_array("s1", data=image[..., ::2, ::2])
    group.create_array("s2", data=image[:, ::2, ::4, ::4])  # another plane: no level of this one
    units = [{"name": "c"}] + [{"name": axis, "unit": "micrometer"} for axis in "zyx"]
    scale = [{"type": "scale", "scale": [1, 2, 0.5, 0.25]}]
    multiscale = {
        "axes": units,
        "datasets": [{"path": f"s{n}", "coordinateTransformations": scale} for n in range(3)],
        "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 2, 2]}],
    }
    described = {
        "multiscales": [multiscale],
        "omero": {"channels": [{"label": "DAPI"}, {"label": "GFP"}]},
    }
    group.attrs.update(described if version == "0.4" else {"ome": described})
    for given in (path, str(path), group):
        scene = open_scene(given, channels="GFP", z=4)
        assert (scene.axes, scene.channel_names) == ("CZYX", ("DAPI", "GFP"))
        assert scene.pixel_size == PixelSize(1.0, 0.5, "micrometer")
        assert [level.stored for level in scene.levels[:4]] == [True, True, False, False]
        np.testing.assert_array_equal(scene.read(0, ALL, ALL)[..., 0], image[1, 4])
        np.testing.assert_array_equal(scene.read(1, ALL, ALL)[..., 0], image[1, 4, ::2, ::2])


def test_the_url_of_a_zarr(tmp_path: Path) -> None:
    zarr.save_array(tmp_path / "image.zarr", GREY)
    scene = open_scene(f"file://{tmp_path}/image.zarr")
    np.testing.assert_array_equal(scene.read(0, ALL, ALL)[..., 0], GREY)


def test_axes_named_by_a_zarr_array(tmp_path: Path) -> None:
    image = RNG.integers(0, 255, (4, 30, 40), dtype=np.uint8)
    for names, kept in ((["t", "y", "x"], True), (["band", "lat", "lon"], False)):
        path = tmp_path / f"{names[0]}.zarr"
        zarr.create_array(path, data=image, dimension_names=names)
        scene = open_scene(path, t=3) if kept else open_scene(path, axes="CYX", channels=3)
        np.testing.assert_array_equal(scene.read(0, ALL, ALL)[..., 0], image[3])


def geotiff(path: Path, nodata: str, *tags: tuple[int, int, int, Any]) -> Path:
    # Double: 12, unsigned short: 3, text: 2.
    text = (42113, 2, len(nodata) + 1, nodata)
    tifffile.imwrite(path, GREY.astype(np.float32), tile=(64, 64), extratags=[text, *tags])
    return path


SCALE = (33550, 12, 3, (2.0, 3.0, 0.0))
TIE = (33922, 12, 6, (10.0, 20.0, 0.0, 1000.0, 5000.0, 0.0))


def keys(*entries: tuple[int, int]) -> tuple[int, int, int, Any]:
    flat = [1, 1, 0, len(entries)] + [n for key, value in entries for n in (key, 0, 1, value)]
    return 34735, 3, len(flat), tuple(flat)


def test_geotiff(tmp_path: Path) -> None:
    area = keys((1024, 1), (1025, 1), (3072, 26916), (3076, 9001))
    scene = open_scene(geotiff(tmp_path / "a.tif", "-9999", SCALE, TIE, area))
    assert scene.georeference == Georeference(
        "EPSG:26916", (2.0, 0.0, 980.0, 0.0, -3.0, 5060.0), "metre"
    )
    assert scene.pixel_size == PixelSize(3.0, 2.0, "metre")
    assert scene.nodata == -9999
    point = keys((1024, 1), (1025, 2), (3072, 26916), (3076, 9001))
    scene = open_scene(geotiff(tmp_path / "p.tif", "nan", SCALE, TIE, point))
    assert scene.georeference is not None
    assert scene.georeference.affine == (2.0, 0.0, 979.0, 0.0, -3.0, 5061.5)
    assert scene.nodata is None
    matrix = (34264, 12, 16, (0.0, 2.0, 0, 7.0, 2.0, 0.0, 0, 8.0, 0, 0, 0, 0, 0, 0, 0, 1.0))
    degrees = keys((1024, 2), (1025, 1), (2048, 4326))
    scene = open_scene(geotiff(tmp_path / "m.tif", "no number", matrix, degrees))
    assert scene.georeference == Georeference("EPSG:4326", (0.0, 2.0, 7.0, 2.0, 0.0, 8.0), "degree")
    assert scene.nodata is None


def test_a_nodata_tag_that_the_type_cannot_hold_is_ignored(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "n.tif", GREY, extratags=[(42113, 2, 6, "-9999")])
    assert open_scene(tmp_path / "n.tif").nodata is None


@pytest.mark.parametrize(
    ("name", "crs", "size", "nodata", "corner", "shape", "levels"),
    [
        ("OSBS_029", 32617, 0.1, 255, (404211.9, 3285142.9), (400, 400), [1]),
        ("australia", 32753, 0.018, 0, (278966.322, 8597744.154), (708, 751), [1]),
        ("naip_2018", 26914, 5.0, 0, (485902.0, 5209248.0), (724, 934), [1, 2]),
    ],
)
def test_real_geotiffs(
    shared: Path,
    name: str,
    crs: int,
    size: float,
    nodata: int,
    corner: tuple[float, float],
    shape: tuple[int, int],
    levels: list[int],
) -> None:
    path = shared / "devdata" / "geo" / f"{name}.tif"
    scene = open_scene(path)
    assert scene.georeference is not None
    assert scene.georeference.crs == f"EPSG:{crs}"
    assert scene.georeference.affine == pytest.approx((size, 0, corner[0], 0, -size, corner[1]))
    assert scene.pixel_size == PixelSize(size, size, "metre")
    assert (scene.nodata, scene.shape, stored(path)) == (nodata, shape, levels)
    whole = tifffile.imread(path)[..., :3]
    np.testing.assert_array_equal(scene.read(0, ALL, ALL), whole)
    assert not scene.is_empty(0, ALL, ALL)
    assert scene.read_rgb(2, ALL, ALL).shape == (*scene.levels[2].shape, 3)
