"""Embeddings of a Scene's tiles in a zarr group: encoded once, trusted afterwards.

The format is described in docs/embedding_store.md. An embedding is written whole before its tile
is said to be done, and every read checks it, so that a process that is killed, or two that write
at once, cost at worst that a tile is encoded again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError

from .archive import write_zip
from .geometry import TileGeometry, TileId
from .places import ROOT, Place, Where, find_place
from .rounding import HalfType, as_float32, rounded, widen
from .shards import Shards
from .store_errors import (
    StoreMismatch,
    StoreUnusable,
    TileDamaged,
    TileNotThere,
    TileRefused,
    called,
)
from .store_format import StoreFormat, documents, plan
from .subjects import (
    ModelInfo,
    SceneInfo,
    geometry_differences,
    model_differences,
    scene_differences,
)
from .tile_states import Failure, Progress, State, TileStates

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "EmbeddingStore",
    "Failure",
    "ModelInfo",
    "Progress",
    "SceneInfo",
    "State",
    "StoreMismatch",
    "StoreUnusable",
    "TileDamaged",
    "TileNotThere",
    "TileRefused",
]


class EmbeddingStore(TileStates):
    """Embeddings of the tiles of a Scene; made by `create` or `open`.

    Several processes and threads may use one store at once. It can be pickled, unless it is in
    memory, and is opened again where it arrives.

    Parameters
    ----------
    place : Place
        Where it lies.
    layout : StoreFormat
        What its attributes say.

    Examples
    --------
    >>> from zarr.storage import MemoryStore
    >>> scene = SceneInfo("the array", (100, 300), "YX", ("grey",), "f" * 32,
    ...                   {"kind": "as_is", "low": [0.0], "high": [255.0]})
    >>> model = ModelInfo("0" * 64, {"name": "custom"}, (2, 4, 4))
    >>> geometry = TileGeometry((100, 300), tile=128, halo=16)
    >>> store = EmbeddingStore.create(MemoryStore(), scene, model, geometry)
    >>> store.write(TileId(0, 0, 1), np.full((2, 4, 4), 0.1)) < 2**-11
    True
    >>> store.mark_empty(TileId(0, 0, 2), "constant")
    >>> store.states(0)
    array([[0, 1, 2]], dtype=uint8)
    >>> store.read(TileId(0, 0, 1))[0, 0, 0]
    np.float32(0.099975586)
    >>> store.progress()
    Progress(missing=4, done=1, empty=1, failed=0)
    """

    def __init__(self, place: Place, layout: StoreFormat) -> None:
        super().__init__(place, layout)
        self._arrays = Shards(place, layout)

    @classmethod
    def create(
        cls,
        where: Where,
        scene: SceneInfo,
        model: ModelInfo,
        geometry: TileGeometry,
        levels: Sequence[int] | None = None,
        dtype: HalfType = "float16",
        *,
        shard_above: int = 10_000,
        shard: int = 8,
    ) -> EmbeddingStore:
        """Make an empty store.

        Parameters
        ----------
        where : path, str or zarr Store
            A folder that does not exist or is empty, or a URL such as ``s3://bucket/name``.
        scene, model, geometry
            What will be encoded, with what, cut how.
        levels : sequence of int, optional
            Which are stored; by default all.
        dtype : {"float16", "bfloat16"}
            float16 is more exact (2**-11), bfloat16 (2**-8) has the range of float32.
        shard_above : int
            Levels with more tiles are sharded: by `compact`, not while tiles are written.
        shard : int
            Tiles along the side of a shard. Its embeddings are in memory while it is written:
            with 8, 128 MiB for those of the published models.

        Raises
        ------
        InputError
            If these do not go together.
        StoreUnusable
            If something is there already, or it cannot be written; then nothing is left behind.
        """
        chosen = range(geometry.levels) if levels is None else levels
        layout = plan(scene, model, geometry, chosen, dtype, shard_above, shard)
        place = find_place(where, new=True)
        place.create(documents(layout))
        return cls(place, layout)

    @classmethod
    def open(cls, where: Where) -> EmbeddingStore:
        """Open a store; reads one small file, however many tiles there are.

        Parameters
        ----------
        where : path, str or zarr Store
            A folder, a .zip file (for reading), a URL.

        Raises
        ------
        StoreUnusable
            If there is none, or it cannot be read.
        StoreMismatch
            If it was written by a later version.
        """
        place = find_place(where)
        return cls(place, StoreFormat.from_json(place.fetch(ROOT), place.name))

    def __repr__(self) -> str:
        return f"EmbeddingStore({self._place.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return EmbeddingStore.open, (self._place.given,)

    def check(
        self,
        *,
        scene: SceneInfo | None = None,
        model: ModelInfo | None = None,
        geometry: TileGeometry | None = None,
    ) -> None:
        """Refuse to use the store for something else than it was made for.

        Raises
        ------
        StoreMismatch
            With all that differs of what is given.
        """
        found = [] if scene is None else scene_differences(self.scene, scene)
        found += [] if model is None else model_differences(self.model, model)
        found += [] if geometry is None else geometry_differences(self.geometry, geometry)
        if found:
            raise StoreMismatch(
                f"{self._place.name} was made for something else: {'; '.join(found)}. Give what it "
                f"was made for, or encode into a new store."
            )

    def write(self, tile: TileId, embedding: np.ndarray | Tensor) -> float:
        """Store a tile's embedding, and only then say that it is done.

        Parameters
        ----------
        tile : TileId
            Which; if it was done already it is written again.
        embedding : ndarray or Tensor
            Of the store's embedding shape (C, h, w), any float type and device.

        Returns
        -------
        float
            The largest relative error of rounding; see `rounding.rounded`.

        Raises
        ------
        InputError
            If the store has no such tile, or the shape is another.
        TileRefused
            If a value is not finite, or too large for the store's type.
        StoreUnusable
            If it cannot be written, as when the disk is full; the tile is as before.
        """
        self._layout.check_tile(tile)
        values = as_float32(embedding)
        if values.shape != self.model.embedding_shape:
            raise InputError(
                f"the embedding of {called(tile)} has shape {values.shape}, but the store holds "
                f"those of shape {self.model.embedding_shape}: use the model it was made for."
            )
        bits, error = rounded(values, self._layout.dtype)
        if not np.isfinite(error):
            raise TileRefused(_refusal(tile, values, self._layout.dtype))
        self._arrays.write(tile, bits)
        self._journal.add(tile, "done")
        return error

    def read(self, tile: TileId) -> np.ndarray:
        """Return a tile's embedding.

        Returns
        -------
        ndarray
            float32, shape (C, h, w): exactly what was stored.

        Raises
        ------
        TileNotThere
            If it is not done; the sentence says whether it is missing, empty or failed.
        TileDamaged
            If it is not what was written; the tile is missing from now on.
        StoreUnusable
            If the store cannot be read.
        """
        return widen(self._read_bits(tile), self._layout.dtype)

    def read_tensor(self, tile: TileId) -> Tensor:
        """Return a tile's embedding as it is stored: a float16 or bfloat16 tensor (C, h, w).

        Raises
        ------
        TileNotThere, TileDamaged, StoreUnusable
            As `read`.
        """
        import torch

        bits = self._read_bits(tile).view(np.int16)
        kind = torch.float16 if self._layout.dtype == "float16" else torch.bfloat16
        return torch.from_numpy(bits).view(kind)

    def verify(self, on_progress: Callable[[int, int], None] | None = None) -> list[TileId]:
        """Read every embedding that should be there.

        Parameters
        ----------
        on_progress : callable, optional
            Called after each tile with how many were read and how many there are.

        Returns
        -------
        list of TileId
            Those that were damaged; they are missing from now on.

        Raises
        ------
        StoreUnusable
            If the store cannot be read.
        """
        done = [tile for level in self.levels for tile in self.tiles(level, State.DONE)]
        damaged = []
        for number, tile in enumerate(done, 1):
            try:
                self._read_bits(tile)
            except TileDamaged:
                damaged.append(tile)
            if on_progress is not None:
                on_progress(number, len(done))
        return damaged

    def compact(self) -> int:
        """Move tiles into shards, whole shards at a time, and tidy up.

        A shard is written when all its tiles are settled: done, empty or failed. The tiles are
        dropped from where they waited only when it is there. Others may read and write meanwhile,
        and it may be killed.

        Returns
        -------
        int
            Shards written.

        Raises
        ------
        StoreUnusable
            If the store cannot be written.
        """
        written = 0
        for level in self._layout.sharded:
            states = self.states(level)
            for tiles in self._arrays.full_shards(level, states):
                try:
                    self._arrays.write_shard(
                        tiles, {tile: self._read_bits(tile) for tile in self._done(tiles)}
                    )
                except (TileDamaged, TileNotThere):
                    continue  # it is missing now, and the shard waits for it
                written += 1
        self._journal.join_files()
        self._place.sweep()
        return written

    def size_on_disk(self) -> int:
        """Return the bytes that the store takes."""
        return self._place.size()

    def save_zip(self, path: str | os.PathLike[str]) -> None:
        """Save the store as one .zip file, which `open` reads without unpacking.

        Parameters
        ----------
        path : path
            Ends in .zip. What is there is replaced when the new file is whole.

        Raises
        ------
        InputError
            If the name does not end in .zip.
        StoreUnusable
            If it cannot be written; then nothing is left behind.
        """
        path = Path(path)
        if path.suffix.lower() != ".zip":
            raise InputError(f"{path} does not end in .zip: choose a name that does.")
        write_zip(self._place, path)

    def _done(self, tiles: list[TileId]) -> list[TileId]:
        return [tile for tile in tiles if self._journal.state(tile) is State.DONE]

    def _read_bits(self, tile: TileId) -> np.ndarray:
        """Return what is stored, checked."""
        if self.state(tile) is not State.DONE:
            raise self.absence(tile)
        bits, trouble = self._arrays.read(tile)
        if bits is None:
            # A folder that vanished is no damage of this tile.
            self._place.check_folder()
            try:
                self._journal.cancel(tile, f"damaged: {trouble}")
            except StoreUnusable:
                # Where nothing can be written each reader finds it for itself.
                self._journal.ignore(tile)
            raise TileDamaged(
                f"{called(tile)} of {self._place.name} is damaged ({trouble}): it counts as "
                f"missing now, encode it again."
            )
        return bits


def _refusal(tile: TileId, values: np.ndarray, dtype: str) -> str:
    if not np.isfinite(values).all():
        return (
            f"the embedding of {called(tile)} has values that are not finite: look at the pixels "
            f"of the tile, or run the model in float32."
        )
    return (
        f"the embedding of {called(tile)} reaches {np.abs(values).max():.6g}, more than {dtype} "
        f"holds: make the store with dtype='bfloat16'."
    )
