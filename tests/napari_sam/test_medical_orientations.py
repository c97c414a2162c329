"""Left stays left and up stays up: labels go through our readers and writers in all orientations.

Each voxel of the phantom tells by its value where in the patient it is. Labels are made from the
values our readers give, written, and read by other software; each label must be, in millimetres of
the patient, where its voxel was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from medical_samples import (
    LPS_TO_RAS,
    ORIENTATIONS,
    Orientation,
    Phantom,
    marked,
    name_of,
    turned,
    voxel_places,
    write_dicom_sample,
    write_nifti_sample,
)

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")

STRAIGHT = Phantom()
ASKEW = Phantom(turned((9.0, -14.0, 21.0)))
PROVENANCE = {"program": "napari-sam-tiled 9", "model": "vit_nano", "model_licence": "Apache-2.0"}

every_orientation = pytest.mark.parametrize("orientation", ORIENTATIONS, ids=name_of)


Places = tuple[np.ndarray, np.ndarray]
"""Points in the patient, (n, 3) in mm, and their labels."""


def nifti_places(path: Path) -> Places:
    """All voxels of a NIfTI, as nibabel reads it."""
    image = nibabel.load(path)
    return voxel_places(image.shape, LPS_TO_RAS @ image.affine), np.asarray(image.dataobj)


def seg_places(path: Path) -> Places:
    """The pixels of segments of a DICOM SEG, frame by frame as plain pydicom reads it."""
    seg = pydicom.dcmread(path)
    shared = seg.SharedFunctionalGroupsSequence[0]
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    turn = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    names = {int(one.SegmentNumber): one.SegmentLabel for one in seg.SegmentSequence}
    places, labels = [], []
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        assert frame.any()
        corner = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        places.append(pixel_places(frame, corner, turn, spacing))
        of_segment = group if "SegmentIdentificationSequence" in group else shared
        number = of_segment.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        labels.append(np.full(len(places[-1]), int(names[number].removeprefix("object "))))
    return np.concatenate(places), np.concatenate(labels)


def rtstruct_places(path: Path, images: Path) -> Places:
    """The pixels whose centres contours hold, of the images that they refer to."""
    made = pydicom.dcmread(path)
    sources = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, images.iterdir())}
    names = {one.ROINumber: one.ROIName for one in made.StructureSetROISequence}
    places, labels = [], []
    for region in made.ROIContourSequence:
        object_id = int(names[region.ReferencedROINumber].removeprefix("object "))
        for contour in region.ContourSequence:
            image = sources[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            turn = np.array(image.ImageOrientationPatient, float)
            across, down = turn.reshape(2, 3)
            corner = np.array(image.ImagePositionPatient, float)
            points = np.reshape(contour.ContourData, (-1, 3)).astype(float) - corner
            assert np.abs(points @ np.cross(across, down)).max() < 1e-3  # on the slice
            spacing = np.array(image.PixelSpacing, float)
            polygon = np.stack([points @ down / spacing[0], points @ across / spacing[1]], axis=1)
            inside = held(polygon, (image.Rows, image.Columns))
            places.append(pixel_places(inside, corner, turn, spacing))
            labels.append(np.full(len(places[-1]), object_id))
    return np.concatenate(places), np.concatenate(labels)


def pixel_places(
    mask: np.ndarray, corner: np.ndarray, turn: np.ndarray, spacing: np.ndarray
) -> np.ndarray:
    """Where the pixels of a mask lie, by what DICOM says of an image: PS3.3 C.7.6.2.1.1."""
    rows, cols = np.nonzero(mask)
    return corner + np.outer(cols * spacing[1], turn[:3]) + np.outer(rows * spacing[0], turn[3:])


def held(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres a polygon holds, by crossing numbers."""
    rows, cols = np.indices(shape)
    inside = np.zeros(shape, bool)
    for (row, col), (row_1, col_1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if abs(row - row_1) > 1e-6:
            crossed = (np.minimum(row, row_1) < rows) & (rows < np.maximum(row, row_1))
            inside ^= crossed & (col + (rows - row) / (row_1 - row) * (col_1 - col) < cols)
    return inside


def write_all(labelled: Any, folder: Path) -> tuple[Path, Path, Path]:
    from napari_sam.files.medical.nifti_writing import write_nifti
    from napari_sam.files.medical.rtstruct_writing import write_rtstruct
    from napari_sam.files.medical.seg_writing import write_seg

    paths = folder / "labels.nii", folder / "seg.dcm", folder / "rtstruct.dcm"
    write_nifti(paths[0], labelled)
    write_seg(paths[1], labelled)
    write_rtstruct(paths[2], labelled)
    return paths


@every_orientation
def test_labels_of_a_nifti_stay_where_they_are(tmp_path: Path, orientation: Orientation) -> None:
    from napari_sam.files.medical.nifti_writing import write_nifti

    for phantom, form, along in (
        (STRAIGHT, "sform", "z"),
        (ASKEW, "qform", "y"),
        (ASKEW, "both", "x"),
    ):
        source = write_nifti_sample(tmp_path / "image.nii", phantom, orientation, form=form)
        labelled = marked(phantom, source, along, provenance=PROVENANCE)
        write_nifti(tmp_path / "labels.nii", labelled)
        assert phantom.found(*nifti_places(tmp_path / "labels.nii")) == phantom.truth()
        given, made = nibabel.load(source), nibabel.load(tmp_path / "labels.nii")
        assert made.shape == given.shape
        assert np.array_equal(made.affine, given.affine)
        assert np.array_equal(
            np.asarray(made.dataobj), phantom.marks(np.asarray(given.dataobj)).astype(np.uint16)
        )


# In DICOM no file says in what direction slices follow each other: there are half as many.
@pytest.mark.parametrize("orientation", [one for one in ORIENTATIONS if one[1][0] > 0], ids=name_of)
def test_labels_of_a_dicom_series_stay_where_they_are(
    tmp_path: Path, orientation: Orientation
) -> None:
    along = "zyx"[ORIENTATIONS.index(orientation) % 3]
    phantom = (STRAIGHT, ASKEW)[ORIENTATIONS.index(orientation) % 2]
    write_dicom_sample(tmp_path / "images", phantom, orientation)
    labelled = marked(phantom, tmp_path / "images", along, provenance=PROVENANCE)
    nifti, seg, rtstruct = write_all(labelled, tmp_path)
    truth = phantom.truth()
    assert phantom.found(*nifti_places(nifti)) == truth
    assert phantom.found(*seg_places(seg)) == truth
    assert phantom.found(*rtstruct_places(rtstruct, tmp_path / "images")) == truth
