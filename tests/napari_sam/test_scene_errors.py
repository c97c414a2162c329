"""What is no Scene is refused in one sentence that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from napari_sam.errors import InputError
from napari_sam.scene import open_scene

GREY = np.arange(600, dtype=np.uint16).reshape(20, 30)
STACK = np.zeros((5, 20, 30), np.uint8)


def assert_one_sentence(error: InputError, expected: str) -> None:
    sentence = str(error)
    assert expected in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        (GREY, {"axes": "YQ"}, "say what they are with e.g. axes='YZ'"),
        (GREY, {"axes": "YXS"}, "has 2 axes"),
        (GREY, {"axes": "YY"}, "names an axis twice"),
        (GREY, {"axes": "ZY"}, "no X (columns)"),
        (GREY, {"t": 1}, "has no t=1: give 0"),
        (STACK, {"axes": "ZYX", "z": 5}, "has no z=5: give a whole number from 0 to 4"),
        (STACK, {"axes": "ZYX", "z": -1}, "has no z=-1"),
        (STACK, {"axes": "ZYX", "z": 1.5}, "has no z=1.5"),
        (STACK, {}, "give e.g. axes='ZYX' or axes='CYX'"),
        (np.zeros((2, 3, 4, 50, 60)), {}, "give e.g. axes='TCZYX'"),
        (np.zeros((2,) * 8), {}, "too many axes"),
        (np.zeros(7), {}, "rows and columns at least"),
        (np.zeros((0, 7)), {}, "has no pixels"),
        (STACK, {"axes": "CYX", "channels": 5}, "has no channel 5; choose from 0 to 4"),
        (STACK, {"axes": "CYX", "channels": "DAPI"}, "has no channel 'DAPI'"),
        (STACK, {"axes": "CYX", "channels": [0, 1]}, "2 channels are chosen"),
        (STACK, {"axes": "CYX", "channels": []}, "0 channels are chosen"),
        (GREY.astype(complex), {}, "complex numbers"),
        (GREY.astype(object), {}, "values of type object"),
        (GREY.astype("datetime64[s]"), {}, "values of type datetime64"),
        (GREY, {"nodata": -1}, "of which nodata=-1 is none: give one from 0 to 65535"),
        (GREY, {"nodata": np.inf}, "of which nodata=inf"),
        (GREY, {"pixel_size": (0.0, 1.0, "um")}, "is no size"),
        (GREY, {"pixel_size": 3.0}, "is no size"),
        (None, {}, "not NoneType"),
        ([[1, 2], [3, 4]], {}, "not list"),
    ],
)
def test_choices_and_arrays(image: Any, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        open_scene(image, **options)
    assert_one_sentence(caught.value, expected)


def write_bad(folder: Path, kind: str) -> Path:
    """Make a file or folder that is no image."""
    path = folder / "bad"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("This is no image.")
    elif kind == "folder":
        path.mkdir()
    elif kind == "corrupt tiff":
        path.write_bytes(b"II*\0" + bytes(range(60)))
    elif kind == "corrupt npy":
        path.write_bytes(b"\x93NUMPY" + bytes(20))
    elif kind == "objects":
        np.save(folder / "bad.npy", GREY.astype(object))
        return folder / "bad.npy"
    elif kind == "complex tiff":
        tifffile.imwrite(path, GREY.astype(np.complex64))
    elif kind == "pages":
        tifffile.imwrite(path, STACK, photometric="minisblack")
    elif kind == "group":
        zarr.open_group(path, mode="w").create_array("inside", data=GREY)
    elif kind == "level missing":
        multiscale = {"axes": ["y", "x"], "datasets": [{"path": "0"}]}
        zarr.open_group(path, mode="w").attrs["multiscales"] = [multiscale]
    elif kind == "no levels":
        zarr.open_group(path, mode="w").attrs["multiscales"] = [{"axes": ["y"], "datasets": []}]
    elif kind == "metadata":
        path.mkdir()
        (path / "zarr.json").write_text("{")
    return path


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("missing", "there is no such file"),
        ("empty", "is empty (0 bytes)"),
        ("text", "is not a picture"),
        ("folder", "is a folder, and neither a Zarr"),
        ("corrupt tiff", "is damaged or not a picture"),
        ("corrupt npy", "is damaged or not a picture"),
        ("objects", "is damaged or not a picture"),
        ("complex tiff", "complex numbers"),
        ("pages", "Q means nothing here: say what they are with e.g. axes='ZYX'"),
        ("group", "is a Zarr group without an image in it"),
        ("level missing", "bad/0 is missing"),
        ("no levels", "is a Zarr group without an image in it"),
        ("metadata", "is missing, damaged, or not Zarr"),
    ],
)
def test_files(tmp_path: Path, kind: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        open_scene(write_bad(tmp_path, kind))
    assert_one_sentence(caught.value, expected)


def test_damage_is_told_where_it_is_met(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8)
    zarr.create_array(tmp_path / "a.zarr", data=image, chunks=(100, 100))
    chunk = tmp_path / "a.zarr" / "c" / "1" / "0"
    chunk.write_bytes(b"nonsense" * 10)
    tifffile.imwrite(tmp_path / "a.tif", image, tile=(96, 96), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        offset = tiff.pages[0].dataoffsets[4]
    with (tmp_path / "a.tif").open("r+b") as file:
        file.seek(offset)
        file.write(b"nonsense" * 10)
    for name in ("a.zarr", "a.tif"):
        scene = open_scene(tmp_path / name)
        good = scene.read(0, slice(0, 90), slice(0, 90))
        np.testing.assert_array_equal(good[..., 0], image[:90, :90])
        with pytest.raises(InputError) as caught:
            scene.read(0, slice(120, 130), slice(96, 99))
        assert_one_sentence(caught.value, f"{name} cannot be read at rows 120 to 130")
