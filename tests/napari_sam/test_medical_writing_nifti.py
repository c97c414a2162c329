"""NIfTI files of labels: on the source's voxels, with everything that is known, and no more."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from medical_samples import (
    LPS_TO_RAS,
    ORIENTATIONS,
    Phantom,
    marked,
    name_of,
    turned,
    voxel_places,
    write_dicom_sample,
    write_nifti_sample,
)

from napari_sam.errors import InputError
from napari_sam.files.labelled import Labelled
from napari_sam.files.medical.nifti_writing import write_nifti
from napari_sam.scene import open_scene

nibabel = pytest.importorskip("nibabel")

PHANTOM = Phantom(turned((0.0, 0.0, 12.0)))
ODD = ORIENTATIONS[[name_of(one) for one in ORIENTATIONS].index("ARS")]
PROVENANCE = {"program": "napari-sam-tiled 9", "model": "vit_nano", "model_licence": "Apache-2.0"}
GEOMETRY = (
    "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
    "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
)  # fmt: skip


@pytest.mark.parametrize("form", ["sform", "qform", "both", "micrometres", "none"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_the_header_says_of_places_what_that_of_the_image_says(
    tmp_path: Path, form: str, ending: str
) -> None:
    def change(header: Any) -> None:
        header["descrip"] = b"Mueller^Joerg"
        header["db_name"] = b"Mueller^Joerg"
        header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"Mueller^Joerg"))
        if form == "micrometres":
            header.set_xyzt_units("micron")
        if form == "none":
            header["sform_code"] = 0

    kind = "sform" if form in ("micrometres", "none") else form
    source = write_nifti_sample(tmp_path / "a.nii.gz", PHANTOM, ODD, form=kind, change=change)
    scene = open_scene(source, along="y")
    labels = np.zeros((scene.planes, *scene.shape), np.uint32)
    labels[1, 0] = 70_000
    write_nifti(tmp_path / f"labels{ending}", Labelled(scene, labels, "ZYX", (), PROVENANCE))
    made, given = nibabel.load(tmp_path / f"labels{ending}"), nibabel.load(source)
    for name in GEOMETRY:
        assert np.array_equal(made.header[name], given.header[name]), name
    assert made.shape == given.shape
    assert made.get_data_dtype() == np.uint32
    assert np.array_equal(made.affine, given.affine)
    plain = (tmp_path / f"labels{ending}").read_bytes()
    assert b"Mueller" not in (gzip.decompress(plain) if ending == ".nii.gz" else plain)


@pytest.mark.parametrize(
    ("highest", "dtype"), [(255, np.uint8), (256, np.uint16), (1 << 16, np.uint32)]
)
def test_the_smallest_type_that_holds_the_ids_is_taken(
    tmp_path: Path, highest: int, dtype: Any
) -> None:
    scene = open_scene(write_nifti_sample(tmp_path / "a.nii", PHANTOM, ODD), z=1)
    labels = np.zeros((scene.planes, *scene.shape), np.uint32)
    labels[0, 0, 0] = highest
    write_nifti(tmp_path / "labels.nii", Labelled(scene, labels, "ZYX"))
    made = nibabel.load(tmp_path / "labels.nii")
    assert made.get_data_dtype() == dtype
    assert np.asarray(made.dataobj).max() == highest


def test_names_and_origin_are_in_the_file(tmp_path: Path) -> None:
    source = write_nifti_sample(tmp_path / "a.nii", PHANTOM, ODD)
    table = ({"id": 1, "class": "Leber & <Milz>", "predicted_iou": 0.9}, {"id": 2})
    labelled = marked(PHANTOM, source, table=table, provenance=PROVENANCE)
    write_nifti(tmp_path / "labels.nii.gz", labelled)
    header = nibabel.load(tmp_path / "labels.nii.gz").header
    assert bytes(header["descrip"]).startswith(b"napari-sam-tiled 9; model: vit_nano; model lic")
    comment, caret = header.extensions
    assert (comment.get_code(), caret.get_code()) == (6, 30)
    said = json.loads(comment.get_content())
    assert said["provenance"] == PROVENANCE
    assert said["labels"]["1"] == dict(table[0])
    assert sorted(map(int, said["labels"])) == [1, 2, 3, 300]
    content = gzip.decompress((tmp_path / "labels.nii.gz").read_bytes())
    caret_xml = re.findall(rb"<CaretExtension>.*</CaretExtension>", content)[0]
    names = {
        int(one.get("Key") or 0): one.text
        for one in ElementTree.fromstring(caret_xml).iter("Label")
    }
    assert names == {1: "Leber & <Milz>", 2: "object 2", 3: "object 3", 300: "object 300"}


def test_the_same_labels_are_the_same_file(tmp_path: Path) -> None:
    source = write_nifti_sample(tmp_path / "a.nii", PHANTOM, ODD)
    labelled = marked(PHANTOM, source, provenance=PROVENANCE)
    for name in ("one.nii.gz", "other.nii.gz"):
        write_nifti(tmp_path / name, labelled)
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "other.nii.gz").read_bytes()


@pytest.mark.parametrize("along", ["z", "x"])
def test_one_plane_is_written_into_an_empty_volume(tmp_path: Path, along: Any) -> None:
    source = write_nifti_sample(tmp_path / "a.nii", PHANTOM, ODD)
    scene = open_scene(source, along=along, z=1)
    values = scene.read(0, slice(None), slice(None))[..., 0]
    write_nifti(tmp_path / "labels.nii", Labelled(scene, PHANTOM.marks(values), "YX"))
    made = np.asarray(nibabel.load(tmp_path / "labels.nii").dataobj)
    given = np.asarray(nibabel.load(source).dataobj)
    truth = np.where(np.isin(given, values), PHANTOM.marks(given), 0)
    assert np.array_equal(made, truth)


def test_times_are_a_fourth_axis_and_one_time_is_a_volume(tmp_path: Path) -> None:
    data, affine = PHANTOM.in_file(ODD)
    several = np.stack([data, data[::-1], data[:, ::-1]], axis=-1)
    nibabel.Nifti1Image(several, LPS_TO_RAS @ affine).to_filename(tmp_path / "a.nii")
    scene = open_scene(tmp_path / "a.nii", along="y", t=2)
    labels = np.stack(
        [
            np.stack([_plane(tmp_path / "a.nii", t, z) for z in range(scene.planes)])
            for t in range(3)
        ]
    )
    write_nifti(tmp_path / "labels.nii", Labelled(scene, PHANTOM.marks(labels), "TZYX"))
    made = nibabel.load(tmp_path / "labels.nii")
    assert made.shape == several.shape
    assert np.array_equal(np.asarray(made.dataobj), PHANTOM.marks(several))
    write_nifti(tmp_path / "one.nii", Labelled(scene, PHANTOM.marks(labels[2]), "ZYX"))
    one = nibabel.load(tmp_path / "one.nii")
    assert np.array_equal(np.asarray(one.dataobj), PHANTOM.marks(several[..., 2]))
    assert np.allclose(one.affine, made.affine)


def _plane(path: Path, t: int, z: int) -> np.ndarray:
    scene = open_scene(path, along="y", t=t, z=z)
    return scene.read(0, slice(None), slice(None))[..., 0]


def test_of_a_dicom_series_the_columns_come_first_and_others_agree_on_places(
    tmp_path: Path,
) -> None:
    pytest.importorskip("pydicom")
    itk = pytest.importorskip("SimpleITK")
    orientation = ORIENTATIONS[[name_of(one) for one in ORIENTATIONS].index("SPL")]
    write_dicom_sample(tmp_path / "images", PHANTOM, orientation)
    write_nifti(tmp_path / "labels.nii.gz", marked(PHANTOM, tmp_path / "images", along="x"))
    image = itk.ReadImage(str(tmp_path / "labels.nii.gz"))
    assert image.GetSize() == PHANTOM.shape  # columns run to the left, rows back, slices up
    array = itk.GetArrayFromImage(image)
    affine = np.eye(4)
    directions = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, :3], affine[:3, 3] = directions[:, ::-1], image.GetOrigin()
    assert PHANTOM.found(voxel_places(array.shape, affine), array) == PHANTOM.truth()


@pytest.mark.parametrize("ending", ["nrrd", "mha"])
def test_of_files_of_itk_the_axes_stay_as_they_are(tmp_path: Path, ending: str) -> None:
    itk = pytest.importorskip("SimpleITK")
    write_nifti_sample(tmp_path / "a.nii", PHANTOM, ODD)
    image = itk.ReadImage(str(tmp_path / "a.nii"))
    itk.WriteImage(image, str(tmp_path / f"a.{ending}"))
    write_nifti(tmp_path / "labels.nii", marked(PHANTOM, tmp_path / f"a.{ending}", along="y"))
    made, given = nibabel.load(tmp_path / "labels.nii"), nibabel.load(tmp_path / "a.nii")
    assert np.allclose(made.affine, given.affine, atol=1e-4)
    assert np.array_equal(np.asarray(made.dataobj), PHANTOM.marks(np.asarray(given.dataobj)))


def test_an_existing_file_is_replaced_when_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled = marked(PHANTOM, write_nifti_sample(tmp_path / "a.nii", PHANTOM, ODD))
    path = tmp_path / "labels.nii.gz"
    path.write_bytes(b"before")

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("nibabel.Nifti1Image.to_stream", full)
        with pytest.raises(InputError, match="No space left on device"):
            write_nifti(path, labelled)
    assert path.read_bytes() == b"before"
    write_nifti(path, labelled)
    assert nibabel.load(path).shape == nibabel.load(tmp_path / "a.nii").shape
    assert {one.name for one in tmp_path.iterdir()} == {"a.nii", "labels.nii.gz"}


def test_what_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    source = write_nifti_sample(tmp_path / "a.nii", PHANTOM, ODD)
    labelled = marked(PHANTOM, source)
    with pytest.raises(InputError, match=r"does not end in \.nii"):
        write_nifti(tmp_path / "labels.img", labelled)
    with pytest.raises(InputError, match="cannot be written"):
        write_nifti(tmp_path / "no folder" / "labels.nii", labelled)
    plain = open_scene(np.zeros((4, 5), np.uint8))
    with pytest.raises(InputError, match="does not tell where it lies in a patient"):
        write_nifti(tmp_path / "b.nii", Labelled(plain, np.ones((4, 5), np.uint8), "YX"))
    write_nifti_sample(source, Phantom(shape=(5, 4, 4)), ODD)
    with pytest.raises(InputError, match="another size or place than when it was opened"):
        write_nifti(tmp_path / "b.nii", labelled)
    source.unlink()
    with pytest.raises(InputError, match="no longer there"):
        write_nifti(tmp_path / "b.nii", labelled)
    assert list(tmp_path.iterdir()) == []


def test_times_are_refused_by_formats_that_hold_one(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from napari_sam.files.medical.seg_writing import write_seg

    data, affine = PHANTOM.in_file(ODD)
    several = np.stack([data, data], axis=-1)
    nibabel.Nifti1Image(several, LPS_TO_RAS @ affine).to_filename(tmp_path / "a.nii")
    scene = open_scene(tmp_path / "a.nii")
    labels = np.ones((2, scene.planes, *scene.shape), np.uint8)
    with pytest.raises(InputError, match="of 2 times"):
        write_seg(tmp_path / "seg.dcm", Labelled(scene, labels, "TZYX"))


def test_a_real_ct_and_its_organs_leave_in_all_formats_and_come_back(
    shared: Path, tmp_path: Path
) -> None:
    pydicom, highdicom = pytest.importorskip("pydicom"), pytest.importorskip("highdicom")
    from napari_sam.files.medical.contours import outlines
    from napari_sam.files.medical.rtstruct_writing import write_rtstruct
    from napari_sam.files.medical.seg_writing import write_seg
    from napari_sam.scenes.opening import open_source

    folder = shared / "devdata" / "medical"
    scene = open_scene(folder / "ct_dicom")
    truth = folder / "ct_dicom_labels.nii.gz"
    organs = open_source(truth)  # axes of its own: L-A-S; the CT's slices are L-P and go down
    assert scene.grid is not None
    assert organs.grid is not None
    assert np.allclose(scene.grid.matrix, organs.grid.matrix)
    assert scene.grid.spacing[0] == 2.0  # and slices are 3 mm thick
    labels = np.asarray(organs.levels[0][:, :, :])
    labelled = Labelled(scene, labels, "ZYX", ({"id": 5, "class": "liver"},))

    write_nifti(tmp_path / "labels.nii.gz", labelled)
    made, given = nibabel.load(tmp_path / "labels.nii.gz"), nibabel.load(truth)
    assert np.allclose(np.linalg.norm(made.affine[:3, :3], axis=0), (0.9765625, 0.9765625, 2.0))
    same = nibabel.as_closest_canonical(made), nibabel.as_closest_canonical(given)
    assert np.allclose(same[0].affine, same[1].affine)
    stored = np.asarray(same[1].dataobj)
    assert np.array_equal(np.asarray(same[0].dataobj), stored)

    write_seg(tmp_path / "seg.dcm", labelled, labelmap=True)
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    ids = np.array([0, *np.unique(stored)[1:]])
    names = {one.SegmentNumber: one.SegmentLabel for one in seg.SegmentSequence}
    assert names[ids.tolist().index(5)] == "liver"
    volume = seg.get_volume(combine_segments=True)
    assert np.allclose(sorted(volume.spacing), (0.9765625, 0.9765625, 2.0))
    image = nibabel.Nifti1Image(ids[volume.array].astype(np.uint8), LPS_TO_RAS @ volume.affine)
    again = nibabel.as_closest_canonical(image)
    assert np.allclose(again.affine[:3, :3], same[1].affine[:3, :3])
    # It may hold the slices alone that have organs; all of these have.
    assert np.array_equal(np.asarray(again.dataobj), stored)

    write_rtstruct(tmp_path / "rtstruct.dcm", labelled)
    regions = pydicom.dcmread(tmp_path / "rtstruct.dcm")
    heights = {
        float(line.ContourData[2])
        for region in regions.ROIContourSequence
        for line in region.ContourSequence
    }
    assert heights == set(np.arange(-804.5, -765.5, 2.0))
    assert len(regions.StructureSetROISequence) == len(ids) - 1
    liver = next(one.ROINumber for one in regions.StructureSetROISequence if one.ROIName == "liver")
    drawn = next(one for one in regions.ROIContourSequence if one.ReferencedROINumber == liver)
    areas = 0.0
    for line in drawn.ContourSequence:
        x, y, _ = np.reshape(line.ContourData, (-1, 3)).astype(float).T
        areas += abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    assert np.isclose(areas, (stored == 5).sum() * 0.9765625**2)
    assert len(drawn.ContourSequence) == sum(len(outlines(plane == 5)) for plane in labels)
