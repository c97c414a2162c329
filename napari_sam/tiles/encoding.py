"""Encoding the tiles of a Scene into a store: which ones; the module pipeline does the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from napari_sam.errors import InputError

from .geometry import TileId
from .order import Priority
from .pipeline import EncodingProgress, Pipeline, Summary
from .planning import tiles_to_do
from .roi import Roi
from .store import EmbeddingStore, ModelInfo, SceneInfo

if TYPE_CHECKING:
    from distributed import Client

    from napari_sam.scene import Scene
    from src_model import Sam

__all__ = ["EncodingProgress", "Summary", "encode", "encode_tiles"]

_GPU_BATCH = 8


def encode(
    scene: Scene,
    sam: Sam,
    store: EmbeddingStore,
    *,
    levels: Sequence[int] | None = None,
    roi: Roi | None = None,
    retry_failed: bool = False,
    priority: Priority | None = None,
    on_progress: Callable[[EncodingProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    batch: int | None = None,
    client: Client | None = None,
) -> Summary:
    """Encode the tiles that a store has as missing.

    It may be killed at any moment and called again: what is in the store is not done again, and
    what comes out is the same to the byte (on the same machine, with the same batch). Memory holds
    a constant number of tiles, whatever the scene's size.

    Parameters
    ----------
    scene : Scene
        The one that the store was made for.
    sam : Sam
        The network that it was made for.
    store : EmbeddingStore
        Where embeddings go.
    levels : sequence of int, optional
        Only these.
    roi : Roi, optional
        Only tiles with a core in it: a `Region`, a polygon or a mask, see `roi`.
    retry_failed : bool
        Also repeat tiles that failed before.
    priority : callable, optional
        Takes a TileId and returns a number, larger for sooner; asked again now and then. By
        default the coarsest level comes first, so that the whole scene can soon be worked on.
    on_progress : callable, optional
        Called with an `EncodingProgress` for every tile that is settled, in the calling thread:
        for one that was written while the next was encoded, after that.
    should_stop : callable, optional
        Asked before every tile (or batch); when it returns True the tile in hand is finished.
    batch : int, optional
        Tiles that are encoded at once; by default 8 on a GPU, else 1. It is halved when memory
        runs out.
    client : Client, optional
        Of dask.distributed: its workers encode, each with a copy of `sam` on a device of the same
        kind, and write to the store themselves. See docs/cluster.md.

    Returns
    -------
    Summary
        A tile that could not be read or encoded three times is in the store as failed, and here;
        so is one with which workers died again and again.

    Raises
    ------
    StoreMismatch
        If the store was made for another scene or model.
    StoreUnusable
        If the store can no longer be written; what was in flight is finished if possible.
    InputError
        If levels or region of interest are not in the scene, or the batch is less than 1; if the
        cluster cannot reach scene or store, or is gone.

    Examples
    --------
    >>> import numpy as np
    >>> from zarr.storage import MemoryStore
    >>> from napari_sam.scene import open_scene
    >>> from napari_sam.tiles.geometry import TileGeometry
    >>> from src_model import Variant, build_sam
    >>> sam = build_sam(Variant(image_size=64, depth=2, embed_dim=32, num_heads=2, out_chans=32,
    ...                         global_attn_indexes=(1,)))
    >>> scene = open_scene(np.arange(60 * 150, dtype=np.uint16).reshape(60, 150))
    >>> geometry = TileGeometry(scene.shape, tile=64, halo=8)
    >>> store = EmbeddingStore.create(MemoryStore(), SceneInfo.of(scene), ModelInfo.of(sam),
    ...                               geometry)
    >>> summary = encode(scene, sam, store)
    >>> summary.done, store.progress()
    (6, Progress(missing=0, done=6, empty=0, failed=0))
    """
    _check_batch(batch)
    store.check(scene=SceneInfo.of(scene), model=ModelInfo.of(sam))
    tiles = tiles_to_do(store, levels, roi, retry_failed)
    return encode_tiles(
        scene,
        sam,
        store,
        tiles,
        priority=priority,
        on_progress=on_progress,
        should_stop=should_stop,
        batch=batch,
        client=client,
    )


def encode_tiles(
    scene: Scene,
    sam: Sam,
    store: EmbeddingStore,
    tiles: Sequence[TileId],
    *,
    priority: Priority | None = None,
    on_progress: Callable[[EncodingProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    batch: int | None = None,
    client: Client | None = None,
) -> Summary:
    """Encode these tiles into a store that was made for, or checked against, scene and network.

    Checking hashes the network and reads a sample of the scene; who has done that calls this.

    Parameters
    ----------
    scene, sam, store
        As for `encode`.
    tiles : sequence of TileId
        What to encode, in the order that holds without `priority`.
    priority, on_progress, should_stop, batch, client
        As for `encode`.

    Returns
    -------
    Summary

    Raises
    ------
    StoreUnusable, InputError
        As `encode`.
    """
    _check_batch(batch)
    if batch is None:
        batch = _GPU_BATCH if sam.device.type == "cuda" else 1
    how = (priority, batch, on_progress, should_stop)
    if client is None:
        summary = Pipeline(scene, sam, store, tiles, *how).run()
    else:
        from .cluster import ClusterRun
        from .cluster_worker import Kit

        summary = ClusterRun(Kit(scene, sam, store, batch), store, tiles, client, *how).run()
    if not summary.left:
        store.compact()
    return summary


def _check_batch(batch: int | None) -> None:
    if batch is not None and batch < 1:
        raise InputError(f"{batch} tiles cannot be encoded at once: give 1 or more, or nothing.")
