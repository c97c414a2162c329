"""What is known of an image before anything is chosen from it."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_sam.scenes.axes import LazyArray
from napari_sam.scenes.georeference import Georeference
from napari_sam.scenes.volume_grid import VolumeGrid

__all__ = ["LazyFile", "PixelSize", "Source", "Window", "colour_names"]

_COLOURS = {1: ("grey",), 2: ("grey", "alpha"), 3: ("red", "green", "blue")}


@dataclass(frozen=True)
class PixelSize:
    """How large a pixel of level 0 is.

    Parameters
    ----------
    rows, cols : float
        The height and the width, positive.
    unit : str
        Such as ``"micrometer"``.
    """

    rows: float
    cols: float
    unit: str


@dataclass(frozen=True)
class Window:
    """A way to show an image, as radiologists have it: what is black and what is white.

    Parameters
    ----------
    name : str
        Such as ``"lung"``.
    low, high : float
        The values that are black and white, as they are read; low is less than high.
    """

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class Source:
    """An image before anything is chosen from it.

    Parameters
    ----------
    name : str
        What messages call it.
    levels : tuple of LazyArray
        At least one, finest first, all with the same axes.
    axes : str or None
        A letter for each axis; None where nothing tells.
    channel_names : tuple of str
        Empty where nothing tells.
    pixel_size, georeference, nodata
        None where nothing tells.
    masks : tuple of LazyArray or None
        Of each level, (row, col), 0 where there is no data; empty where there are none.
    alpha : int or None
        The sample that is 0 where there is no data.
    depth : float or None
        From one plane (Z) to the next, in the unit of `pixel_size`; None where nothing tells.
    grid : VolumeGrid or None
        Where a medical volume lies in the patient.
    windows : tuple of Window
        Ways to show it, the first by default; empty where nothing tells.
    notes : tuple of str
        What is odd in the file or good to know, in sentences; nothing of the patient.
    """

    name: str
    levels: tuple[LazyArray, ...]
    axes: str | None = None
    channel_names: tuple[str, ...] = ()
    pixel_size: PixelSize | None = None
    georeference: Georeference | None = None
    nodata: float | None = None
    masks: tuple[LazyArray | None, ...] = ()
    alpha: int | None = None
    depth: float | None = None
    grid: VolumeGrid | None = None
    windows: tuple[Window, ...] = ()
    notes: tuple[str, ...] = ()


class LazyFile:
    """An array in a file, opened when it is first read, and again in a process it is sent to.

    Parameters
    ----------
    opener : callable
        Opens the array: a function of a module, so that it can be pickled.
    *args
        What it is called with.
    shape : tuple of int
        The array's.
    dtype : dtype
        Likewise.
    """

    def __init__(
        self, opener: Callable[..., Any], *args: Any, shape: tuple[int, ...], dtype: np.dtype
    ) -> None:
        self._opener, self._args = opener, args
        self.shape, self.dtype = shape, dtype

    def __getitem__(self, selection: Any) -> Any:
        """Read a part."""
        return self._array[selection]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file behind."""
        return {key: value for key, value in vars(self).items() if key != "_array"}

    @functools.cached_property
    def _array(self) -> Any:
        return self._opener(*self._args)


def colour_names(samples: int = 1) -> tuple[str, ...]:
    """Name the samples of a picture's pixel; none where their meaning is unknown."""
    return _COLOURS.get(samples, (*_COLOURS[3], "alpha") if samples == 4 else ())
