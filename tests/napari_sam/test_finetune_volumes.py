"""Training data in volumes: what is written is what is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from training_pictures import SHAPE, as_labels, dense, make_image, make_labels, make_volume

from napari_sam.errors import InputError
from napari_sam.finetune.data import (
    open_pictures,
    open_volume,
)


def _write_ome(
    path: Path, data: NDArray[Any], axes: str, version: str, names: list[str] | None = None
) -> None:
    zarr_format = 2 if version == "0.4" else 3
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    group.create_array("0", data=data, chunks=tuple(min(24, n) for n in data.shape))
    half = data[..., ::2, ::2]
    group.create_array("1", data=half, chunks=half.shape)
    kinds = {"t": "time", "c": "channel"}
    multiscales = [
        {
            "axes": [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes],
            "datasets": [{"path": "0"}, {"path": "1"}],
        }
    ]
    _write_attributes(group, {"multiscales": multiscales}, version)
    if names is not None:
        _write_attributes(group.create_group("labels"), {"labels": names}, version)


def _write_attributes(group: zarr.Group, attributes: dict[str, Any], version: str) -> None:
    group.attrs.update(
        attributes if version == "0.4" else {"ome": {"version": version, **attributes}}
    )


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_plain_volumes(tmp_path: Path, zarr_format: Any) -> None:
    image, labels = make_volume()
    for name, data in (("image", image), ("labels", labels)):
        zarr.create_array(tmp_path / name, data=data, chunks=(4, 20, 20), zarr_format=zarr_format)
    pictures = open_pictures(tmp_path / "image", tmp_path / "labels")
    assert [pictures.name(index) for index in range(len(pictures))] == [
        f"image z={z}" for z in (0, 2, 3, 5)
    ]
    assert pictures.notes == ("image: 2 of 6 slices have no object and are left out.",)
    assert pictures.image_size(0) == SHAPE
    for picture, z in zip(pictures, (0, 2, 3, 5), strict=True):
        np.testing.assert_array_equal(as_labels(picture.objects), dense(labels[z]))
    # One stretch for all: the same value looks the same in every slice.
    seen = np.stack([picture.image[..., 0] for picture in pictures]).ravel().astype(int)
    values = image[[0, 2, 3, 5]].ravel()
    assert (np.diff(seen[np.argsort(values, kind="stable")]) >= 0).all()


@pytest.mark.parametrize("axis", ["y", 1, -2])
def test_volumes_cut_along_another_axis(tmp_path: Path, axis: str | int) -> None:
    image, labels = make_volume()
    zarr.create_array(tmp_path / "image", data=image)
    zarr.create_array(tmp_path / "labels", data=labels)
    pictures = open_volume(tmp_path / "image", tmp_path / "labels", axis=axis)
    rows = np.flatnonzero(labels.any((0, 2)))
    assert len(pictures) == len(rows)
    np.testing.assert_array_equal(as_labels(pictures[3].objects), dense(labels[:, rows[3]]))
    assert pictures[3].image.shape == (6, SHAPE[1], 3)
    assert pictures.name(3) == f"image y={rows[3]}"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_with_its_labels_inside(tmp_path: Path, version: str) -> None:
    image, labels = make_volume()
    path = tmp_path / "cells.ome.zarr"
    series = np.stack([image, image[::-1]])[:, None]
    truth = np.stack([labels, labels[::-1]])
    _write_ome(path, series, "tczyx", version, names=["nuclei"])
    _write_ome(path / "labels" / "nuclei", truth, "tzyx", version)
    pictures = open_pictures(path)
    assert len(pictures) == 8
    assert pictures.name(4) == "cells.ome.zarr t=1 z=0"
    np.testing.assert_array_equal(as_labels(pictures[4].objects), dense(labels[5]))
    assert pictures[4].image.shape == (*SHAPE, 3)
    given_both = open_pictures(path, path / "labels" / "nuclei")
    np.testing.assert_array_equal(given_both[4].image, pictures[4].image)


def test_a_plane_in_colour(tmp_path: Path) -> None:
    image = np.moveaxis(make_image(), -1, 0)
    _write_ome(tmp_path / "image.zarr", image, "cyx", "0.5")
    _write_ome(tmp_path / "labels.zarr", make_labels(), "yx", "0.5")
    pictures = open_volume(tmp_path / "image.zarr", tmp_path / "labels.zarr")
    assert len(pictures) == 1
    np.testing.assert_array_equal(pictures[0].image, make_image())
    np.testing.assert_array_equal(as_labels(pictures[0].objects), dense(make_labels()))


@pytest.mark.parametrize("place", [0, -1])
def test_channels_of_plain_arrays(tmp_path: Path, place: int) -> None:
    colours = np.stack([make_image(z) for z in range(6)])
    zarr.create_array(
        tmp_path / "image", data=np.ascontiguousarray(np.moveaxis(colours, -1, place))
    )
    zarr.create_array(tmp_path / "labels", data=make_volume()[1])
    pictures = open_volume(tmp_path / "image", tmp_path / "labels")
    np.testing.assert_array_equal(pictures[1].image, colours[2])


def test_bad_volumes_are_named(tmp_path: Path) -> None:
    image, labels = make_volume()

    def write(name: str, data: NDArray[Any]) -> Path:
        zarr.create_array(tmp_path / name, data=data)
        return tmp_path / name

    good, truth = write("good", image), write("truth", labels)
    with pytest.raises(InputError, match="float32 numbers"):
        open_volume(good, write("floats", labels.astype(np.float32)))
    with pytest.raises(InputError, match="image and labels must agree"):
        open_volume(good, write("short", labels[:5]))
    with pytest.raises(InputError, match="image and labels must agree"):
        open_volume(good, write("flat", labels[0]))
    with pytest.raises(InputError, match="2 channels"):
        open_volume(write("pair", np.stack([image, image])), truth)
    with pytest.raises(InputError, match="cannot be cut along 'q'; choose one of z, y, x"):
        open_volume(good, truth, axis="q")
    with pytest.raises(InputError, match="4 axes without names"):
        open_volume(good, write("deep", labels[None]))
    zarr.open_group(tmp_path / "group", mode="w")
    with pytest.raises(InputError, match="without an image in it"):
        open_volume(tmp_path / "group", truth)
    with pytest.raises(InputError, match="has no labels inside"):
        open_volume(good)
    _write_ome(tmp_path / "two", image, "zyx", "0.5", names=["a", "b"])
    with pytest.raises(InputError, match=r"several label images \(a, b\)"):
        open_pictures(tmp_path / "two")
    chunk = next(path for path in sorted((truth / "c").rglob("*")) if path.is_file())
    chunk.write_bytes(b"damaged")
    with pytest.raises(InputError, match="truth is damaged"):
        open_volume(good, truth)
