"""The DICOM images that objects were found in, read again for files that refer to them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.extras import need
from napari_sam.files.labelled import Labelled
from napari_sam.files.medical.dicom_files import is_dicom
from napari_sam.files.medical.label_volume import grid_of
from napari_sam.scenes.volume_grid import VolumeGrid

__all__ = ["Origin", "OriginFrame", "origin_of", "telling"]

_BLANK_IF_ABSENT = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
)
"""What DICOM wants in every file, be it empty."""

_ASKEW = 0.02
"""How far a step from pixel to pixel may differ from one of the grid, in pixels."""

_SHIFTED = 0.95
"""How far a slice may lie beside the grid, in pixels; readers allow for a little."""


@dataclass(frozen=True)
class OriginFrame:
    """A slice of the source.

    Parameters
    ----------
    header : pydicom.Dataset
        Of its file, without pixels.
    number : int
        Which frame of the file, from 0 on.
    position : ndarray
        The centre of its first pixel in the patient, mm.
    down, across : ndarray
        From a pixel to the next row, and to the next column, mm.
    """

    header: Any
    number: int
    position: np.ndarray
    down: np.ndarray
    across: np.ndarray

    def labels(self, volume: np.ndarray, grid: VolumeGrid) -> np.ndarray:
        """Cut its labels out of a volume by where it lies in the patient.

        Parameters
        ----------
        volume : ndarray
            As `grid` is laid out.
        grid : VolumeGrid
            Of the scene.

        Returns
        -------
        ndarray
            A view, (row, col) of the file.

        Raises
        ------
        InputError
            If it lies beside the grid.
        """
        ends = grid.to_voxels(
            np.array([self.position, self.position + self.down, self.position + self.across])
        )
        steps = ends[1:] - ends[0]
        whole = np.rint(steps).astype(int)
        (row_axis, col_axis) = np.abs(whole).argmax(axis=1).tolist()
        fits = (
            np.abs(steps - whole).max() < _ASKEW
            and (np.abs(whole).sum(axis=1) == 1).all()
            and row_axis != col_axis
        )
        slice_axis = 3 - row_axis - col_axis
        place = round(float(ends[0, slice_axis])) if fits else -1
        if not fits or not 0 <= place < volume.shape[slice_axis]:
            raise InputError(
                "The DICOM files lie elsewhere than when they were opened: open them again, and "
                "look whether the objects still fit."
            )
        plane = volume[(slice(None),) * slice_axis + (place,)]
        if row_axis > col_axis:
            plane = plane.T
        forwards = [whole[0, row_axis] > 0, whole[1, col_axis] > 0]
        first = [0 if on else side - 1 for on, side in zip(forwards, plane.shape, strict=True)]
        if plane.shape != (int(self.header.Rows), int(self.header.Columns)) or (
            np.abs(ends[0, [row_axis, col_axis]] - first).max() > _SHIFTED
        ):
            raise InputError(
                "The DICOM files have another size or place than when they were opened: open them "
                "again, and look whether the objects still fit."
            )
        return plane[tuple(slice(None, None, 1 if on else -1) for on in forwards)]

    def to_patient(self, points: np.ndarray) -> np.ndarray:
        """Turn (row, col), shape (n, 2), into (x, y, z) in mm."""
        result: np.ndarray = self.position + points @ np.array([self.down, self.across])
        return result


@dataclass(frozen=True)
class Origin:
    """The source of one volume at one time.

    Parameters
    ----------
    frames : tuple of OriginFrame
        In the order of the slices.
    """

    frames: tuple[OriginFrame, ...]

    @property
    def headers(self) -> list[Any]:
        """The header of each file once."""
        return list({id(frame.header): frame.header for frame in self.frames}.values())


def origin_of(labelled: Labelled, time: int, what: str) -> Origin:
    """Read the headers of the DICOM files of a scene.

    UIDs and other things that DICOM wants and anonymous files may lack are filled in: UIDs from
    what the file says elsewhere, or made from what it says, the same ones every time.

    Parameters
    ----------
    labelled : Labelled
        Whose scene is of DICOM files.
    time : int
        Which volume of several.
    what : str
        What is to be written, for messages.

    Raises
    ------
    InputError
        If the scene is of something else, or the files are gone or others by now.
    """
    from napari_sam.files.medical.dicom import dicom_frames

    need("pydicom", "medical")
    scene = labelled.scene
    scene.check_there()
    file = scene._file
    if file is None or not is_dicom(file):
        raise InputError(
            f"{scene.name} is not DICOM, and {what} refers to the DICOM images it was made from: "
            f"open those, or write a NIfTI."
        )
    grid_of(labelled)
    arranged = dicom_frames(file, scene.part)
    headers: dict[Path, Any] = {}
    frames = []
    for frame in arranged.frames[time]:
        if frame is None:
            continue
        if frame.form.path not in headers:
            headers[frame.form.path] = _header(frame.form.path)
        assert frame.position is not None
        assert frame.orientation is not None
        assert frame.spacing is not None
        across, down = np.array(frame.orientation).reshape(2, 3)
        frames.append(
            OriginFrame(
                headers[frame.form.path],
                frame.number,
                np.array(frame.position),
                down * frame.spacing[0],
                across * frame.spacing[1],
            )
        )
    _fill(list(headers.values()))
    return Origin(tuple(frames))


@contextmanager
def telling(path: Path, labelled: Labelled, what: str) -> Iterator[None]:
    """Say in a sentence why a file cannot be made or written; nothing of the patient is in it."""
    try:
        with warnings.catch_warnings():  # warnings show values
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}).") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # What libraries say of a header they refuse, values of it and all, is behind the sentence.
        raise InputError(
            f"The DICOM files of {labelled.scene.name} say something that {what} cannot hold "
            f"({type(error).__name__}): write a NIfTI."
        ) from error


def _header(path: Path) -> Any:
    import pydicom

    try:
        with warnings.catch_warnings():  # warnings show values
            warnings.simplefilter("ignore")
            return pydicom.dcmread(path, stop_before_pixels=True, force=True)
    except Exception as error:  # pydicom raises what its converters raise, with values in it
        raise InputError(
            f"{path} cannot be read any more: look whether it was damaged or deleted since it was "
            f"opened."
        ) from error


def _fill(headers: list[Any]) -> None:
    """Give files what they lack and DICOM wants."""
    from pydicom.uid import generate_uid

    for number, header in enumerate(headers):
        meta = getattr(header, "file_meta", {})
        if not header.get("SOPClassUID"):
            header.SOPClassUID = meta.get("MediaStorageSOPClassUID", "")
        if not header.get("SOPInstanceUID"):
            header.SOPInstanceUID = meta.get("MediaStorageSOPInstanceUID") or generate_uid(
                entropy_srcs=["instance", *_said(headers[0]), str(number)]
            )
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        uid = headers[0].get(name) or generate_uid(entropy_srcs=[name, *_said(headers[0])])
        for header in headers:
            # A volume has one of each, whatever its files say.
            setattr(header, name, uid)
    for header in headers:
        for name in _BLANK_IF_ABSENT:
            if name not in header or not _is_valid(header, name):
                setattr(header, name, "")


def _is_valid(header: Any, name: str) -> bool:
    """Tell whether DICOM allows what stands there; those who remove names leave strange dates."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.valuerep import DA, TM

    kind = {"DA": DA, "TM": TM}.get(dictionary_VR(name))
    if kind is None and name != "PatientSex":
        return True
    # As it stands in the file: pydicom logs what it converts and is not valid.
    value = header.get_item(tag_for_keyword(name)).value or b""
    text = (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip()
    try:
        return text in ("", "M", "F", "O") if kind is None else kind(text) is not None
    except ValueError:
        return False


def _said(header: Any) -> list[str]:
    """Return what tells volumes apart."""
    names = ("FrameOfReferenceUID", "SOPInstanceUID", "SeriesNumber", "AcquisitionDateTime")
    return [str(header.get(name, "")) for name in names]
