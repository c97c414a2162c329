"""A volume in the axes of its file, indexed as if it were laid out as napari shows it best."""

from typing import Any

import numpy as np

from napari_sam.scenes.axes import LazyArray
from napari_sam.scenes.volume_grid import VolumeGrid

__all__ = ["LaidOut"]


class LaidOut:
    """Axes permuted and reversed as they are read; nothing is copied but what is asked for.

    Parameters
    ----------
    array : LazyArray
        In the file's axes: any in front, the three of the volume, any behind.
    grid : VolumeGrid
        How they are laid out.
    first : int
        Where the three axes begin.

    Examples
    --------
    >>> stored = np.arange(24).reshape(2, 3, 4)
    >>> grid = VolumeGrid.lay_out(np.diag([1, 1, 1, 1]), stored.shape)  # to the left, back, head
    >>> volume = LaidOut(stored, grid)
    >>> volume.shape, volume[0, 1].tolist()
    ((4, 3, 2), [7, 19])
    >>> bool((volume[:, :, 1] == grid.from_stored(stored)[:, :, 1]).all())
    True
    """

    def __init__(self, array: LazyArray, grid: VolumeGrid, first: int = 0) -> None:
        self.array, self.grid, self.first = array, grid, first
        self.dtype = np.dtype(array.dtype)
        before, after = array.shape[:first], array.shape[first + 3 :]
        self.shape: tuple[int, ...] = (*before, *grid.shape, *after)

    def __getitem__(self, selection: Any) -> np.ndarray:
        """Read a part, by integers and slices."""
        given = selection if isinstance(selection, tuple) else (selection,)
        given = (*given, *(slice(None),) * (len(self.shape) - len(given)))
        order = list(range(len(self.shape)))
        asked: list[Any] = list(given)
        after: list[slice | None] = [slice(None)] * len(given)
        for number, (axis, reversed_) in enumerate(self.grid.stored):
            place, source = self.first + number, self.first + axis
            order[place] = source
            asked[source], after[place] = _in_file(given[place], self.shape[place], reversed_)
        block = np.asarray(self.array[tuple(asked)])
        # Axes that an integer was given for are gone.
        left = [source for source, part in enumerate(asked) if isinstance(part, slice)]
        kept = [place for place, part in enumerate(given) if isinstance(part, slice)]
        block = block.transpose([left.index(order[place]) for place in kept])
        return block[tuple(after[place] for place in kept)]


def _in_file(part: Any, length: int, reversed_: bool) -> tuple[Any, slice]:
    """Turn what is asked of an axis into what is read, and what is taken of that."""
    if not isinstance(part, slice):
        number = range(length)[part]
        return (length - 1 - number if reversed_ else number), slice(None)
    numbers = range(length)[part]
    if not numbers:
        return slice(0, 0), slice(None)
    low, high = sorted((numbers[0], numbers[-1]))
    backwards = (numbers.step < 0) != reversed_
    if reversed_:
        low, high = length - 1 - high, length - 1 - low
    step = abs(numbers.step)
    if backwards:
        # The last one that is read must be the first one asked for.
        return slice(low, high + 1, step), slice(None, None, -1)
    return slice(low, high + 1, step), slice(None)
