"""One stretch serves a whole Scene, and its fingerprint notices other pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_sam.errors import InputError
from napari_sam.files.images import stretch_limits, to_rgb_uint8
from napari_sam.scene import Normalisation, fingerprint, measure, open_scene
from napari_sam.scenes.sampling import spread_windows

ALL = slice(None)
RNG = np.random.default_rng(4)


def test_two_windows_are_stretched_alike() -> None:
    image = np.tile(np.linspace(0, 4000, 600).astype(np.uint16), (500, 1))
    scene = open_scene(image)
    left, right = scene.read_rgb(0, ALL, slice(0, 300)), scene.read_rgb(0, ALL, slice(300, 600))
    assert left.max() <= right.min()
    # A stretch for each window would have made both range from black to white.
    assert to_rgb_uint8(image[:, :300]).max() == 255
    assert left.max() < 140
    np.testing.assert_array_equal(scene.read_rgb(0, ALL, slice(200, 400))[:, :100], left[:, 200:])
    # Coarse levels look like the fine ones.
    coarse = scene.read_rgb(3, ALL, ALL)
    assert abs(float(coarse.mean()) - float(scene.read_rgb(0, ALL, ALL).mean())) < 1


def test_a_small_scene_is_stretched_by_all_its_pixels_channel_by_channel() -> None:
    image = (RNG.random((40, 50, 3)) * [100, 1000, 10000]).astype(np.uint16)
    scene = open_scene(image)
    limits = [stretch_limits(image[..., channel]) for channel in range(3)]
    assert scene.normalisation.low == tuple(low for low, _ in limits)
    assert scene.normalisation.high == tuple(high for _, high in limits)
    together = measure(scene, per_channel=False)
    assert len(set(together.high)) == 1
    assert together.high[0] == stretch_limits(image)[1]


def test_a_large_scene_is_sampled_everywhere() -> None:
    image = RNG.normal(1000, 100, (4000, 3000)).astype(np.float32)
    scene = open_scene(image)
    low, high = stretch_limits(image)
    assert scene.normalisation.low[0] == pytest.approx(low, abs=5)
    assert scene.normalisation.high[0] == pytest.approx(high, abs=5)
    assert open_scene(image).normalisation == scene.normalisation


def test_what_is_no_data_is_not_measured() -> None:
    image = np.full((100, 100), -9999, np.float32)
    image[:10] = np.linspace(5, 6, 1000).reshape(10, 100)
    image[50:] = np.nan
    image[49] = np.inf
    scene = open_scene(image, nodata=-9999)
    assert 5 <= scene.normalisation.low[0] < 5.1 < 5.9 < scene.normalisation.high[0] <= 6
    assert (scene.read_rgb(0, slice(10, 49), ALL) == 0).all()
    assert (scene.read_rgb(0, slice(50, 100), ALL) == 0).all()


@pytest.mark.parametrize("value", [0, 7, np.nan, np.inf])
def test_scenes_without_contrast_are_black(value: float) -> None:
    scene = open_scene(np.full((30, 40), value, np.float32), nodata=0)
    assert scene.is_empty(0, ALL, ALL)
    assert (scene.read_rgb(0, ALL, ALL) == 0).all()


def test_the_coarse_level_of_a_file_is_sampled_instead() -> None:
    group = zarr.group(zarr.storage.MemoryStore())
    rng = np.random.default_rng(0)
    for path, side, mean in (("0", 1024, 500), ("1", 512, 900), ("2", 256, 900), ("3", 128, 0)):
        group.create_array(path, data=rng.normal(mean, 1, (side, side)).astype(np.float32))
    group.attrs["multiscales"] = [
        {"axes": ["y", "x"], "datasets": [{"path": path} for path in "0123"]}
    ]
    assert open_scene(group).normalisation.low[0] == pytest.approx(900, abs=9)


def test_8_bits_are_kept_and_said_so() -> None:
    scene = open_scene(np.full((5, 5), 9, np.uint8))
    assert scene.normalisation == Normalisation("as_is", (0.0,), (255.0,))
    assert "as they are" in scene.normalisation.describe()
    assert (scene.read_rgb(0, ALL, ALL) == 9).all()
    stretched = open_scene(
        np.full((5, 5), 9, np.uint8), normalisation=Normalisation("percentile", (8.0,), (10.0,))
    )
    assert (stretched.read_rgb(0, ALL, ALL) == 128).all()


def test_a_normalisation_is_saved_and_used_again() -> None:
    first = open_scene(RNG.normal(size=(30, 30)))
    saved = json.loads(json.dumps(first.normalisation.to_dict()))
    second = open_scene(RNG.normal(size=(30, 30)), normalisation=Normalisation.from_dict(saved))
    assert second.normalisation == first.normalisation
    with pytest.raises(InputError, match="has 1 channels, but 3 are chosen"):
        open_scene(np.zeros((9, 9, 3)), normalisation=first.normalisation)
    for broken in ({}, {**saved, "low": None}, {**saved, "low": ["a"]}, {**saved, "kind": "no"}):
        with pytest.raises(InputError):
            Normalisation.from_dict(broken)
    for low, high in (((2.0,), (1.0,)), ((), ()), ((np.nan,), (1.0,)), ((0.0,), (1.0, 2.0))):
        with pytest.raises(InputError):
            Normalisation("percentile", low, high)


@pytest.mark.parametrize("shape", [(1, 1), (1, 10**7), (10**7, 3), (5000, 90_000), (10**5, 10**5)])
def test_windows_spread_over_all_of_an_image(shape: tuple[int, int]) -> None:
    windows = spread_windows(shape, 64, 128)
    assert 1 <= len(windows) <= 64
    assert len({(rows.start, cols.start) for rows, cols in windows}) == len(windows)
    for rows, cols in windows:
        assert 0 <= rows.start < rows.stop <= shape[0]
        assert 0 <= cols.start < cols.stop <= shape[1]
    longer = int(shape[1] > shape[0])
    starts = [window[longer].start for window in windows]
    if len(windows) > 1:
        assert min(starts) < shape[longer] / 7
        assert max(starts) > shape[longer] * 6 / 8


IMAGE = RNG.integers(0, 60000, (2000, 1500), dtype=np.uint16)


def test_the_same_pixels_have_the_same_fingerprint_in_every_format(tmp_path: Path) -> None:
    expected = fingerprint(open_scene(IMAGE))
    assert len(expected) == 32
    zarr.save_array(tmp_path / "image.zarr", IMAGE)
    np.save(tmp_path / "image.npy", IMAGE.astype(">u2"))
    tifffile.imwrite(tmp_path / "image.tif", IMAGE, tile=(256, 256), compression="zlib")
    tifffile.imwrite(tmp_path / "plain.tif", IMAGE, byteorder=">")
    for name in ("image.zarr", "image.npy", "image.tif", "plain.tif"):
        assert fingerprint(open_scene(tmp_path / name)) == expected


def test_another_image_has_another_fingerprint() -> None:
    scene = open_scene(IMAGE)
    expected = fingerprint(scene)
    for rows, cols in ((slice(0, 600), slice(0, 500)), (slice(900, 1500), slice(700, 1200))):
        changed = IMAGE.copy()
        changed[rows, cols] += 1
        assert fingerprint(open_scene(changed, normalisation=scene.normalisation)) != expected
    for row, col in ((0, 0), (0, -1), (-1, 0), (-1, -1), (1000, 750)):
        changed = IMAGE.copy()
        changed[row, col] ^= 1
        assert fingerprint(open_scene(changed, normalisation=scene.normalisation)) != expected
    other = Normalisation("percentile", (0.0,), (1000.0,))
    assert fingerprint(open_scene(IMAGE, normalisation=other)) != expected
    assert fingerprint(open_scene(IMAGE.T, normalisation=scene.normalisation)) != expected
    assert fingerprint(open_scene(IMAGE.view(np.int16))) != expected
    assert fingerprint(open_scene(IMAGE, normalisation=scene.normalisation, nodata=0)) != expected


def test_one_changed_pixel_of_a_small_scene_is_found() -> None:
    image = np.zeros((200, 300), np.uint8)
    changed = image.copy()
    changed[77, 123] = 1
    assert fingerprint(open_scene(image)) != fingerprint(open_scene(changed))


def test_other_coarse_levels_of_a_file_are_found() -> None:
    levels = [IMAGE, IMAGE[::2, ::2], IMAGE[::4, ::4]]
    scene = open_scene(levels)
    stretch = scene.normalisation
    expected = fingerprint(scene)
    assert fingerprint(open_scene(list(map(np.copy, levels)), normalisation=stretch)) == expected
    for changed in (
        levels[:2],
        levels[:1],
        [IMAGE, IMAGE[1::2, 1::2], levels[2]],
        [*levels[:2], levels[2] // 2],
    ):
        assert fingerprint(open_scene(changed, normalisation=stretch)) != expected
    # One that was computed, and is kept elsewhere, is none of the file's.
    kept = scene.with_level(3, scene.read(3, slice(None), slice(None)))
    assert fingerprint(kept) == expected
