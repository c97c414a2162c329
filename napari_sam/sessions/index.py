"""Where objects lie, so that looking at a window costs what is in it."""

from __future__ import annotations

from collections.abc import Iterator

from napari_sam.tiles.regions import Region

__all__ = ["BoxIndex"]

_SMALLEST = 6
"""Boxes of up to 2**6 pixels share one grid."""


class BoxIndex:
    """Boxes by number, in grids of squares of powers of two.

    A box is kept in the grid whose squares are no smaller than it, so that it touches four of them
    at the most, however large it is.

    Examples
    --------
    >>> index = BoxIndex()
    >>> index.add(7, Region(10, 10, 20, 20))
    >>> index.add(8, Region(0, 0, 5000, 15))
    >>> sorted(index.near(Region(12, 12, 13, 13))), sorted(index.near(Region(4000, 0, 4001, 9)))
    ([7, 8], [8])
    """

    def __init__(self) -> None:
        self._grids: dict[int, dict[tuple[int, int], set[int]]] = {}
        self._boxes: dict[int, Region] = {}

    def copy(self) -> BoxIndex:
        """Return one that changes of this one do not reach."""
        copied = BoxIndex()
        copied._boxes = dict(self._boxes)
        copied._grids = {
            size: {square: set(numbers) for square, numbers in grid.items()}
            for size, grid in self._grids.items()
        }
        return copied

    def add(self, number: int, box: Region) -> None:
        """Add a box."""
        self._boxes[number] = box
        grid = self._grids.setdefault(_grid_of(box), {})
        for square in _squares(box, _grid_of(box)):
            grid.setdefault(square, set()).add(number)

    def drop(self, number: int) -> None:
        """Remove a box."""
        box = self._boxes.pop(number)
        size = _grid_of(box)
        grid = self._grids[size]
        for square in _squares(box, size):
            grid[square].discard(number)
            if not grid[square]:
                del grid[square]
        if not grid:
            del self._grids[size]

    def near(self, region: Region) -> list[int]:
        """Return the numbers of the boxes that share a pixel with a rectangle, ascending."""
        if not region.area:
            return []
        found: set[int] = set()
        for size, grid in self._grids.items():
            rows = (region.row1 - 1 >> size) - (region.row0 >> size) + 1
            cols = (region.col1 - 1 >> size) - (region.col0 >> size) + 1
            if rows * cols < len(grid):
                for square in _squares(region, size):
                    found |= grid.get(square, set())
            else:  # a window far larger than the squares: those that hold something are fewer
                for numbers in grid.values():
                    found |= numbers
        return sorted(number for number in found if (self._boxes[number] & region).area)


def _grid_of(box: Region) -> int:
    return max(_SMALLEST, (max(box.shape) - 1).bit_length())


def _squares(box: Region, size: int) -> Iterator[tuple[int, int]]:
    for row in range(box.row0 >> size, (box.row1 - 1 >> size) + 1):
        for col in range(box.col0 >> size, (box.col1 - 1 >> size) + 1):
            yield row, col
