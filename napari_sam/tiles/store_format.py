"""What a store of embeddings says about itself: docs/embedding_store.md, version 1."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from napari_sam.errors import InputError

from .geometry import TileGeometry, TileId
from .rounding import HalfType, absent, stored_dtype
from .store_errors import StoreMismatch, StoreUnusable

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from src_model import Sam

__all__ = [
    "ModelInfo",
    "SceneInfo",
    "StoreFormat",
    "array_options",
    "documents",
    "level_name",
    "spool_name",
]

_KEY = "napari_sam_embedding_store"
_VERSION = 1


@dataclass(frozen=True)
class SceneInfo:
    """What embeddings depend on of a Scene.

    Parameters
    ----------
    name : str
        The path or URL, for people; a Scene that moved is the same.
    shape : (int, int)
        Rows and columns of level 0.
    axes : str
        Of the whole image.
    channels : tuple of str
        Those that were looked at.
    fingerprint : str
        What `napari_sam.scene.fingerprint` gives.
    normalisation : mapping
        What `Normalisation.to_dict` gives.
    t, z : int
        Which plane.
    nodata : float or None
        The value of pixels without data.
    """

    name: str
    shape: tuple[int, int]
    axes: str
    channels: tuple[str, ...]
    fingerprint: str
    normalisation: Mapping[str, Any]
    t: int = 0
    z: int = 0
    nodata: float | None = None

    @classmethod
    def of(cls, scene: Scene) -> SceneInfo:
        """Describe a Scene; reads what its fingerprint is made of.

        Raises
        ------
        InputError
            If the image cannot be read.
        """
        from napari_sam.scene import fingerprint

        return cls(
            name=scene.name,
            shape=scene.shape,
            axes=scene.axes,
            channels=scene.channels,
            fingerprint=fingerprint(scene),
            normalisation=scene.normalisation.to_dict(),
            t=scene.t,
            z=scene.z,
            nodata=None if scene.nodata is None else float(scene.nodata),
        )


@dataclass(frozen=True)
class ModelInfo:
    """Which network made the embeddings.

    Parameters
    ----------
    hash : str
        What `src_model.weight_files.model_hash` gives.
    variant : mapping
        What `Variant.to_dict` gives.
    embedding_shape : (int, int, int)
        Channels, rows and columns of an embedding.
    """

    hash: str
    variant: Mapping[str, Any]
    embedding_shape: tuple[int, int, int]

    @classmethod
    def of(cls, sam: Sam) -> ModelInfo:
        """Describe a network; hashes its weights."""
        from src_model.weight_files import model_hash

        variant = sam.variant
        side = variant.grid_size
        return cls(model_hash(sam), variant.to_dict(), (variant.out_chans, side, side))


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
                f"{self.scene.name} has {_by(self.scene.shape)} pixels, but the tiles are cut for "
                f"{_by(self.geometry.shape)}: make them with TileGeometry(scene.shape)."
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
        rows, cols = self.geometry.grid(tile.level)
        if not (0 <= tile.row < rows and 0 <= tile.col < cols):
            raise InputError(
                f"level {tile.level} has {rows} × {cols} tiles; there is none at {tile.row}, "
                f"{tile.col}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the group's attributes."""
        scene, model, geometry = self.scene, self.model, self.geometry
        return {
            _KEY: {
                "format_version": _VERSION,
                "scene": {
                    "name": scene.name,
                    "shape": list(scene.shape),
                    "axes": scene.axes,
                    "channels": list(scene.channels),
                    "fingerprint": scene.fingerprint,
                    "normalisation": dict(scene.normalisation),
                    "t": scene.t,
                    "z": scene.z,
                    "nodata": scene.nodata,
                },
                "model": {"hash": model.hash, "variant": _plain(model.variant)},
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
            scene, geometry = saved["scene"], saved["geometry"]
            return cls(
                scene=SceneInfo(
                    **{
                        **scene,
                        "shape": _pair(scene["shape"]),
                        "channels": tuple(scene["channels"]),
                    }
                ),
                model=ModelInfo(**saved["model"], embedding_shape=tuple(saved["embedding_shape"])),
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

    def differences(
        self, scene: SceneInfo | None, model: ModelInfo | None, geometry: TileGeometry | None
    ) -> list[str]:
        """Return how a scene, a model or a geometry differ from those of the store.

        Each is a part of a sentence that tells what the store has and what is given.
        """
        found = []
        if scene is not None:
            found += _scene_differences(self.scene, scene)
        if model is not None and model.hash != self.model.hash:
            names = self.model.variant.get("name"), model.variant.get("name")
            found.append(
                f"another model (it was encoded with {names[0]} {self.model.hash[:8]}, this is "
                f"{names[1]} {model.hash[:8]})"
            )
        if geometry is not None and geometry != self.geometry:
            found.append(
                f"other tiles (it has tiles of {self.geometry.tile} with a halo of "
                f"{self.geometry.halo} for {_by(self.geometry.shape)} pixels, not of "
                f"{geometry.tile} with {geometry.halo} for {_by(geometry.shape)})"
            )
        return found


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
        "compressors": [ZstdCodec(level=1), Crc32cCodec()],
        # All tiles of a level in one folder, instead of three folders for each.
        "chunk_key_encoding": {"name": "default", "separator": "."},
        "dimension_names": ("tile_row", "tile_col", "channel", "row", "col"),
    }


def level_name(level: int) -> str:
    """Return the name of a level's array."""
    return f"level_{level}"


def spool_name(level: int) -> str:
    """Return the name of the array in which tiles wait for their shard."""
    return f"spool_{level}"


def _scene_differences(there: SceneInfo, given: SceneInfo) -> list[str]:
    found = []
    if tuple(there.shape) != tuple(given.shape):
        found.append(f"another size (it has {_by(there.shape)} pixels, not {_by(given.shape)})")
    for what in ("axes", "channels", "t", "z", "nodata"):
        was, now = getattr(there, what), getattr(given, what)
        if was != now:
            found.append(f"other {what} (it has {_said(was)}, not {_said(now)})")
    if _plain(there.normalisation) != _plain(given.normalisation):
        found.append(
            f"another normalisation (it has {_stretch(there)}, not {_stretch(given)}; open the "
            f"scene with the store's to go on with it)"
        )
    # The fingerprint depends on most of the above; only alone does it tell of other pixels.
    if not found and there.fingerprint != given.fingerprint:
        found.append(
            f"other pixels (fingerprint {there.fingerprint[:8]}, not {given.fingerprint[:8]})"
        )
    return found


def _stretch(scene: SceneInfo) -> str:
    low, high = scene.normalisation.get("low", ()), scene.normalisation.get("high", ())
    ranges = [f"{a:.6g}..{b:.6g}" for a, b in zip(low, high, strict=True)]
    return f"{scene.normalisation.get('kind')} {', '.join(ranges)}"


def _said(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _by(shape: Sequence[int]) -> str:
    return f"{shape[0]} × {shape[1]}"


def _pair(values: Sequence[int]) -> tuple[int, int]:
    rows, cols = values
    return int(rows), int(cols)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON gives them back: tuples become lists."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(values)))
    return plain
