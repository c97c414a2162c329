"""Training data in COCO and SA-1B: what is written is what is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask
from training_pictures import SHAPE, make_image

from napari_sam.errors import InputError
from napari_sam.finetune.data import (
    open_coco,
    open_pictures,
    open_sa1b,
)
from napari_sam.finetune.outlines import object_from_segmentation
from src_model.rle import coco_encode_rle, mask_to_rle


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
    Image.fromarray(make_image()).save(folder / "a.png")
    Image.fromarray(make_image(1)).save(folder / "b.png")
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
        np.testing.assert_array_equal(pictures[1].image, make_image(1))
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
        Image.fromarray(make_image(number)).save(tmp_path / f"sa_{number}.jpg", quality=95)
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
