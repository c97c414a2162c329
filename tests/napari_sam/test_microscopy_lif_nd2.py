"""LIF and ND2 files become scenes with their parts, channels and sizes."""

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_microscopy import write_lif, write_nd2

from napari_sam.errors import InputError
from napari_sam.files.microscopy.lif import lif_parts, open_lif
from napari_sam.files.microscopy.nd2_files import nd2_parts, open_nd2
from napari_sam.scene import PixelSize, open_scene
from napari_sam.scenes.opening import parts_of
from napari_sam.scenes.sources import Source

RNG = np.random.default_rng(7)
STACK = RNG.integers(0, 60000, (2, 3, 2, 20, 30)).astype(np.uint16)
FRAMES = np.moveaxis(STACK, 2, -1)  # T, Z, Y, X, C

FUZZ = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@pytest.fixture
def lif(tmp_path: Path) -> Path:
    pytest.importorskip("liffile")
    tiles = RNG.integers(0, 255, (3, 9, 8), dtype=np.uint8)
    images = [("stack", "TZCYX", STACK), ("tiles", "MYX", tiles), ("flat", "YX", tiles[0])]
    write_lif(tmp_path / "made.lif", images)
    return tmp_path / "made.lif"


@pytest.fixture
def nd2(tmp_path: Path) -> Path:
    pytest.importorskip("nd2")
    write_nd2(tmp_path / "made.nd2", FRAMES, "TZ")
    return tmp_path / "made.nd2"


def whole(source: Source) -> np.ndarray:
    array = pickle.loads(pickle.dumps(source.levels[0]))
    return np.asarray(array[tuple(slice(0, side) for side in array.shape)])


def test_a_stack_of_lif(lif: Path) -> None:
    source = open_lif(lif, "stack")
    assert source.axes == "TCZYX"
    assert source.channel_names == ("dye 0", "dye 1")
    assert (source.pixel_size, source.depth) == (PixelSize(1.0, 1.0, "micrometer"), 1.0)
    np.testing.assert_array_equal(whole(source), np.swapaxes(STACK, 1, 2))
    np.testing.assert_array_equal(source.levels[0][1, 0, 2, 5:9, 7], STACK[1, 2, 0, 5:9, 7])


def test_images_and_tiles_of_lif_are_parts(lif: Path) -> None:
    parts = ("stack", "tiles tile 0", "tiles tile 1", "tiles tile 2", "flat")
    assert lif_parts(lif) == parts_of(lif) == parts
    assert whole(open_lif(lif, "tiles tile 2")).shape == (9, 8)
    with pytest.raises(InputError, match="holds 5 images: choose one with part='stack', part="):
        open_lif(lif, None)


def test_a_stack_of_nd2(nd2: Path) -> None:
    source = open_nd2(nd2, None)
    assert source.axes == "TCZYX"
    assert source.channel_names == ("channel 0", "channel 1")
    assert (source.pixel_size, source.depth) == (PixelSize(0.25, 0.25, "micrometer"), 2.0)
    np.testing.assert_array_equal(whole(source), np.swapaxes(STACK, 1, 2))


def test_positions_of_nd2_are_parts(tmp_path: Path) -> None:
    pytest.importorskip("nd2")
    path = tmp_path / "positions.nd2"
    write_nd2(path, FRAMES, "TP", positions=["left", "right", "right"])
    assert nd2_parts(path) == ("left", "right (1)", "right (2)")
    np.testing.assert_array_equal(whole(open_nd2(path, "right (2)")), STACK[:, 2])
    with pytest.raises(InputError, match="holds 3 positions"):
        open_nd2(path, None)


def test_a_recording_that_ended_early_is_told(tmp_path: Path) -> None:
    pytest.importorskip("nd2")
    path = tmp_path / "early.nd2"
    write_nd2(path, FRAMES, "TZ", frames_there=4)
    source = open_nd2(path, None)
    assert source.notes == ("The recording ended early: 4 of 6 frames are there.",)
    assert whole(source)[0].any()
    assert not whole(source)[1, :, 1:].any()


def test_a_single_frame_of_nd2(tmp_path: Path) -> None:
    pytest.importorskip("nd2")
    write_nd2(tmp_path / "one.nd2", FRAMES[0, 0, ..., :1], "")
    scene = open_scene(tmp_path / "one.nd2")
    np.testing.assert_array_equal(scene.read(0, slice(None), slice(None)), FRAMES[0, 0, ..., :1])


@pytest.mark.parametrize(("name", "library"), [("a.lif", "liffile"), ("a.nd2", "nd2")])
def test_a_missing_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, library: str
) -> None:
    (tmp_path / name).write_bytes(b"content")

    def without(module: str) -> Any:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr("importlib.import_module", without)
    open_it = open_lif if library == "liffile" else open_nd2
    with pytest.raises(InputError, match=rf"{library} is needed .*napari-sam-tiled\[microscopy\]"):
        open_it(tmp_path / name, None)


@pytest.mark.parametrize("open_it", [open_lif, open_nd2])
def test_missing_files_are_told(tmp_path: Path, open_it: Any) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        open_it(tmp_path / "none", None)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of nd2, about what it was given
@pytest.mark.parametrize("kind", ["lif", "nd2"])
@FUZZ
@given(data=st.data())
def test_damaged_files_are_told(
    kind: str, request: pytest.FixtureRequest, data: st.DataObject
) -> None:
    made: Path = request.getfixturevalue(kind)
    content = bytearray(made.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    else:
        # The description comes first; ND2 tells at its end where everything lies.
        near = st.integers(0, 6000) | st.integers(len(content) - 600, len(content) - 1)
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(near)] = data.draw(st.integers(0, 255))
    damaged = made.with_name(f"damaged.{kind}")
    damaged.write_bytes(content)
    opened = open_lif if kind == "lif" else open_nd2
    with contextlib.suppress(InputError):
        source = opened(damaged, "stack" if kind == "lif" else None)
        scene = open_scene(source.levels[0], axes=source.axes)
        scene.read(0, slice(0, 8), slice(0, 8))
