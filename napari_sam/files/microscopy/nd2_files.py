"""ND2, the files of Nikon microscopes, through nd2: plane by plane."""

import weakref
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.extras import need
from napari_sam.files.images import damage_told
from napari_sam.files.microscopy.parts import choose_part, existing, unlike
from napari_sam.files.microscopy.stacked import StackedPlanes
from napari_sam.scenes.sources import LazyFile, PixelSize, Source, colour_names

__all__ = ["nd2_parts", "open_nd2"]

_FRAME = ("C", "Y", "X", "S")
"""The axes of what is stored together."""


def nd2_parts(path: Path | str) -> tuple[str, ...]:
    """Name the positions of an ND2 file.

    Raises
    ------
    InputError
        If nd2 is missing, or the file is missing or damaged.
    """
    path = existing(path)
    with damage_told(path), _opened(path) as file:
        return _positions(file)


def open_nd2(path: Path | str, part: str | None) -> Source:
    """Open one position of an ND2 file.

    Parameters
    ----------
    path : Path
        Of the file.
    part : str or None
        A position, as `nd2_parts` names it; None for the only one.

    Raises
    ------
    InputError
        If nd2 is missing, the file is damaged, or it holds several positions and none is chosen.
    """
    path = existing(path)
    with damage_told(path), _opened(path) as file:
        positions = _positions(file)
        number = positions.index(choose_part(part, positions, path, "positions"))
        array = _array(file, number, path)
        names: tuple[str, ...] = tuple(
            str(channel.channel.name) for channel in file.metadata.channels or ()
        )
        if array.axes.endswith("S"):
            names = colour_names(array.shape[-1]) if "C" not in array.axes else ()
        size, depth = _sizes(file)
        notes = tuple(
            f"The file has several images along the axis {letter}; the first is shown."
            for letter in file.sizes
            if letter not in "TPZCYXS"
        )
        planned = int(np.prod([side for axis, side in file.sizes.items() if axis not in _FRAME]))
        there = file.attributes.sequenceCount
        if there is not None and there < planned:
            notes += (f"The recording ended early: {there} of {planned} frames are there.",)
        lazy = LazyFile(_open_array, path, number, shape=array.shape, dtype=array.dtype)
        return Source(str(path), (lazy,), array.axes, names, size, depth=depth, notes=notes)


def _opened(path: Path) -> Any:
    return need("nd2", "microscopy").ND2File(path)


def _positions(file: Any) -> tuple[str, ...]:
    for loop in file.experiment:
        if loop.type == "XYPosLoop" and file.sizes.get("P", 1) > 1:
            return unlike([point.name or "" for point in loop.parameters.points])
    return ("0",)


def _sizes(file: Any) -> tuple[PixelSize | None, float | None]:
    """Return the size of a pixel and the distance between planes, in micrometers."""
    if not file.metadata.channels:
        return None, None
    volume = file.metadata.channels[0].volume
    x, y, z = (
        float(step) if told and 0 < step < np.inf else None
        for step, told in zip(volume.axesCalibration, volume.axesCalibrated, strict=True)
    )
    size = None if x is None or y is None else PixelSize(y, x, "micrometer")
    return size, z if size is not None and "Z" in file.sizes else None


def _open_array(path: Path, position: int) -> StackedPlanes:
    file = _opened(path)
    array = _array(file, position, path)
    weakref.finalize(array, file.close)
    return array


def _array(file: Any, position: int, path: Path) -> StackedPlanes:
    sizes = dict(file.sizes)
    frame = tuple(sizes.get(letter, 1) for letter in _FRAME)
    loops = [letter for letter in sizes if letter not in _FRAME]
    # Channels are stored with their plane, the others are planes of their own.
    stacked = [letter for letter in "TCZ" if letter in sizes]
    dtype = np.dtype(file.dtype)
    stored = int(np.prod(frame, dtype=np.float64)) * dtype.itemsize
    packed = file.attributes.compressionType == "lossless" or file.is_legacy
    if min(frame) < 1 or (not packed and stored > path.stat().st_size):
        raise InputError(f"{path} is damaged: it claims more pixels than are stored.")
    shape = tuple(sizes[letter] for letter in stacked) + (
        frame[1:] if frame[-1] > 1 else frame[1:3]
    )
    counts = tuple(sizes[letter] for letter in loops)

    def read(place: tuple[int, ...], rows: slice, cols: slice) -> np.ndarray:
        where = dict(zip(stacked, place, strict=True))
        at = tuple(position if letter == "P" else where.get(letter, 0) for letter in loops)
        number = int(np.ravel_multi_index(at, counts)) if loops else 0
        planes = np.reshape(file.read_frame(number), frame)[where.get("C", 0)]
        return planes[rows, cols] if frame[-1] > 1 else planes[rows, cols, 0]

    axes = "".join(stacked) + ("YXS" if frame[-1] > 1 else "YX")
    return StackedPlanes(axes, shape, dtype, read)
