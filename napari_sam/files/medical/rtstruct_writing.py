"""Objects as contours of a DICOM structure set (RTSTRUCT), slice by slice."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import ndimage

import napari_sam
from napari_sam.errors import InputError
from napari_sam.files.labelled import Labelled
from napari_sam.files.medical.contours import outlines
from napari_sam.files.medical.dicom_origin import Origin, OriginFrame, origin_of, telling
from napari_sam.files.medical.label_volume import grid_of, laid_out, only_time
from napari_sam.files.medical.segments import Segment, in_segments, plain_text, segments_of
from napari_sam.files.outputs import written_together
from napari_sam.provenance import provenance_said

__all__ = ["write_rtstruct"]

_COPIED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
)
"""The patient, the study and the frame of reference are the source's."""

_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management, long retired, which DICOM still has here."""


def write_rtstruct(
    path: Path, labelled: Labelled, *, by: Literal["object", "class"] = "object"
) -> None:
    """Write objects as DICOM RTSTRUCT; a file of that name is replaced when it is whole.

    Contours lie on the slices of the source, along the edges of pixels, in millimetres of the
    patient. A contour with holes is one closed line with channels to them (DICOM's keyhole
    technique). Where a program takes the pixels whose centres lie in a contour, it has the objects
    again exactly. Patient and study are the source's, as DICOM demands.

    Parameters
    ----------
    path : Path
        Usually ending in .dcm.
    labelled : Labelled
        Of a scene of DICOM images, along any axis.
    by : {"object", "class"}
        What becomes a region of interest: each object, or all objects of a class.

    Raises
    ------
    InputError
        If the scene is not of DICOM images or they are gone, there are no objects, or the file
        cannot be written.
    """
    time = only_time(labelled)
    origin = origin_of(labelled, time, "DICOM RTSTRUCT")
    volume, grid = laid_out(labelled, time), grid_of(labelled)
    ids = [number for number in np.unique(volume).tolist() if number]
    if not ids:
        raise InputError(f"There are no objects of {labelled.scene.name} to write.")
    segments = segments_of(labelled, ids, by)
    contours: dict[int, list[Any]] = {segment.number: [] for segment in segments}
    for frame in origin.frames:
        for number, lines in _contours(in_segments(frame.labels(volume, grid), segments), frame):
            contours[number] += lines
    with telling(path, labelled, "a DICOM RTSTRUCT"), written_together(path) as (part,):
        made = _structure_set(labelled, origin, segments, contours)
        made.save_as(part, enforce_file_format=True)


def _contours(plane: np.ndarray, frame: OriginFrame) -> list[tuple[int, list[Any]]]:
    """Trace the segments of a slice."""
    from pydicom.dataset import Dataset

    found = []
    for number, window in enumerate(ndimage.find_objects(plane.astype(np.int32)), 1):
        if window is None:
            continue
        corner = np.array([window[0].start, window[1].start])
        lines = []
        for polygon in outlines(plane[window] == number):
            contour = Dataset()
            contour.ContourImageSequence = [_reference(frame)]
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(polygon)
            points = frame.to_patient(polygon + corner)
            contour.ContourData = [_decimal(value) for value in points.ravel().tolist()]
            lines.append(contour)
        found.append((number, lines))
    return found


def _reference(frame: OriginFrame) -> Any:
    from pydicom.dataset import Dataset

    image = Dataset()
    image.ReferencedSOPClassUID = frame.header.SOPClassUID
    image.ReferencedSOPInstanceUID = frame.header.SOPInstanceUID
    if int(frame.header.get("NumberOfFrames") or 1) > 1:
        image.ReferencedFrameNumber = frame.number + 1
    return image


def _decimal(value: float) -> str:
    """Write a number in the 16 characters that DICOM has for it.

    Examples
    --------
    >>> _decimal(-249.51171875), _decimal(1 / 3), _decimal(1e-12)
    ('-249.51171875', '0.333333333', '0')
    """
    text = f"{value:.9f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text[:16]


def _structure_set(
    labelled: Labelled, origin: Origin, segments: list[Segment], contours: dict[int, list[Any]]
) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

    known, header = labelled.provenance, origin.headers[0]
    program = plain_text(known.get("program", f"napari-sam-tiled {napari_sam.__version__}"), 64)
    now = datetime.now()
    made = Dataset()
    made.file_meta = FileMetaDataset()
    # Contours may be longer than the 64 KiB that values with an explicit type can have.
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID = RTStructureSetStorage
    made.SOPInstanceUID = generate_uid()
    made.InstanceCreationDate, made.InstanceCreationTime = _day(now), _clock(now)
    for name in _COPIED:
        if name in header:
            setattr(made, name, header[name].value)
    made.Modality, made.SeriesInstanceUID = "RTSTRUCT", generate_uid()
    made.SeriesNumber, made.InstanceNumber = 2000 + int(header.get("SeriesNumber") or 0), 1
    made.SeriesDescription = "Contours (napari-sam-tiled)"
    made.OperatorsName = ""
    made.Manufacturer = made.ManufacturerModelName = "napari-sam-tiled"
    made.SoftwareVersions = program
    made.StructureSetLabel = "OBJECTS"
    made.StructureSetName = plain_text(f"{len(segments)} regions, {program}", 64)
    made.StructureSetDescription = plain_text(provenance_said(known), 1024)
    made.StructureSetDate, made.StructureSetTime = _day(now), _clock(now)
    made.ApprovalStatus = "UNAPPROVED"
    made.ReferencedFrameOfReferenceSequence = [_frame_of_reference(origin)]
    made.StructureSetROISequence = [_region(one, origin) for one in segments]
    made.ROIContourSequence = [_drawn(one, contours[one.number]) for one in segments]
    made.RTROIObservationsSequence = [_observation(one) for one in segments]
    return made


def _day(now: datetime) -> str:
    return now.strftime("%Y%m%d")


def _clock(now: datetime) -> str:
    return now.strftime("%H%M%S")


def _frame_of_reference(origin: Origin) -> Any:
    from pydicom.dataset import Dataset

    header = origin.headers[0]
    series = Dataset()
    series.SeriesInstanceUID = header.SeriesInstanceUID
    images = {frame.header.SOPInstanceUID: frame.header for frame in origin.frames}
    series.ContourImageSequence = []
    for instance, image in images.items():
        item = Dataset()
        item.ReferencedSOPClassUID = image.SOPClassUID
        item.ReferencedSOPInstanceUID = instance
        series.ContourImageSequence.append(item)
    study = Dataset()
    study.ReferencedSOPClassUID = _STUDY_CLASS
    study.ReferencedSOPInstanceUID = header.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = header.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _region(segment: Segment, origin: Origin) -> Any:
    from pydicom.dataset import Dataset

    region = Dataset()
    region.ROINumber = segment.number
    region.ReferencedFrameOfReferenceUID = origin.headers[0].FrameOfReferenceUID
    region.ROIName = plain_text(segment.name, 64)
    region.ROIDescription = plain_text(segment.said, 1024)
    region.ROIGenerationAlgorithm = "SEMIAUTOMATIC"
    if segment.drawn or segment.automatic:
        region.ROIGenerationAlgorithm = "MANUAL" if segment.drawn else "AUTOMATIC"
    return region


def _drawn(segment: Segment, lines: list[Any]) -> Any:
    from pydicom.dataset import Dataset

    drawn = Dataset()
    drawn.ROIDisplayColor = list(segment.colour)
    drawn.ReferencedROINumber = segment.number
    drawn.ContourSequence = lines
    for number, line in enumerate(lines, 1):
        line.ContourNumber = number
    return drawn


def _observation(segment: Segment) -> Any:
    from pydicom.dataset import Dataset

    what = segment.coded.type
    observation = Dataset()
    observation.ObservationNumber = segment.number
    observation.ReferencedROINumber = segment.number
    observation.ROIObservationLabel = plain_text(segment.name, 16)
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = what.value, "SCT"
    code.CodeMeaning = what.meaning
    observation.RTROIIdentificationCodeSequence = [code]
    observation.RTROIInterpretedType = ""
    observation.ROIInterpreter = ""
    return observation
