"""Training data in every layout: what is written is what is read."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from napari_sam.errors import InputError
from napari_sam.finetune.data import (
    open_coco,
    open_folder,
    open_images,
    open_pictures,
    open_sa1b,
    open_volume,
)
from napari_sam.finetune.outlines import object_from_segmentation
from src_model.rle import coco_encode_rle, mask_to_rle
from src_model.training.pictures import ObjectMasks

SHAPE = (40, 60)


def _labels(seed: int = 0, shape: tuple[int, int] = SHAPE) -> NDArray[np.int32]:
    """Rectangles with background around."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    for label in range(1, 5):
        top, left = rng.integers(1, np.array(shape) - 12)
        labels[top : top + rng.integers(3, 11), left : left + rng.integers(3, 11)] = label
    return labels


def _image(seed: int = 0, dtype: Any = np.uint8, channels: int = 3) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    shape = (*SHAPE, channels) if channels > 1 else SHAPE
    return (rng.random(shape) * min(np.iinfo(dtype).max, 60000)).astype(dtype)


def _as_labels(objects: ObjectMasks) -> NDArray[np.int32]:
    labels = np.zeros(objects.shape, np.int32)
    for number, item in enumerate(objects.items, start=1):
        labels[item.window][item.mask] = number
    return labels


def _dense(labels: NDArray[Any]) -> NDArray[Any]:
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


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
    truth = _labels().astype(dtype) * 30
    Image.fromarray(_image()).save(images / "a.png")
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
    np.testing.assert_array_equal(picture.image, _image())
    np.testing.assert_array_equal(_as_labels(picture.objects), _dense(truth))


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, np.uint32])
def test_images_of_any_depth_are_stretched(folders: tuple[Path, Path], dtype: Any) -> None:
    images, labels = folders
    ramp = np.linspace(0, 30000, SHAPE[0] * SHAPE[1]).reshape(SHAPE).astype(dtype)
    tifffile.imwrite(images / "a.tif", ramp)
    tifffile.imwrite(labels / "a.tif", _labels())
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
    Image.fromarray(_image()).save(images / "a.png")
    Image.fromarray(truth).save(labels / "a.png")
    assert [item.area for item in open_folder(images, labels)[0].objects.items] == [9, 39]
    parts = open_pictures(images, labels, "components")[0].objects
    assert sorted(item.area for item in parts.items) == [9, 9, 30]  # corners connect


def test_palette_indices_and_bits_are_labels(folders: tuple[Path, Path]) -> None:
    images, labels = folders
    truth = _labels().astype(np.uint8)
    for name in "ab":
        Image.fromarray(_image()).save(images / f"{name}.png")
    palette = Image.fromarray(truth, mode="L")
    palette.putpalette(list(range(256)) * 3)
    palette.save(labels / "a.png")
    Image.fromarray(truth > 0).save(labels / "b.png")
    pictures = open_folder(images, labels)
    np.testing.assert_array_equal(_as_labels(pictures[0].objects), _dense(truth))
    np.testing.assert_array_equal(_as_labels(pictures[1].objects), truth > 0)


def test_names_with_the_ending_of_our_own_results(tmp_path: Path) -> None:
    Image.fromarray(_image()).save(tmp_path / "a.jpg")
    Image.fromarray(_image()).save(tmp_path / "x_mask.jpg")
    tifffile.imwrite(tmp_path / "a_labels.tif", _labels())
    separate = tmp_path / "labels"
    separate.mkdir()
    tifffile.imwrite(separate / "x_mask.tif", _labels(1))
    assert [open_folder(tmp_path, tmp_path).name(0)] == ["a.jpg"]
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "a_labels.tif").unlink()
    pictures = open_folder(tmp_path, separate)
    assert [pictures.name(i) for i in range(len(pictures))] == ["x_mask.jpg"]
    np.testing.assert_array_equal(_as_labels(pictures[0].objects), _dense(_labels(1)))


def test_a_data_set_by_the_folder_above(folders: tuple[Path, Path]) -> None:
    images, labels = folders
    for name in ("b", "a"):
        Image.fromarray(_image()).save(images / f"{name}.png")
        Image.fromarray(_labels().astype(np.uint8)).save(labels / f"{name}.png")
    pictures = open_pictures(images.parent)
    assert [picture.name for picture in pictures] == ["a.png", "b.png"]
    pair = open_pictures(images / "b.png", labels / "b.png")
    np.testing.assert_array_equal(pair[0].image, pictures[1].image)


def test_images_alone(folders: tuple[Path, Path]) -> None:
    images, _ = folders
    Image.fromarray(_image()).save(images / "a.jpg")
    tifffile.imwrite(images / "b.tif", _image(dtype=np.uint16, channels=1))
    pictures = open_images(images)
    assert [len(picture.objects) for picture in pictures] == [0, 0]
    assert pictures[1].objects.shape == pictures.image_size(1) == SHAPE
    assert len(open_images(images / "a.jpg")) == 1


def _coco(masks: list[NDArray[np.bool_]], form: str) -> list[Any]:
    if form == "counts":
        return [mask_to_rle(mask) for mask in masks]
    if form == "compressed":
        return [coco_encode_rle(mask_to_rle(mask)) for mask in masks]
    polygons = []
    for mask in masks:  # rectangles
        rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        y0, y1, x0, x1 = map(int, (rows[0], rows[-1] + 1, cols[0], cols[-1] + 1))
        polygons.append([[x0, y0, x1, y0, x1, y1, x0, y1]])
    return polygons


def _rectangles() -> list[NDArray[np.bool_]]:
    masks = []
    for seed in range(3):
        labels = np.zeros(SHAPE, bool)
        top, left = np.random.default_rng(seed).integers(0, 30, 2)
        labels[top : top + 7 + seed, left : left + 9] = True
        masks.append(labels)
    return masks


def _write_coco(folder: Path, annotations: list[dict[str, Any]]) -> Path:
    Image.fromarray(_image()).save(folder / "a.png")
    Image.fromarray(_image(1)).save(folder / "b.png")
    size = {"height": SHAPE[0], "width": SHAPE[1]}
    content = {
        "images": [
            {"id": 7, "file_name": "a.png", **size},
            {"id": 3, "file_name": "elsewhere/b.png", **size},
        ],
        "annotations": [
            {"id": number, "image_id": 3, "iscrowd": 0, **annotation}
            for number, annotation in enumerate(annotations)
        ],
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("form", ["polygons", "counts", "compressed"])
def test_coco(tmp_path: Path, form: str) -> None:
    masks = _rectangles()
    annotations = [{"segmentation": outline} for outline in _coco(masks, form)]
    crowd = {"segmentation": mask_to_rle(masks[0]), "iscrowd": 1}
    nothing = {"segmentation": mask_to_rle(np.zeros(SHAPE, bool))}
    path = _write_coco(tmp_path, [annotations[0], crowd, annotations[1], nothing, annotations[2]])
    for pictures in (
        open_coco(path, tmp_path),
        open_pictures(tmp_path, path),
        open_pictures(tmp_path),
    ):
        assert [picture.name for picture in pictures] == ["a.png", "b.png"]
        assert [len(picture.objects) for picture in pictures] == [0, 3]
        np.testing.assert_array_equal(pictures[1].image, _image(1))
        for index, mask in enumerate(masks):
            np.testing.assert_array_equal(pictures[1].objects.full(index), mask)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-5, 65), st.floats(-5, 45)), min_size=3, max_size=9, unique=True)
)
def test_polygons_cover_what_pycocotools_says(corners: list[tuple[float, float]]) -> None:
    flat = [float(number) for corner in corners for number in corner]
    found = object_from_segmentation([flat], SHAPE, "a polygon")
    rles = coco_mask.frPyObjects([flat], *SHAPE)
    expected = coco_mask.decode(coco_mask.merge(rles)).astype(bool)
    ours = np.zeros(SHAPE, bool)
    if found is not None:
        ours[found.window] = found.mask
    # pycocotools draws on a grid of fifths of a pixel: borders differ by up to a pixel.
    row, col = np.nonzero(ours != expected)
    ends = np.roll(np.array(corners), -1, axis=0) - np.array(corners)
    for r, c in zip(row, col, strict=True):
        offset = np.array([c + 0.5, r + 0.5]) - np.array(corners)
        along = np.clip((offset * ends).sum(1) / np.maximum((ends**2).sum(1), 1e-12), 0, 1)
        distance = np.hypot(*(offset - along[:, None] * ends).T).min()
        assert distance < 1.0


def test_polygons_in_several_parts_are_one_object() -> None:
    parts = [[0, 0, 4, 0, 4, 4, 0, 4], [10, 10, 14, 10, 14, 12, 10, 12]]
    found = object_from_segmentation(parts, SHAPE, "two parts")
    assert found is not None
    assert (found.top, found.left, found.mask.shape, found.area) == (0, 0, (12, 14), 24)
    assert object_from_segmentation([[-9, -9, -2, -9, -2, -2]], SHAPE, "outside") is None
    assert object_from_segmentation([], SHAPE, "nothing") is None


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1), st.floats(0, 1), st.tuples(st.integers(1, 12), st.integers(1, 12))
)
def test_run_lengths_of_any_mask(seed: int, share: float, shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(seed).random(shape) < share
    for rle in (mask_to_rle(mask), coco_encode_rle(mask_to_rle(mask))):
        found = object_from_segmentation(rle, shape, "a mask")
        ours = np.zeros(shape, bool)
        if found is not None:
            ours[found.window] = found.mask
        np.testing.assert_array_equal(ours, mask)


def test_sa1b(tmp_path: Path) -> None:
    masks = _rectangles()
    masks[1][:] = True
    masks[1][0, 0] = False  # overlaps everything, as SA-1B's masks may
    for number in (5, 12):
        Image.fromarray(_image(number)).save(tmp_path / f"sa_{number}.jpg", quality=95)
        content = {
            "image": {"image_id": number, "height": SHAPE[0], "width": SHAPE[1]},
            "annotations": [
                {"id": i, "segmentation": coco_encode_rle(mask_to_rle(mask)), "area": 1}
                for i, mask in enumerate(masks)
            ],
        }
        (tmp_path / f"sa_{number}.json").write_text(json.dumps(content))
    for pictures in (open_sa1b(tmp_path), open_pictures(tmp_path)):
        assert [pictures.name(index) for index in range(2)] == ["sa_12", "sa_5"]
        for picture in pictures:
            assert picture.image.shape == (*SHAPE, 3)
            for index, mask in enumerate(masks):
                np.testing.assert_array_equal(picture.objects.full(index), mask)


def _volume(depth: int = 6) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    labels = np.stack([_labels(z) for z in range(depth)]).astype(np.uint16)
    labels[[1, 4]] = 0
    rng = np.random.default_rng(0)
    image = (rng.random(labels.shape) * 4000 + labels * 100).astype(np.uint16)
    return image, labels


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
    image, labels = _volume()
    for name, data in (("image", image), ("labels", labels)):
        zarr.create_array(tmp_path / name, data=data, chunks=(4, 20, 20), zarr_format=zarr_format)
    pictures = open_pictures(tmp_path / "image", tmp_path / "labels")
    assert [pictures.name(index) for index in range(len(pictures))] == [
        f"image z={z}" for z in (0, 2, 3, 5)
    ]
    assert pictures.notes == ("image: 2 of 6 slices have no object and are left out.",)
    assert pictures.image_size(0) == SHAPE
    for picture, z in zip(pictures, (0, 2, 3, 5), strict=True):
        np.testing.assert_array_equal(_as_labels(picture.objects), _dense(labels[z]))
    # One stretch for all: the same value looks the same in every slice.
    seen = np.stack([picture.image[..., 0] for picture in pictures]).ravel().astype(int)
    values = image[[0, 2, 3, 5]].ravel()
    assert (np.diff(seen[np.argsort(values, kind="stable")]) >= 0).all()


@pytest.mark.parametrize("axis", ["y", 1, -2])
def test_volumes_cut_along_another_axis(tmp_path: Path, axis: str | int) -> None:
    image, labels = _volume()
    zarr.create_array(tmp_path / "image", data=image)
    zarr.create_array(tmp_path / "labels", data=labels)
    pictures = open_volume(tmp_path / "image", tmp_path / "labels", axis=axis)
    rows = np.flatnonzero(labels.any((0, 2)))
    assert len(pictures) == len(rows)
    np.testing.assert_array_equal(_as_labels(pictures[3].objects), _dense(labels[:, rows[3]]))
    assert pictures[3].image.shape == (6, SHAPE[1], 3)
    assert pictures.name(3) == f"image y={rows[3]}"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_with_its_labels_inside(tmp_path: Path, version: str) -> None:
    image, labels = _volume()
    path = tmp_path / "cells.ome.zarr"
    series = np.stack([image, image[::-1]])[:, None]
    truth = np.stack([labels, labels[::-1]])
    _write_ome(path, series, "tczyx", version, names=["nuclei"])
    _write_ome(path / "labels" / "nuclei", truth, "tzyx", version)
    pictures = open_pictures(path)
    assert len(pictures) == 8
    assert pictures.name(4) == "cells.ome.zarr t=1 z=0"
    np.testing.assert_array_equal(_as_labels(pictures[4].objects), _dense(labels[5]))
    assert pictures[4].image.shape == (*SHAPE, 3)
    given_both = open_pictures(path, path / "labels" / "nuclei")
    np.testing.assert_array_equal(given_both[4].image, pictures[4].image)


def test_a_plane_in_colour(tmp_path: Path) -> None:
    image = np.moveaxis(_image(), -1, 0)
    _write_ome(tmp_path / "image.zarr", image, "cyx", "0.5")
    _write_ome(tmp_path / "labels.zarr", _labels(), "yx", "0.5")
    pictures = open_volume(tmp_path / "image.zarr", tmp_path / "labels.zarr")
    assert len(pictures) == 1
    np.testing.assert_array_equal(pictures[0].image, _image())
    np.testing.assert_array_equal(_as_labels(pictures[0].objects), _dense(_labels()))


@pytest.mark.parametrize("place", [0, -1])
def test_channels_of_plain_arrays(tmp_path: Path, place: int) -> None:
    colours = np.stack([_image(z) for z in range(6)])
    zarr.create_array(
        tmp_path / "image", data=np.ascontiguousarray(np.moveaxis(colours, -1, place))
    )
    zarr.create_array(tmp_path / "labels", data=_volume()[1])
    pictures = open_volume(tmp_path / "image", tmp_path / "labels")
    np.testing.assert_array_equal(pictures[1].image, colours[2])


@pytest.mark.parametrize("layout", ["folder", "volume"])
def test_pictures_are_read_by_other_processes(
    tmp_path: Path, folders: tuple[Path, Path], layout: str
) -> None:
    if layout == "volume":
        image, labels = _volume()
        zarr.create_array(tmp_path / "image", data=image)
        zarr.create_array(tmp_path / "truth", data=labels)
        pictures = open_pictures(tmp_path / "image", tmp_path / "truth")
    else:
        for name in "abcd":
            Image.fromarray(_image()).save(folders[0] / f"{name}.png")
            Image.fromarray(_labels().astype(np.uint8)).save(folders[1] / f"{name}.png")
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
    Image.fromarray(_image()).save(images / "a.png")
    with pytest.raises(InputError, match="holds no label maps"):
        open_pictures(images, labels)
    with pytest.raises(InputError, match="No objects are outlined in"):
        open_pictures(images)
    np.save(labels / "b.npy", _labels())
    with pytest.raises(InputError, match=r"No image in .* has a label map of the same name"):
        open_pictures(images, labels)
    zarr.create_array(tmp_path / "volume", data=_volume()[1])
    with pytest.raises(InputError, match="is a Zarr volume, but"):
        open_pictures(images, tmp_path / "volume")
    with pytest.raises(InputError, match="not a folder with pairs"):
        open_sa1b(images)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is damaged or not JSON"),
        ("[]", "holds a list"),
        ("{}", "is not a COCO file"),
        ('{"images": [{"id": 1, "file_name": "a"}], "annotations": []}', "is not a COCO file"),
        ('{"images": [], "annotations": []}', "lists no images"),
        ('{"images": [], "annotations": [{"image_id": 4}]}', "image_id 4"),
    ],
)
def test_bad_coco_files_are_named(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "instances.json"
    path.write_text(content)
    with pytest.raises(InputError, match=sentence):
        open_coco(path, tmp_path)


@pytest.mark.parametrize(
    ("segmentation", "sentence"),
    [
        ([[1, 2, 3]], "3 numbers"),
        ([[1, 2, 3, 4, float("nan"), 6]], "not a number"),
        ([["a", "b"] * 3], "damaged outline"),
        ({"size": [4, 5], "counts": [20]}, "drawn on 4 rows and 5 columns"),
        ({"size": list(SHAPE), "counts": [5, 5]}, "add up"),
        ({"size": list(SHAPE), "counts": "~~~"}, "damaged"),
        ({"size": list(SHAPE)}, "a part is missing"),
        (None, "neither polygons nor an RLE"),
    ],
)
def test_bad_outlines_are_named(segmentation: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        object_from_segmentation(segmentation, SHAPE, "a.png: annotation 4")
    assert str(caught.value).startswith("a.png: annotation 4")


def test_bad_volumes_are_named(tmp_path: Path) -> None:
    image, labels = _volume()

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
