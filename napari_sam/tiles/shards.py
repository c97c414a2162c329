"""The arrays of a store: one chunk a tile, or tiles that wait singly until their shard is whole.

A shard is one file of many tiles, and adding a tile would mean to write all of it again. Tiles of a
sharded level are therefore written to a second array without shards, the spool, and moved when
nothing more is to come for their shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import zarr
from zarr.storage import MemoryStore

from napari_sam.errors import first_line

from .geometry import TileId
from .journal import State
from .places import Place
from .rounding import absent, stored_dtype
from .store_errors import StoreUnusable
from .store_format import StoreFormat, array_options, as_chunk, level_name, spool_name

__all__ = ["Shards"]


class Shards:
    """Reads and writes tiles where they belong, whatever their state.

    Parameters
    ----------
    place : Place
        Of the store.
    layout : StoreFormat
        What its attributes say. Arrays are opened when first needed.
    """

    def __init__(self, place: Place, layout: StoreFormat) -> None:
        self._place, self._layout = place, layout
        self._array = lru_cache(maxsize=None)(self._open_array)

    def write(self, tile: TileId, bits: np.ndarray) -> None:
        """Write a tile, in one piece.

        Parameters
        ----------
        tile : TileId
            Of the layout.
        bits : ndarray
            (C, h, w) of the stored dtype.

        Raises
        ------
        StoreUnusable
            If it cannot be written.
        """
        sharded = tile.level in self._layout.sharded
        name = spool_name(tile.level) if sharded else level_name(tile.level)
        self._array(name)  # or tells that it is damaged
        self._place.put(f"{name}/c.{tile.row}.{tile.col}.0.0.0", as_chunk(bits))

    def read(self, tile: TileId) -> tuple[np.ndarray | None, str]:
        """Read a tile.

        Returns
        -------
        bits : ndarray or None
            (C, h, w) of the stored dtype; None if it is damaged or not there.
        trouble : str
            What is wrong with it then.

        Raises
        ------
        StoreUnusable
            If the store cannot be read.
        """
        names = [level_name(tile.level)]
        if tile.level in self._layout.sharded:
            # The spool first: what is dropped there is in its shard by then, and what was encoded
            # again because the shard is damaged comes before it.
            names.insert(0, spool_name(tile.level))
        for name in names:
            array = self._array(name)
            try:
                bits = np.asarray(array[tile.row, tile.col])
            except StoreUnusable:
                raise
            except Exception as error:
                # Whatever the decoders run into: ValueError of the checksum, RuntimeError of zstd.
                return None, first_line(error).rstrip(".")
            if not self._is_absent(bits):
                return bits, ""
        return None, "its data is not there"

    def full_shards(self, level: int, states: np.ndarray) -> Iterator[list[TileId]]:
        """Give the tiles of each shard for which nothing more is to come, but something waits.

        Parameters
        ----------
        level : int
            One that is sharded.
        states : ndarray
            Of its tiles.
        """
        waiting = np.zeros(states.shape, bool)
        for name in self._place.names(spool_name(level)):
            if name.startswith("c."):
                row, col = map(int, name.split(".")[1:3])
                waiting[row, col] = True
        # What lies there of a tile that is not done may have its writer still.
        waiting &= states == State.DONE
        side = self._layout.shard
        for row in range(0, states.shape[0], side):
            for col in range(0, states.shape[1], side):
                part = np.s_[row : row + side, col : col + side]
                if waiting[part].any() and (states[part] != State.MISSING).all():
                    yield [
                        TileId(level, row + int(r), col + int(c))
                        for r, c in np.ndindex(states[part].shape)
                    ]

    def write_shard(self, tiles: list[TileId], found: Mapping[TileId, np.ndarray]) -> None:
        """Write a shard in one piece, then drop its tiles from the spool.

        Parameters
        ----------
        tiles : list of TileId
            All of the shard, row by row.
        found : mapping
            The bits of those that have an embedding.

        Raises
        ------
        StoreUnusable
            If it cannot be written; then all stays as it was.
        """
        first, last = tiles[0], tiles[-1]
        layout = self._layout
        block = np.full(
            (last.row - first.row + 1, last.col - first.col + 1, *layout.model.embedding_shape),
            absent(layout.dtype),
            stored_dtype(layout.dtype),
        )
        for tile, bits in found.items():
            block[tile.row - first.row, tile.col - first.col] = bits
        # Made in memory: written in place zarr would first read the shard that is there, which may
        # be damaged.
        name = level_name(first.level)
        memory = MemoryStore({})
        array = zarr.create_array(memory, name=name, **array_options(layout, first.level, True))
        array[first.row : last.row + 1, first.col : last.col + 1] = block
        key = f"{name}/c.{first.row // layout.shard}.{first.col // layout.shard}.0.0.0"
        self._place.put(key, Place(memory).fetch(key) or b"")
        for tile in found:
            self._place.drop(f"{spool_name(tile.level)}/c.{tile.row}.{tile.col}.0.0.0")

    def _is_absent(self, bits: np.ndarray) -> bool:
        # Embeddings are finite: one value tells.
        first = bits[0, 0, 0]
        if self._layout.dtype == "float16":
            return bool(np.isnan(first))
        return int(first) == absent("bfloat16")

    def _open_array(self, name: str) -> zarr.Array[Any]:
        layout, place = self._layout, self._place
        try:
            array = zarr.open_array(
                place, path=name, mode="r" if place.read_only else "r+", zarr_format=3
            )
        except StoreUnusable:
            raise
        except Exception as error:
            place.check_folder()
            raise self._damaged(name) from error
        level = int(name.rpartition("_")[2])
        shape = (*layout.geometry.grid(level), *layout.model.embedding_shape)
        if array.shape != shape or array.dtype != stored_dtype(layout.dtype):
            raise self._damaged(name)
        # Embeddings are never empty: zarr need not compare each with the fill value.
        return array.with_config({"write_empty_chunks": True})

    def _damaged(self, name: str) -> StoreUnusable:
        return StoreUnusable(
            f"the description of {name} in {self._place.name} is damaged or missing: restore its "
            f"zarr.json from a copy, or encode the scene into a new store."
        )
