"""What a store of embeddings says about itself: docs/embedding_store.md, version 1."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs.zstd import Zstd
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from napari_sam.errors import InputError

from .geometry import TileGeometry, TileId
from .rounding import HalfType, absent, stored_dtype
from .store_errors import StoreMismatch, StoreUnusable
from .subjects import ModelInfo, SceneInfo, by, plain

__all__ = [
    "StoreFormat",
    "array_options",
    "as_chunk",
    "documents",
    "level_name",
    "plan",
    "spool_name",
]

_KEY = "napari_sam_embedding_store"
_VERSION = 1
_ZSTD_LEVEL = 1


@dataclass(frozen=True)
class StoreFormat:
    """All that the group's attributes say.

    Parameters
    ----------
    scene, model, geometry
        What was encoded, with what, cut how.
    levels : tuple of int
        Levels of `geometry` that have an array, ascending.
    dtype : {"float16", "bfloat16"}
        Numbers of the embeddings.
    sharded : tuple of int
        Those of `levels` in which tiles end in shards.
    shard : int
        Tiles along a side of a shard.

    Raises
    ------
    InputError
        If they do not go together.
    """

    scene: SceneInfo
    model: ModelInfo
    geometry: TileGeometry
    levels: tuple[int, ...]
    dtype: HalfType
    sharded: tuple[int, ...]
    shard: int

    def __post_init__(self) -> None:
        known = range(self.geometry.levels)
        if not self.levels or list(self.levels) != sorted(set(self.levels) & set(known)):
            raise InputError(
                f"levels {list(self.levels)} cannot be stored: give some of {known[0]} to "
                f"{known[-1]}, each once."
            )
        if tuple(self.scene.shape) != tuple(self.geometry.shape):
            raise InputError(
                f"{self.scene.name} has {by(self.scene.shape)} pixels, but the tiles are cut for "
                f"{by(self.geometry.shape)}: make them with TileGeometry(scene.shape)."
            )
        if self.dtype not in ("float16", "bfloat16"):
            raise InputError(
                f"embeddings are not stored as {self.dtype!r}: give 'float16' or 'bfloat16'."
            )
        if min(*self.model.embedding_shape, self.shard) < 1:
            raise InputError(
                f"embeddings of shape {self.model.embedding_shape} in shards of {self.shard} x "
                f"{self.shard} tiles cannot be stored: all must be 1 or more."
            )

    def check_tile(self, tile: TileId) -> None:
        """Refuse a tile that has no place in the store.

        Raises
        ------
        InputError
            If its level is not stored, or there is none at its place.
        """
        if tile.level not in self.levels:
            raise InputError(
                f"level {tile.level} is not in the store, which has the levels "
                f"{', '.join(map(str, self.levels))}."
            )
        try:
            self.geometry.check(tile)
        except ValueError as error:
            raise InputError(str(error)) from error

    def to_dict(self) -> dict[str, Any]:
        """Return the group's attributes."""
        scene, model, geometry = self.scene, self.model, self.geometry
        # Not with what else is said of the model: earlier versions refuse what they do not know
        # there, and overlook it here.
        encoder = {"encoder_hash": model.encoder_hash} if model.encoder_hash else {}
        return {
            _KEY: {
                "format_version": _VERSION,
                **encoder,
                "scene": scene.to_dict(),
                "model": {
                    "hash": model.hash,
                    "variant": plain(model.variant),
                    "precision": model.precision,
                },
                "geometry": {
                    "shape": list(geometry.shape),
                    "tile": geometry.tile,
                    "halo": geometry.halo,
                },
                "levels": list(self.levels),
                "embedding_shape": list(model.embedding_shape),
                "dtype": self.dtype,
                "sharded_levels": list(self.sharded),
                "shard": self.shard,
            }
        }

    @classmethod
    def from_json(cls, content: bytes | None, name: str) -> StoreFormat:
        """Read what a group's ``zarr.json`` says.

        Parameters
        ----------
        content : bytes or None
            Of the file; None if there is none.
        name : str
            What messages call the store.

        Raises
        ------
        StoreUnusable
            If this is no store of embeddings, or its description is damaged.
        StoreMismatch
            If it has a later version of the format.
        """
        if content is None:
            raise StoreUnusable(
                f"{name} is no store of embeddings: give one that 'napari-sam encode' or "
                f"EmbeddingStore.create made."
            )
        try:
            saved = json.loads(content)["attributes"][_KEY]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreUnusable(
                f"{name} has a zarr.json, but not that of a store of embeddings: give one that "
                f"'napari-sam encode' or EmbeddingStore.create made."
            ) from error
        try:
            version = int(saved["format_version"])
            if version != _VERSION:
                raise StoreMismatch(
                    f"{name} has version {version} of the format, and only version {_VERSION} is "
                    f"known here: update napari-sam-tiled, or encode the scene into a new store."
                )
            geometry = saved["geometry"]
            return cls(
                scene=SceneInfo.from_dict(saved["scene"]),
                model=ModelInfo(
                    **saved["model"],
                    embedding_shape=tuple(saved["embedding_shape"]),
                    encoder_hash=saved.get("encoder_hash", ""),
                ),
                geometry=TileGeometry(_pair(geometry["shape"]), geometry["tile"], geometry["halo"]),
                levels=tuple(saved["levels"]),
                dtype=saved["dtype"],
                sharded=tuple(saved["sharded_levels"]),
                shard=saved["shard"],
            )
        except StoreMismatch:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise StoreUnusable(
                f"the description of {name} is damaged ({error}): restore its zarr.json from a "
                f"copy, or encode the scene into a new store."
            ) from error


def plan(
    scene: SceneInfo,
    model: ModelInfo,
    geometry: TileGeometry,
    levels: Sequence[int],
    dtype: HalfType,
    shard_above: int,
    shard: int,
) -> StoreFormat:
    """Return the format of a new store, in which levels of many tiles are sharded.

    Raises
    ------
    InputError
        As `StoreFormat`.
    """
    known = [level for level in levels if 0 <= level < geometry.levels]
    return StoreFormat(
        scene=scene,
        model=model,
        geometry=geometry,
        levels=tuple(sorted(levels)),
        dtype=dtype,
        sharded=tuple(sorted(n for n in known if math.prod(geometry.grid(n)) > shard_above)),
        shard=shard,
    )


def documents(layout: StoreFormat) -> dict[str, bytes]:
    """Return the keys of a store without tiles: the descriptions of the group and its arrays."""
    memory: dict[str, Any] = {}
    store = MemoryStore(memory)
    group = zarr.create_group(store, attributes=layout.to_dict())
    for level in layout.levels:
        sharded = level in layout.sharded
        group.create_array(level_name(level), **array_options(layout, level, sharded))
        if sharded:
            group.create_array(spool_name(level), **array_options(layout, level, False))
    prototype = default_buffer_prototype()
    found = {key: sync(store.get(key, prototype)) for key in memory}
    return {key: value.to_bytes() for key, value in found.items() if value is not None}


def array_options(layout: StoreFormat, level: int, sharded: bool) -> dict[str, Any]:
    """Return how the array of a level is made."""
    shape = layout.model.embedding_shape
    return {
        "shape": (*layout.geometry.grid(level), *shape),
        "chunks": (1, 1, *shape),
        "shards": (layout.shard, layout.shard, *shape) if sharded else None,
        "dtype": stored_dtype(layout.dtype),
        "fill_value": absent(layout.dtype),
        "filters": None,
        "compressors": [ZstdCodec(level=_ZSTD_LEVEL), Crc32cCodec()],
        # All tiles of a level in one folder, instead of three folders for each.
        "chunk_key_encoding": {"name": "default", "separator": "."},
        "dimension_names": ("tile_row", "tile_col", "channel", "row", "col"),
    }


def as_chunk(bits: np.ndarray) -> bytes:
    """Return a tile's chunk as zarr writes it with `array_options`, without shards.

    Zarr itself takes twice as long for it, most of all waiting for its own threads.
    """
    little = np.ascontiguousarray(bits, bits.dtype.newbyteorder("<"))
    packed = bytes(Zstd(level=_ZSTD_LEVEL).encode(little))
    return packed + google_crc32c.value(packed).to_bytes(4, "little")


def level_name(level: int) -> str:
    """Return the name of a level's array."""
    return f"level_{level}"


def spool_name(level: int) -> str:
    """Return the name of the array in which tiles wait for their shard."""
    return f"spool_{level}"


def _pair(values: Sequence[int]) -> tuple[int, int]:
    rows, cols = values
    return int(rows), int(cols)
