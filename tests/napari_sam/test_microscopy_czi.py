"""CZI files become scenes with their mosaics, levels, channels and sizes."""

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_microscopy import (
    CZI_JPEG_XR,
    CZI_RAW,
    CZI_ZSTD,
    CZI_ZSTD_HEADED,
    czi_xml,
    write_czi,
)

from napari_sam.errors import InputError
from napari_sam.files.microscopy.czi import czi_parts, open_czi
from napari_sam.scene import PixelSize

RNG = np.random.default_rng(5)
WORDS = RNG.integers(0, 60000, (2, 3, 40, 30)).astype(np.uint16)
COLOUR = RNG.integers(0, 256, (40, 30, 3), dtype=np.uint8)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    tiles = [({"C": c, "Z": z}, WORDS[c, z]) for c in range(2) for z in range(3)]
    xml = czi_xml(["DAPI", "GFP"], meters={"X": 2.5e-7, "Y": 5e-7, "Z": 1e-6})
    write_czi(tmp_path / "stack.czi", tiles, xml=xml)
    return tmp_path / "stack.czi"


def test_a_stack_of_channels(stack: Path) -> None:
    source = open_czi(stack, None)
    assert source.axes == "CZYX"
    assert source.channel_names == ("DAPI", "GFP")
    assert source.pixel_size == PixelSize(0.5, 0.25, "micrometer")
    assert source.depth == 1.0
    array = pickle.loads(pickle.dumps(source.levels[0]))
    assert array.shape == WORDS.shape
    np.testing.assert_array_equal(array[1, 0:3, 5:9, 7], WORDS[1, :, 5:9, 7])


def test_czifile_reads_the_same(stack: Path, tmp_path: Path) -> None:
    # The made files are what others take for a CZI. Since Python 3.12 there is a newer czifile.
    czifile = pytest.importorskip("czifile", reason="czifile is not installed")
    write_czi(tmp_path / "colour.czi", [({"M": 0}, COLOUR)])
    for path in (stack, tmp_path / "colour.czi"):
        theirs = np.squeeze(czifile.imread(str(path)))
        ours = open_czi(path, None).levels[0]
        whole = ours[(slice(None),) * len(ours.shape)]
        if theirs.shape != whole.shape:  # the older one gives axes as the file's entries name them
            theirs = np.moveaxis(theirs, 1, 0)
        np.testing.assert_array_equal(whole, theirs)


@pytest.mark.parametrize("compression", [CZI_RAW, CZI_JPEG_XR, CZI_ZSTD, CZI_ZSTD_HEADED])
def test_compressions(tmp_path: Path, compression: int) -> None:
    path = tmp_path / "one.czi"
    write_czi(path, [({"C": 0}, WORDS[0, 0])], compression=compression)
    array = open_czi(path, None).levels[0]
    np.testing.assert_array_equal(array[3:20, 1:30], WORDS[0, 0][3:20, 1:30])


@pytest.mark.parametrize("compression", [CZI_RAW, CZI_JPEG_XR, CZI_ZSTD])
def test_colours_come_red_first(tmp_path: Path, compression: int) -> None:
    path = tmp_path / "colour.czi"
    write_czi(path, [({}, COLOUR)], compression=compression)
    source = open_czi(path, None)
    assert (source.axes, source.channel_names) == ("YXS", ("red", "green", "blue"))
    np.testing.assert_array_equal(source.levels[0][0:40, 0:30, 0:3], COLOUR)


def test_a_mosaic_with_a_gap_and_an_overlap(tmp_path: Path) -> None:
    full = np.zeros((50, 70), np.uint8)
    tiles = []
    for number, (row, col) in enumerate([(-10, 100), (-10, 130), (10, 120)]):
        pixels = np.full((30, 32), number + 1, np.uint8)
        tiles.append(({"X": col, "Y": row, "M": number}, pixels))
        full[row + 10 : row + 40, col - 100 : col - 68] = pixels
    write_czi(tmp_path / "mosaic.czi", tiles[::-1])
    array = open_czi(tmp_path / "mosaic.czi", None).levels[0]
    assert array.shape == (50, 62)
    np.testing.assert_array_equal(array[0:50, 0:62], full[:, :62])


def test_levels_that_halve_are_used(tmp_path: Path) -> None:
    sizes = [(1, 64), (2, 32), (3, 21), (4, 16)]
    tiles = [({}, np.full((side, side), factor, np.uint8)) for factor, side in sizes]
    write_czi(tmp_path / "levels.czi", tiles, zoom=[factor for factor, _ in sizes])
    levels = open_czi(tmp_path / "levels.czi", None).levels
    assert [level.shape for level in levels] == [(64, 64), (32, 32), (16, 16)]
    assert [int(level[0, 0]) for level in levels] == [1, 2, 4]


def test_scenes_are_parts(tmp_path: Path) -> None:
    path = tmp_path / "scenes.czi"
    tiles = [({"S": scene, "X": 50 * scene}, WORDS[0, scene]) for scene in range(2)]
    write_czi(path, tiles, xml=czi_xml(scenes=["A1", "B2"]))
    assert czi_parts(path) == ("A1", "B2")
    np.testing.assert_array_equal(open_czi(path, "B2").levels[0][0:40, 0:30], WORDS[0, 1])
    with pytest.raises(InputError, match="choose one with part='A1' or part='B2'"):
        open_czi(path, None)
    with pytest.raises(InputError, match="no part 'C3'"):
        open_czi(path, "C3")


def test_what_is_not_shown_is_said(tmp_path: Path) -> None:
    tiles = [({"H": phase}, WORDS[0, phase]) for phase in range(2)]
    write_czi(tmp_path / "phases.czi", tiles)
    source = open_czi(tmp_path / "phases.czi", None)
    assert "axis H" in source.notes[0]
    np.testing.assert_array_equal(source.levels[0][0:40, 0:30], WORDS[0, 0])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_told(stack: Path, data: st.DataObject) -> None:
    content = bytearray(stack.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    else:
        headers = [at for at in range(len(content) - 10) if content[at : at + 6] == b"ZISRAW"]
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.sampled_from(headers)) + data.draw(st.integers(0, 250))
            content[min(place, len(content) - 1)] = data.draw(st.integers(0, 255))
    damaged = stack.with_name("damaged.czi")
    damaged.write_bytes(content)
    with contextlib.suppress(InputError):
        array = open_czi(damaged, None).levels[0]
        array[tuple(slice(0, min(side, 16)) for side in array.shape)]
