"""DICOM files made for tests: every voxel's value says where in the patient it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, generate_uid  # noqa: E402

NAME, IDENTITY, BIRTH = "Quettelbaum^Ottokar", "XK-774411", "19310704"
CT = "1.2.840.10008.5.1.4.1.1.2"
AXIAL = (1, 0, 0, 0, 1, 0)
SYNTAX = ExplicitVRLittleEndian


def value_of(place):
    """A number for a place in the patient: whole millimetres within 20 of the origin."""
    x, y, z = np.moveaxis(np.rint(place).astype(int), -1, 0)
    return ((x + 20) * 41 + (y + 20)) * 41 + (z + 20) - 32768


def pixels_at(position, orientation=AXIAL, spacing=(1, 1), shape=(6, 8)):
    across, down = np.array(orientation[:3]), np.array(orientation[3:])
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    place = (
        np.array(position)
        + rows[..., None] * down * spacing[0]
        + cols[..., None] * across * spacing[1]
    )
    return value_of(place).astype(np.int16)


def dataset(pixels, position=None, orientation=AXIAL, spacing=(1, 1), **more):
    """A slice; `more` are attributes by name, None leaves one out."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = SYNTAX
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CT
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    data.FrameOfReferenceUID = "1.2.3.9"
    data.PatientName, data.PatientID, data.PatientBirthDate = NAME, IDENTITY, BIRTH
    data.Modality, data.SeriesNumber, data.SeriesDescription = "MR", 4, "t1 made"
    data.SliceThickness = 9  # a trap
    if position is not None:
        data.ImagePositionPatient = list(position)
        data.ImageOrientationPatient = list(orientation)
    if spacing is not None:
        data.PixelSpacing = list(spacing)
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    data.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = pixels.dtype.itemsize * 8
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    data["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
    for name, value in more.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    return data


def save(data, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def series(folder: Path, positions, orientation=AXIAL, spacing=(1, 1), shape=(6, 8), **more):
    """Write slices under names, and with numbers, that are in another order than they lie."""
    order = np.random.default_rng(1).permutation(len(positions))
    for number, position in enumerate(positions):
        pixels = pixels_at(position, orientation, spacing, shape)
        data = dataset(pixels, position, orientation, spacing, **more)
        data.InstanceNumber = int(order[number]) + 1
        save(data, folder / f"{'IM' if number % 2 else 'a'}{order[(number + 3) % len(order)]:04}")
    return folder
