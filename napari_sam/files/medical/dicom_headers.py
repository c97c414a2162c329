"""The header of one DICOM file -> what is needed to lay its frames out; nothing of the patient."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from napari_sam.errors import InputError
from napari_sam.extras import need
from napari_sam.files.images import MAX_PIXELS
from napari_sam.files.medical.dicom_pixels import ENCAPSULATED, NATIVE, PixelForm
from napari_sam.files.medical.dicom_windows import plain, presets, turned_round
from napari_sam.scenes.sources import Window

__all__ = ["DicomFile", "Frame", "read_header"]

_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber",
    "SeriesDescription", "Modality", "FrameOfReferenceUID", "PatientIdentityRemoved",
    "BurnedInAnnotation", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "ImagerPixelSpacing", "EstimatedRadiographicMagnificationFactor",
    "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "PlanarConfiguration",
    "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PixelPaddingValue", "RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter",
    "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction",
    "RedPaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableData",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "TemporalPositionIdentifier", "TriggerTime", "EchoTime", "DiffusionBValue",
    "AcquisitionNumber", "AcquisitionTime", "ContentTime", "InstanceNumber",
]  # fmt: skip
"""What is read; what names the patient is not among them."""

_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"

_ORDERS = (
    "TemporalPositionIndex", "TemporalPositionIdentifier", "TriggerTime", "EchoTime",
    "EffectiveEchoTime", "DiffusionBValue", "AcquisitionNumber", "AcquisitionTime", "ContentTime",
    "InstanceNumber",
)  # fmt: skip
"""What may tell frames at one place apart, the most telling first."""


class NoImage(Exception):
    """A DICOM file without pixels that are an image: a report, a plan, a segmentation."""


@dataclass(frozen=True)
class Frame:
    """One slice: where it lies and how its values are meant.

    Parameters
    ----------
    form : PixelForm
        Of its file.
    number : int
        Which frame of the file.
    position : tuple of float or None
        ImagePositionPatient: the centre of the first pixel, in mm.
    orientation : tuple of float or None
        ImageOrientationPatient: directions of a row, then of a column.
    spacing : tuple of float or None
        Between rows and between columns, in mm.
    slope, intercept : float
        From stored values to real ones.
    order : tuple of (str, float)
        What may tell it from others at its place.
    """

    form: PixelForm
    number: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, float] | None
    slope: float
    intercept: float
    order: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class DicomFile:
    """What is known of a file from its header."""

    path: Path
    instance: str
    series: tuple[str, ...]
    series_number: str
    modality: str
    description: str
    frame_of_reference: str
    frames: tuple[Frame, ...]
    windows: tuple[Window, ...]
    sigmoid: bool
    hounsfield: bool
    padding: float | None
    thickness: float | None
    magnified: bool
    identity_removed: bool
    burned_in: bool


def read_header(path: Path) -> DicomFile:
    """Read all of a file but its pixels.

    Raises
    ------
    NoImage
        If it holds something else than an image.
    InputError
        If it is damaged, or of a kind that cannot be read.
    """
    pydicom = need("pydicom", "medical")
    try:
        # Its warnings show values, and are told to nobody.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with path.open("rb") as file:
                data = pydicom.dcmread(
                    file, stop_before_pixels=True, force=True, specific_tags=list(_TAGS)
                )
                return _file(path, data, file)
    except (InputError, NoImage):
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.") from None
    except MemoryError:
        raise InputError(f"{path} does not fit into the memory of this machine.") from None
    except Exception as error:  # pydicom raises what its converters raise, with values in it
        raise InputError(f"{path} is damaged, or is no DICOM file.") from error


def _file(path: Path, data: Any, file: BinaryIO) -> DicomFile:
    if "Rows" not in data or str(data.get("SOPClassUID", "")) == _SEGMENTATION:
        raise NoImage
    form = _form(path, data, file)
    groups = _groups(data, form.frames)
    frames = tuple(_frame(form, number, data, groups) for number in range(form.frames))
    middle = list(groups(form.frames // 2)) if form.frames else []
    spaced = data.get("PixelSpacing") is None and "ImagerPixelSpacing" in data
    series = str(data.get("SeriesInstanceUID") or "")
    number = plain(data.get("SeriesNumber"))
    modality = plain(data.get("Modality"))
    description = plain(data.get("SeriesDescription"))
    reference = str(data.get("FrameOfReferenceUID") or "")
    study = str(data.get("StudyInstanceUID") or "")
    first = frames[0]
    windows, sigmoid = presets(_first(middle, data, "WindowCenter"))
    if form.photometric == "MONOCHROME1":
        windows = turned_round(windows, first.slope * sum(form.limits) + 2 * first.intercept)
    return DicomFile(
        path=path,
        instance=str(data.get("SOPInstanceUID") or ""),
        # Anonymous files may have lost their numbers.
        series=(series,) if series else ("", study, number, description, modality, reference),
        series_number=number,
        modality=modality,
        description=description,
        frame_of_reference=reference,
        frames=frames,
        windows=windows,
        sigmoid=sigmoid,
        hounsfield=modality == "CT" and (first.intercept != 0 or data.get("RescaleType") == "HU"),
        padding=_padding(data, first),
        thickness=_number(_first(middle, data, "SliceThickness"), "SliceThickness"),
        magnified=spaced and "EstimatedRadiographicMagnificationFactor" not in data,
        identity_removed=str(data.get("PatientIdentityRemoved", "")) == "YES",
        burned_in=str(data.get("BurnedInAnnotation", "")) == "YES",
    )


def _form(path: Path, data: Any, file: BinaryIO) -> PixelForm:
    syntax = str(getattr(data.file_meta, "TransferSyntaxUID", "") or "")
    if not syntax:  # files without a preamble
        implicit, little = data.original_encoding
        syntax = "1.2.840.10008.1.2" if implicit else f"1.2.840.10008.1.2.{1 if little else 2}"
    if syntax not in NATIVE + ENCAPSULATED:
        raise InputError(
            f"{path} is compressed in a way that cannot be read (UID {plain(syntax)})."
        )
    frames = int(data.get("NumberOfFrames") or 1)
    rows, cols, samples = int(data.Rows), int(data.Columns), int(data.get("SamplesPerPixel", 1))
    bits = int(data.BitsAllocated)
    photometric = str(data.get("PhotometricInterpretation", "MONOCHROME2")).strip()
    offset, length, words = _value(file, data, syntax)
    form = PixelForm(
        path=path,
        syntax=syntax,
        frames=frames,
        rows=rows,
        cols=cols,
        samples=samples,
        bits=bits,
        stored=int(data.get("BitsStored") or bits),
        signed=int(data.get("PixelRepresentation") or 0) == 1,
        planar=int(data.get("PlanarConfiguration") or 0) == 1,
        photometric=photometric,
        offset=offset,
        length=length,
        swapped=syntax == "1.2.840.10008.1.2.2" and words and bits == 8,
        palette=_palette(path, data) if photometric == "PALETTE COLOR" else None,
    )
    _check_form(form)
    return form


def _value(file: BinaryIO, data: Any, syntax: str) -> tuple[int, int, bool]:
    """Find where the value of PixelData begins, its length (-1: unknown), if it is of words."""
    if syntax == "1.2.840.10008.1.2.1.99":  # deflated: it has no place in the file
        return 0, -1, False
    implicit, little = data.original_encoding
    order = "<" if little else ">"
    head = file.read(12)
    if len(head) < 12:
        raise NoImage
    group, element = np.frombuffer(head[:4], f"{order}u2").tolist()
    if (group, element) in ((0x7FE0, 0x0008), (0x7FE0, 0x0009)):
        raise InputError(f"{file.name} holds fractions as pixels, which are not supported.")
    if (group, element) != (0x7FE0, 0x0010):
        raise NoImage
    place, at = (4, 8) if implicit else (8, 12)
    length = int(np.frombuffer(head[place : place + 4], f"{order}u4")[0])
    offset = file.tell() - 12 + at
    return offset, -1 if length == 0xFFFFFFFF else length, implicit or head[4:6] == b"OW"


def _check_form(form: PixelForm) -> None:
    """Refuse what cannot be, before anything is made of that size."""
    path = form.path
    if form.bits == 1:
        raise InputError(f"{path} holds one bit for each pixel: a mask and not an image.")
    if form.bits not in (8, 16, 32) or form.samples not in (1, 3):
        raise InputError(
            f"{path} has {form.samples} samples of {form.bits} bits for each pixel: 1 or 3 of 8, "
            "16 or 32 bits can be read."
        )
    if not 0 < form.stored <= form.bits or min(form.rows, form.cols, form.frames) < 1:
        raise InputError(f"{path} is damaged: its sizes cannot be.")
    if form.rows * form.cols > MAX_PIXELS:
        raise InputError(f"{path} has slices of more than {MAX_PIXELS} pixels, too many.")
    size = path.stat().st_size
    if form.syntax == "1.2.840.10008.1.2.1.99":
        # Deflating makes at best one byte of 1032.
        enough = form.frames * form.frame_bytes <= size * 1032
    elif form.native:
        wanted = form.frames * form.frame_bytes
        enough = form.offset + wanted <= size and (form.length < 0 or wanted <= form.length)
    else:
        enough = form.offset + 16 * form.frames <= size
    if not enough:
        raise InputError(f"{path} is shorter than it says: it was not copied whole.")


def _palette(path: Path, data: Any) -> tuple[int, bytes, bytes, bytes]:
    tables, first = [], 0
    for colour in ("Red", "Green", "Blue"):
        descriptor = data.get(f"{colour}PaletteColorLookupTableDescriptor")
        values = data.get(f"{colour}PaletteColorLookupTableData")
        if descriptor is None or values is None:
            raise InputError(f"{path} has a palette of a kind that cannot be read.")
        count, first, bits = (int(value) for value in descriptor)
        count = count or 65536
        if len(values) >= 2 * count:
            words = np.frombuffer(values, "<u2", count)
            table = (words >> 8 if bits == 16 else words).astype(np.uint8)
        else:
            table = np.frombuffer(values, np.uint8, count)
        tables.append(table.tobytes())
    return first, tables[0], tables[1], tables[2]


def _groups(data: Any, count: int) -> Any:
    """Return what gives the functional groups of a frame: its own ones, then the shared ones."""
    shared = list(data.get("SharedFunctionalGroupsSequence") or [])
    each = list(data.get("PerFrameFunctionalGroupsSequence") or [])
    if each and len(each) != count:
        raise InputError(f"{len(each)} of {count} frames are described: the file is damaged.")

    def of(number: int) -> Iterator[Any]:
        for group in [*each[number : number + 1], *shared]:
            for element in group:
                if element.VR == "SQ" and element.value:
                    yield element.value[0]

    return of


def _first(groups: Sequence[Any], data: Any, name: str) -> Any:
    """Return the dataset that says something: a group of the frame, or the file."""
    return next((group for group in (*groups, data) if group.get(name) is not None), data)


def _frame(form: PixelForm, number: int, data: Any, groups_of: Any) -> Frame:
    groups = list(groups_of(number))

    def find(name: str) -> Any:
        return _first(groups, data, name).get(name)

    position, orientation = find("ImagePositionPatient"), find("ImageOrientationPatient")
    spacing = _positive_pair(find("PixelSpacing"))
    if spacing is None and (detector := _positive_pair(find("ImagerPixelSpacing"))) is not None:
        factor = _number(data, "EstimatedRadiographicMagnificationFactor") or 1.0
        spacing = (detector[0] / factor, detector[1] / factor)
    order = []
    for name in _ORDERS:
        value = _number(_first(groups, data, name), name)
        if value is not None:
            order.append((name, value))
    if form.frames > 1:
        order.append(("frame", float(number)))
    slope = _number(_first(groups, data, "RescaleSlope"), "RescaleSlope")
    intercept = _number(_first(groups, data, "RescaleIntercept"), "RescaleIntercept")
    if form.frames > 1 and "PerFrameFunctionalGroupsSequence" not in data:
        position = None  # one place for many frames is that of none
    return Frame(
        form=form,
        number=number,
        position=_floats(position, 3),
        orientation=_floats(orientation, 6),
        spacing=spacing,
        slope=1.0 if slope is None or slope == 0 else slope,
        intercept=intercept or 0.0,
        order=tuple(order),
    )


def _floats(values: Any, count: int) -> tuple[float, ...] | None:
    if values is None or isinstance(values, str) or np.size(values) != count:
        return None
    numbers = tuple(float(value) for value in values)
    return numbers if np.isfinite(numbers).all() else None


def _positive_pair(values: Any) -> tuple[float, float] | None:
    numbers = _floats(values, 2)
    return None if numbers is None or min(numbers) <= 0 else (numbers[0], numbers[1])


def _number(data: Any, name: str) -> float | None:
    value = data.get(name)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _padding(data: Any, frame: Frame) -> float | None:
    """Return what pixels without data are after rescaling."""
    value = _number(data, "PixelPaddingValue")
    low, high = frame.form.limits
    if value is None or frame.form.in_colour:
        return None
    if value > high and frame.form.signed:  # written as if without sign
        value -= 1 << frame.form.bits
    if not low <= value <= high:
        return None
    if frame.form.photometric == "MONOCHROME1":
        value = low + high - value
    return frame.slope * value + frame.intercept
