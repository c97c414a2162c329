"""When it is not single tiles that are to blame for failing, and going on would fail all others."""

from __future__ import annotations

from napari_sam.errors import InputError
from napari_sam.tiles.encoding import EncodingProgress, Summary
from napari_sam.tiles.store import EmbeddingStore
from napari_sam.tiles.store_errors import called

__all__ = ["Blame", "out_of_memory"]

_IN_A_ROW = 3
"""Tiles that fail one after the other, without one that does not."""


class Blame:
    """Looks at portions of encoding, one after the other.

    Parameters
    ----------
    store : EmbeddingStore
        Where the tiles are.
    """

    def __init__(self, store: EmbeddingStore) -> None:
        self._store, self._in_a_row = store, 0
        self.hopeless = False
        """Whether a portion should be stopped."""

    def notice(self, progress: EncodingProgress) -> None:
        """Take notice of how far a portion is."""
        self.hopeless = progress.failed >= _IN_A_ROW and progress.settled == progress.failed

    def judge(self, summary: Summary) -> None:
        """Take notice of a portion.

        Raises
        ------
        InputError
            If memory ran out, for which the tiles are made missing again; or if tile after tile
            fails.
        """
        self.hopeless = False
        if summary.done or summary.empty:
            self._in_a_row = 0
        self._in_a_row += len(summary.failed)
        for failure in summary.failed:
            if _is_memory(failure.reason):
                for lost in summary.failed:
                    self._store.mark_missing(lost.tile, "memory ran out")
                raise InputError(out_of_memory(f"Encoding {called(failure.tile)}"))
        if self._in_a_row >= _IN_A_ROW:
            last = summary.failed[-1]
            raise InputError(
                f"{self._in_a_row} tiles failed one after the other, the last one being "
                f"{called(last.tile)} ({last.reason.rstrip('.')}): look whether image and model "
                f"are all right, and start again."
            )


def out_of_memory(what: str) -> str:
    """Say that memory is too small for something.

    Examples
    --------
    >>> out_of_memory("Encoding tile 3, 5 of level 0").split(":")[0]
    'Encoding tile 3, 5 of level 0 needs more memory than there is'
    """
    return (
        f"{what} needs more memory than there is: close other images or programs, or choose a "
        f"smaller model, and start again."
    )


def _is_memory(reason: str) -> bool:
    """Tell whether memory ran out, which each library says in its own words."""
    said = reason.lower()
    return any(words in said for words in ("memoryerror", "out of memory", "allocate"))
