"""`napari-sam segment` on an image of any size: tile by tile, through a store of embeddings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from napari_sam.commands.convert import write_exports
from napari_sam.commands.encode import size_said
from napari_sam.commands.running import (
    count,
    describe,
    plane_said,
    progress_bar,
    stopping,
    tell_whose_embeddings,
)
from napari_sam.commands.scene_results import found_with, refuse_failures, write_scene
from napari_sam.errors import InputError
from napari_sam.files.outputs import check_output_folder
from napari_sam.files.zarr_images import is_zarr
from napari_sam.live.search import within
from napari_sam.loading import check_model
from napari_sam.scene import Normalisation, open_scene
from napari_sam.segment.everything import segment_everything
from napari_sam.segment.everything.grid import sizes_in_pixels
from napari_sam.segment.objects import SegmentedObject
from napari_sam.segment.prompted import as_found, prompt_scene
from napari_sam.segment.prompts import Prompt
from napari_sam.segment.segmenter import Segmenter
from napari_sam.tiles.cluster import connect
from napari_sam.tiles.geometry import TileGeometry
from napari_sam.tiles.reopening import load_like, open_like
from napari_sam.tiles.store import EmbeddingStore, Failure, ModelInfo, SceneInfo, StoreUnusable
from napari_sam.tiles.subjects import plain

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from napari_sam.segment.everything import EverythingResult, FoundObjects
    from napari_sam.tiles.roi import Roi
    from src_model import Sam

STOPPED = "stopped; what was encoded is kept: the same command begins again with it."


@dataclass(frozen=True)
class Sizes:
    """Sides of squares as large as the smallest and the largest objects; None where all count."""

    smallest: float | None = None
    largest: float | None = None
    unit: str = "px"


def run(
    image: str,
    scene: Scene,
    prompts: Sequence[Prompt],
    *,
    sizes: Sizes,
    roi: Roi | None = None,
    where: str | None,
    scheduler: str | None,
    model_name: str,
    folder: Path,
    stem: str,
    exports: Sequence[Path] = (),
) -> None:
    """Segment a Scene and write labels, table and overview.

    Parameters
    ----------
    image : str
        Path or URL.
    scene : Scene
        The image, opened.
    prompts : sequence of Prompt
        One for each object; none for everything.
    sizes : Sizes
        Of the objects, for everything.
    roi : Roi or None
        Likewise: only objects whose centre lies in it.
    where : str or None
        Of the store of embeddings; by default beside the results.
    scheduler : str or None
        Address of a dask scheduler whose workers find everything.
    model_name : str
        As `loading.load` takes it.
    folder : Path
        For the results.
    stem : str
        What their names begin with.
    exports : sequence of Path
        Files to write the objects to besides.

    Raises
    ------
    InputError
        If something cannot be used; after writing, if tiles failed.
    KeyboardInterrupt
        With what to do next, if ctrl-C stopped it.
    """
    check_output_folder(folder)
    sizes_in_pixels((sizes.smallest, sizes.largest), sizes.unit, scene.pixel_size)  # or refuses
    check_model(model_name, "auto", "auto")
    prepared = prepare(image, scene, where, model_name, folder, scheduler, stem)
    scene, store, sam = prepared.scene, prepared.store, prepared.sam
    start = time.perf_counter()
    failed: tuple[Failure, ...] = ()
    kinds: list[str] = []
    if prompts:
        objects, kinds = _prompted(scene, store, sam, prompts)
    else:
        result = find_everything(prepared, sizes, scheduler, roi)
        objects, failed = within(result.objects, roi), result.failed
    seconds = time.perf_counter() - start
    rows, cols = scene.shape
    listed = _rows(objects, kinds)
    print(
        f"{PurePosixPath(image).name} ({rows} rows, {cols} columns{plane_said(store.scene)}): "
        f"{count(listed)} in {seconds:.1f} s with {model_name}"
    )
    if listed:
        print(describe(listed))
    told = found_with(scene.name, model_name, sam)
    paths = write_scene(folder, stem, scene, objects, store.geometry, failed, told=told)
    for path in paths:
        print(path)
    write_exports(exports, scene, paths[0], paths[1])
    print(
        f"{prepared.where} ({size_said(store.size_on_disk())}): embeddings, kept for the next call"
    )
    refuse_failures(failed)


def stem_of(image: str) -> str:
    """Return what the names of an image's results begin with.

    Examples
    --------
    >>> stem_of("s3://bucket/slide.ome.zarr/")
    'slide.ome'
    """
    return PurePosixPath(image.rstrip("/").replace("\\", "/")).stem


@dataclass(frozen=True, eq=False)
class Prepared:
    """A Scene with network and store.

    Parameters
    ----------
    scene : Scene
        As the store was made from it.
    sam : Sam
        The network, in the store's precision.
    store : EmbeddingStore
        Of the two.
    where : str
        The store's place.
    """

    scene: Scene
    sam: Sam
    store: EmbeddingStore
    where: str


def prepare(
    image: str,
    scene: Scene,
    where: str | None,
    model_name: str,
    folder: Path,
    scheduler: str | None = None,
    stem: str | None = None,
) -> Prepared:
    """Load the network, and open or make the store of an image's embeddings.

    Parameters
    ----------
    image, scene, where, model_name, folder, scheduler, stem
        As for `run`; the name of the image is the stem by default.

    Raises
    ------
    InputError
        If model, store or scheduler cannot be used, the store is of another plane, or labels could
        not be written.
    """
    stem = stem_of(image) if stem is None else stem
    labels = folder / f"{stem}_labels.zarr"
    if labels.exists() and not is_zarr(labels):
        raise InputError(f"{labels} is no Zarr: remove it, or choose another folder.")
    where = str(folder / f"{stem}.embeddings") if where is None else where
    if scheduler is not None:
        with connect(scheduler):  # refused here, before anything is written
            pass
        # Workers may run in another folder.
        image, where = (
            place if "://" in place else str(Path(place).absolute()) for place in (image, where)
        )
        scene = open_scene(image, axes=scene.axes, t=scene.t, z=scene.z, part=scene.part)
    store = _there(where)
    if store is not None:
        check_plane(where, store.scene, scene)
        scene = open_like(store, image)
    sam = load_like(store, model_name, "auto", "auto")
    if store is None:
        store = _made(where, scene, sam)
    else:
        tell_whose_embeddings(store, sam, model_name)
    return Prepared(scene, sam, store, where)


def check_plane(where: str, there: SceneInfo, scene: Scene) -> None:
    """Refuse a store of another plane, or of another part of the file, than is asked for.

    Raises
    ------
    InputError
        With both.
    """
    asked = scene.part, scene.axes, scene.t, scene.z
    stored = there.part, there.axes, there.t, there.z
    if asked != stored:
        raise InputError(
            f"{where} has embeddings of the plane t={there.t}, z={there.z} (axes {there.axes}), "
            f"and t={scene.t}, z={scene.z} (axes {scene.axes}) is asked for: give another --store."
        )
    if scene.windows and plain(there.normalisation) != plain(scene.normalisation.to_dict()):
        raise InputError(
            f"{where} has embeddings of the image stretched by another window "
            f"({Normalisation.from_dict(there.normalisation).describe()}): give that --window, or "
            f"another --store."
        )


def _there(where: str) -> EmbeddingStore | None:
    """Open a store; None if there is nothing."""
    if "://" not in where:
        path = Path(where)
        # What is left of a store that could not be made is an empty folder.
        absent = not path.exists() or (path.is_dir() and not any(path.iterdir()))
        return None if absent else EmbeddingStore.open(where)
    try:
        return EmbeddingStore.open(where)
    except StoreUnusable:
        return None  # whatever else is there, or why not, is told when one is made


def _made(where: str, scene: Scene, sam: Sam) -> EmbeddingStore:
    size = sam.variant.image_size
    geometry = TileGeometry(scene.shape, size, size // 8)
    return EmbeddingStore.create(where, SceneInfo.of(scene), ModelInfo.of(sam), geometry)


def _prompted(
    scene: Scene, store: EmbeddingStore, sam: Sam, prompts: Sequence[Prompt]
) -> tuple[FoundObjects, list[str]]:
    segmenter = Segmenter(scene, store, sam)
    with stopping() as should_stop, progress_bar("objects") as show:
        found = prompt_scene(segmenter, prompts, show, should_stop)
    if len(found) < len(prompts):
        raise KeyboardInterrupt(STOPPED)
    return as_found(found, scene.shape), [one.prompt for one in found if one.mask.any()]


def find_everything(
    prepared: Prepared, sizes: Sizes, scheduler: str | None, roi: Roi | None = None
) -> EverythingResult:
    """Find all objects, or those of all tiles of a region, and show how far it is.

    Raises
    ------
    KeyboardInterrupt
        With what to do next, if ctrl-C stopped it.
    """
    with (
        nullcontext() if scheduler is None else connect(scheduler) as client,
        stopping() as should_stop,
        progress_bar("tiles") as show,
    ):
        result = segment_everything(
            prepared.scene,
            prepared.store,
            prepared.sam,
            sizes=(sizes.smallest, sizes.largest),
            unit=sizes.unit,
            roi=roi,
            retry_failed=True,
            on_progress=lambda progress: show(progress.settled, progress.total),
            should_stop=should_stop,
            client=client,
        )
    if result.left:
        raise KeyboardInterrupt(
            f"stopped, {result.left} tiles are left: the same command goes on with them."
        )
    return result


def _rows(objects: FoundObjects, kinds: Sequence[str]) -> list[SegmentedObject]:
    """Return the objects as they are listed."""
    return [
        SegmentedObject(
            id=index + 1,
            prompt=kinds[index] if kinds else "grid",
            area=int(objects.areas[index]),
            bbox=tuple(objects.boxes[index].tolist()),
            centroid=tuple(objects.centroids[index].tolist()),
            predicted_iou=float(objects.predicted_ious[index]),
            stability=float(objects.stabilities[index]),
        )
        for index in range(len(objects))
    ]
