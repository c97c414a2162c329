"""Files that hold several images: OME-TIFF, plates, series of bioformats2raw, zipped Zarr."""

from __future__ import annotations

import contextlib
import json
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_sam.errors import InputError
from napari_sam.files.zarr_images import zarr_parts
from napari_sam.scene import PixelSize, open_scene
from napari_sam.scenes.opening import parts_of
from napari_sam.scenes.tiff_images import tiff_parts

ALL = slice(None)


def write_image(group: Any, value: int, version: str = "0.5") -> None:
    """Write a picture of one value, 0.5 x 0.25 micrometers, planes 2 apart."""
    array = group.create_array("0", shape=(3, 20, 30), dtype=np.uint8, fill_value=0)
    array[:] = value
    scale = [{"type": "scale", "scale": [2.0, 0.5, 0.25]}]
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    multiscales = [{"axes": axes, "datasets": datasets}]
    if version == "0.4":
        group.attrs.update({"multiscales": [{"version": "0.4", **multiscales[0]}]})
    else:
        group.attrs.update({"ome": {"version": "0.5", "multiscales": multiscales}})


def value_of(path: Path, part: str | None = None) -> int:
    scene = open_scene(path, part=part)
    block = scene.read(0, ALL, ALL)
    assert (block == block[0, 0]).all()
    return int(block[0, 0, 0])


def test_images_of_an_ome_tiff(tmp_path: Path) -> None:
    path = tmp_path / "several.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for number, name in enumerate(["left", "right", "label image", "Macro"]):
            writer.write(
                np.full((2, 3, 20 + number, 30), number, np.uint8),
                metadata={
                    "axes": "CZYX",
                    "Name": name,
                    "Channel": {"Name": [f"{name} a", f"{name} b"]},
                    "PhysicalSizeX": 0.25,
                    "PhysicalSizeY": 0.5 + number,
                    "PhysicalSizeZ": 2.0,
                },
            )
    assert tiff_parts(path) == parts_of(path) == ("left", "right")
    scene = open_scene(path, part="right", channels=0)
    assert scene.channel_names == ("right a", "right b")
    assert scene.pixel_size == PixelSize(1.5, 0.25, "µm")
    assert scene.depth == 2.0
    assert (scene.axes, scene.shape) == ("CZYX", (21, 30))
    assert (scene.read(0, ALL, ALL) == 1).all()
    with pytest.raises(InputError, match="2 images: choose one with part='left' or part='right'"):
        open_scene(path)


def test_one_image_needs_no_part(tmp_path: Path) -> None:
    path = tmp_path / "one.tif"
    tifffile.imwrite(path, np.zeros((20, 30), np.uint8))
    assert open_scene(path).part is None
    assert parts_of(path) == ()
    with pytest.raises(InputError, match="has no part 'B'"):
        open_scene(path, part="B")
    np.save(tmp_path / "one.npy", np.zeros((20, 30), np.uint8))
    with pytest.raises(InputError, match="holds one image only"):
        open_scene(tmp_path / "one.npy", part="B")


def test_the_depth_of_an_imagej_stack(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "stack.tif",
        np.zeros((4, 20, 30), np.uint16),
        imagej=True,
        resolution=(4, 2),
        metadata={"axes": "ZYX", "spacing": 1.5, "unit": "micron"},
    )
    scene = open_scene(tmp_path / "stack.tif")
    assert (scene.pixel_size, scene.depth) == (PixelSize(0.5, 0.25, "micron"), 1.5)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("listed", [False, True])
def test_a_series_of_bioformats2raw(tmp_path: Path, version: str, listed: bool) -> None:
    path = tmp_path / "series.zarr"
    root = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    names = ["first", "second"] if listed else ["0", "1"]
    for number, name in enumerate(names):
        write_image(root.create_group(name), number + 1, version)
    if listed:
        told = root.create_group("OME")
        series: dict[str, Any] = {"series": names}
        told.attrs.update(series if version == "0.4" else {"ome": {"version": "0.5", **series}})
    root.attrs.update({"bioformats2raw.layout": 3})
    assert zarr_parts(path) == parts_of(str(path)) == tuple(names)
    assert value_of(path, names[1]) == 2
    scene = open_scene(path, part=names[0])
    assert (scene.pixel_size, scene.depth) == (PixelSize(0.5, 0.25, "micrometer"), 2.0)
    with pytest.raises(InputError, match="holds 2 images: choose one with part="):
        open_scene(path)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_fields_of_a_plate(tmp_path: Path, version: str) -> None:
    path = tmp_path / "plate.zarr"
    root = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)

    def tell(group: Any, about: dict[str, Any]) -> None:
        group.attrs.update(about if version == "0.4" else {"ome": {"version": "0.5", **about}})

    wells = [{"path": "A/1"}, {"path": "B/2"}, {"path": "../outside"}]
    tell(root, {"plate": {"wells": wells}})
    for number, well in enumerate(["A/1", "B/2"]):
        group = root.create_group(well)
        tell(group, {"well": {"images": [{"path": "0"}, {"path": "/etc"}]}})
        write_image(group.create_group("0"), number + 5, version)
    assert zarr_parts(path) == ("A/1/0", "B/2/0")
    assert value_of(path, "B/2/0") == 6
    assert value_of(path / "A" / "1") == 5
    with pytest.raises(InputError, match=r"no part '\.\./outside/0'"):
        open_scene(path, part="../outside/0")


def zipped(folder: Path, path: Path, inside: str = "", method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in folder.rglob("*"):
            if file.is_file():
                archive.write(file, f"{inside}{file.relative_to(folder).as_posix()}")
    return path


@pytest.mark.parametrize("inside", ["", "image.zarr/"])
@pytest.mark.parametrize("ending", [".zarr.zip", ".ozx"])
def test_a_zipped_image(tmp_path: Path, inside: str, ending: Literal[".zarr.zip", ".ozx"]) -> None:
    write_image(zarr.create_group(tmp_path / "a.zarr"), 7)
    path = zipped(tmp_path / "a.zarr", tmp_path / f"a{ending}", inside)
    assert value_of(path) == 7
    assert parts_of(path) == ()
    assert open_scene(path).depth == 2.0


def test_a_zip_that_leads_out_or_grows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a.zarr"
    write_image(zarr.create_group(folder), 7)
    for name in ("../evil", "/evil", "..\\evil", "a/../../evil", "C:/evil"):
        path = zipped(folder, tmp_path / "evil.zarr.zip")
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, b"")
        with pytest.raises(InputError, match="leads out of the archive"):
            open_scene(path)
    path = zipped(folder, tmp_path / "bomb.zarr.zip", method=zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0/c/9/9/9", bytes(3 << 20))
    monkeypatch.setattr("napari_sam.files.microscopy.zipped_zarr._LARGEST", 2 << 20)
    with pytest.raises(InputError, match="would become 3 MiB"):
        open_scene(path)
    path = tmp_path / "empty.ozx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", b"")
    with pytest.raises(InputError, match="holds no Zarr"):
        open_scene(path)


@pytest.fixture(scope="module")
def archive_of_zarr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zipped")
    write_image(zarr.create_group(folder / "a.zarr"), 7)
    return zipped(folder / "a.zarr", folder / "a.ozx")


def test_chunks_that_no_memory_holds_are_refused(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path / "huge.zarr")
    write_image(root, 1)
    file = tmp_path / "huge.zarr" / "0" / "zarr.json"
    about = json.loads(file.read_text())
    about["shape"] = about["chunk_grid"]["configuration"]["chunk_shape"] = [3, 1 << 24, 1 << 24]
    file.write_text(json.dumps(about))
    with pytest.raises(InputError, match="more than this machine's memory"):
        open_scene(tmp_path / "huge.zarr")


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_damaged_metadata_are_told(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged") / "a.zarr"
    root = zarr.create_group(folder)
    write_image(root.create_group("0"), 7)
    root.attrs.update({"ome": {"version": "0.5", "plate": {"wells": [{"path": "A/1"}]}}})
    file = folder / data.draw(st.sampled_from(["zarr.json", "0/zarr.json", "0/0/zarr.json"]))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(32, 126))
    file.write_bytes(content)
    with contextlib.suppress(InputError):
        parts_of(folder)
    with contextlib.suppress(InputError):
        open_scene(folder / "0").read(0, slice(0, 4), slice(0, 4))


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_damaged_archives_are_told(archive_of_zarr: Path, data: st.DataObject) -> None:
    content = bytearray(archive_of_zarr.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
    damaged = archive_of_zarr.with_name("damaged.ozx")
    damaged.write_bytes(content)
    with contextlib.suppress(InputError):
        open_scene(damaged).read(0, slice(0, 4), slice(0, 4))
