"""What can be wrong with a store of embeddings; each is told in one sentence."""

from napari_sam.errors import InputError

from .geometry import TileId

__all__ = [
    "StoreMismatch",
    "StoreUnusable",
    "TileDamaged",
    "TileEmpty",
    "TileNotThere",
    "TileRefused",
    "called",
]


class StoreUnusable(InputError):
    """No store is there, or it cannot be read or written: nothing works until that is mended."""


class StoreMismatch(InputError):
    """The store was made from something else: other pixels, another model, another version."""


class TileNotThere(InputError):
    """A tile has no embedding yet, or none for a reason that its state tells."""


class TileEmpty(TileNotThere):
    """Nothing is to be seen in a tile: it has no embedding, and needs none."""


class TileDamaged(InputError):
    """What was stored of a tile is not what was written; it counts as missing from now on."""


class TileRefused(InputError):
    """An embedding that the store cannot hold: not finite, or too large for its numbers."""


def called(tile: TileId) -> str:
    """Name a tile in a sentence.

    Examples
    --------
    >>> called(TileId(0, 3, 5))
    'tile 3, 5 of level 0'
    """
    return f"tile {tile.row}, {tile.col} of level {tile.level}"
