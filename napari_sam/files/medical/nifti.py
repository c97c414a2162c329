"""NIfTI: .nii and .nii.gz of any orientation -> a Source, laid out as radiologists expect."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.extras import need
from napari_sam.files.images import check_numbers
from napari_sam.files.medical.laid_out import LaidOut
from napari_sam.files.medical.rescaling import rescaled_type
from napari_sam.files.medical.stored_values import StoredValues, lazily, unpacked
from napari_sam.scenes.sources import PixelSize, Source, Window, colour_names
from napari_sam.scenes.volume_grid import VolumeGrid

__all__ = ["nifti_header", "open_nifti"]

_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


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
    stored = lazily(values)
    affine, notes = _affine(header, path)
    try:
        grid = VolumeGrid.lay_out(_TO_LPS @ affine, shape[:3])
    except ValueError:
        raise InputError(
            f"{path} is damaged: the affine in its header has no three directions."
        ) from None
    has_times = shape[3] > 1
    in_colour = len(values.shape) > 3 + has_times
    samples = values.shape[-1:] if in_colour else ()
    return Source(
        str(path),
        (LaidOut(stored, grid, int(has_times)),),
        "T" * has_times + "ZYX" + "S" * in_colour,
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


def _header(nibabel: Any, path: Path) -> Any:
    try:
        head = _first_bytes(path, 540)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.") from None
    except (OSError, zlib.error) as error:
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


def _values(header: Any, path: Path, shape: tuple[int, int, int, int]) -> StoredValues:
    try:
        dtype = header.get_data_dtype()
        slope, intercept = header.get_slope_inter()
    except Exception as error:  # nibabel's own kinds
        raise InputError(f"{path} is damaged: its header names no kind of values.") from error
    slope = 1.0 if slope is None else float(slope)
    intercept = 0.0 if intercept is None else float(intercept)
    # The first axis of the file runs fastest, time slowest; samples of a colour lie together.
    has_times = shape[3] > 1
    stored: tuple[int, ...] = shape[2::-1]
    order: tuple[int, ...] = (2, 1, 0)
    if has_times:
        stored, order = shape[::-1], (0, 3, 2, 1)
    if dtype.fields is not None:  # colours
        stored, order = (*stored, dtype.itemsize), (*order, len(order))
        dtype, slope, intercept = np.dtype(np.uint8), 1.0, 0.0
    if dtype.itemsize > 8 and dtype.kind == "f":
        raise InputError(f"{path} holds values of {dtype.itemsize * 8} bits: save it as float64.")
    check_numbers(dtype, str(path))
    low, high = (0, 0) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    to = rescaled_type(dtype, int(low), int(high), [(slope, intercept)]).newbyteorder("=")
    offset = float(header["vox_offset"])
    if not 0 <= offset < 1 << 40:
        raise InputError(f"{path} is damaged: its values begin nowhere.")
    return StoredValues(
        path=path,
        offset=0,
        skip=max(int(offset), header.sizeof_hdr),
        packed=_is_gzip(path),
        dtype=dtype,
        stored=stored,
        order=order,
        slope=slope,
        intercept=intercept,
        to=to,
    )


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


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _first_bytes(path: Path, count: int) -> bytes:
    if not _is_gzip(path):
        with path.open("rb") as file:
            return file.read(count)
    head = b""
    for block in unpacked(path):
        head += block
        if len(head) >= count:
            break
    return head[:count]
