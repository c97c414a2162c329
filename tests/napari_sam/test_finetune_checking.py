"""All that is wrong with training data, in one list."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

from napari_sam.errors import InputError
from napari_sam.finetune.checking import (
    Problem,
    check_pictures,
    describe_problems,
    refuse_bad_pictures,
)
from napari_sam.finetune.data import open_coco, open_folder, open_sa1b, open_volume
from napari_sam.finetune.image_sizes import image_size
from napari_sam.finetune.stored import StoredPictures
from src_model.rle import mask_to_rle

SHAPE = (40, 60)


class _Folder:
    """A data set to which pairs are added."""

    def __init__(self, path: Path) -> None:
        self.images, self.labels = path / "images", path / "labels"
        self.images.mkdir()
        self.labels.mkdir()

    def add(self, name: str, labels: NDArray | None = None, image: NDArray | None = None) -> None:
        if image is None:
            image = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
        Image.fromarray(image).save(self.images / f"{name}.png")
        if labels is not None:
            tifffile.imwrite(self.labels / f"{name}.tif", labels, photometric="minisblack")

    def open(self) -> StoredPictures:
        return open_folder(self.images, self.labels)


@pytest.fixture
def folder(tmp_path: Path) -> _Folder:
    return _Folder(tmp_path)


def _good() -> NDArray[np.uint16]:
    labels = np.zeros(SHAPE, np.uint16)
    labels[3:9, 4:12] = 1
    labels[20:29, 34:42] = 9
    return labels


def _lines(pictures: StoredPictures, fatal: bool) -> list[str]:
    problems = [problem for problem in check_pictures(pictures) if problem.fatal == fatal]
    return describe_problems(problems).splitlines()[1:]


def test_good_pictures_have_no_problems(folder: _Folder) -> None:
    folder.add("a", _good())
    folder.add("b", _good().astype(np.int64))
    problems = check_pictures(folder.open())
    assert problems == []
    refuse_bad_pictures(problems)
    assert describe_problems(problems) == ""


def test_progress_is_told(folder: _Folder) -> None:
    folder.add("a", _good())
    folder.add("b", _good())
    seen: list[tuple[int, int]] = []
    check_pictures(folder.open(), lambda done, count: seen.append((done, count)))
    assert seen == [(1, 2), (2, 2)]


def test_all_errors_are_named_in_one_list(folder: _Folder) -> None:
    folder.add("good", _good())
    folder.add("alone")
    tifffile.imwrite(folder.labels / "orphan.tif", _good())
    folder.add("size", _good()[:30])
    folder.add("floats", _good().astype(np.float32))
    folder.add("stack", np.stack([_good()] * 4))
    folder.add("negative", _good().astype(np.int16) - 1)
    folder.add("everything", np.ones(SHAPE, np.uint8))
    folder.add("around", np.where(_good() > 0, _good(), 3))
    folder.add("cut", _good())
    path = folder.images / "cut.png"
    path.write_bytes(path.read_bytes()[:-200])
    folder.add("broken", _good())
    path = folder.labels / "broken.tif"
    path.write_bytes(path.read_bytes()[:300])
    folder.add("bytes", _good())
    (folder.labels / "bytes.tif").write_bytes(b"")
    folder.add("jpeg")
    Image.fromarray(_good().astype(np.uint8)).save(folder.labels / "jpeg.jpg")
    folder.add("colours")
    Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(folder.labels / "colours.png")
    folder.add("twice", _good())
    np.save(folder.labels / "twice.npy", _good())
    folder.add("volume", _good())
    (folder.images / "volume.png").unlink()
    tifffile.imwrite(folder.images / "volume.tif", np.zeros((5, *SHAPE), np.uint8))

    expected = {
        "alone": "there is no label map of this name",
        "orphan": "there is no image of this name",
        "size": "the image has 40 rows and 60 columns, its objects are outlined on 30 and 60",
        "floats": "holds float32 numbers",
        "stack": r"has shape (4, 40, 60), but a label map is one plane",
        "negative": "holds the negative label -1",
        "everything": "One object is the whole picture",
        "around": "There is no background, and one object touches all four borders",
        "cut.png": "is damaged",
        "broken.tif": "is damaged",
        "bytes.tif": "is empty (0 bytes)",
        "jpeg.jpg": "is a JPEG, which changes numbers",
        "colours.png": "is a colour picture",
        "twice": "are both its label map",
        "volume.tif": "holds a stack",
    }
    lines = _lines(folder.open(), fatal=True)
    assert len(lines) == len(expected)
    for name, sentence in expected.items():
        assert any(name in line and sentence in line for line in lines), (name, lines)
    with pytest.raises(InputError) as caught:
        refuse_bad_pictures(check_pictures(folder.open()))
    for line in lines:
        assert line in str(caught.value)


def test_a_bad_picture_says_the_same_when_it_is_read(folder: _Folder) -> None:
    folder.add("size", _good()[:30])
    folder.add("alone")
    pictures = folder.open()
    with pytest.raises(InputError, match=r"alone: there is no label map of this name"):
        pictures[0]
    with pytest.raises(InputError, match=r"size\.png: the image has 40 rows"):
        pictures[1]


def test_warnings(folder: _Folder) -> None:
    dots = _good()
    dots[30, 2] = dots[34, 9] = 5
    dots[39, 0], dots[35, 50] = 6, 7
    folder.add("dots", dots)
    folder.add("empty", np.zeros(SHAPE, np.uint8))
    folder.add("blank", np.zeros(SHAPE, np.uint8))
    frame = _good()
    frame[[0, -1]] = frame[:, [0, -1]] = 2
    folder.add("frame", frame)
    full = np.arange(24).repeat(100).reshape(SHAPE) + 1
    folder.add("full", full.astype(np.uint8))
    problems = check_pictures(folder.open())
    refuse_bad_pictures(problems)  # none is fatal
    lines = describe_problems(problems).splitlines()
    assert lines[0] == "5 warnings:"
    for start in (
        "blank.png, empty.png: No object is outlined",
        "dots.png (2): Objects of one pixel",
        "frame.png: An object touches all four borders",
        "full.png: There is no background (0)",
    ):
        assert any(line.strip().startswith(start) for line in lines), (start, lines)


def test_no_object_anywhere_is_an_error(folder: _Folder) -> None:
    folder.add("a", np.zeros(SHAPE, np.uint8))
    folder.add("b", np.zeros(SHAPE, np.uint8))
    assert check_pictures(folder.open()) == [
        Problem(
            "No object of more than one pixel is outlined in any picture: add labels.", "", True
        )
    ]


def test_semantic_masks_are_noticed(folder: _Folder) -> None:
    for name in "abc":
        folder.add(name, (_good() > 0).astype(np.uint8) * 255)
    lines = _lines(folder.open(), fatal=False)
    assert len(lines) == 1
    assert "set instances to components" in lines[0]
    components = open_folder(folder.images, folder.labels, "components")
    assert check_pictures(components) == []


def test_many_pictures_with_one_warning_take_one_line() -> None:
    problems = [Problem("Odd.", f"{n}.png", fatal=False) for n in range(25)]
    text = describe_problems(problems)
    assert text.splitlines()[0] == "25 warnings:"
    assert text.endswith("9.png and 15 more: Odd.")
    errors = describe_problems([Problem("Wrong.", f"{n}.png", fatal=True) for n in range(25)])
    assert "24.png: Wrong." in errors


def test_coco_and_sa1b_are_checked(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    for name in ("sa_1", "sa_2", "sa_3"):
        Image.fromarray(image).save(tmp_path / f"{name}.jpg")
    good = mask_to_rle(_good() == 9)
    other = mask_to_rle(np.ones((5, 5), bool))
    size = {"height": SHAPE[0], "width": SHAPE[1]}
    for name, rle in (("sa_1", good), ("sa_2", other), ("sa_4", good)):
        content = {"image": size, "annotations": [{"id": 8, "segmentation": rle}]}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    lines = _lines(open_sa1b(tmp_path), fatal=True)
    assert len(lines) == 3
    assert "sa_2.json: annotation 8 has a damaged outline: it is drawn on 5 rows" in lines[0]
    assert "sa_3.json: there is no such file" in lines[1]
    assert "sa_4: there is no image of this name" in lines[2]

    path = tmp_path / "all.json"
    images = [
        {"id": 1, "file_name": "sa_1.jpg", **size},
        {"id": 2, "file_name": "gone.jpg", **size},
        {"id": 3, "file_name": "sa_3.jpg", "height": 80, "width": 60},
    ]
    annotations = [
        {"id": 1, "image_id": 1, "segmentation": good},
        {"id": 2, "image_id": 3, "segmentation": [[1, 1, 9, 1, 9, 9]]},
    ]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    lines = _lines(open_coco(path, tmp_path), fatal=True)
    assert len(lines) == 2
    assert "gone.jpg: there is no such file" in lines[0]
    assert "sa_3.jpg: the image has 40 rows and 60 columns" in lines[1]
    assert "outlined on 80 and 60" in lines[1]


def test_left_out_slices_are_counted(tmp_path: Path) -> None:
    labels = np.zeros((4, *SHAPE), np.uint16)
    labels[2] = _good()
    zarr.create_array(tmp_path / "image", data=labels * 100)
    zarr.create_array(tmp_path / "labels", data=labels)
    volume = open_volume(tmp_path / "image", tmp_path / "labels")
    assert _lines(volume, fatal=False) == [
        "  image: 3 of 4 slices have no object and are left out."
    ]
    zarr.create_array(tmp_path / "none", data=labels * 0)
    nothing = check_pictures(open_volume(tmp_path / "image", tmp_path / "none"))
    assert [problem.fatal for problem in nothing] == [True]


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp", "gray.tif", "deep.png"])
def test_damaged_images_are_found_without_reading_them_whole(tmp_path: Path, name: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    path = tmp_path / name
    if name == "gray.tif":
        tifffile.imwrite(path, image[..., 0].astype(np.uint16), compression="zlib")
    elif name == "deep.png":
        Image.fromarray(image[..., 0].astype(np.uint16) * 200).save(path)
    elif name == "a.tif":
        tifffile.imwrite(path, image, photometric="rgb")
    else:
        Image.fromarray(image).save(path)
    assert image_size(path) == SHAPE
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(InputError, match="is damaged or not a picture"):
        image_size(path)
    path.write_bytes(b"this is text")
    with pytest.raises(InputError, match="is not a picture"):
        image_size(path)
