"""The plugin's samples, and images of any kind as napari shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.scene import open_scene
from napari_sam.scenes.lazy import Lazy
from napari_sam.widgets.opening import image_layers
from napari_sam.widgets.pictures import picture_of
from napari_sam.widgets.samples import made_pyramid

PLUGIN = "napari-sam-tiled"


def noise(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize(
    ("key", "shapes"),
    [
        ("nuclei", [(520, 696)]),
        ("aerial", [(320, 320, 3), (320, 320)]),
        ("pyramid", [(16_384, 16_384)]),
    ],
)
def test_samples_open_from_the_menu(
    make_napari_viewer: Callable[..., Any], key: str, shapes: list[tuple[int, ...]]
) -> None:
    viewer = make_napari_viewer()
    layers = viewer.open_sample(PLUGIN, key)
    finest = [layer.data[0] if layer.multiscale else layer.data for layer in layers]
    assert [tuple(data.shape) for data in finest] == shapes
    shown = [layer for layer in layers if layer.visible]
    assert len(shown) == 1
    assert viewer.screenshot(flash=False).std() > 0
    scene = picture_of(shown[0]).open()
    assert scene.shape == shapes[0][:2]


def test_the_aerial_sample_has_four_bands_and_a_place_on_earth() -> None:
    import napari_sam

    scene = open_scene(Path(napari_sam.__file__).parent / "samples" / "aerial.tif")
    assert len(scene.channel_names) == 4
    assert scene.georeference is not None
    assert scene.georeference.crs == "EPSG:26914"
    assert scene.pixel_size is not None
    assert scene.pixel_size.rows == 5


def test_the_made_pyramid_is_the_same_in_whatever_windows_it_is_made() -> None:
    levels = made_pyramid(2048)
    for level in levels:
        whole = np.asarray(level)
        assert whole.dtype == np.uint8
        for row, col in [(0, 0), (13, 251), (250, 7)]:
            part = level[row : row + 90, col : col + 140]
            np.testing.assert_array_equal(part, whole[row : row + 90, col : col + 140])


def test_levels_of_the_made_pyramid_show_the_same() -> None:
    fine, coarse = made_pyramid(2048)[:2]
    blocks = np.asarray(fine).reshape(1024, 2, 1024, 2).mean(axis=(1, 3))
    difference = np.abs(blocks - np.asarray(coarse))
    assert difference.mean() < 6
    assert np.corrcoef(blocks.ravel(), np.asarray(coarse).ravel())[0, 1] > 0.98


SELECTIONS = st.one_of(
    st.integers(-3, 2),
    st.builds(
        slice,
        st.none() | st.integers(-5, 5),
        st.none() | st.integers(-5, 5),
        st.sampled_from([None, 1, 2, 3, -1, -2]),
    ),
)


@settings(max_examples=200)
@given(st.lists(SELECTIONS, max_size=3), st.integers(0, 4))
def test_lazy_arrays_are_indexed_like_numpy(selection: list[Any], dots: int) -> None:
    array = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    lazy = Lazy(array.shape, array.dtype, lambda parts: array[parts])
    if dots <= len(selection):
        selection.insert(dots, Ellipsis)
    np.testing.assert_array_equal(lazy[tuple(selection)], array[tuple(selection)])


def test_a_lazy_array_says_what_is_too_much() -> None:
    lazy = Lazy((3, 4), np.dtype(int), lambda parts: np.zeros((3, 4), int)[parts])
    with pytest.raises(IndexError):
        lazy[0, 0, 0]
    with pytest.raises(IndexError):
        lazy[3]


def test_a_grey_image_is_its_file(tmp_path: Path, make_napari_viewer: Callable[..., Any]) -> None:
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, noise(60, 80, dtype=np.uint16))
    [(data, options, kind)] = image_layers(path)
    assert (options["name"], kind) == ("cells", "image")
    np.testing.assert_array_equal(data, noise(60, 80))
    viewer = make_napari_viewer()
    picture = picture_of(viewer.add_image(data, **options))
    assert picture.path == path


def test_channels_become_layers_that_know_their_file(
    tmp_path: Path, make_napari_viewer: Callable[..., Any]
) -> None:
    path = tmp_path / "cells.ome.tif"
    image = noise(3, 64, 70)
    channels = {"Channel": {"Name": ["DAPI", "GFP", "RFP"]}}
    tifffile.imwrite(path, image, metadata={"axes": "CYX", **channels}, photometric="minisblack")
    layers = image_layers(path)
    assert [options["name"] for _, options, _ in layers] == [
        "cells.ome, DAPI",
        "cells.ome, GFP",
        "cells.ome, RFP",
    ]
    viewer = make_napari_viewer()
    data, options, _ = layers[1]
    np.testing.assert_array_equal(data, image[1])
    picture = picture_of(viewer.add_image(data, **options))
    assert (picture.path, picture.channels) == (path, 1)


def test_colour_of_more_than_eight_bits_is_stretched_as_the_model_sees_it(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, noise(50, 40, 3, dtype=np.uint16) * 20, photometric="rgb")
    [(data, options, _)] = image_layers(path)
    assert options["rgb"]
    shown = np.asarray(data)
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown, open_scene(path).read_rgb(0, slice(0, 50), slice(0, 40)))


def test_a_stack_keeps_its_axes_and_a_pyramid_its_levels(tmp_path: Path) -> None:
    stack = noise(2, 5, 32, 48)
    tifffile.imwrite(tmp_path / "stack.ome.tif", stack, metadata={"axes": "TZYX"})
    [(data, options, _)] = image_layers(tmp_path / "stack.ome.tif")
    assert options["axis_labels"] == ("t", "z", "y", "x")
    np.testing.assert_array_equal(data[1, 3], stack[1, 3])

    path = tmp_path / "slide.ome.tif"
    slide = noise(512, 640, 3)
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(slide, subifds=1, tile=(128, 128), photometric="rgb")
        writer.write(slide[::2, ::2], subfiletype=1, tile=(128, 128), photometric="rgb")
    [(levels, options, _)] = image_layers(path)
    assert options["multiscale"]
    assert [level.shape for level in levels] == [(512, 640, 3), (256, 320, 3)]
    np.testing.assert_array_equal(levels[1][10:20, 30:40], slide[20:40:2, 60:80:2])


def test_a_large_image_without_levels_gets_them_and_only_windows_are_read(tmp_path: Path) -> None:
    group = zarr.open_array(
        tmp_path / "large.zarr",
        mode="w",
        shape=(20_000, 9_000),
        chunks=(1000, 1000),
        dtype="uint8",
        dimension_names=("y", "x"),
    )
    group[2000:2100, 3000:3100] = 7
    [(levels, options, _)] = image_layers(tmp_path / "large.zarr")
    assert options["multiscale"]
    assert [level.shape for level in levels][:2] == [(20_000, 9_000), (10_000, 4_500)]
    assert max(levels[-1].shape) <= 1024
    assert (levels[1][1000:1050, 1500:1550] == 7).all()
