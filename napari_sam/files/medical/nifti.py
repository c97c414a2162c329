"""NIfTI: .nii and .nii.gz of any orientation -> a Source, laid out as radiologists expect."""

import gzip
import tempfile
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.extras import need
from napari_sam.files.images import check_numbers
from napari_sam.files.medical.laid_out import LaidOut
from napari_sam.files.medical.rescaling import rescaled, rescaled_type
from napari_sam.scenes.sources import LazyFile, PixelSize, Source, Window, colour_names
from napari_sam.scenes.volume_grid import VolumeGrid

__all__ = ["nifti_header", "open_nifti"]

_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
_IN_MEMORY = 256 << 20
"""Bytes up to which compressed values are kept in memory; longer ones in a temporary file."""

_AT_ONCE = 4 << 20
_BEST_DEFLATION = 1032
"""What deflating makes of many equal bytes, at best: one of so many."""


@dataclass(frozen=True)
class Values:
    """Where the values of a file are, and how they are meant.

    Parameters
    ----------
    path : Path
        The file.
    offset : int
        Where they begin, in what is not compressed.
    dtype : dtype
        Of each, as stored; of a colour's samples uint8.
    shape : tuple of int
        In the file's axes, the first runs fastest; samples of colours behind, which run faster.
    slope, intercept : float
        From stored values to real ones.
    to : dtype
        Of these.
    """

    path: Path
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]
    slope: float
    intercept: float
    to: np.dtype

    @property
    def size(self) -> int:
        """Bytes that they take."""
        return int(np.prod([float(n) for n in self.shape])) * self.dtype.itemsize


class StoredVolume:
    """The values of a file in its own axes, read where they are indexed.

    It can be read from several threads. What is compressed is unpacked once, when the first value
    is read: into memory, or into a temporary file where it is long.
    """

    def __init__(self, values: Values) -> None:
        self._values = values
        self.shape, self.dtype = values.shape, values.to
        self._lock = threading.Lock()
        self._array: np.ndarray | None = None
        self._file: IO[bytes] | None = None  # as long as it is open it is there

    def __getitem__(self, selection: Any) -> np.ndarray:
        """Read a part."""
        with self._lock:
            if self._array is None:
                self._array = self._open()
        values = self._values
        part = np.asarray(self._array[selection])
        return rescaled(part, values.slope, values.intercept, values.to)

    def _open(self) -> np.ndarray:
        values = self._values
        flat: np.ndarray
        if not _is_gzip(values.path):
            flat = np.memmap(values.path, values.dtype, "r", values.offset, (self._count(),))
        elif values.size <= _IN_MEMORY:
            room = bytearray()
            _unpack(values, room.extend)
            flat = np.frombuffer(room, values.dtype)
        else:
            self._file = tempfile.TemporaryFile(prefix="napari-sam-")  # noqa: SIM115
            _unpack(values, self._file.write)
            self._file.flush()
            flat = np.memmap(self._file, values.dtype, "r", 0, (self._count(),))
        # The first axis runs fastest, but for the samples of a pixel.
        samples = values.shape[4:]
        turned = flat.reshape(*values.shape[3::-1], *samples)
        return turned.transpose([3, 2, 1, 0, *range(4, 4 + len(samples))])

    def _count(self) -> int:
        return self._values.size // self._values.dtype.itemsize


def open_nifti(path: Path | str, part: str | None = None) -> Source:
    """Open a NIfTI file; only its header is read.

    Parameters
    ----------
    path : path
        A file, or one compressed with gzip.
    part : str, optional
        There are no parts.

    Returns
    -------
    Source
        Axes ``ZYX``, or ``TZYX``, and ``S`` behind for colours.

    Raises
    ------
    InputError
        If it is missing, damaged or cut off, or of values that are no image.
    """
    path = Path(path)
    if part is not None:
        raise InputError(f"{path} has no parts: leave part={part!r} out.")
    nibabel = need("nibabel", "medical")
    header = _header(nibabel, path)
    shape = _shape(header, path)
    values = _values(header, path, shape)
    _check_size(values)
    affine, notes = _affine(header, path)
    try:
        grid = VolumeGrid.lay_out(_TO_LPS @ affine, shape[:3])
    except ValueError:
        raise InputError(
            f"{path} is damaged: the affine in its header has no three directions."
        ) from None
    # Time stands behind in the file, and in front of what is laid out.
    stored = LazyFile(StoredVolume, values, shape=values.shape, dtype=values.to)
    array = LaidOut(TimeInFront(stored), grid, 1)
    if shape[3] == 1:
        array = LaidOut(TimeInFront(stored, only=True), grid, 0)
    axes = "T" * (shape[3] > 1) + "ZYX" + "S" * (len(values.shape) > 4)
    samples = values.shape[4:]
    return Source(
        str(path),
        (array,),
        axes,
        colour_names(*samples) if samples else (),
        PixelSize(grid.spacing[1], grid.spacing[2], "millimeter"),
        depth=grid.plane_distance,
        grid=grid,
        windows=_windows(header),
        notes=tuple(notes),
        alpha=3 if samples == (4,) else None,
    )


def nifti_header(path: Path) -> Any:
    """Read the header alone, as nibabel has it.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    return _header(need("nibabel", "medical"), path)


class TimeInFront:
    """An array (x, y, z, time) and samples, indexed with time first, or without time.

    Parameters
    ----------
    array : LazyFile
        In the file's axes.
    only : bool
        Whether there is one time, which is no axis.
    """

    def __init__(self, array: LazyFile, only: bool = False) -> None:
        self._array, self._only = array, only
        x, y, z, times, *samples = array.shape
        self.shape: tuple[int, ...] = (*(() if only else (times,)), x, y, z, *samples)
        self.dtype = array.dtype

    def __getitem__(self, selection: Any) -> np.ndarray:
        """Read a part."""
        given = selection if isinstance(selection, tuple) else (selection,)
        given = (*given, *(slice(None),) * (len(self.shape) - len(given)))
        time, given = (0, given) if self._only else (given[0], given[1:])
        block = np.asarray(self._array[(*given[:3], time, *given[3:])])
        if not isinstance(time, slice):
            return block
        return np.moveaxis(block, sum(isinstance(part, slice) for part in given[:3]), 0)


def _header(nibabel: Any, path: Path) -> Any:
    try:
        head = _first_bytes(path, 540)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is damaged: its header cannot be read.") from error
    # The size of the header, in either byte order, tells which NIfTI it is.
    size = {int.from_bytes(head[:4], order) for order in ("little", "big")}
    kinds = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}
    kind = next((kinds[n] for n in kinds if n in size), None)
    magic = head[344:348] if kind is nibabel.Nifti1Header else head[4:8]
    if kind is None or magic[:3] not in (b"n+1", b"n+2"):
        what = "the header of a pair of files" if magic[:2] == b"ni" else "no NIfTI file"
        raise InputError(f"{path} is {what}: give a .nii or .nii.gz file.")
    try:
        return kind(head[: max(size & kinds.keys())], check=False)
    except Exception as error:  # nibabel's own kinds
        raise InputError(f"{path} is damaged: its header makes no sense.") from error


def _shape(header: Any, path: Path) -> tuple[int, int, int, int]:
    sizes = [int(size) for size in header["dim"]]
    count = sizes[0]
    if not 2 <= count <= 7 or min(sizes[1 : count + 1]) < 1:
        raise InputError(f"{path} is damaged: it says it has the sizes {sizes[1 : count + 1]}.")
    x, y, z, times, *more = [*sizes[1 : count + 1], *(1,) * 7][:7]
    if max(more) > 1:
        raise InputError(f"{path} holds several values for each voxel, which is no image.")
    return x, y, z, times


def _values(header: Any, path: Path, shape: tuple[int, ...]) -> Values:
    try:
        dtype = header.get_data_dtype()
        slope, intercept = header.get_slope_inter()
    except Exception as error:  # nibabel's own kinds
        raise InputError(f"{path} is damaged: its header names no kind of values.") from error
    slope = 1.0 if slope is None else float(slope)
    intercept = 0.0 if intercept is None else float(intercept)
    if dtype.fields is not None:  # colours
        dtype, shape = np.dtype(np.uint8), (*shape, dtype.itemsize)
        slope, intercept = 1.0, 0.0
    if dtype.itemsize > 8 and dtype.kind == "f":
        raise InputError(f"{path} holds values of {dtype.itemsize * 8} bits: save it as float64.")
    check_numbers(dtype, str(path))
    low, high = (0, 0) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    to = rescaled_type(dtype, int(low), int(high), [(slope, intercept)]).newbyteorder("=")
    offset = float(header["vox_offset"])
    if not 0 <= offset < 1 << 40:
        raise InputError(f"{path} is damaged: its values begin nowhere.")
    return Values(path, max(int(offset), header.sizeof_hdr), dtype, shape, slope, intercept, to)


def _check_size(values: Values) -> None:
    """Refuse a file that is too short for what it says, before room is made for that."""
    there = values.path.stat().st_size
    if _is_gzip(values.path):
        there *= _BEST_DEFLATION
    if values.offset + values.size > there:
        raise _cut_off(values.path)


def _affine(header: Any, path: Path) -> tuple[np.ndarray, list[str]]:
    """Return the way to millimetres, RAS, and what is odd about it."""
    try:
        unit = header.get_xyzt_units()[0]
        factor = _MILLIMETRES[unit]
        affine = np.asarray(header.get_best_affine(), np.float64)
        given = [int(header["sform_code"]) > 0, int(header["qform_code"]) > 0]
        other = np.asarray(header.get_qform(), np.float64) if all(given) else affine
    except Exception as error:  # nibabel's own kinds
        raise InputError(f"{path} is damaged: its header does not say where it lies.") from error
    notes = []
    if not any(given):
        notes.append(
            "The file does not say how it lies in the patient: left and right are those that most "
            "programs assume."
        )
    elif not np.allclose(affine, other, atol=1e-2 * max(1.0, float(np.abs(affine[:3, :3]).max()))):
        notes.append("The file says twice where it lies, and not the same: its sform counts.")
    affine[:3] *= factor
    return affine, notes


def _windows(header: Any) -> tuple[Window, ...]:
    low, high = float(header["cal_min"]), float(header["cal_max"])
    return (Window("of the file", low, high),) if -np.inf < low < high < np.inf else ()


def _unpack(values: Values, write: Any) -> None:
    """Write the values of a compressed file, and no more than it says there are."""
    try:
        with gzip.open(values.path, "rb") as file:
            file.seek(values.offset)
            left = values.size
            while left:
                block = file.read(min(left, _AT_ONCE))
                if not block:
                    raise _cut_off(values.path)
                write(block)
                left -= len(block)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _cut_off(values.path) from error
    except OSError as error:
        raise InputError(
            f"{values.path} cannot be unpacked ({error.strerror or error}): make room in "
            f"{tempfile.gettempdir()}, or unpack it yourself."
        ) from error


def _cut_off(path: Path) -> InputError:
    return InputError(f"{path} is shorter than its header says: it is damaged or was cut off.")


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _first_bytes(path: Path, count: int) -> bytes:
    if _is_gzip(path):
        with gzip.open(path, "rb") as file:
            return file.read(count)
    with path.open("rb") as file:
        return file.read(count)
