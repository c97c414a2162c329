"""What a caller may choose when a Scene is opened, checked."""

import operator

import numpy as np

from napari_sam.errors import InputError
from napari_sam.scenes.sources import PixelSize, Source, colour_names

__all__ = ["all_channels", "check_index", "check_nodata", "check_size", "check_window"]


def check_index(index: int, size: int, axis: str, name: str) -> int:
    """Return the number of a time or a plane.

    Raises
    ------
    InputError
        If there is no such one.
    """
    try:
        number = operator.index(index)
    except TypeError:
        number = -1
    if not 0 <= number < size:
        raise InputError(
            f"{name} has no {axis.lower()}={index!r}: give "
            f"{'0' if size == 1 else f'a whole number from 0 to {size - 1}'}."
        )
    return number


def check_size(size: PixelSize | tuple[float, float, str], name: str) -> PixelSize:
    """Return a size that is positive.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        checked = size if isinstance(size, PixelSize) else PixelSize(*size)
        positive = 0 < checked.rows < np.inf and 0 < checked.cols < np.inf
    except TypeError:
        positive = False
    if not positive:
        raise InputError(
            f"{name}: pixel_size={size!r} is no size; give height, width and unit, e.g. "
            "(0.5, 0.5, 'micrometer')."
        )
    return checked


def check_nodata(
    given: float | None, told: float | None, dtype: np.dtype, name: str
) -> float | None:
    """Return the value that means nodata; None for NaN, which always does.

    Parameters
    ----------
    given, told : float or None
        By the caller, who comes first, and by the file.
    dtype : dtype
        The image's. A value that it cannot hold is forgiven in a file: some say -9999 of unsigned
        numbers.
    name : str
        What messages call the image.

    Raises
    ------
    InputError
        If the caller gave one that `dtype` cannot hold.
    """
    value = told if given is None else given
    if value is None or np.isnan(value):
        return None
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        if not float(value).is_integer() or not info.min <= value <= info.max:
            if given is None:
                return None
            raise InputError(
                f"{name} holds {dtype} numbers, of which nodata={given!r} is none: give one from "
                f"{info.min} to {info.max}."
            )
    return value


def check_window(window: slice, size: int, what: str) -> slice:
    """Return a window that has a start and a stop.

    Parameters
    ----------
    window : slice
        Of rows or columns, of which there are `size`; None as start or stop is the end.
    size : int
        How many there are.
    what : str
        "rows" or "columns".

    Raises
    ------
    ValueError
        If it is empty, has a step or reaches beyond.
    """
    start = 0 if window.start is None else operator.index(window.start)
    stop = size if window.stop is None else operator.index(window.stop)
    if window.step not in (None, 1) or not 0 <= start < stop <= size:
        raise ValueError(f"{what} {start} to {stop} are not a window of 0 to {size}")
    return slice(start, stop)


def all_channels(source: Source, sizes: dict[str, int]) -> tuple[str, ...]:
    """Name all channels: as the file does, else by colour, else by number."""
    count = sizes.get("C", 1) * sizes.get("S", 1)
    if len(source.channel_names) == count:
        return source.channel_names
    if "C" not in sizes and colour_names(count):
        return colour_names(count)
    return tuple(map(str, range(count)))
