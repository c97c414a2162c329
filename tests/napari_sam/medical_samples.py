"""A small patient whose every voxel tells by its value where it is, in any file and orientation.

The phantom is an array in the patient's own axes: 0 runs to the left, 1 to the back, 2 to the head
(DICOM's LPS). A file may have its axes in any of 48 orders and directions, and the patient may lie
askew in the scanner: the value of a voxel still tells where it is in the patient, in millimetres.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np

SHAPE = (5, 4, 3)
SPACING = (1.5, 2.0, 4.0)
ORIGIN = (-12.0, 31.0, -700.5)
LPS_TO_RAS = np.diag((-1.0, -1.0, 1.0, 1.0))

Orientation = tuple[tuple[int, int, int], tuple[int, int, int]]
"""For each axis of the file: which of the patient's axes it is, and its direction, 1 or -1."""

ORIENTATIONS: list[Orientation] = [
    (axes, signs)
    for axes in permutations((0, 1, 2))
    for signs in product((1, -1), repeat=3)  # type: ignore[misc]
]
"""All 48."""


def name_of(orientation: Orientation) -> str:
    """What the axes of a file run to, such as "LPS"."""
    ends = (("R", "L"), ("A", "P"), ("I", "S"))
    return "".join(ends[axis][sign > 0] for axis, sign in zip(*orientation, strict=True))


@dataclass(frozen=True)
class Phantom:
    """The patient, lying turned or sheared as `turn` says."""

    turn: np.ndarray = field(default_factory=lambda: np.eye(3))
    shape: tuple[int, int, int] = SHAPE

    @property
    def values(self) -> np.ndarray:
        """1, 2, 3 ... for each voxel, (x, y, z)."""
        return np.arange(1, np.prod(self.shape) + 1, dtype=np.int16).reshape(self.shape)

    @property
    def affine(self) -> np.ndarray:
        """From (x, y, z) to LPS in millimetres."""
        affine = np.eye(4)
        affine[:3, :3] = self.turn @ np.diag(SPACING)
        affine[:3, 3] = ORIGIN
        return affine

    def marks(self, values: np.ndarray) -> np.ndarray:
        """Label voxels by their values: 1 on the left, 2 in front, 3 at the head, 300 within."""
        x, y, z = np.unravel_index(np.asarray(values).astype(int) - 1, self.shape)
        width, _, height = self.shape
        labels = np.zeros(x.shape, np.uint32)
        labels[(x >= width - 2) & (y > 0)] = 1
        labels[(y == 0) & (x > 1) & (z < height - 1)] = 2
        labels[(z == height - 1) & (x < 3)] = 3
        labels[(x == 2) & (y == 3) & (z == 1)] = 300
        return labels

    def truth(self) -> dict[int, int]:
        """The label of each voxel that has one, by its value."""
        values = self.values.ravel()
        labels = self.marks(values)
        return dict(zip(values[labels > 0].tolist(), labels[labels > 0].tolist(), strict=True))

    def found(self, places: np.ndarray, labels: np.ndarray) -> dict[int, int]:
        """The same, of labels (0 is none) at places in the patient: (..., 3) in mm, LPS."""
        there = labels.ravel() > 0
        away = places.reshape(-1, 3)[there] - self.affine[:3, 3]
        index = np.linalg.solve(self.affine[:3, :3], away.T).T
        whole = np.rint(index).astype(int)
        assert np.abs((index - whole) * SPACING).max(initial=0) < 1e-3, "beside the voxels"
        values = self.values[tuple(whole.T)].tolist()
        return dict(zip(values, labels.ravel()[there].tolist(), strict=True))

    def in_file(self, orientation: Orientation) -> tuple[np.ndarray, np.ndarray]:
        """Turn it as the axes of a file: the array and its affine to LPS."""
        axes, signs = orientation
        data = self.values.transpose(axes)[tuple(slice(None, None, sign) for sign in signs)]
        affine = np.zeros((4, 4))
        affine[:, 3] = self.affine[:, 3]
        for place, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
            affine[:, place] = sign * self.affine[:, axis]
            if sign < 0:
                affine[:, 3] += (self.shape[axis] - 1) * self.affine[:, axis]
        return data, affine


def voxel_places(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Where all voxels of an array are, by its affine: (..., 3)."""
    index = np.stack(np.indices(shape), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def turned(degrees: tuple[float, float, float]) -> np.ndarray:
    """A rotation about the patient's axes, one after the other."""
    result = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[[one, other], [one, other]] = np.cos(angle)
        step[other, one], step[one, other] = np.sin(angle), -np.sin(angle)
        result = step @ result
    return result


def write_nifti_sample(
    path: Path,
    phantom: Phantom,
    orientation: Orientation,
    *,
    form: str = "sform",
    change: Callable[[Any], None] | None = None,
) -> Path:
    """Write it as NIfTI, with one of the two forms or both."""
    import nibabel

    data, affine = phantom.in_file(orientation)
    image = nibabel.Nifti1Image(np.ascontiguousarray(data), None)
    code = {"sform": (2, 0), "qform": (0, 1), "both": (4, 1)}[form]
    image.header.set_zooms(np.linalg.norm(affine[:3, :3], axis=0))
    image.header.set_sform(LPS_TO_RAS @ affine if code[0] else None, code[0])
    image.header.set_qform(LPS_TO_RAS @ affine if code[1] else None, code[1])
    image.header.set_xyzt_units("mm", "sec")
    if change is not None:
        change(image.header)
    nibabel.Nifti1Image(image.dataobj, None, image.header).to_filename(path)
    return path


def write_dicom_sample(
    folder: Path,
    phantom: Phantom,
    orientation: Orientation,
    *,
    more: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> list[Path]:
    """Write it as a DICOM series.

    The file's first axis is from slice to slice, the second from row to row, the third along a
    row. Neither file names nor numbers of instances follow the places of the slices.
    """
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(seed).permutation(phantom.in_file(orientation)[0].shape[0])
    paths = []
    for number, slice_ in enumerate(order.tolist()):
        path = folder / f"image{number}.dcm"
        slice_dataset(phantom, orientation, slice_, number + 1, more).save_as(
            path, enforce_file_format=True
        )
        paths.append(path)
    return paths


def slice_dataset(
    phantom: Phantom,
    orientation: Orientation,
    slice_: int,
    number: int,
    more: Mapping[str, Any] | None = None,
) -> Any:
    """One CT image of it."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    data, affine = phantom.in_file(orientation)
    root = "1.2.826.0.1.3680043.8.498.77"
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = CTImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = f"{root}.1.{slice_ + 1}"
    image.SpecificCharacterSet = "ISO_IR 100"
    image.StudyInstanceUID, image.SeriesInstanceUID = f"{root}.2", f"{root}.3"
    image.FrameOfReferenceUID = f"{root}.4"
    image.StudyDate, image.StudyTime, image.StudyID = "20260102", "101112", "S1"
    image.AccessionNumber, image.ReferringPhysicianName = "A1", ""
    image.PatientName, image.PatientID = "Müller^Jörg", "P-17"
    image.PatientBirthDate, image.PatientSex = "19500203", "O"
    image.Modality, image.SeriesNumber, image.InstanceNumber = "CT", 4, number
    image.Manufacturer, image.ImageType = "Nobody", ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.PositionReferenceIndicator = ""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    along_row, along_col = affine[:3, 2] / spacing[2], affine[:3, 1] / spacing[1]
    position = affine[:3, 3] + slice_ * affine[:3, 0]
    image.ImageOrientationPatient = [decimal(v) for v in (*along_row, *along_col)]
    image.ImagePositionPatient = [decimal(value) for value in position]
    image.PixelSpacing = [decimal(spacing[1]), decimal(spacing[2])]
    image.SliceThickness = "9"  # a trap: slices overlap
    image.Rows, image.Columns = data.shape[1:]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = 0
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = "1", "-1024", "HU"
    image.PixelData = (data[slice_] + 1024).astype("<u2").tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some tests want what is not valid
        for name, value in (more or {}).items():
            setattr(image, name, value)
    return image


def decimal(value: float) -> str:
    """A number as DICOM writes it, at most 16 characters."""
    return f"{value + 0.0:.10g}"[:16]


def marked(phantom: Phantom, path: Path, along: str = "z", **known: Any) -> Any:
    """Read a volume by our readers, and label its voxels by their values: a `Labelled`."""
    from napari_sam.files.labelled import Labelled
    from napari_sam.scene import open_scene
    from napari_sam.scenes.opening import open_source

    scene = open_scene(path, along=along, z=1)  # type: ignore[arg-type]
    volume = np.asarray(open_source(path).levels[0][:, :, :])
    volume = volume.transpose([scene.axes.index(axis) for axis in "ZYX"])
    # What a person sees is what is labelled.
    assert np.array_equal(scene.read(0, slice(None), slice(None))[..., 0], volume[1])
    return Labelled(scene, phantom.marks(volume), "ZYX", **known)
