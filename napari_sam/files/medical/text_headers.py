"""What NRRD and MetaImage share: a header of text, pixels in the file or beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.medical.laid_out import LaidOut
from napari_sam.files.medical.stored_values import StoredValues, lazily
from napari_sam.scenes.axes import LazyArray
from napari_sam.scenes.sources import PixelSize, Source, colour_names
from napari_sam.scenes.volume_grid import VolumeGrid

__all__ = ["Described", "beside", "no_file", "numbers", "open_described"]

_LONGEST_HEADER = 1 << 20
_LARGEST = 1 << 31


@dataclass(frozen=True)
class Described:
    """What a header says of its values.

    Parameters
    ----------
    path : Path
        Of the pixels.
    offset : int
        Where they begin.
    packed : bool
        With deflate.
    dtype : dtype
        Of each.
    sizes : tuple of int
        Of each axis of the file, the first one runs fastest.
    axes : str
        A letter for each of these: X, Y, Z, T, S or C.
    spacing : tuple of float
        Between pixels, for X, Y and perhaps Z.
    affine : ndarray or None
        4 x 4, from (x, y, z) to the patient, LPS; None where there is no volume.
    notes : tuple of str
        What is odd.
    """

    path: Path
    offset: int
    packed: bool
    dtype: np.dtype
    sizes: tuple[int, ...]
    axes: str
    spacing: tuple[float, ...]
    affine: np.ndarray | None
    notes: tuple[str, ...] = ()


def open_described(
    path: Path | str, part: str | None, what: str, describe: Callable[[Path, bytes], Described]
) -> Source:
    """Open a file of one volume by its header.

    Parameters
    ----------
    path : path
        Of the header.
    part : str or None
        There are no parts.
    what : str
        What messages call the format.
    describe : callable
        Takes the path and the beginning of the file; what it cannot make sense of it may meet with
        ValueError, KeyError, IndexError or OverflowError.

    Raises
    ------
    InputError
        If it is missing, damaged, cut off or of an unknown kind.
    """
    path = Path(path)
    if part is not None:
        raise InputError(f"{path} has no parts: leave part={part!r} out.")
    head = _head_of(path)
    try:
        told = describe(path, head)
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise no_file(path, what) from error
    return _source_of(str(path), told)


def _source_of(name: str, told: Described) -> Source:
    """Lay out what a header describes.

    Raises
    ------
    InputError
        If it cannot be, or the file is too short for it.
    """
    finite = np.isfinite(told.spacing).all() and min(told.spacing) > 0
    if not finite or not 0 < min(told.sizes) <= max(told.sizes) < _LARGEST:
        raise InputError(f"{name} is damaged: its header has sizes that cannot be.")
    axes = "".join(axis for axis in "TZYXSC" if axis in told.axes)
    stored = told.axes[::-1]
    values = StoredValues(
        path=told.path,
        offset=told.offset,
        skip=0,
        packed=told.packed,
        dtype=told.dtype,
        stored=told.sizes[::-1],
        order=tuple(stored.index(axis) for axis in axes),
        slope=1.0,
        intercept=0.0,
        to=told.dtype.newbyteorder("="),
    )
    array: LazyArray = lazily(values)
    names = colour_names(values.shape[-1]) if "S" in axes else ()
    if told.affine is None:
        size = PixelSize(told.spacing[1], told.spacing[0], "millimeter")
        return Source(name, (array,), axes, names, size, notes=told.notes)
    # From (z, y, x): the axes in the order in which the array has them.
    affine = told.affine[:, [2, 1, 0, 3]]
    first = axes.index("Z")
    try:
        grid = VolumeGrid.lay_out(affine, values.shape[first : first + 3])
    except ValueError:
        raise InputError(f"{name} is damaged: its axes have no three directions.") from None
    return Source(
        name,
        (LaidOut(array, grid, first),),
        axes,
        names,
        PixelSize(grid.spacing[1], grid.spacing[2], "millimeter"),
        depth=grid.plane_distance,
        grid=grid,
        notes=told.notes,
    )


def _head_of(path: Path) -> bytes:
    """Return the beginning of a file.

    Raises
    ------
    InputError
        If it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST_HEADER)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}.") from error


def no_file(path: Path, what: str) -> InputError:
    """Return what is said of a header that makes no sense."""
    return InputError(f"{path} is damaged, or no {what} file.")


def numbers(text: str) -> tuple[float, ...]:
    """Read numbers that spaces or commas divide, with or without brackets.

    Examples
    --------
    >>> numbers("(1, -2.5,0)")
    (1.0, -2.5, 0.0)
    """
    return tuple(map(float, text.strip().strip("()").replace(",", " ").split()))


def beside(path: Path, name: str) -> Path:
    """Return a file that a header names: of its own folder, or a folder in that.

    Raises
    ------
    InputError
        If it is elsewhere, or is not there.
    """
    if not name.isprintable() or not name:
        raise InputError(f"{path} is damaged: it names no file that its pixels are in.")
    pixels = (path.parent / name).resolve()
    if path.parent.resolve() not in pixels.parents:
        raise InputError(f"{path} says its pixels are in {name}, outside of its folder.")
    if not pixels.is_file():
        raise InputError(f"{path} says its pixels are in {name}, which is not there.")
    return pixels
