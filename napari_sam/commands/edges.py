"""`napari-sam edges`: how probable an edge is at each pixel of an image of any size."""

from __future__ import annotations

import tempfile
from pathlib import Path

from napari_sam.commands.running import progress_bar, stopping
from napari_sam.errors import InputError
from napari_sam.files.edge_files import check_edge_path, write_edges
from napari_sam.loading import check_model
from napari_sam.tiles.geometry import TileGeometry
from napari_sam.tiles.reopening import load_like, open_like

_SHOWN = 20
"""Tiles that could not be seen and are listed."""


def run(
    image: str,
    path: Path,
    *,
    where: str | None,
    level: int,
    model_name: str,
    device: str,
    thinned: bool,
) -> None:
    """Find the edges in an image and write them.

    Parameters
    ----------
    image : str
        Path or URL.
    path : Path
        Of the result; ends in .tif or .zarr.
    where : str or None
        A store of the image's embeddings; tiles that are missing are encoded into it.
    level : int
        0 is the finest.
    model_name, device : str
        As `loading.load` takes them.
    thinned : bool
        Whether lines are one pixel wide.

    Raises
    ------
    InputError
        If something cannot be used; after writing, if tiles could not be seen.
    """
    from napari_sam.segment.edge_map import find_edges
    from napari_sam.tiles.embeddings import Embeddings
    from napari_sam.tiles.encoded_once import EncodedOnce, ReadyTiles
    from napari_sam.tiles.store import EmbeddingStore
    from napari_sam.tiles.store_errors import called

    check_edge_path(path)
    check_model(model_name, device, "auto")
    store = None if where is None else EmbeddingStore.open(where)
    scene = open_like(store, image)
    sam = load_like(store, model_name, device, "auto")
    tiles: ReadyTiles
    if store is None:
        size = sam.variant.image_size
        geometry = TileGeometry(scene.shape, size, size // 8)
        tiles = EncodedOnce(scene, geometry, sam)
    else:
        geometry = store.geometry
        if level < geometry.levels and level not in store.levels:
            raise InputError(
                f"{where} holds no level {level}: encode it too, or leave out --store."
            )
        # Each tile is seen once: what is kept would only be memory.
        tiles = Embeddings(store, sam, scene, max_bytes=0)
    beside = path.absolute().parent
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=beside) as folder:
        with stopping() as should_stop, progress_bar("tiles") as show:
            edges = find_edges(geometry, tiles, folder, level, show, should_stop)
        if edges is None:
            print("stopped: nothing was written")
            return
        with progress_bar("blocks") as show:
            write_edges(
                edges,
                path,
                thinned=thinned,
                pixel_size=scene.pixel_size,
                georeference=scene.georeference,
                on_progress=show,
            )
    rows, cols = edges.shape
    print(f"{path}: {rows} × {cols} pixels, level {level}")
    for tile, why in edges.unseen[:_SHOWN]:
        print(f"  {called(tile)}: {why}")
    if edges.unseen:
        raise InputError(
            f"{len(edges.unseen)} of {sum(1 for _ in geometry.tiles(level))} tiles could not be "
            f"seen and have no edges, first {called(edges.unseen[0][0])}: mend the image or the "
            f"store and try again."
        )
