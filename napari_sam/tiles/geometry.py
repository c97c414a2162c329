"""Where the tiles of a scene lie: pure arithmetic, for scenes of any size.

Each level of a scene is cut into tiles of the size that the encoder sees. A tile answers for its
*core*; around it lies a *halo* that it sees as well, so that whatever it answers for is seen in its
surroundings. Cores partition a level: every pixel has one owner. Levels go on, each half as fine,
until one tile holds the whole scene; all the coarser ones together are at most about a third more
work than the finest.

Along an axis tiles lie at regular steps, and only the last is moved back so that it ends with the
scene: none is smaller than the encoder's square unless the scene is, and none is a sliver.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from napari_sam.scenes.pyramid import halved

from .regions import Region

__all__ = ["TileGeometry", "TileId"]


@dataclass(frozen=True, order=True)
class TileId:
    """One tile.

    Parameters
    ----------
    level : int
        0 is the finest.
    row, col : int
        Its place in the grid of that level's tiles.
    """

    level: int
    row: int
    col: int


@dataclass(frozen=True)
class TileGeometry:
    """The tiles of a scene at all levels.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of level 0.
    tile : int
        Side of a tile in pixels of its level: what the encoder sees.
    halo : int
        Pixels around a core that its tile sees at least, where the scene goes on.

    Raises
    ------
    ValueError
        If the scene has no pixels, or a tile would be nothing but halo.

    Examples
    --------
    >>> geometry = TileGeometry((3000, 5000), tile=1024, halo=128)
    >>> [geometry.grid(level) for level in range(geometry.levels)]
    [(4, 7), (2, 3), (1, 2), (1, 1)]
    >>> last = TileId(0, 3, 6)
    >>> geometry.window(last)
    Region(row0=1976, col0=3976, row1=3000, col1=5000)
    >>> geometry.core(last)
    Region(row0=2432, col0=4736, row1=3000, col1=5000)
    >>> geometry.owner(0, 2999, 4999) == last
    True
    """

    shape: tuple[int, int]
    tile: int = 1024
    halo: int = 128

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ValueError(f"a scene of {self.shape[0]} × {self.shape[1]} pixels has no tiles.")
        if self.halo < 0 or 2 * self.halo >= self.tile:
            raise ValueError(
                f"a halo of {self.halo} pixels leaves no core in a tile of {self.tile}: choose one "
                f"between 0 and {(self.tile - 1) // 2}."
            )

    @property
    def step(self) -> int:
        """Pixels from one tile to the next."""
        return self.tile - 2 * self.halo

    @property
    def levels(self) -> int:
        """Levels down to the first in which one tile holds the whole scene."""
        level = 0
        while max(self.level_shape(level)) > self.tile:
            level += 1
        return level + 1

    def level_shape(self, level: int) -> tuple[int, int]:
        """Return rows and columns of a level: half the finer one's, rounded up."""
        return halved(self.shape, level)

    def grid(self, level: int) -> tuple[int, int]:
        """Return how many rows and columns of tiles a level has."""
        rows, cols = self.level_shape(level)
        return self._count(rows), self._count(cols)

    def window(self, tile: TileId) -> Region:
        """Return what a tile sees: core and halo, in pixels of its level and inside of it."""
        rows, cols = self.level_shape(self.check(tile).level)
        row0, row1 = self._window(tile.row, rows)
        col0, col1 = self._window(tile.col, cols)
        return Region(row0, col0, row1, col1)

    def core(self, tile: TileId) -> Region:
        """Return what a tile alone answers for, in pixels of its level."""
        rows, cols = self.level_shape(self.check(tile).level)
        row0, row1 = self._core(tile.row, rows)
        col0, col1 = self._core(tile.col, cols)
        return Region(row0, col0, row1, col1)

    def owner(self, level: int, row: int, col: int) -> TileId:
        """Return the tile that answers for a pixel of a level.

        Raises
        ------
        ValueError
            If the pixel is not in the scene.
        """
        rows, cols = self.level_shape(level)
        if not (0 <= row < rows and 0 <= col < cols):
            raise ValueError(
                f"pixel {row}, {col} lies outside level {level}, which has {rows} × {cols} pixels."
            )
        return TileId(level, self._owner(row, rows), self._owner(col, cols))

    def tiles(self, level: int, region: Region | None = None) -> Iterator[TileId]:
        """Give the tiles of a level, row by row.

        Parameters
        ----------
        level : int
            Of the tiles, and of the region's pixels.
        region : Region, optional
            Only tiles with a part of it in their core; what lies outside the scene has none.
        """
        rows, cols = self.level_shape(level)
        part = Region(0, 0, rows, cols) if region is None else Region(0, 0, rows, cols) & region
        if part.area == 0:
            return
        last_row, last_col = self._owner(part.row1 - 1, rows), self._owner(part.col1 - 1, cols)
        for row in range(self._owner(part.row0, rows), last_row + 1):
            for col in range(self._owner(part.col0, cols), last_col + 1):
                yield TileId(level, row, col)

    def level_region(self, region: Region, level: int) -> Region:
        """Return the pixels of a level that hold any of a region of level 0.

        Examples
        --------
        >>> TileGeometry((3000, 5000)).level_region(Region(5, 8, 10, 9), 2)
        Region(row0=1, col0=2, row1=3, col1=3)
        """
        return Region(
            region.row0 >> level,
            region.col0 >> level,
            -(-region.row1 >> level),
            -(-region.col1 >> level),
        )

    def check(self, tile: TileId) -> TileId:
        """Return a tile that is there.

        Raises
        ------
        ValueError
            If there is none at its place.
        """
        rows, cols = self.grid(tile.level)
        if not (0 <= tile.row < rows and 0 <= tile.col < cols):
            raise ValueError(
                f"level {tile.level} has {rows} × {cols} tiles; there is none at {tile.row}, "
                f"{tile.col}."
            )
        return tile

    def _count(self, length: int) -> int:
        """Return the number of tiles along an axis."""
        return 1 + max(0, -(-(length - self.tile) // self.step))

    def _window(self, index: int, length: int) -> tuple[int, int]:
        start = max(0, min(index * self.step, length - self.tile))
        return start, min(start + self.tile, length)

    def _core(self, index: int, length: int) -> tuple[int, int]:
        # The first and the last tile also answer for the halo at the scene's border.
        first, last = index == 0, index == self._count(length) - 1
        start = 0 if first else index * self.step + self.halo
        return start, length if last else (index + 1) * self.step + self.halo

    def _owner(self, place: int, length: int) -> int:
        return max(0, min((place - self.halo) // self.step, self._count(length) - 1))
