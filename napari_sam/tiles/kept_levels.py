"""Coarse levels of a Scene that its file lacks: computed once, block by block, kept in a store.

Without them every tile of level n is averaged from all pixels of level 0 below it. A block is
computed when it is first read, from those of the next finer level, which are kept too. All blocks
are functions of the Scene alone: who finds one damaged or absent computes the same again, and of
two writers it does not matter which was last.
"""

from __future__ import annotations

import json
import math
import threading
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from .places import Place, Where, find_place
from .store_errors import StoreUnusable

if TYPE_CHECKING:
    from napari_sam.scene import Scene

    from .store import EmbeddingStore

__all__ = ["KeptLevel", "keep_levels", "kept_sizes", "levels_to_keep", "pixels_name"]

_BLOCK = 512
"""Side of a block: tiles of 1024 pixels read little that they do not need."""

_SMALL = 1 << 20
"""Levels of at most so many pixels are computed each time: they are a tile or two."""


def keep_levels(scene: Scene, store: EmbeddingStore) -> Scene:
    """Return the same Scene, whose computed levels are read from a store and kept there.

    Parameters
    ----------
    scene : Scene
        The one that the store was made for.
    store : EmbeddingStore
        Where blocks are kept. If it cannot be written they are computed whenever they are read.

    Returns
    -------
    Scene
        It gives the same pixels. Levels of the file, and those of at most a million pixels, are
        read as before.

    Examples
    --------
    >>> from napari_sam.scene import open_scene
    >>> from napari_sam.tiles.geometry import TileGeometry
    >>> from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo
    >>> scene = open_scene(np.arange(3000 * 2500, dtype=np.uint16).reshape(3000, 2500))
    >>> model = ModelInfo("0" * 64, {"name": "custom"}, (2, 4, 4))
    >>> store = EmbeddingStore.create(
    ...     MemoryStore(), SceneInfo.of(scene), model, TileGeometry(scene.shape)
    ... )
    >>> fast = keep_levels(scene, store)
    >>> [level.kept for level in fast.levels[:3]]
    [False, True, False]
    >>> fast.read(1, slice(7, 8), slice(2, 4))[..., 0]
    array([[36254, 36256]], dtype=uint16)
    >>> list(kept_sizes(store))
    [1]
    """
    for number in levels_to_keep(scene):
        if not scene.levels[number].kept:
            scene = scene.with_level(number, KeptLevel(store.place, scene, number))
    return scene


def levels_to_keep(scene: Scene) -> list[int]:
    """Return the levels of a Scene that are worth keeping, from the finest."""
    return [
        number
        for number, level in enumerate(scene.levels)
        if not level.stored and math.prod(level.shape) > _SMALL
    ]


def kept_sizes(store: EmbeddingStore) -> dict[int, int]:
    """Return the bytes that each kept level takes, from the finest.

    Raises
    ------
    StoreUnusable
        If the store cannot be read.
    """
    start = pixels_name(0)[:-1]
    levels = sorted(
        int(name.removeprefix(start)) for name in store.place.names() if name.startswith(start)
    )
    return {level: store.place.size(f"{pixels_name(level)}/") for level in levels}


def pixels_name(level: int) -> str:
    """Return the name of the array of a kept level."""
    return f"pixels_{level}"


class KeptLevel:
    """One level of a Scene as an array in a store; it fills as it is read.

    It is a `LazyArray` of (row, col, channel), and may be read by several threads and processes.

    Parameters
    ----------
    place : Place
        Of the store.
    scene : Scene
        Computes the level.
    level : int
        Which.
    """

    def __init__(self, place: Place, scene: Scene, level: int) -> None:
        self._place, self._scene, self._level = place, scene, level
        self.shape = (*scene.levels[level].shape, len(scene.channels))
        self.dtype = scene.dtype
        self._keeps = not place.read_only
        # So that several threads do not compute the same block; forgotten when nobody waits.
        self._busy: WeakValueDictionary[tuple[int, int], Any] = WeakValueDictionary()
        self._guard = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._place.given, self._scene, self._level)

    def __getitem__(self, selection: tuple[slice, slice, slice]) -> np.ndarray:
        """Read a window.

        Raises
        ------
        InputError
            If the image cannot be read where it is needed.
        StoreUnusable
            If the store cannot be read.
        """
        (top, bottom, _), (left, right, _) = (
            part.indices(size) for part, size in zip(selection[:2], self.shape[:2], strict=True)
        )
        window = np.empty((bottom - top, right - left, self.shape[2]), self.dtype)
        starts = (
            range(first // _BLOCK * _BLOCK, last, _BLOCK)
            for first, last in ((top, bottom), (left, right))
        )
        for row, col in product(*starts):
            block = self._block(row // _BLOCK, col // _BLOCK)
            rows = slice(max(row, top), min(row + block.shape[0], bottom))
            cols = slice(max(col, left), min(col + block.shape[1], right))
            window[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left] = (
                block[rows.start - row : rows.stop - row, cols.start - col : cols.stop - col]
            )
        return window[..., selection[2]]

    def _block(self, row: int, col: int) -> np.ndarray:
        """Return a block, which is computed and kept if it was not yet."""
        with self._guard:
            lock = self._busy.setdefault((row, col), threading.Lock())
        with lock:
            block = self._fetch(row, col)
            if block is None:
                where = self._where(row, col)
                block = self._scene.read(self._level, *where)
                self._keep(row, col, block)
        return block

    def _where(self, row: int, col: int) -> tuple[slice, slice]:
        rows, cols = (
            slice(number * _BLOCK, min((number + 1) * _BLOCK, size))
            for number, size in zip((row, col), self.shape[:2], strict=True)
        )
        return rows, cols

    def _fetch(self, row: int, col: int) -> np.ndarray | None:
        """Return a block that is kept; None if it is not, or is damaged."""
        content = self._place.fetch(self._key(row, col))
        if content is None or self._description is None:
            return None
        try:
            memory = self._in_memory({self._key(row, col): content})
            array = zarr.open_array(memory, mode="r", path=pixels_name(self._level))
            return np.asarray(array[self._where(row, col)])
        except Exception:  # whatever the decoders run into; it is computed again
            return None

    def _keep(self, row: int, col: int, block: np.ndarray) -> None:
        """Write a block, in one piece, if possible."""
        if not self._keeps or self._description is None:
            return
        memory = self._in_memory({})
        array = zarr.open_array(memory, mode="r+", path=pixels_name(self._level))
        array.with_config({"write_empty_chunks": True})[self._where(row, col)] = block
        try:
            described = f"{pixels_name(self._level)}/zarr.json"
            if self._place.fetch(described) is None:
                self._place.put(described, self._description)
            key = self._key(row, col)
            self._place.put(key, Place(memory).fetch(key) or b"")
        except StoreUnusable:
            # Not needed to go on: who has something to write that is tells why it could not.
            self._keeps = False

    @cached_property
    def _description(self) -> bytes | None:
        """The array's ``zarr.json``; None if there is one that cannot be used."""
        name = pixels_name(self._level)
        memory = MemoryStore()
        zarr.create_array(
            memory,
            name=name,
            shape=self.shape,
            chunks=(_BLOCK, _BLOCK, self.shape[2]),
            dtype=self.dtype,
            filters=None,
            compressors=[ZstdCodec(level=1), Crc32cCodec()],
            chunk_key_encoding={"name": "default", "separator": "."},
            dimension_names=("row", "col", "channel"),
        )
        ours = Place(memory).fetch(f"{name}/zarr.json") or b""
        there = self._place.fetch(f"{name}/zarr.json")
        if there is None or _layout(there) == _layout(ours):
            return there or ours
        return None

    def _in_memory(self, blocks: dict[str, bytes]) -> MemoryStore:
        """Return the array alone, with these chunks, for zarr to encode and decode."""
        assert self._description is not None
        buffer = default_buffer_prototype().buffer
        keys = {f"{pixels_name(self._level)}/zarr.json": self._description, **blocks}
        return MemoryStore({key: buffer.from_bytes(value) for key, value in keys.items()})

    def _key(self, row: int, col: int) -> str:
        return f"{pixels_name(self._level)}/c.{row}.{col}.0"


def _layout(description: bytes) -> list[Any] | None:
    """Return of a ``zarr.json`` what says which pixels are in which chunk; None if damaged."""
    keys = ("shape", "data_type", "chunk_grid", "chunk_key_encoding")
    try:
        found = json.loads(description)
        return [found[key] for key in keys]
    except (ValueError, KeyError, TypeError):
        return None


def _again(where: Where, scene: Scene, level: int) -> KeptLevel:
    return KeptLevel(find_place(where), scene, level)
