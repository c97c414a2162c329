"""A Scene reads any window at any level, and nothing more than that."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.errors import InputError
from napari_sam.scene import Normalisation, Scene, open_scene
from napari_sam.scenes import pyramid

RNG = np.random.default_rng(3)
ALL = slice(None)
AS_IS = Normalisation("as_is", (0.0,), (255.0,))


def block_mean(image: np.ndarray, times: int, nodata: float | None = None) -> np.ndarray:
    """Average four pixels to one, again and again, the slow way."""
    if not times:
        return image
    image = block_mean(image, times - 1, nodata)
    rows, cols = image.shape[0], image.shape[1]
    means = np.zeros((-(-rows // 2), -(-cols // 2), image.shape[2]))
    for row, col in np.ndindex(*means.shape[:2]):
        square = image[row * 2 : (row + 1) * 2, col * 2 : (col + 1) * 2]
        square = square.reshape(-1, image.shape[2]).astype(float)
        if nodata is not None:
            square = square[(square != nodata).any(axis=1)]
        for channel, values in enumerate(square.T):
            known = values[~np.isnan(values)]
            means[row, col, channel] = known.mean() if known.size else np.nan
    if image.dtype.kind != "f":
        means = np.rint(np.where(np.isnan(means), 0 if nodata is None else nodata, means))
    elif nodata is not None:
        means[np.isnan(means)] = nodata
    return means.astype(image.dtype)


@st.composite
def windows(draw: st.DrawFn, shape: tuple[int, int]) -> tuple[slice, slice]:
    found = []
    for size in shape:
        start = draw(st.integers(0, size - 1))
        found.append(slice(start, draw(st.integers(start + 1, size))))
    return found[0], found[1]


@settings(max_examples=60)
@given(st.data())
def test_a_pixel_is_the_mean_of_the_four_below_it(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 37), st.integers(1, 37), st.sampled_from([1, 3])))
    dtype = data.draw(st.sampled_from([np.uint8, np.int8, np.uint16, np.int32, np.float32]))
    nodata = data.draw(st.sampled_from([None, 2]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    image = rng.integers(0, data.draw(st.sampled_from([4, 120])), shape).astype(dtype)
    if image.dtype.kind == "i":
        image -= 2
    if dtype == np.float32 and data.draw(st.booleans()):
        image[rng.random(shape) < 0.5] = np.nan
    scene = open_scene(image, axes="YXS", nodata=nodata)
    level = data.draw(st.integers(0, len(scene.levels) - 1))
    described = scene.levels[level]
    rows, cols = data.draw(windows(described.shape))
    expected = block_mean(image, level, nodata)
    assert expected.shape[:2] == described.shape
    read = scene.read(level, rows, cols)
    assert read.dtype == dtype
    np.testing.assert_allclose(read, expected[rows, cols], rtol=1e-6)


@settings(max_examples=30)
@given(st.data())
def test_windows_side_by_side_are_the_whole(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 50), st.integers(1, 50)))
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    scene = open_scene(image)
    level = data.draw(st.integers(0, len(scene.levels) - 1))
    rows, cols = scene.levels[level].shape
    row_step, col_step = data.draw(st.integers(1, rows)), data.draw(st.integers(1, cols))
    for read in (scene.read, scene.read_rgb):
        pieces = [
            np.concatenate(
                [
                    read(
                        level,
                        slice(row, min(row + row_step, rows)),
                        slice(col, min(col + col_step, cols)),
                    )
                    for col in range(0, cols, col_step)
                ],
                axis=1,
            )
            for row in range(0, rows, row_step)
        ]
        np.testing.assert_array_equal(np.concatenate(pieces), read(level, ALL, ALL))


STACK = RNG.integers(0, 60000, (2, 3, 2, 5, 7, 3), dtype=np.uint16)  # TZCYXS


@settings(max_examples=60)
@given(st.permutations("TZCYXS"), st.integers(0, 1), st.integers(0, 2), st.data())
def test_the_order_of_axes_does_not_matter(
    order: list[str], t: int, z: int, data: st.DataObject
) -> None:
    array = STACK.transpose(["TZCYXS".index(axis) for axis in order])
    channels = data.draw(st.lists(st.integers(0, 5), min_size=3, max_size=3))
    scene = open_scene(array, axes="".join(order).lower(), t=t, z=z, channels=channels)
    rows, cols = data.draw(windows((5, 7)))
    expected = STACK[t, z].transpose(1, 2, 0, 3).reshape(5, 7, 6)[rows, cols][..., channels]
    np.testing.assert_array_equal(scene.read(0, rows, cols), expected)


@pytest.mark.parametrize(
    ("shape", "axes", "channels"),
    [
        ((20, 30), "YX", ("grey",)),
        ((20, 30, 3), "YXS", ("red", "green", "blue")),
        ((20, 30, 4), "YXS", ("red", "green", "blue")),
        ((20, 30, 1), "YXS", ("grey",)),
        ((1, 1, 20, 30), "TZYX", ("grey",)),
        ((1, 20, 30, 3), "TYXS", ("red", "green", "blue")),
        ((1, 30, 3), "YXS", ("red", "green", "blue")),
        ((1, 30), "YX", ("grey",)),
        ((1, 1), "YX", ("grey",)),
    ],
)
def test_the_shape_tells_the_axes(
    shape: tuple[int, ...], axes: str, channels: tuple[str, ...]
) -> None:
    image = RNG.integers(0, 255, shape, dtype=np.uint8)
    scene = open_scene(image)
    assert (scene.axes, scene.channels) == (axes, channels)
    plane = image.reshape(*scene.shape, -1)[..., : len(channels)]
    np.testing.assert_array_equal(scene.read(0, ALL, ALL), plane)
    rgb = scene.read_rgb(0, ALL, ALL)
    np.testing.assert_array_equal(rgb, np.broadcast_to(plane, (*scene.shape, 3)))
    top = scene.levels[-1]
    assert top.shape == (1, 1)
    assert scene.read(len(scene.levels) - 1, ALL, ALL).shape == (1, 1, len(channels))


def test_more_channels_than_colours_show_the_first_three_unless_chosen() -> None:
    image = RNG.integers(0, 255, (6, 20, 30), dtype=np.uint8)
    scene = open_scene(image, axes="CYX")
    assert scene.channel_names == ("0", "1", "2", "3", "4", "5")
    assert scene.channels == ("0", "1", "2")
    chosen = open_scene(image, axes="CYX", channels=["5", 0, 2])
    assert chosen.channels == ("5", "0", "2")
    np.testing.assert_array_equal(chosen.read(0, ALL, ALL), np.moveaxis(image[[5, 0, 2]], 0, -1))
    assert open_scene(image[:2], axes="CYX").channels == ("0",)
    assert open_scene(image, axes="CYX", channels=4).read(0, ALL, ALL).shape == (20, 30, 1)


@pytest.mark.parametrize(
    ("level", "rows", "cols"),
    [
        (0, slice(0, 11), ALL),
        (0, slice(-1, 5), ALL),
        (0, ALL, slice(5, 5)),
        (0, ALL, slice(0, 10, 2)),
        (1, slice(0, 6), ALL),
        (-1, ALL, ALL),
        (5, ALL, ALL),
    ],
)
def test_windows_beyond_the_scene_are_refused(level: int, rows: slice, cols: slice) -> None:
    scene = open_scene(np.zeros((10, 16), np.uint8))
    for read in (scene.read, scene.read_rgb, scene.is_empty):
        with pytest.raises(ValueError, match=r"window|levels") as caught:
            read(level, rows, cols)
        assert not isinstance(caught.value, InputError)


def test_empty_is_what_has_no_data_or_one_value() -> None:
    image = np.full((8, 32), 3.0, np.float32)
    image[:, 8:16] = np.nan
    image[:, 16:24] = -9999
    image[0, 16] = np.nan
    image[3, 27] = 4
    scene = open_scene(image, nodata=-9999)
    found = [scene.is_empty(0, ALL, slice(col, col + 8)) for col in range(0, 32, 8)]
    assert found == [True, True, True, False]
    assert not scene.is_empty(0, ALL, slice(0, 16))  # data beside none has a shape
    assert scene.is_empty(2, ALL, slice(2, 6))


def test_a_pixel_lacks_data_only_where_all_its_channels_do() -> None:
    image = np.full((2, 2, 3), 255, np.uint8)
    image[0, 0] = 255, 30, 20
    scene = open_scene(image, nodata=255)
    rgb = scene.read_rgb(0, ALL, ALL)
    np.testing.assert_array_equal(rgb[0, 0], (255, 30, 20))
    assert rgb.sum() == 305
    np.testing.assert_array_equal(scene.read(1, ALL, ALL)[0, 0], (255, 30, 20))


def test_a_kept_level_is_used_for_itself_and_all_above() -> None:
    scene = open_scene(RNG.integers(0, 255, (40, 50), dtype=np.uint8))
    kept = scene.with_level(2, scene.read(2, ALL, ALL))
    assert [level.stored for level in kept.levels[:4]] == [True, False, False, False]
    assert [level.kept for level in kept.levels[:4]] == [False, False, True, False]
    np.testing.assert_array_equal(kept.read(2, ALL, ALL), scene.read(2, ALL, ALL))
    marked = scene.with_level(2, np.full((10, 13, 1), 9, np.uint8))
    assert (marked.read(3, ALL, ALL) == 9).all()
    assert not (marked.read(1, ALL, ALL) == 9).all()
    for wrong in (np.zeros((10, 12, 1), np.uint8), np.zeros((10, 13, 1))):
        with pytest.raises(ValueError, match="level 2 of the array is"):
            scene.with_level(2, wrong)
    with pytest.raises(ValueError, match="levels 1 to"):
        scene.with_level(0, scene.read(0, ALL, ALL))


def test_several_arrays_are_one_pyramid() -> None:
    levels = [np.full((40 >> n, 50 >> n), n, np.uint8) for n in range(3)]
    scene = open_scene([*levels, np.zeros(3)])
    assert [level.stored for level in scene.levels[:4]] == [True, True, True, False]
    assert [int(scene.read(n, ALL, ALL).max()) for n in range(4)] == [0, 1, 2, 2]


class Counted:
    """An array that counts the pixels taken from it."""

    def __init__(self, shape: tuple[int, ...], dtype: Any = np.uint8) -> None:
        self.shape, self.dtype, self.taken, self.most = shape, np.dtype(dtype), 0, 0

    def __getitem__(self, selection: tuple[slice, ...]) -> np.ndarray:
        sizes = [part.stop - part.start for part in selection]
        self.taken += int(np.prod(sizes))
        self.most = max(self.most, int(np.prod(sizes)))
        return np.ones(sizes, self.dtype)


def test_only_what_is_asked_is_read() -> None:
    array = Counted((200_000, 200_000))
    scene = open_scene(array)
    assert array.taken == 0
    scene.read(0, slice(100_000, 100_100), slice(0, 10))
    assert array.taken == 1000
    scene.read(3, slice(25_000 - 2, 25_000), slice(7, 12))
    assert array.taken == 1000 + 16 * 40


def test_16_bits_cost_a_bounded_sample() -> None:
    array = Counted((200_000, 200_000), np.uint16)
    open_scene(array)
    assert 2**19 < array.taken <= 2**20


def test_coarse_levels_are_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyramid, "_PIXELS_AT_ONCE", 1000)
    array = Counted((200, 333))
    top = open_scene(array)
    assert (top.read(9, ALL, ALL) == 1).all()
    assert array.taken == 200 * 333
    assert array.most <= 1024
    image = RNG.integers(0, 255, (200, 333, 3), dtype=np.uint8)
    image[:90, 40:100] = 0
    for nodata in (None, 0):
        scene, expected = open_scene(image, nodata=nodata), image
        for level in range(1, len(scene.levels)):
            expected = block_mean(expected, 1, nodata)
            np.testing.assert_array_equal(scene.read(level, ALL, ALL), expected)


def test_one_chunk_of_a_huge_zarr_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = zarr.create_array(
        tmp_path / "huge.zarr", shape=(50_000, 50_000), chunks=(1000, 1000), dtype="uint8"
    )
    array[3000:4000, 5000:6000] = 7
    asked: list[str] = []
    get = zarr.storage.LocalStore.get

    async def counted(self: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(key)
        return await get(self, key, *args, **kwargs)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", counted)
    scene = open_scene(tmp_path / "huge.zarr")
    assert not [key for key in asked if key.startswith("c/")]
    assert (scene.read(0, slice(3100, 3200), slice(5900, 5999)) == 7).all()
    assert [key for key in asked if key.startswith("c/")] == ["c/3/5"]


@pytest.mark.parametrize("dtype", ["bool", ">u2", "<i8", "uint64", "float16", ">f4", "float64"])
def test_every_kind_of_number_has_levels_and_colours(dtype: str) -> None:
    image = (RNG.random((9, 11)) * 90).round() % 7
    image = image.astype(dtype)
    scene = open_scene(image)
    assert scene.dtype == np.dtype(dtype).newbyteorder("=")
    assert scene.read(0, ALL, ALL).dtype == scene.dtype
    assert scene.read(2, ALL, ALL).dtype == scene.dtype
    np.testing.assert_array_equal(scene.read(0, ALL, ALL)[..., 0], image)
    rgb = scene.read_rgb(0, ALL, ALL)
    assert (rgb.dtype, rgb.shape, rgb.min(), rgb.max()) == (np.uint8, (9, 11, 3), 0, 255)


@pytest.mark.parametrize("value", [0, 2**64 - 1, 2**63 + 5])
def test_means_of_large_integers_stay_in_their_type(value: int) -> None:
    scene = open_scene(np.full((4, 4), value, np.uint64))
    mean = int(scene.read(1, ALL, ALL)[0, 0, 0])
    assert abs(mean - value) <= value // 2**50


def test_infinite_values_make_no_noise() -> None:
    image = np.array([[np.inf, -np.inf, 1, 3], [0, 0, np.inf, 3]], np.float32)
    with np.errstate(all="raise"):
        scene = open_scene(image)
        coarse = scene.read(1, ALL, ALL)[0, :, 0]
        rgb = scene.read_rgb(0, ALL, ALL)[..., 0]
    assert np.isnan(coarse[0])
    assert coarse[1] == np.inf
    np.testing.assert_array_equal(rgb[0], (255, 0, 85, 255))


def test_a_scene_travels_to_another_process(tmp_path: Path) -> None:
    image = RNG.integers(0, 255, (20, 30), dtype=np.uint8)
    np.save(tmp_path / "image.npy", image)
    zarr.save_array(tmp_path / "image.zarr", image)
    for path in (tmp_path / "image.npy", tmp_path / "image.zarr"):
        scene = open_scene(path)
        scene.read(0, ALL, ALL)
        sent = pickle.dumps(scene)
        assert image.tobytes() not in sent
        there: Scene = pickle.loads(sent)
        np.testing.assert_array_equal(there.read(0, ALL, ALL)[..., 0], image)


def test_arrays_of_any_library() -> None:
    da = pytest.importorskip("dask.array")
    image = RNG.integers(0, 60000, (2, 20, 30), dtype=np.uint16)
    computed = itertools.count()

    def load(block: np.ndarray) -> np.ndarray:
        next(computed)
        return block

    lazy = da.from_array(image, chunks=(1, 10, 10)).map_blocks(load, meta=image[:0])
    given = Normalisation("percentile", (0.0,), (60000.0,))
    scene = open_scene(lazy, axes="ZYX", z=1, normalisation=given)
    assert next(computed) == 0
    np.testing.assert_array_equal(scene.read(0, slice(0, 5), slice(0, 5))[..., 0], image[1, :5, :5])
    assert next(computed) == 2  # one chunk, and the question before
    memory = zarr.array(image)
    np.testing.assert_array_equal(
        open_scene(memory, axes="CYX", channels=1).read(1, ALL, ALL),
        block_mean(image[1][..., None], 1),
    )
