"""Training data in folders: what is written is what is read."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import zarr
from PIL import Image
from training_pictures import SHAPE, as_labels, dense, make_image, make_labels, make_volume

from napari_sam.errors import InputError
from napari_sam.finetune.data import (
    open_folder,
    open_images,
    open_pictures,
    open_sa1b,
)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    return images, labels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32, np.int64])
@pytest.mark.parametrize("suffix", ["png", "tif", "npy"])
def test_folders_of_images_and_label_maps(
    folders: tuple[Path, Path], dtype: Any, suffix: str
) -> None:
    images, labels = folders
    truth = make_labels().astype(dtype) * 30
    Image.fromarray(make_image()).save(images / "a.png")
    if suffix == "tif":
        tifffile.imwrite(labels / "a.tif", truth)
    elif suffix == "npy":
        np.save(labels / "a.npy", truth)
    else:
        Image.fromarray(truth.astype(np.uint8 if dtype == np.uint8 else np.uint16)).save(
            labels / "a.png"
        )
    (images / "notes.txt").write_text("not an image")
    (labels / ".hidden.png").write_text("not a label map")
    pictures = open_folder(images, labels)
    assert len(pictures) == 1
    assert pictures.image_size(0) == SHAPE
    picture = pictures[0]
    assert picture.name == "a.png"
    np.testing.assert_array_equal(picture.image, make_image())
    np.testing.assert_array_equal(as_labels(picture.objects), dense(truth))


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, np.uint32])
def test_images_of_any_depth_are_stretched(folders: tuple[Path, Path], dtype: Any) -> None:
    images, labels = folders
    ramp = np.linspace(0, 30000, SHAPE[0] * SHAPE[1]).reshape(SHAPE).astype(dtype)
    tifffile.imwrite(images / "a.tif", ramp)
    tifffile.imwrite(labels / "a.tif", make_labels())
    image = open_folder(images, labels)[0].image
    assert image.dtype == np.uint8
    assert image.shape == (*SHAPE, 3)
    assert image.min() == 0
    assert image.max() == 255
    assert (np.diff(image[..., 0].ravel().astype(int)) >= 0).all()


def test_ids_and_components(folders: tuple[Path, Path]) -> None:
    images, labels = folders
    truth = np.zeros(SHAPE, np.uint8)
    truth[2:5, 2:5] = truth[10:15, 2:5] = truth[15:20, 5:8] = 255
    truth[30:33, 30:33] = 7
    Image.fromarray(make_image()).save(images / "a.png")
    Image.fromarray(truth).save(labels / "a.png")
    assert [item.area for item in open_folder(images, labels)[0].objects.items] == [9, 39]
    parts = open_pictures(images, labels, "components")[0].objects
    assert sorted(item.area for item in parts.items) == [9, 9, 30]  # corners connect


def test_palette_indices_and_bits_are_labels(folders: tuple[Path, Path]) -> None:
    images, labels = folders
    truth = make_labels().astype(np.uint8)
    for name in "ab":
        Image.fromarray(make_image()).save(images / f"{name}.png")
    palette = Image.fromarray(truth, mode="L")
    palette.putpalette(list(range(256)) * 3)
    palette.save(labels / "a.png")
    Image.fromarray(truth > 0).save(labels / "b.png")
    pictures = open_folder(images, labels)
    np.testing.assert_array_equal(as_labels(pictures[0].objects), dense(truth))
    np.testing.assert_array_equal(as_labels(pictures[1].objects), truth > 0)


def test_names_with_the_ending_of_our_own_results(tmp_path: Path) -> None:
    Image.fromarray(make_image()).save(tmp_path / "a.jpg")
    Image.fromarray(make_image()).save(tmp_path / "x_mask.jpg")
    tifffile.imwrite(tmp_path / "a_labels.tif", make_labels())
    separate = tmp_path / "labels"
    separate.mkdir()
    tifffile.imwrite(separate / "x_mask.tif", make_labels(1))
    assert [open_folder(tmp_path, tmp_path).name(0)] == ["a.jpg"]
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "a_labels.tif").unlink()
    pictures = open_folder(tmp_path, separate)
    assert [pictures.name(i) for i in range(len(pictures))] == ["x_mask.jpg"]
    np.testing.assert_array_equal(as_labels(pictures[0].objects), dense(make_labels(1)))


def test_a_data_set_by_the_folder_above(folders: tuple[Path, Path]) -> None:
    images, labels = folders
    for name in ("b", "a"):
        Image.fromarray(make_image()).save(images / f"{name}.png")
        Image.fromarray(make_labels().astype(np.uint8)).save(labels / f"{name}.png")
    pictures = open_pictures(images.parent)
    assert [picture.name for picture in pictures] == ["a.png", "b.png"]
    pair = open_pictures(images / "b.png", labels / "b.png")
    np.testing.assert_array_equal(pair[0].image, pictures[1].image)


def test_images_alone(folders: tuple[Path, Path]) -> None:
    images, _ = folders
    Image.fromarray(make_image()).save(images / "a.jpg")
    tifffile.imwrite(images / "b.tif", make_image(dtype=np.uint16, channels=1))
    pictures = open_images(images)
    assert [len(picture.objects) for picture in pictures] == [0, 0]
    assert pictures[1].objects.shape == pictures.image_size(1) == SHAPE
    assert len(open_images(images / "a.jpg")) == 1


@pytest.mark.parametrize("layout", ["folder", "volume"])
def test_pictures_are_read_by_other_processes(
    tmp_path: Path, folders: tuple[Path, Path], layout: str
) -> None:
    if layout == "volume":
        image, labels = make_volume()
        zarr.create_array(tmp_path / "image", data=image)
        zarr.create_array(tmp_path / "truth", data=labels)
        pictures = open_pictures(tmp_path / "image", tmp_path / "truth")
    else:
        for name in "abcd":
            Image.fromarray(make_image()).save(folders[0] / f"{name}.png")
            Image.fromarray(make_labels().astype(np.uint8)).save(folders[1] / f"{name}.png")
        pictures = open_folder(*folders)
    here = [picture.image for picture in pictures]
    loader = torch.utils.data.DataLoader(pictures, batch_size=None, num_workers=1)  # type: ignore[arg-type]
    for image, picture in zip(here, loader, strict=True):
        np.testing.assert_array_equal(image, picture.image)
    copied = pickle.loads(pickle.dumps(pictures))
    np.testing.assert_array_equal(copied[2].image, here[2])


def test_the_development_images(shared: Path) -> None:
    pictures = open_pictures(shared / "devdata" / "nuclei" / "val")
    assert len(pictures) == 93
    assert all(len(pictures[index].objects) for index in range(0, 93, 20))


def test_what_cannot_be_opened_is_named(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    images, labels = folders
    with pytest.raises(InputError, match="nowhere: there is no such file or folder"):
        open_pictures(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no images"):
        open_folder(images, labels)
    Image.fromarray(make_image()).save(images / "a.png")
    with pytest.raises(InputError, match="holds no label maps"):
        open_pictures(images, labels)
    with pytest.raises(InputError, match="No objects are outlined in"):
        open_pictures(images)
    np.save(labels / "b.npy", make_labels())
    with pytest.raises(InputError, match=r"No image in .* has a label map of the same name"):
        open_pictures(images, labels)
    zarr.create_array(tmp_path / "volume", data=make_volume()[1])
    with pytest.raises(InputError, match="is a Zarr volume, but"):
        open_pictures(images, tmp_path / "volume")
    with pytest.raises(InputError, match="not a folder with pairs"):
        open_sa1b(images)
