"""DICOM SEG and RTSTRUCT: what other software finds in them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

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
)
from test_medical_orientations import PROVENANCE, nifti_places, rtstruct_places, seg_places

from napari_sam.files.labelled import Labelled
from napari_sam.files.medical.nifti_writing import write_nifti
from napari_sam.files.medical.rtstruct_writing import write_rtstruct
from napari_sam.files.medical.seg_writing import write_seg
from napari_sam.scene import open_scene

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")

PHANTOM = Phantom()
AXIAL = ORIENTATIONS[[name_of(one) for one in ORIENTATIONS].index("SPL")]
CORONAL = ORIENTATIONS[[name_of(one) for one in ORIENTATIONS].index("PIR")]

TABLE = (
    {"id": 1, "class": "kidney_left", "source": "accepted", "predicted_iou": 0.914, "time": 1.5e9},
    {"id": 2, "class": "Läsion 肝", "source": "drawn", "time": 1.6e9},
    {"id": 3, "class": "kidney_left", "source": "found", "time": 1.7e9},
)
FULL = {**PROVENANCE, "model_hash": "ab" * 32, "image": "images", "created": "2026-01-02T03:04:05"}


@pytest.fixture
def series(tmp_path: Path) -> Path:
    write_dicom_sample(tmp_path / "images", PHANTOM, AXIAL)
    return tmp_path / "images"


@pytest.fixture
def labelled(series: Path) -> Any:
    return marked(PHANTOM, series, table=TABLE, provenance=FULL)


def test_segments_are_coded_named_and_say_where_they_come_from(
    labelled: Any, tmp_path: Path
) -> None:
    write_seg(tmp_path / "seg.dcm", labelled)
    write_seg(tmp_path / "again.dcm", labelled)
    seg, again = (pydicom.dcmread(tmp_path / name) for name in ("seg.dcm", "again.dcm"))
    assert seg.SOPInstanceUID != again.SOPInstanceUID
    first, second, _, fourth = seg.SegmentSequence
    assert [one.SegmentNumber for one in seg.SegmentSequence] == [1, 2, 3, 4]
    assert first.SegmentLabel == "kidney_left 1"
    assert second.SegmentLabel == "Läsion 肝"
    assert fourth.SegmentLabel == "object 300"
    assert first.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Anatomical Structure"
    kind = first.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("64033007", "SCT")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert fourth.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"
    kinds = [one.SegmentAlgorithmType for one in seg.SegmentSequence]
    assert kinds == ["SEMIAUTOMATIC", "MANUAL", "AUTOMATIC", "SEMIAUTOMATIC"]
    assert first.SegmentAlgorithmName == "vit_nano"
    assert first.SegmentDescription == "object 1, source accepted, predicted iou 0.914"
    algorithm = first.SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmVersion == "ab" * 32
    equipment = [one.get("ContributionDescription") for one in seg.ContributingEquipmentSequence]
    told = next(text for text in equipment if text is not None and "napari" in text)
    assert all(value in told for value in FULL.values())
    # An object keeps what it is tracked by; of the last nothing tells that it is the same one.
    tracked = [one.TrackingUID for one in seg.SegmentSequence]
    assert len(set(tracked)) == 4
    assert [one.TrackingUID for one in again.SegmentSequence][:3] == tracked[:3]
    assert again.SegmentSequence[3].TrackingUID != tracked[3]


def test_the_patient_and_the_study_are_those_of_the_source(
    labelled: Any, series: Path, tmp_path: Path
) -> None:
    write_seg(tmp_path / "seg.dcm", labelled)
    write_rtstruct(tmp_path / "rtstruct.dcm", labelled)
    source = pydicom.dcmread(next(series.iterdir()))
    for name in ("seg.dcm", "rtstruct.dcm"):
        made = pydicom.dcmread(tmp_path / name)
        assert str(made.PatientName) == "Müller^Jörg"
        for same in (
            "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
            "StudyID", "AccessionNumber", "FrameOfReferenceUID",
        ):  # fmt: skip
            assert made[same].value == source[same].value
        assert made.SeriesInstanceUID != source.SeriesInstanceUID
        assert made.SeriesNumber != source.SeriesNumber


def test_each_frame_refers_to_the_slice_that_it_lies_on(
    labelled: Any, series: Path, tmp_path: Path
) -> None:
    write_seg(tmp_path / "seg.dcm", labelled)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    places = {
        one.SOPInstanceUID: list(one.ImagePositionPatient)
        for one in map(pydicom.dcmread, series.iterdir())
    }
    referred = {
        one.ReferencedSOPInstanceUID
        for one in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert referred == places.keys()
    for group in seg.PerFrameFunctionalGroupsSequence:
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        position = group.PlanePositionSequence[0].ImagePositionPatient
        assert places[image.ReferencedSOPInstanceUID] == list(position)


def test_highdicom_reads_segments_for_the_images_they_were_made_of(
    labelled: Any, series: Path, tmp_path: Path
) -> None:
    write_seg(tmp_path / "seg.dcm", labelled)
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    for image in map(pydicom.dcmread, series.iterdir()):
        values = image.pixel_array.astype(int) - 1024
        truth = PHANTOM.marks(values)
        truth[truth == 300] = 4
        given = seg.get_pixels_by_source_instance(
            [image.SOPInstanceUID],
            combine_segments=True,
            assert_missing_frames_are_empty=True,
            ignore_spatial_locations=True,
        )
        assert np.array_equal(given[0], truth)


def test_a_label_map_has_one_frame_for_a_slice_and_classes_are_one_segment(
    labelled: Any, tmp_path: Path
) -> None:
    write_seg(tmp_path / "map.dcm", labelled, by="class", labelmap=True)
    seg = pydicom.dcmread(tmp_path / "map.dcm")
    assert seg.SegmentationType == "LABELMAP"
    names = {one.SegmentNumber: one.SegmentLabel for one in seg.SegmentSequence}
    assert names == {0: "Background", 1: "kidney_left", 2: "Läsion 肝", 3: "objects"}
    assert seg.pixel_array.shape == (PHANTOM.shape[2], PHANTOM.shape[1], PHANTOM.shape[0])
    read = highdicom.seg.segread(tmp_path / "map.dcm").get_volume(combine_segments=True)
    places = voxel_places(read.array.shape, read.affine)
    classes = {1: 1, 3: 1, 2: 2, 300: 3}
    truth = {value: classes[label] for value, label in PHANTOM.truth().items()}
    assert PHANTOM.found(places, read.array) == truth


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (9.0, -14.0, 21.0)], ids=["straight", "askew"])
def test_a_reader_that_shares_no_code_with_ours_finds_segments_in_place(
    tmp_path: Path, turn: tuple[float, float, float]
) -> None:
    dcmqi = pytest.importorskip("dcmqi", reason="dcmqi is not installed: pip install dcmqi")
    program = Path(dcmqi.__file__).parent / "bin" / "segimage2itkimage"
    phantom = Phantom(turned(turn))
    write_dicom_sample(tmp_path / "images", phantom, CORONAL)
    write_seg(tmp_path / "seg.dcm", marked(phantom, tmp_path / "images", along="x"))
    (tmp_path / "out").mkdir()
    subprocess.run(
        [
            *(program, "--inputDICOM", tmp_path / "seg.dcm"),
            *("--outputDirectory", tmp_path / "out", "--outputType", "nifti"),
        ],
        check=True,
        capture_output=True,
    )
    described = json.loads((tmp_path / "out" / "meta.json").read_text())["segmentAttributes"]
    found: dict[int, int] = {}
    for number, (segment,) in enumerate(described, 1):
        image = nibabel.load(tmp_path / "out" / f"{number}.nii.gz")
        object_id = int(segment["SegmentLabel"].removeprefix("object "))
        places = voxel_places(image.shape, LPS_TO_RAS @ image.affine)
        found |= phantom.found(places, (np.asarray(image.dataobj) > 0) * object_id)
    assert found == phantom.truth()


def test_regions_have_names_colours_and_images(labelled: Any, series: Path, tmp_path: Path) -> None:
    write_rtstruct(tmp_path / "rtstruct.dcm", labelled)
    made = pydicom.dcmread(tmp_path / "rtstruct.dcm")
    regions = made.StructureSetROISequence
    names = [one.ROIName for one in regions]
    assert names == ["kidney_left 1", "Läsion 肝", "kidney_left 3", "object 300"]
    assert [one.ROINumber for one in regions] == [1, 2, 3, 4]
    algorithms = [one.ROIGenerationAlgorithm for one in regions]
    assert algorithms == ["SEMIAUTOMATIC", "MANUAL", "AUTOMATIC", "SEMIAUTOMATIC"]
    colours = {tuple(one.ROIDisplayColor) for one in made.ROIContourSequence}
    assert len(colours) == 4
    assert all(value in made.StructureSetDescription for value in FULL.values())
    source = pydicom.dcmread(next(series.iterdir()))
    frame = made.ReferencedFrameOfReferenceSequence[0]
    assert frame.FrameOfReferenceUID == source.FrameOfReferenceUID
    study = frame.RTReferencedStudySequence[0]
    assert study.ReferencedSOPInstanceUID == source.StudyInstanceUID
    referred = study.RTReferencedSeriesSequence[0]
    assert referred.SeriesInstanceUID == source.SeriesInstanceUID
    assert len(referred.ContourImageSequence) == PHANTOM.shape[2]
    code = made.RTROIObservationsSequence[0].RTROIIdentificationCodeSequence[0]
    assert code.CodeMeaning == "Kidney"


def test_holes_are_holes_in_contours(tmp_path: Path) -> None:
    phantom = Phantom(shape=(8, 7, 3))
    write_dicom_sample(tmp_path / "images", phantom, AXIAL)
    scene = marked(phantom, tmp_path / "images").scene
    labels = np.zeros((3, 7, 8), np.uint32)
    labels[1, 1:6, 1:7] = 5
    labels[1, 2, 2], labels[1, 3, 3], labels[1, 4, 5] = 0, 0, 6
    write_rtstruct(tmp_path / "rtstruct.dcm", Labelled(scene, labels, "ZYX"))
    found = phantom.found(*rtstruct_places(tmp_path / "rtstruct.dcm", tmp_path / "images"))
    assert sorted(found.values()).count(5) == (labels == 5).sum()
    assert list(found.values()).count(6) == 1


@pytest.mark.parametrize("along", ["z", "y"])
def test_labels_of_one_plane_are_written_and_other_planes_are_empty(
    series: Path, tmp_path: Path, along: Any
) -> None:
    scene = open_scene(series, along=along, z=1)
    values = scene.read(0, slice(None), slice(None))[..., 0]
    labelled = Labelled(scene, PHANTOM.marks(values), "YX")
    write_seg(tmp_path / "seg.dcm", labelled)
    write_rtstruct(tmp_path / "rtstruct.dcm", labelled)
    shown = set(values.ravel().tolist())
    truth = {value: label for value, label in PHANTOM.truth().items() if value in shown}
    assert PHANTOM.found(*seg_places(tmp_path / "seg.dcm")) == truth
    assert PHANTOM.found(*rtstruct_places(tmp_path / "rtstruct.dcm", series)) == truth


def test_a_tilted_gantry_keeps_places(tmp_path: Path) -> None:
    shear = np.eye(3)
    shear[1, 2] = 0.36  # slices move to the back as they go up
    phantom = Phantom(shear)
    write_dicom_sample(tmp_path / "images", phantom, AXIAL)
    labelled = marked(phantom, tmp_path / "images", along="y")
    write_seg(tmp_path / "seg.dcm", labelled)
    write_rtstruct(tmp_path / "rtstruct.dcm", labelled)
    assert phantom.found(*seg_places(tmp_path / "seg.dcm")) == phantom.truth()
    found = phantom.found(*rtstruct_places(tmp_path / "rtstruct.dcm", tmp_path / "images"))
    assert found == phantom.truth()


def test_a_missing_slice_moves_no_other(tmp_path: Path) -> None:
    phantom = Phantom(shape=(5, 4, 6))
    paths = write_dicom_sample(tmp_path / "images", phantom, AXIAL)
    gone = next(path for path in paths if str(pydicom.dcmread(path).SOPInstanceUID)[-2:] == ".3")
    lost = set((pydicom.dcmread(gone).pixel_array.astype(int) - 1024).ravel().tolist())
    gone.unlink()
    scene = open_scene(tmp_path / "images")
    labels = np.zeros((6, 4, 5), np.uint32)
    for z in range(6):
        plane = open_scene(tmp_path / "images", z=z).read(0, slice(None), slice(None))[..., 0]
        if plane.min() > 0:
            labels[z] = phantom.marks(plane)
    write_seg(tmp_path / "seg.dcm", Labelled(scene, labels, "ZYX"))
    truth = {value: label for value, label in phantom.truth().items() if value not in lost}
    assert phantom.found(*seg_places(tmp_path / "seg.dcm")) == truth


def test_frames_of_an_enhanced_image_are_found_again(tmp_path: Path) -> None:
    write_dicom_sample(tmp_path / "images", PHANTOM, CORONAL)
    single = [pydicom.dcmread(path) for path in sorted((tmp_path / "images").iterdir())]
    enhanced = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        single, highdicom.UID(), 7, highdicom.UID(), 1
    )
    (tmp_path / "enhanced").mkdir()
    enhanced.save_as(tmp_path / "enhanced" / "all.dcm")
    labelled = marked(PHANTOM, tmp_path / "enhanced")
    write_seg(tmp_path / "seg.dcm", labelled)
    assert PHANTOM.found(*seg_places(tmp_path / "seg.dcm")) == PHANTOM.truth()
    write_rtstruct(tmp_path / "rtstruct.dcm", labelled)
    made = pydicom.dcmread(tmp_path / "rtstruct.dcm")
    groups = pydicom.dcmread(tmp_path / "enhanced" / "all.dcm").PerFrameFunctionalGroupsSequence
    for region in made.ROIContourSequence:
        for contour in region.ContourSequence:
            image = contour.ContourImageSequence[0]
            assert image.ReferencedSOPInstanceUID == enhanced.SOPInstanceUID
            frame = groups[image.ReferencedFrameNumber - 1]
            corner = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
            points = np.reshape(contour.ContourData, (-1, 3)).astype(float)
            assert np.allclose(points[:, 1], corner[1])  # coronal: a slice is one y


def test_files_without_numbers_get_the_same_ones_in_all_that_is_made_of_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lost = dict.fromkeys(
        ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"), ""
    )
    write_dicom_sample(
        tmp_path / "images",
        PHANTOM,
        AXIAL,
        more={**lost, "PatientSex": "U", "PatientBirthDate": "00000000", "SeriesNumber": ""},
    )
    caplog.clear()
    labelled = marked(PHANTOM, tmp_path / "images")
    write_seg(tmp_path / "seg.dcm", labelled)
    write_rtstruct(tmp_path / "rtstruct.dcm", labelled)
    assert "00000000" not in caplog.text
    seg, made = (pydicom.dcmread(tmp_path / name) for name in ("seg.dcm", "rtstruct.dcm"))
    assert PHANTOM.found(*seg_places(tmp_path / "seg.dcm")) == PHANTOM.truth()
    assert seg.PatientBirthDate == made.PatientBirthDate == ""
    assert seg.StudyInstanceUID
    assert seg.StudyInstanceUID == made.StudyInstanceUID
    study = made.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    referred = study.RTReferencedSeriesSequence[0].SeriesInstanceUID
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == referred


def test_of_several_times_the_images_of_one_are_referred_to(series: Path, tmp_path: Path) -> None:
    for path in list(series.iterdir()):
        image = pydicom.dcmread(path)
        image.AcquisitionNumber = 1
        image.save_as(path)
        image.AcquisitionNumber = 2
        image.file_meta.MediaStorageSOPInstanceUID = f"{image.SOPInstanceUID}.2"
        image.SOPInstanceUID = f"{image.SOPInstanceUID}.2"
        image.PixelData = (image.pixel_array + 500).tobytes()
        image.save_as(series / f"later_{path.name}")
    scene = open_scene(series, t=1)
    planes = [
        open_scene(series, t=1, z=z).read(0, slice(None), slice(None))[..., 0]
        for z in range(scene.planes)
    ]
    labels = PHANTOM.marks(np.stack(planes) - 500)
    write_seg(tmp_path / "seg.dcm", Labelled(scene, labels, "ZYX"))
    assert PHANTOM.found(*seg_places(tmp_path / "seg.dcm")) == PHANTOM.truth()
    for group in pydicom.dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence:
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert image.ReferencedSOPInstanceUID.endswith(".2")


@pytest.mark.parametrize("name", ["SPL", "LSP", "AIR", "IRP"])
def test_a_single_slice_is_written_where_it_lies(tmp_path: Path, name: str) -> None:
    orientation = next(one for one in ORIENTATIONS if name_of(one) == name)
    for path in write_dicom_sample(tmp_path / "images", PHANTOM, orientation):
        if not str(pydicom.dcmread(path).SOPInstanceUID).endswith(".2"):
            path.unlink()
    scene = open_scene(tmp_path / "images")
    values = scene.read(0, slice(None), slice(None))[..., 0]
    labelled = Labelled(scene, PHANTOM.marks(values), "YX")
    truth = {v: label for v, label in PHANTOM.truth().items() if v in values}
    write_seg(tmp_path / "seg.dcm", labelled)
    assert PHANTOM.found(*seg_places(tmp_path / "seg.dcm")) == truth
    write_rtstruct(tmp_path / "rtstruct.dcm", labelled)
    found = PHANTOM.found(*rtstruct_places(tmp_path / "rtstruct.dcm", tmp_path / "images"))
    assert found == truth
    write_nifti(tmp_path / "labels.nii", labelled)
    assert PHANTOM.found(*nifti_places(tmp_path / "labels.nii")) == truth
