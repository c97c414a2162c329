"""What the axes of an array mean, and the one plane of it that a person works on."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from napari_sam.errors import InputError

__all__ = ["LazyArray", "Plane", "choose_channels", "find_axes"]

_LETTERS = "TZCYXS"


class LazyArray(Protocol):
    """What a level is read from: numpy, zarr and dask arrays, and files behind `LazyFile`.

    Indexing with integers and slices, one for each axis, gives what `numpy.asarray` understands.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the length of each axis."""

    @property
    def dtype(self) -> Any:
        """Return the type of one sample, as numpy has it."""

    def __getitem__(self, selection: Any, /) -> Any:
        """Read a part."""


@dataclass(frozen=True)
class Plane:
    """The rows, columns and chosen channels of one resolution at one time and depth.

    Parameters
    ----------
    array : LazyArray
        Of real numbers.
    axes : str
        A letter of ``TZCYXS`` for each axis of `array`; Y and X are among them.
    t, z : int
        Where the other axes are cut.
    channels : tuple of int
        What to read, in this order; with both C and S, S counts fastest.
    shape : tuple of int
        Rows and columns to pretend: at most one more than `array` has, whose last row or column
        is then repeated (files halve odd sizes up or down, a Scene always up).
    name : str
        What to call the image when it turns out to be damaged.

    Examples
    --------
    >>> plane = Plane(np.arange(12).reshape(2, 3, 2), "CYX", 0, 0, (1,), (3, 2), "numbers")
    >>> plane.read(slice(0, 2), slice(1, 2))[..., 0]
    array([[7],
           [9]])
    """

    array: LazyArray
    axes: str
    t: int
    z: int
    channels: tuple[int, ...]
    shape: tuple[int, int]
    name: str

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        """Read a window.

        Parameters
        ----------
        rows, cols : slice
            ``0 <= start < stop <= shape``.

        Returns
        -------
        ndarray
            Shape (row, col, channel), in the array's dtype and native byte order.

        Raises
        ------
        InputError
            If the file is damaged there, or out of reach.
        """
        sizes = dict(zip(self.axes, self.array.shape, strict=True))
        stored = {"Y": _inside(rows, sizes["Y"]), "X": _inside(cols, sizes["X"])}
        samples = sizes.get("S", 1)
        if "C" in sizes:
            planes = sorted({channel // samples for channel in self.channels})
            blocks = [self._block({**stored, "C": part}) for part in _runs(planes)]
            block = np.concatenate(blocks, axis=2) if len(blocks) > 1 else blocks[0]
        else:
            planes = [0]
            block = self._block(stored)
        # Samples of a pixel lie side by side in files: they are read together, then chosen.
        block = block.reshape(*block.shape[:2], -1)
        wanted = [planes.index(c // samples) * samples + c % samples for c in self.channels]
        if wanted != list(range(block.shape[2])):
            block = block[..., wanted]
        missing = (rows.stop - rows.start - block.shape[0], cols.stop - cols.start - block.shape[1])
        if any(missing):
            block = np.pad(block, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        return block.astype(block.dtype.newbyteorder("="), copy=False)

    def _block(self, where: dict[str, slice]) -> np.ndarray:
        """Read a part as (row, col, C, S)."""
        fixed = {"T": self.t, "Z": self.z}
        selection = tuple(
            fixed[axis] if axis in fixed else where.get(axis, slice(None)) for axis in self.axes
        )
        try:
            block = np.asarray(self.array[selection])
        except InputError:  # of an array that tells itself what is wrong
            raise
        except Exception as error:  # a damaged chunk raises what its decoder raises
            reason = textwrap.shorten(f"{type(error).__name__}: {error}".strip(" .:"), 120)
            raise InputError(
                f"{self.name} cannot be read at rows {where['Y'].start} to {where['Y'].stop}, "
                f"columns {where['X'].start} to {where['X'].stop} ({reason}): it is damaged or out "
                "of reach."
            ) from error
        left = [axis for axis in self.axes if axis not in "TZ"]
        block = block.transpose([left.index(axis) for axis in "YXCS" if axis in left])
        if "C" not in left:
            block = block[:, :, np.newaxis]
        return block if "S" in left else block[..., np.newaxis]


def find_axes(shape: Sequence[int], given: str | None, name: str) -> str:
    """Name the axes of an array.

    Parameters
    ----------
    shape : sequence of int
        The array's.
    given : str or None
        What is known: letters of ``TZCYXS`` in either case, one for each axis. Letters that are
        none of these may stand for axes of length 1 only. None lets the shape decide: two axes are
        rows and columns; a last axis of 3 or 4 are samples (colour); axes of length 1 in front do
        not matter; everything else is ambiguous.
    name : str
        What messages call the image.

    Returns
    -------
    str
        Upper case. Axes of length 1 without a meaning get a letter that is free.

    Raises
    ------
    InputError
        If a letter is unknown or occurs twice, rows or columns are missing, the number of letters
        is not that of axes, or the shape does not tell.

    Examples
    --------
    >>> find_axes((512, 512), None, "it"), find_axes((1, 512, 512, 3), None, "it")
    ('YX', 'TYXS')
    >>> find_axes((30, 512, 512), "zyx", "it")
    'ZYX'
    """
    if given is None:
        axes = _guess(tuple(shape), name)
    else:
        axes = given.upper()
        if len(axes) != len(shape):
            raise InputError(
                f"{name} has {len(shape)} axes, shape {tuple(shape)}, but axes={given!r} names "
                f"{len(axes)}: give one letter of TZCYXS for each."
            )
        unknown = [
            axis
            for axis, size in zip(axes, shape, strict=True)
            if axis not in _LETTERS and size > 1
        ]
        if unknown:
            raise InputError(
                f"{name} has the axes {axes}, shape {tuple(shape)}, of which {', '.join(unknown)} "
                f"means nothing here: say what they are with e.g. axes={_suggest(axes)!r} (letters "
                "of TZCYXS)."
            )
        if any(axes.count(axis) > 1 for axis in axes if axis in _LETTERS):
            raise InputError(f"{name}: axes={given!r} names an axis twice; give each letter once.")
        if "Y" not in axes or "X" not in axes:
            missing = "Y (rows)" if "Y" not in axes else "X (columns)"
            raise InputError(f"{name}: axes={given!r} names no {missing}; Y and X are needed.")
    free = [axis for axis in "TZCS" if axis not in axes]
    for place, axis in enumerate(axes):
        if axis not in _LETTERS:
            if not free:
                raise InputError(f"{name} has too many axes (shape {tuple(shape)}): give a part.")
            axes = axes[:place] + free.pop(0) + axes[place + 1 :]
    return axes


def choose_channels(
    chosen: int | str | Sequence[int | str] | None, names: Sequence[str], name: str
) -> tuple[int, ...]:
    """Return the numbers of the channels to look at.

    Parameters
    ----------
    chosen : int, str, sequence of these, or None
        One or three, by number or by name. None takes the first three where there are that many
        (a fourth, transparency or infrared, is left out), and otherwise the first.
    names : sequence of str
        Of all channels.
    name : str
        What messages call the image.

    Raises
    ------
    InputError
        If there is no such channel, or their number is neither one nor three.

    Examples
    --------
    >>> choose_channels("DAPI", ["GFP", "DAPI"], "cells.tif")
    (1,)
    >>> choose_channels(None, ["red", "green", "blue", "alpha"], "photo.png")
    (0, 1, 2)
    """
    if chosen is None:
        return (0, 1, 2) if len(names) > 2 else (0,)
    several = [chosen] if isinstance(chosen, int | str | np.integer) else list(chosen)
    if len(several) not in (1, 3):
        raise InputError(
            f"{name}: {len(several)} channels are chosen; choose one (grey) or three (red, green, "
            "blue)."
        )
    numbers = []
    for channel in several:
        if isinstance(channel, str) and channel in names:
            numbers.append(list(names).index(channel))
        elif not isinstance(channel, str) and 0 <= channel < len(names):
            numbers.append(int(channel))
        else:
            raise InputError(
                f"{name} has no channel {channel!r}; choose from 0 to {len(names) - 1}"
                f" ({', '.join(names[:20])})."
            )
    return tuple(numbers)


def _guess(shape: tuple[int, ...], name: str) -> str:
    """Name axes by their lengths alone; "?" for those of length 1 in front."""
    lengthy = 0
    while len(shape) - lengthy > 2 and shape[lengthy] == 1:
        lengthy += 1
    rest = shape[lengthy:]
    if len(rest) == 2:
        # A picture of one row, (1, col, 3), has lost it to the axes of length 1.
        if lengthy and rest[1] in (3, 4) and rest[0] > 4:
            return "?" * (lengthy - 1) + "YXS"
        return "?" * lengthy + "YX"
    if len(rest) == 3 and rest[2] in (1, 3, 4) and rest[0] not in (3, 4):
        return "?" * lengthy + "YXS"
    if len(rest) < 2:
        raise InputError(f"{name} has shape {shape}; rows and columns at least are needed.")
    examples = {3: ("ZYX", "CYX"), 4: ("TZYX", "ZCYX"), 5: ("TCZYX", "TZYXS")}
    if len(shape) > len(_LETTERS):
        raise InputError(f"{name} has too many axes (shape {shape}): give a part of it.")
    first, second = examples.get(len(shape), ("TZCYXS", "TCZYXS"))
    raise InputError(
        f"{name} has shape {shape}, which does not tell what the axes are: give e.g. "
        f"axes={first!r} or axes={second!r}."
    )


def _suggest(axes: str) -> str:
    """Replace unknown letters by free ones."""
    free = [axis for axis in "ZTCS" if axis not in axes]
    return "".join(axis if axis in _LETTERS else (free.pop(0) if free else "?") for axis in axes)


def _inside(window: slice, size: int) -> slice:
    """Cut a window down to what is stored, one row or column at least."""
    stop = min(window.stop, size)
    return slice(min(window.start, stop - 1), stop)


def _runs(numbers: Sequence[int]) -> list[slice]:
    """Turn ascending numbers into slices, so that neighbours are read at once."""
    runs: list[slice] = []
    for number in numbers:
        if runs and runs[-1].stop == number:
            runs[-1] = slice(runs[-1].start, number + 1)
        else:
            runs.append(slice(number, number + 1))
    return runs
