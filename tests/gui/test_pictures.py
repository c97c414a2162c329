"""Any image layer becomes a scene: its own pixels, or its file if it shows that unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from made_dicom import dataset, save
from napari.components import ViewerModel
from napari.layers import Image
from napari.layers._source import Source
from napari_builtins.io import napari_get_reader
from PIL import Image as Pillow

from napari_sam.errors import InputError
from napari_sam.scene import PixelSize
from napari_sam.widgets.opening import image_layers, layers_of_parts
from napari_sam.widgets.pictures import picture_of, plane_of

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 255, (40, 50), dtype=np.uint8)
STACK = RNG.integers(0, 60_000, (4, 40, 50), dtype=np.uint16)
ALL = slice(None)


def _opened(path: Path) -> Image:
    """Read a file as napari's own reader does, which tests find no manifest of."""
    read = napari_get_reader(str(path))
    assert read is not None
    (data, *_), *_ = read(str(path))
    layer = Image(data)
    layer._source = Source(path=str(path))
    return layer


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_an_array_of_any_type(dtype: Any) -> None:
    picture = picture_of(Image(STACK[0].astype(dtype), name="cells"))
    scene = picture.open()
    assert (picture.name, picture.path) == ("cells", None)
    np.testing.assert_array_equal(scene.read(0, ALL, ALL)[..., 0], STACK[0].astype(dtype))


@pytest.mark.parametrize("samples", [3, 4])
def test_colour(samples: int) -> None:
    pixels = RNG.integers(0, 255, (30, 20, samples), dtype=np.uint8)
    scene = picture_of(Image(pixels, rgb=True)).open()
    np.testing.assert_array_equal(scene.read(0, ALL, ALL), pixels[..., :3])


def test_a_stack_and_a_series_of_stacks_by_slider() -> None:
    viewer = ViewerModel()
    series = RNG.integers(0, 255, (3, 4, 20, 30), dtype=np.uint8)
    layer = viewer.add_image(series, scale=(2, 0.5, 3, 3), translate=(0, 7, 0, 0))
    viewer.dims.set_current_step(0, 2)
    viewer.dims.set_current_step(1, 3)
    assert plane_of(layer, viewer.dims) == (2, 3)
    scene = picture_of(layer).open(*plane_of(layer, viewer.dims))
    np.testing.assert_array_equal(scene.read(0, ALL, ALL)[..., 0], series[2, 3])


def test_the_plane_of_a_layer_that_others_reach_beyond() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(STACK)
    viewer.add_image(np.zeros((2, 9, 40, 50), np.uint8))
    viewer.dims.set_current_step(1, 8)
    assert plane_of(layer, viewer.dims) == (0, 3)


def test_channels_behind_a_slider() -> None:
    layer = Image(STACK, axis_labels=("c", "y", "x"))
    assert picture_of(layer).open().channels == ("0", "1", "2")
    scene = picture_of(layer, channels=3).open()
    np.testing.assert_array_equal(scene.read(0, ALL, ALL)[..., 0], STACK[3])


def test_five_axes_need_labels() -> None:
    pixels = np.zeros((2, 3, 4, 8, 9), np.uint8)
    with pytest.raises(InputError, match="give it axis labels"):
        picture_of(Image(pixels))
    labels = ("t", "c", "z", "y", "x")
    assert picture_of(Image(pixels, axis_labels=labels)).open(1, 3).z == 3


def test_several_resolutions() -> None:
    fine = RNG.integers(0, 255, (64, 96), dtype=np.uint8)
    scene = picture_of(Image([fine, fine[::2, ::2]], multiscale=True)).open()
    assert [level.stored for level in scene.levels[:3]] == [True, True, False]
    np.testing.assert_array_equal(scene.read(1, ALL, ALL)[..., 0], fine[::2, ::2])


def test_nothing_is_computed_of_lazy_arrays() -> None:
    computed: list[int] = []

    def block(block_info: Any = None) -> np.ndarray:
        computed.append(1)
        return np.zeros((64, 64), np.uint8)

    lazy = da.map_blocks(block, chunks=((64,) * 100, (64,) * 100), dtype=np.uint8)
    layer = Image(lazy, contrast_limits=(0, 255))
    computed.clear()
    scene = picture_of(layer).open()
    assert not computed
    scene.read(0, slice(0, 10), slice(0, 10))
    assert len(computed) == 1


def test_a_zarr_array_is_read_when_it_is_looked_at() -> None:
    array = zarr.create_array({}, shape=(40, 50), chunks=(10, 10), dtype="uint8")
    array[:] = GREY
    scene = picture_of(Image(array)).open()
    np.testing.assert_array_equal(scene.read(0, ALL, ALL)[..., 0], GREY)


def test_a_file_that_is_shown_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "cells.png"
    Pillow.fromarray(GREY).save(path)
    picture = picture_of(_opened(path))
    assert picture.path == path
    assert picture.open().name == str(path)


def test_data_that_was_replaced_is_not_the_file_any_more(tmp_path: Path) -> None:
    path = tmp_path / "cells.png"
    Pillow.fromarray(GREY).save(path)
    layer = _opened(path)
    layer.data = 255 - GREY
    picture = picture_of(layer)
    assert picture.path is None
    np.testing.assert_array_equal(picture.open().read(0, ALL, ALL)[..., 0], 255 - GREY)


def test_a_file_that_vanished_leaves_what_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "cells.png"
    Pillow.fromarray(GREY).save(path)
    layer = _opened(path)
    path.unlink()
    assert picture_of(layer).path is None


def test_pages_of_a_tiff_are_depth_where_the_file_does_not_say(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack")
    picture = picture_of(_opened(path))
    assert (picture.path, picture.axes) == (path, "ZYX")
    np.testing.assert_array_equal(picture.open(z=2).read(0, ALL, ALL)[..., 0], STACK[2])


def test_one_channel_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "two.ome.tif"
    channels = STACK[:2]
    tifffile.imwrite(
        path, channels, metadata={"axes": "CYX", "Channel": {"Name": ["DNA", "actin"]}}
    )
    whole = _opened(path)
    split = Image(channels[1])
    split._source = whole.source
    picture = picture_of(split)
    assert (picture.path, picture.channels) == (path, 1)
    assert picture.open().channels == ("actin",)
    assert plane_of(split, ViewerModel().dims, picture.axes) == (0, 0)


def test_pixel_size_from_scale_and_units() -> None:
    layer = Image(STACK, scale=(2, 0.5, 0.25), units=("um", "um", "um"))
    assert picture_of(layer).open().pixel_size == PixelSize(0.5, 0.25, "micrometer")
    assert picture_of(Image(GREY, scale=(3, 3))).pixel_size is None


def _read(path: Path) -> list[Image]:
    """Open a file as the plugin's own reader does."""
    return [Image(data, **options) for data, options, _ in image_layers(path)]


def test_what_the_plugin_reads_is_worked_on_in_its_file(tmp_path: Path) -> None:
    """Colour that is shown stretched, and one band of several, belong to the file all the same."""
    bands = RNG.integers(0, 4000, (40, 50, 4), dtype=np.uint16)
    path = tmp_path / "aerial.tif"
    tifffile.imwrite(path, bands, photometric="rgb", extrasamples=("unspecified",))
    colour, infrared = _read(path)
    picture = picture_of(colour)
    assert (picture.path, picture.channels) == (path, (0, 1, 2))
    np.testing.assert_array_equal(picture.open().read(0, ALL, ALL), bands[..., :3])
    picture = picture_of(infrared)
    assert (picture.path, picture.channels) == (path, 3)
    np.testing.assert_array_equal(picture.open().read(0, ALL, ALL)[..., 0], bands[..., 3])
    infrared.data = np.asarray(infrared.data) // 2
    assert picture_of(infrared).path is None


def test_a_series_whose_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "series.tif"
    tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "TYX"})
    for layer in (_opened(path), *_read(path)):
        viewer = ViewerModel()
        viewer.add_layer(layer)
        viewer.dims.set_current_step(0, 2)
        picture = picture_of(layer)
        assert (picture.path, picture.axes) == (path, "TYX")
        assert plane_of(layer, viewer.dims, picture.axes) == (2, 0)


def test_a_file_of_several_images_opens_with_all_of_them(tmp_path: Path) -> None:
    pixels = np.zeros((2, 40, 50), np.uint8)
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for name, image in zip(("left", "right"), pixels, strict=True):
            tiff.write(image, metadata={"axes": "YX", "Name": name})
    layers = layers_of_parts(path)
    assert len(layers) == 2
    assert [options.get("visible", True) for _, options, _ in layers] == [True, False]
    parts = [options["metadata"]["image_part"] for _, options, _ in layers]
    assert len(set(parts)) == 2
    assert [
        options["name"].endswith(part) for (_, options, _), part in zip(layers, parts, strict=True)
    ] == [True, True]


def test_a_file_of_one_of_several_series_opens_with_that_one(tmp_path: Path) -> None:
    for number in (1, 2):
        for place in range(3):
            pixels = np.full((6, 8), 10 * number, np.int16)
            about = {"SeriesInstanceUID": f"1.2.3.{number}", "SeriesNumber": str(number)}
            data = dataset(pixels, (0, 0, 2 * place), **about)
            save(data, tmp_path / f"{number}-{place}.dcm")
    assert len(layers_of_parts(tmp_path)) == 2
    (layer,) = layers_of_parts(tmp_path / "2-0.dcm")
    assert np.asarray(layer[0][0]).max() == 20
