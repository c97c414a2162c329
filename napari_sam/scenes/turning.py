"""A volume looked at along any of its axes: nothing is copied, the axes get other names."""

from typing import Literal

from napari_sam.errors import InputError
from napari_sam.scenes.sources import PixelSize, Source

__all__ = ["looked_along", "step_sizes"]


def looked_along(axes: str, along: Literal["z", "y", "x"], name: str) -> str:
    """Name the axes so that Z is the one that is looked along.

    Parameters
    ----------
    axes : str
        As they are.
    along : {"z", "y", "x"}
        Of `axes`. Planes along Y are (Z, X), along X they are (Z, Y).
    name : str
        What messages call the image.

    Raises
    ------
    InputError
        If `along` is none of these, or the image has no depth.

    Examples
    --------
    >>> [looked_along("TZYX", along, "it") for along in ("z", "y", "x")]
    ['TZYX', 'TYZX', 'TYXZ']
    """
    if along == "z":
        return axes
    if along not in ("y", "x"):
        raise InputError(f"{name}: along={along!r} is none of 'z', 'y' and 'x'.")
    if "Z" not in axes:
        raise InputError(
            f"{name} has the axes {axes} and no depth: it can be looked at along z only."
        )
    names = {"y": {"Z": "Y", "Y": "Z"}, "x": {"Z": "Y", "Y": "X", "X": "Z"}}[along]
    return "".join(names.get(axis, axis) for axis in axes)


def step_sizes(source: Source, axes: str) -> tuple[PixelSize | None, float | None]:
    """Return the size of a pixel and the distance of planes, of axes that may be named otherwise.

    Parameters
    ----------
    source : Source
        What the file says, of the axes as the file has them.
    axes : str
        Which of them are rows, columns and planes.

    Returns
    -------
    pixel_size : PixelSize or None
        None where it is not known for both rows and columns.
    depth : float or None

    Examples
    --------
    >>> import numpy as np
    >>> size = PixelSize(1, 2, "mm")
    >>> volume = Source("it", (np.zeros((2, 3, 4)),), "ZYX", pixel_size=size, depth=5)
    >>> step_sizes(volume, "YZX")
    (PixelSize(rows=5, cols=2, unit='mm'), 1)
    """
    size = source.pixel_size
    if size is None or source.axes is None or len(source.axes) != len(axes):
        return size, source.depth
    told = {"Y": size.rows, "X": size.cols, "Z": source.depth}
    steps = {new: told.get(old) for old, new in zip(source.axes.upper(), axes, strict=True)}
    rows, cols = steps.get("Y"), steps.get("X")
    if rows is None or cols is None:
        return None, steps.get("Z")
    return PixelSize(rows, cols, size.unit), steps.get("Z")
