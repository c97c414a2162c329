"""The second half of `napari-sam demo`: a picture of several tiles, everything and one object."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from napari_sam.commands.running import progress_bar
from napari_sam.commands.scene_results import write_scene
from napari_sam.scene import open_scene
from napari_sam.segment.everything import FoundObjects, segment_everything
from napari_sam.segment.everything.thresholds import default_thresholds
from napari_sam.segment.prompted import as_found
from napari_sam.segment.segmenter import Segmenter
from napari_sam.tiles.encoding import encode
from napari_sam.tiles.geometry import TileGeometry
from napari_sam.tiles.places import ROOT
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo

if TYPE_CHECKING:
    from src_model import Sam

COPIES = 2
"""Along each side of the mosaic."""

SIZES = (50.0, 200.0)
"""Clicks are half of the smaller one apart, fewer than `segment` makes of itself, so that the demo
is short; up to the larger one tiles of full resolution see objects whole."""


def segment_mosaic(model: Sam, image: np.ndarray, folder: Path) -> list[Path]:
    """Put copies of a picture together, and segment the whole in tiles.

    Parameters
    ----------
    model : Sam
        The network.
    image : ndarray
        uint8 RGB, shape (row, col, 3).
    folder : Path
        For the mosaic, its embeddings, labels, tables and overlays.

    Returns
    -------
    list of Path
        The overlays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mosaic.tif"
    tifffile.imwrite(path, mosaic_of(image), tile=(256, 256), compression="zlib", photometric="rgb")
    scene = open_scene(path)
    size = model.variant.image_size
    geometry = TileGeometry(scene.shape, size, size // 8)
    store = EmbeddingStore.create(
        _cleared(folder / "mosaic.embeddings"), SceneInfo.of(scene), ModelInfo.of(model), geometry
    )
    rows, cols = scene.shape
    down, across = geometry.grid(0)
    print(
        f"A larger picture: {COPIES} × {COPIES} copies of it ({rows} rows, {cols} columns), in "
        f"{down} × {across} overlapping tiles, and coarser levels."
    )
    with progress_bar("tiles") as show:
        summary = encode(scene, model, store, on_progress=lambda now: show(now.settled, now.total))
    print(f"  {summary.done} tiles encoded in {summary.seconds:.1f} s, kept in mosaic.embeddings")
    with progress_bar("tiles") as show:
        result = segment_everything(
            scene,
            store,
            model,
            sizes=SIZES,
            thresholds=default_thresholds(model),  # smaller ones count too
            on_progress=lambda now: show(now.settled, now.total),
        )
    objects = result.objects
    cut = at_border(objects, geometry)
    print(
        f"  everything: {len(objects)} objects in {result.seconds:.1f} s; {len(cut)} of them lie "
        f"in several tiles, and are whole"
    )
    overlays = [write_scene(folder, "mosaic", scene, objects, geometry, result.failed)[2]]
    if cut:
        best = max(cut, key=lambda index: objects.predicted_ious[index])
        row, col = np.round(objects.centroids[best]).tolist()
        start = time.perf_counter()
        found = Segmenter(scene, store, model).prompt(points=[(row, col)])[0]
        seconds = time.perf_counter() - start
        clicked = as_found([found], scene.shape)
        print(
            f"  one click where tiles meet, at row {row:.0f}, column {col:.0f}: an object of "
            f"{found.area} pixels in {seconds:.1f} s"
        )
        overlays.append(write_scene(folder, "mosaic_click", scene, clicked, geometry)[2])
    return overlays


def mosaic_of(image: np.ndarray) -> np.ndarray:
    """Return copies of a picture beside each other, each turned or mirrored in another way.

    Examples
    --------
    >>> mosaic_of(np.array([[1, 2]]))
    array([[1, 2, 2, 1],
           [1, 2, 2, 1]])
    """
    rows = []
    for down in range(COPIES):
        row = [image[:: 1 - 2 * (down % 2), :: 1 - 2 * (across % 2)] for across in range(COPIES)]
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows)


def at_border(objects: FoundObjects, geometry: TileGeometry) -> list[int]:
    """Return which objects lie in the cores of several tiles of level 0."""
    last = np.array(geometry.shape) - 1
    found = []
    for index, (row0, col0, row1, col1) in enumerate(objects.boxes.tolist()):
        end = min(row1 - 1, int(last[0])), min(col1 - 1, int(last[1]))
        if geometry.owner(0, row0, col0) != geometry.owner(0, *end):
            found.append(index)
    return found


def _cleared(path: Path) -> Path:
    """Remove the store of an earlier demo: what is shown is to be done, not remembered."""
    if (path / ROOT).is_file():
        shutil.rmtree(path)
    return path
