"""Large pictures as tiles, so that training sees objects in the resolution they have."""

import math
import re
from collections.abc import Sequence
from functools import lru_cache

from napari_sam.finetune.stored import StoredPictures
from src_model.training.pictures import ObjectMasks, Picture, trim

__all__ = ["TiledPictures", "crop_objects", "origin_of", "tile_corners", "tile_name"]

# Tiles reach over their neighbours by this part of their side: an object cut by one is whole in
# another.
OVERLAP = 0.25
# Pictures kept in memory, since tiles of the same picture are often read one after the other.
_TILE = re.compile(r"(.+) \(row (\d+), column (\d+)\)")

_KEPT = 2


class TiledPictures(Sequence[Picture]):
    """Pictures as they are, but those much larger than the model's frame in tiles of its size.

    Brought to the frame as a whole, the objects of a large picture would be too small to see.
    Tiles without the middle of any object are left out.

    Parameters
    ----------
    source : StoredPictures
        All pictures.
    side : int
        Of the model's frame, in pixels; pictures more than twice as long are cut.
    """

    def __init__(self, source: StoredPictures, side: int) -> None:
        self.source, self.side = source, side
        # Which picture, and the first row and column of a tile of it.
        self.tiles: list[tuple[int, tuple[int, int] | None]] = []
        for index in range(len(source)):
            shape = source.image_size(index)
            if max(shape) <= 2 * side:
                self.tiles.append((index, None))
                continue
            middles = [
                (item.top + item.mask.shape[0] / 2, item.left + item.mask.shape[1] / 2)
                for item in source.read_objects(index).items
            ]
            for top, left in tile_corners(shape, side):
                if any(0 <= r - top < side and 0 <= c - left < side for r, c in middles):
                    self.tiles.append((index, (top, left)))
        self._read = lru_cache(_KEPT)(source.__getitem__)

    def __getstate__(self) -> dict[str, object]:
        return {k: v for k, v in self.__dict__.items() if k != "_read"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._read = lru_cache(_KEPT)(self.source.__getitem__)

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, index: int) -> Picture:  # type: ignore[override]  # no slices
        number, corner = self.tiles[index]
        picture = self._read(number)
        if corner is None:
            return picture
        top, left = corner
        image = picture.image[top : top + self.side, left : left + self.side]
        objects = crop_objects(picture.objects, corner, (image.shape[0], image.shape[1]))
        return Picture(tile_name(picture.name, corner), image, objects)


def tile_name(name: str, corner: tuple[int, int]) -> str:
    """Return what a tile of a picture is called, by its first row and column."""
    return f"{name} (row {corner[0]}, column {corner[1]})"


def origin_of(name: str) -> tuple[str, tuple[int, int]]:
    """Return the picture that a tile is of, and the tile's first row and column.

    Examples
    --------
    >>> origin_of(tile_name("a.png", (0, 64))), origin_of("a.png")
    (('a.png', (0, 64)), ('a.png', (0, 0)))
    """
    found = _TILE.fullmatch(name)
    return (name, (0, 0)) if found is None else (found[1], (int(found[2]), int(found[3])))


def tile_corners(shape: tuple[int, int], side: int) -> list[tuple[int, int]]:
    """Return first row and column of tiles that cover a picture, the last ones flush with its end.

    Examples
    --------
    >>> tile_corners((10, 25), 10)
    [(0, 0), (0, 7), (0, 15)]
    """
    starts = []
    for length in shape:
        room = max(0, length - side)
        count = math.ceil(room / (side * (1 - OVERLAP))) + 1
        starts.append([room * i // max(1, count - 1) for i in range(count)])
    return [(top, left) for top in starts[0] for left in starts[1]]


def crop_objects(
    objects: ObjectMasks, corner: tuple[int, int], shape: tuple[int, int]
) -> ObjectMasks:
    """Return what a tile shows of the objects.

    Parameters
    ----------
    objects : ObjectMasks
        Of the whole picture.
    corner : (int, int)
        First row and column of the tile.
    shape : (int, int)
        Height and width of the tile.
    """
    first, stop = corner, (corner[0] + shape[0], corner[1] + shape[1])
    items = []
    for item in objects.items:
        rows, cols = (
            slice(max(own.start, low), min(own.stop, high))
            for own, low, high in zip(item.window, first, stop, strict=True)
        )
        if rows.start < rows.stop and cols.start < cols.stop:
            part = trim(item.inside(rows, cols), rows.start - first[0], cols.start - first[1])
            if part is not None:
                items.append(part)
    return ObjectMasks(shape, tuple(items))
