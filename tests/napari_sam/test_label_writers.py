"""Objects leave as COCO, TIFF, PNG and OME-Zarr, and other software reads them back equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from made_labels import PLANE, PROVENANCE, SLOW, labelled, stacks
from PIL import Image

from napari_sam.errors import InputError
from napari_sam.files.coco_writing import write_coco
from napari_sam.files.label_pictures import write_label_png, write_label_tiff
from napari_sam.files.labelled import Labelled
from napari_sam.files.ome_labels import ABOUT, write_ome_labels
from napari_sam.scene import Georeference, PixelSize, open_scene


def test_coco_as_pycocotools_reads_it(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    path = tmp_path / "cells.json"
    write_coco(path, labelled(PLANE))
    coco = COCO(str(path))
    found = {one["object_id"]: one for one in coco.loadAnns(coco.getAnnIds())}
    assert sorted(found) == [1, 300]
    for number, one in found.items():
        np.testing.assert_array_equal(coco.annToMask(one), number == PLANE)
        assert one["area"] == (number == PLANE).sum()
    assert found[1]["bbox"] == [5, 3, 15, 7]
    assert found[1]["score"] == pytest.approx(0.45)
    assert found[1]["source"] == "click"
    assert "score" not in found[300]
    assert coco.loadCats(found[1]["category_id"])[0]["name"] == "cell"
    assert coco.loadCats(found[300]["category_id"])[0]["name"] == "object"
    assert coco.dataset["info"]["provenance"] == PROVENANCE
    assert "Apache-2.0" in coco.dataset["licenses"][0]["name"]
    assert coco.loadImgs(1)[0]["file_name"] == "cells.tif"


@SLOW
@given(labels=stacks(3))
def test_coco_of_stacks(tmp_path: Path, labels: np.ndarray) -> None:
    from pycocotools import mask

    write_coco(tmp_path / "stack.json", labelled(labels, "TZYX", ()))
    content = json.loads((tmp_path / "stack.json").read_text())
    places = {one["id"]: (one["t"], one["z"]) for one in content["images"]}
    again = np.zeros_like(labels)
    for one in content["annotations"]:
        assert list(mask.toBbox(one["segmentation"])) == one["bbox"]
        drawn = mask.decode(one["segmentation"]).astype(bool)
        again[places[one["image_id"]]][drawn] = one["object_id"]
    np.testing.assert_array_equal(again, labels)


def test_coco_refuses_images_that_its_readers_cannot_count(tmp_path: Path) -> None:
    shape = 1 << 17, 1 << 16
    image = np.broadcast_to(np.uint8(0), shape)
    labels = np.broadcast_to(np.uint32(0), shape)
    with pytest.raises(InputError, match=r"up to 2\^32 pixels"):
        write_coco(tmp_path / "large.json", labelled(labels, "YX", (), image))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("highest", "dtype"), [(255, "u1"), (65535, "u2"), (65536, "u4")])
def test_tiff_has_the_smallest_type(tmp_path: Path, highest: int, dtype: str) -> None:
    labels = np.where(PLANE == 300, np.uint32(highest), PLANE)
    path = tmp_path / "labels.tif"
    place = Georeference("EPSG:32633", (0.5, 0.0, 500.0, 0.0, -0.5, 900.0), "metre")
    known = labelled(labels, pixel_size=(0.5, 0.25, "micrometer"))
    object.__setattr__(known.scene, "georeference", place)
    write_label_tiff(path, known)
    again = tifffile.imread(path)
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, labels)
    scene = open_scene(path)
    assert scene.georeference is not None
    assert (scene.georeference.crs, scene.georeference.affine) == (place.crs, place.affine)
    assert scene.pixel_size is not None
    assert (scene.pixel_size.rows, scene.pixel_size.cols) == pytest.approx((0.5, 0.25))
    with tifffile.TiffFile(path) as tiff:
        said = str(tiff.imagej_metadata) if tiff.is_imagej else tiff.ome_metadata
        assert said is not None
        assert "vit_nano" in said
        assert "Apache-2.0" in said


@SLOW
@given(labels=stacks(70000), axes=st.sampled_from(["TZYX", "ZYX", "TYX"]))
def test_tiff_of_stacks(tmp_path: Path, labels: np.ndarray, axes: str) -> None:
    labels = labels if axes == "TZYX" else labels.reshape(6, 7, 9)
    known = labelled(labels, axes, (), pixel_size=(0.5, 0.5, "micrometer"))
    object.__setattr__(known.scene, "depth", 2.0)
    path = tmp_path / "stack.tif"
    write_label_tiff(path, known)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].axes == axes
        np.testing.assert_array_equal(tiff.series[0].asarray(), labels)
        if tiff.is_imagej and "Z" in axes:
            assert tiff.imagej_metadata is not None
            assert tiff.imagej_metadata["spacing"] == 2.0
    scene = open_scene(path)
    assert scene.pixel_size is not None
    assert scene.pixel_size.rows == pytest.approx(0.5)


def test_png(tmp_path: Path) -> None:
    path = tmp_path / "labels.png"
    write_label_png(path, labelled(PLANE))
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), PLANE)
        assert picture.text == PROVENANCE  # type: ignore[attr-defined]
    before = path.read_bytes()
    with pytest.raises(InputError, match="ids up to 65535, and there are some up to 70000"):
        write_label_png(path, labelled(np.where(PLANE == 300, np.uint32(70000), PLANE)))
    with pytest.raises(InputError, match="PNG holds one plane, and there are 2"):
        write_label_png(path, labelled(np.stack([PLANE, PLANE]), "ZYX"))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["YX", "TZYX"])
def test_ome_zarr_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: Any, axes: str
) -> None:
    monkeypatch.setattr("napari_sam.files.ome_labels._COARSEST", 64)
    monkeypatch.setattr("napari_sam.files.ome_labels._CHUNK", 32)
    monkeypatch.setattr("napari_sam.files.ome_labels._AT_ONCE", 32)
    labels = np.zeros((110, 103), np.uint32)
    labels[5:100, 7:90] = 1
    labels[109:, 3:80] = 300
    if axes == "TZYX":
        labels = np.stack([labels, labels.T.copy().reshape(labels.shape)])[np.newaxis]
    known = labelled(labels, axes, pixel_size=(0.5, 0.25, "micrometer"))
    object.__setattr__(known.scene, "depth", 2.0)
    path = tmp_path / "labels.ome.zarr"
    write_ome_labels(path, known, version=version)
    group = zarr.open_group(path, mode="r")
    np.testing.assert_array_equal(group["0"][:], labels)
    np.testing.assert_array_equal(group["1"][:], labels[..., ::2, ::2])
    assert dict(group.attrs)[ABOUT]["model_licence"] == "Apache-2.0"
    _validate_label(path)
    scene = open_scene(path, channels=0)
    assert scene.pixel_size == PixelSize(0.5, 0.25, "micrometer")
    assert [level.downsample for level in scene.levels if level.stored] == [1, 2]
    with pytest.raises(InputError, match="exists already"):
        write_ome_labels(path, known)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("summary", [False, True])
def test_ome_zarr_among_the_labels_of_its_image(
    tmp_path: Path, version: Any, summary: bool
) -> None:
    image = tmp_path / "image.ome.zarr"
    _write_image(image, version)
    if summary:
        zarr.consolidate_metadata(image)
    known = labelled(PLANE, image=image)
    for name in ("cells", "again"):
        write_ome_labels(image / "labels" / name, known)
    group = zarr.open_group(image, mode="r")
    np.testing.assert_array_equal(group["labels/cells/0"][:], PLANE)
    listed = dict(group["labels"].attrs)
    assert (listed if version == "0.4" else listed["ome"])["labels"] == ["cells", "again"]
    _validate_label(image)
    _validate_label(image / "labels" / "cells")
    said = dict(group["labels/cells"].attrs)
    about = (said if version == "0.4" else said["ome"])["image-label"]
    assert about["source"] == {"image": "../../"}
    assert [one["label-value"] for one in about["colors"]] == [1, 300]
    assert about["properties"][0] == {
        "label-value": 1, "class": "cell", "predicted_iou": 0.9, "stability": 0.5,
        "source": "click",
    }  # fmt: skip
    np.testing.assert_array_equal(group["0"][:], np.zeros_like(PLANE))
    with pytest.raises(InputError, match="labels of the name 'cells' already"):
        write_ome_labels(image / "labels" / "cells", known)
    with pytest.raises(InputError, match="belong to another image"):
        write_ome_labels(image / "labels" / "others", labelled(PLANE[1:]))
    assert sorted(one.name for one in (image / "labels").iterdir() if one.is_dir()) == [
        "again", "cells",
    ]  # fmt: skip


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    class Broken:
        shape, dtype = PLANE.shape, PLANE.dtype

        def __getitem__(self, selection: Any) -> Any:
            self.reads = getattr(self, "reads", 0) + 1
            if self.reads > 1:
                raise OSError("the disk is gone")
            return PLANE[selection]

    for name, write in (
        ("a.json", write_coco),
        ("a.tif", write_label_tiff),
        ("a.png", write_label_png),
    ):
        known = Labelled(
            open_scene(np.zeros(PLANE.shape, np.uint8)), Broken(), "YX", (), PROVENANCE
        )
        with pytest.raises((InputError, OSError), match="the disk is gone"):
            write(tmp_path / name, known)
    assert not list(tmp_path.iterdir())


def _write_image(path: Path, version: str) -> None:
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    names: Any = {} if version == "0.4" else {"dimension_names": ["y", "x"]}
    group.create_array("0", shape=PLANE.shape, dtype=np.uint8, fill_value=0, **names)
    scale = [{"type": "scale", "scale": [0.5, 0.5]}]
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    multiscales = [{"axes": axes, "datasets": datasets}]
    if version == "0.4":
        group.attrs.update({"multiscales": [{"version": "0.4", **multiscales[0]}]})
    else:
        group.attrs.update({"ome": {"version": "0.5", "multiscales": multiscales}})


def _validate_label(path: Path) -> None:
    """Let software that we did not write check the metadata and the arrays."""
    yaozarrs = pytest.importorskip("yaozarrs", reason="yaozarrs is not installed")
    yaozarrs.validate_zarr_store(str(path))
