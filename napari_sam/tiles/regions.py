"""Rectangles of pixels."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Region"]


@dataclass(frozen=True, order=True)
class Region:
    """A rectangle of whole pixels of one level, the ends exclusive.

    Parameters
    ----------
    row0, col0, row1, col1 : int
        First row and column, and those after the last.

    Raises
    ------
    ValueError
        If it ends before it begins.

    Examples
    --------
    >>> Region(2, 3, 10, 20).shape
    (8, 17)
    >>> Region(0, 0, 4, 4) & Region(2, 3, 10, 20)
    Region(row0=2, col0=3, row1=4, col1=4)
    """

    row0: int
    col0: int
    row1: int
    col1: int

    def __post_init__(self) -> None:
        if self.row1 < self.row0 or self.col1 < self.col0:
            raise ValueError(
                f"a region must not end before it begins, as rows {self.row0} to {self.row1}, "
                f"columns {self.col0} to {self.col1} do."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.row1 - self.row0, self.col1 - self.col0

    @property
    def area(self) -> int:
        """Pixels."""
        return self.shape[0] * self.shape[1]

    @property
    def rows(self) -> slice:
        """Its rows, to index an array with."""
        return slice(self.row0, self.row1)

    @property
    def cols(self) -> slice:
        """Its columns, to index an array with."""
        return slice(self.col0, self.col1)

    @property
    def border(self) -> tuple[tuple[float, float], ...]:
        """The four corners (row, col) around its pixels, whose centres lie at integers.

        Examples
        --------
        >>> Region(0, 0, 1, 2).border
        ((-0.5, -0.5), (-0.5, 1.5), (0.5, 1.5), (0.5, -0.5))
        """
        row0, col0, row1, col1 = (
            corner - 0.5 for corner in (self.row0, self.col0, self.row1, self.col1)
        )
        return (row0, col0), (row0, col1), (row1, col1), (row1, col0)

    def __and__(self, other: Region) -> Region:
        """Return what both share; without pixels if they share none."""
        row0, col0 = max(self.row0, other.row0), max(self.col0, other.col0)
        return Region(
            row0, col0, max(row0, min(self.row1, other.row1)), max(col0, min(self.col1, other.col1))
        )

    def __contains__(self, other: Region) -> bool:
        return (self & other) == other

    def within(self, outer: Region) -> Region:
        """Return the same rectangle counted from the corner of another.

        Examples
        --------
        >>> Region(12, 8, 14, 9).within(Region(10, 5, 20, 20))
        Region(row0=2, col0=3, row1=4, col1=4)
        """
        return Region(
            self.row0 - outer.row0,
            self.col0 - outer.col0,
            self.row1 - outer.row0,
            self.col1 - outer.col0,
        )
