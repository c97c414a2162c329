"""Whether arrays that are shown are what a file holds, so that the file can be worked on itself."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.scenes.axes import LazyArray, find_axes
from napari_sam.scenes.opening import open_source
from napari_sam.scenes.sampling import spread_windows

__all__ = ["Content", "content_of"]

_WINDOWS, _SIDE = 16, 256
"""What is compared of an image of more than 2 million pixels."""

_PLANES = 3
"""Of a stack or a series: the first, the middle and the last."""


@dataclass(frozen=True)
class Content:
    """What of a file is shown.

    Parameters
    ----------
    axes : str
        Of all of the file.
    channel : int or None
        Which one of several is shown; None for all of the file.
    """

    axes: str
    channel: int | None = None


def content_of(
    path: Path, array: LazyArray, told: str | None = None, otherwise: str | None = None
) -> Content | None:
    """Tell which part of a file an array shows, unchanged.

    Small images are compared whole, others in 16 windows, stacks in 3 planes.

    Parameters
    ----------
    path : Path
        Of an image that `napari_sam.scene.open_scene` can open.
    array : LazyArray
        Full resolution of what is shown.
    told : str, optional
        The axes of the array, if a person said what they are: that counts more than the file.
    otherwise : str, optional
        Those to take if nobody and nothing says.

    Returns
    -------
    Content or None
        All of the file, or one channel of it; None if it is something else, or the file is gone.

    Examples
    --------
    >>> import tempfile
    >>> stack = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "stack.npy"
    ...     np.save(path, stack)
    ...     content_of(path, stack, "TYX"), content_of(path, stack + 1, "TYX")
    (Content(axes='TYX', channel=None), None)
    """
    try:
        source = open_source(path)
    except (InputError, OSError):
        return None
    held = source.levels[0]
    if np.dtype(held.dtype).newbyteorder("=") != np.dtype(array.dtype).newbyteorder("="):
        return None
    whole = _axes(held.shape, told, source.axes, otherwise)
    if whole is None:
        return None
    if tuple(held.shape) == tuple(array.shape):
        return Content(whole) if _same(held, array, whole, None) else None
    place = whole.find("C")
    if place < 0 or (*held.shape[:place], *held.shape[place + 1 :]) != tuple(array.shape):
        return None
    for channel in range(held.shape[place]):
        if _same(held, array, whole, channel):
            return Content(whole, channel)
    return None


def _axes(shape: Sequence[int], *known: str | None) -> str | None:
    """Return the first of several namings of axes that is about all of them and understood."""
    for axes in known:
        if axes is not None and len(axes) == len(shape):
            try:
                return find_axes(shape, axes, "the file")
            except InputError:
                continue  # letters of a file may mean nothing here
    return None


def _same(held: LazyArray, shown: LazyArray, axes: str, channel: int | None) -> bool:
    """Compare a sample; of a file's channel if there is one."""
    shape = dict(zip(axes, held.shape, strict=True))
    for window in _sample(axes, shape):
        here = dict(window)
        if channel is not None:
            here["C"] = channel
        one = np.asarray(held[tuple(here[axis] for axis in axes)])
        letters = axes if channel is None else axes.replace("C", "")
        other = np.asarray(shown[tuple(here[axis] for axis in letters)])
        if not np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
            return False
    return True


def _sample(axes: str, shape: dict[str, int]) -> Iterator[dict[str, Any]]:
    chosen = [
        sorted({0, shape[axis] // 2, shape[axis] - 1})[:_PLANES] for axis in axes if axis in "TZ"
    ]
    windows = spread_windows((shape["Y"], shape["X"]), _WINDOWS, _SIDE)
    if math.prod(map(len, chosen)) > _PLANES:  # both: their firsts, middles and lasts together
        chosen = [[planes[number % len(planes)] for number in range(_PLANES)] for planes in chosen]
        places = list(zip(*chosen, strict=True))
    else:
        places = list(itertools.product(*chosen))
    others = {axis: slice(None) for axis in axes if axis in "CS"}
    for place in places:
        fixed = dict(zip((axis for axis in axes if axis in "TZ"), place, strict=True))
        for rows, cols in windows:
            yield {**others, **fixed, "Y": rows, "X": cols}
