"""Objects as a DICOM segmentation (SEG), frame by frame on the images they were found in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

import napari_sam
from napari_sam.errors import InputError
from napari_sam.extras import need
from napari_sam.files.labelled import Labelled
from napari_sam.files.medical.dicom_origin import Origin, origin_of, telling
from napari_sam.files.medical.label_volume import grid_of, laid_out, only_time
from napari_sam.files.medical.segments import (
    Segment,
    in_segments,
    lasting_uid,
    plain_text,
    segments_of,
)
from napari_sam.files.outputs import written_together
from napari_sam.provenance import provenance_said

__all__ = ["write_seg"]

_MOST_SEGMENTS, _MOST_LABELS = 1000, 65535
"""Of a file of masks, each segment of which is searched in each slice; of a label map."""


def write_seg(
    path: Path,
    labelled: Labelled,
    *,
    by: Literal["object", "class"] = "object",
    labelmap: bool = False,
) -> None:
    """Write objects as DICOM SEG; a file of that name is replaced when it is whole.

    Each frame lies on a slice of the source, with its position, its size and a reference to it;
    frames without objects are left out. Patient and study are the source's, as DICOM demands.
    Segments are coded by their classes' names (`codes.coded`), and say by what model they were
    found and how surely; objects of a Session keep their tracking UID from export to export.

    Parameters
    ----------
    path : Path
        Usually ending in .dcm.
    labelled : Labelled
        Of a scene of DICOM images, along any axis.
    by : {"object", "class"}
        What becomes a segment: each object, or all objects of a class.
    labelmap : bool
        Write one picture of segment numbers for each slice (the type LABELMAP, new in DICOM 2024c,
        for up to 65535 segments) and not one mask for each segment (BINARY, which all read).

    Raises
    ------
    InputError
        If the scene is not of DICOM images or they are gone, there are no objects or too many, or
        the file cannot be written.
    """
    need("highdicom", "medical")
    time = only_time(labelled)
    origin = origin_of(labelled, time, "DICOM SEG")
    volume, grid = laid_out(labelled, time), grid_of(labelled)
    ids = [number for number in np.unique(volume).tolist() if number]
    if not ids:
        raise InputError(f"There are no objects of {labelled.scene.name} to write.")
    segments = segments_of(labelled, ids, by)
    most = _MOST_LABELS if labelmap else _MOST_SEGMENTS
    if len(segments) > most:
        other = "" if labelmap else ", as a label map (labelmap)"
        raise InputError(
            f"{len(segments)} segments are too many for this kind of DICOM SEG, which holds "
            f"{most}: write one for each class (by class){other}, or a NIfTI."
        )
    pixels = np.zeros(_shape(origin), np.uint16)
    for place, frame in zip(_places(origin), origin.frames, strict=True):
        pixels[place] = in_segments(frame.labels(volume, grid), segments)
    with telling(path, labelled, "a DICOM SEG"), written_together(path) as (part,):
        _segmentation(labelled, origin, pixels, segments, labelmap).save_as(part)


def _shape(origin: Origin) -> tuple[int, int, int]:
    """Return the shape of all frames that highdicom wants: of all files, or all of one file."""
    header = origin.frames[0].header
    count = int(header.get("NumberOfFrames") or 1)
    if count > 1 and len(origin.headers) > 1:
        raise InputError(
            "The volume consists of several DICOM files of many frames each, to which one DICOM "
            "SEG cannot refer: write a NIfTI."
        )
    return max(count, len(origin.frames)), int(header.Rows), int(header.Columns)


def _places(origin: Origin) -> list[int]:
    if len(origin.headers) == 1:
        return [frame.number for frame in origin.frames]
    return list(range(len(origin.frames)))


def _segmentation(
    labelled: Labelled,
    origin: Origin,
    pixels: np.ndarray,
    segments: list[Segment],
    labelmap: bool,
) -> Any:
    import highdicom
    from pydicom.sr.codedict import codes

    known = labelled.provenance
    program = known.get("program", f"napari-sam-tiled {napari_sam.__version__}")
    equipment = highdicom.ContributingEquipment(
        manufacturer="napari-sam-tiled",
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        software_versions=plain_text(program, 64),
        contribution_description=plain_text(provenance_said(known), 1024),
    )
    header = origin.headers[0]
    return highdicom.seg.Segmentation(
        source_images=origin.headers,
        pixel_array=pixels,
        segmentation_type="LABELMAP" if labelmap else "BINARY",
        segment_descriptions=[_description(one, labelled, header) for one in segments],
        series_instance_uid=highdicom.UID(),
        series_number=1000 + int(header.get("SeriesNumber") or 0),
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="napari-sam-tiled",
        manufacturer_model_name="napari-sam-tiled",
        software_versions=plain_text(program, 64),
        device_serial_number="none",
        content_label="OBJECTS",
        content_description=plain_text(f"{len(segments)} segments, {program}", 64),
        series_description="Segmentation (napari-sam-tiled)",
        contributing_equipment=[equipment],
        # The source's may lack the letters of a class.
        specific_character_set="ISO_IR 192",
    )


def _description(segment: Segment, labelled: Labelled, header: Any) -> Any:
    import highdicom
    from highdicom.color import CIELabColor
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code
    from skimage.color import rgb2lab

    known = labelled.provenance
    kind = "AUTOMATIC" if segment.automatic else "SEMIAUTOMATIC"
    algorithm = None
    if segment.drawn:
        kind = "MANUAL"
    else:
        parameters = {name: plain_text(value, 256) for name, value in known.items()}
        algorithm = highdicom.AlgorithmIdentificationSequence(
            name=plain_text(known.get("model", "unknown"), 64) or "unknown",
            family=codes.DCM.ArtificialIntelligence,
            version=plain_text(known.get("model_hash", "unknown"), 64) or "unknown",
            source=plain_text(known.get("program", "napari-sam-tiled"), 64),
            parameters=parameters or None,
        )
    what = segment.coded
    description = highdicom.seg.SegmentDescription(
        segment_number=segment.number,
        segment_label=plain_text(segment.name, 64),
        segmented_property_category=Code(what.category.value, "SCT", what.category.meaning),
        segmented_property_type=Code(what.type.value, "SCT", what.type.meaning),
        algorithm_type=kind,
        algorithm_identification=algorithm,
        tracking_uid=lasting_uid(segment, str(header.SeriesInstanceUID)),
        tracking_id=plain_text(segment.name, 64),
        display_color=CIELabColor(*rgb2lab(np.array(segment.colour) / 255).tolist()),
    )
    if what.side is not None:
        side = highdicom.sr.CodedConcept(what.side.value, "SCT", what.side.meaning)
        kind_of = description.SegmentedPropertyTypeCodeSequence[0]
        kind_of.SegmentedPropertyTypeModifierCodeSequence = [side]
    description.SegmentDescription = plain_text(segment.said, 1024)
    return description
