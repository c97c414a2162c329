"""`napari-sam encode`: an image of any size into a store of embeddings."""

import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.commands.running import progress_bar, stopping, tell_whose_embeddings
from napari_sam.commands.views import View
from napari_sam.errors import InputError
from napari_sam.loading import check_model
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.regions import Region

if TYPE_CHECKING:
    import numpy as np
    from distributed import Client

    from napari_sam.scene import Scene
    from napari_sam.tiles.encoding import Summary
    from napari_sam.tiles.planning import Plan
    from napari_sam.tiles.rounding import HalfType
    from napari_sam.tiles.store import EmbeddingStore
    from src_model import Sam
    from src_model.loading import Precision

_FIRST = View()

_FAILURES_SHOWN = 20


def run(
    image: str,
    where: str,
    *,
    model_name: str,
    levels: Sequence[int] | None,
    roi: Region | None,
    aoi: str | None = None,
    halo: int | None,
    dtype: "HalfType | None",
    dry_run: bool,
    resume: bool,
    retry_failed: bool,
    device: str,
    precision: "Precision",
    scheduler: str | None,
    view: View = _FIRST,
) -> None:
    """Encode an image, or tell what that would take.

    Parameters
    ----------
    image, where : str
        Path or URL of the image, and of the store.
    model_name, device, precision : str
        As `src_model.load_model` takes them.
    levels, roi
        What to encode; None is all.
    aoi : str or None
        A vector file of polygons instead of `roi`.
    halo : int or None
        By default an eighth of a tile, or that of the store.
    dtype : {"float16", "bfloat16"} or None
        By default float16, or that of the store.
    dry_run : bool
        Write nothing.
    resume : bool
        Go on with a store that is there. It is opened as it was made: its plane, channels and
        normalisation are those of the image.
    retry_failed : bool
        Repeat tiles that failed before.
    scheduler : str or None
        Address of a dask scheduler whose workers encode.
    view : View
        Which plane of which image; of a store that is there, its own.

    Raises
    ------
    InputError
        If something cannot be used, or tiles failed in the end.
    """
    from napari_sam.tiles.cluster import connect
    from napari_sam.tiles.planning import plan, tiles_to_do
    from napari_sam.tiles.reopening import load_like, open_like
    from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo

    if aoi is not None and roi is not None:
        raise InputError("--aoi and --roi both say where: give one of them.")
    if scheduler is not None:
        with connect(scheduler) as client:  # refused here, before anything is read or written
            if not client.nthreads():
                print(f"{scheduler} has no workers yet: they are waited for", file=sys.stderr)
        if "://" not in image:
            image = str(Path(image).absolute())  # workers may run in another folder
    store = EmbeddingStore.open(where) if resume else None
    if store is None:
        _refuse_existing(where)
    check_model(model_name, device, precision)
    scene = view.open(image) if store is None else open_like(store, image)
    region = roi if aoi is None else placed_areas(aoi, scene)
    sam = load_like(store, model_name, device, precision)
    if store is None:
        geometry = _cut(scene, sam.variant.image_size, halo)
    else:
        geometry = store.geometry
        asked = geometry if halo is None else _cut(scene, geometry.tile, halo)
        store.check(scene=SceneInfo.of(scene), model=ModelInfo.of(sam), geometry=asked)
        tell_whose_embeddings(store, sam, model_name)
        if dtype not in (None, store.layout.dtype):
            raise InputError(
                f"{where} holds {store.layout.dtype}, not {dtype}: leave out --dtype, or encode "
                f"into a new store."
            )
    # Also refuses levels and regions that are not there, before anything is written.
    target = geometry if store is None else store
    planned = plan(
        scene,
        target,
        sam if dry_run else None,
        levels=levels,
        roi=region,
        retry_failed=retry_failed,
        dtype=dtype or "float16",
    )
    if dry_run:
        print(_said(planned, geometry))
        return
    if store is None:
        store = EmbeddingStore.create(
            where, SceneInfo.of(scene), ModelInfo.of(sam), geometry, dtype=dtype or "float16"
        )
    tiles = tiles_to_do(store, levels, region, retry_failed)
    with nullcontext() if scheduler is None else connect(scheduler) as client:
        summary = encode_shown(scene, sam, store, tiles, client)
    failed_before = 0 if retry_failed else sum(level.failed for level in planned.levels)
    print(_done(summary, failed_before, store, where))
    if summary.left:
        again = ["napari-sam", "encode", image, "-o", where, "--resume", "--model", model_name]
        again += [] if levels is None else ["--levels", ",".join(map(str, levels))]
        again += [] if roi is None else [f"--roi={roi.row0},{roi.col0},{roi.row1},{roi.col1}"]
        again += [] if aoi is None else ["--aoi", aoi]
        again += [] if device == "auto" else ["--device", device]
        again += [] if precision == "auto" else ["--precision", precision]
        again += [] if scheduler is None else ["--scheduler", scheduler]
        print(f"stopped, {summary.left} tiles are left; go on with: {shlex.join(again)}")
    refuse_failures(summary, "try again with --resume --retry-failed")


def placed_areas(aoi: str, scene: "Scene") -> tuple["np.ndarray", ...]:
    """Read areas of interest, and say how they were placed.

    Raises
    ------
    InputError
        As `place_areas`.
    """
    from napari_sam.files.geo.placing import place_areas

    placed = place_areas(aoi, scene)
    for note in placed.notes:
        print(note)
    if placed.outside:
        print(f"{placed.outside} of {placed.total} polygons in {aoi} lie outside of the image")
    return placed.rings


def encode_shown(
    scene: "Scene",
    sam: "Sam",
    store: "EmbeddingStore",
    tiles: Sequence[TileId],
    client: "Client | None" = None,
) -> "Summary":
    """Encode with a progress bar, until ctrl-C; the rest as `encoding.encode_tiles`."""
    from napari_sam.tiles.encoding import encode_tiles

    with stopping() as should_stop, progress_bar("tiles") as show:
        return encode_tiles(
            scene,
            sam,
            store,
            tiles,
            on_progress=lambda progress: show(progress.settled, progress.total),
            should_stop=should_stop,
            client=client,
        )


def refuse_failures(summary: "Summary", advice: str) -> None:
    """List tiles that failed, if any, and end the command with a sentence.

    Raises
    ------
    InputError
        If there are any.
    """
    from napari_sam.tiles.store_errors import called

    if not summary.failed:
        return
    for failure in summary.failed[:_FAILURES_SHOWN]:
        print(f"  {called(failure.tile)} failed {failure.times} times: {failure.reason}")
    first = summary.failed[0]
    raise InputError(
        f"{_tiles(len(summary.failed))} could not be encoded, first {called(first.tile)} "
        f"({first.reason.rstrip('.')}): {advice}."
    )


def size_said(size: int) -> str:
    """Say a number of bytes.

    Examples
    --------
    >>> size_said(2_500_000_000), size_said(123_456_789), size_said(9_000)
    ('2.5 GB', '123 MB', '9 kB')
    """
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _refuse_existing(where: str) -> None:
    """Refuse a place where a store is already, or that cannot be reached."""
    from napari_sam.tiles.places import ROOT, find_place
    from napari_sam.tiles.store import EmbeddingStore, StoreUnusable

    try:
        EmbeddingStore.open(where)
    except StoreUnusable:
        # Whatever else may be there `create` refuses, but a server that is down is told before the
        # model is loaded.
        if "://" in where:
            find_place(where, new=True).fetch(ROOT)
        return
    raise InputError(
        f"{where} is a store already: go on with it with --resume, or choose another place."
    )


def _cut(scene: "Scene", tile: int, halo: int | None) -> TileGeometry:
    try:
        return TileGeometry(scene.shape, tile, tile // 8 if halo is None else halo)
    except ValueError as error:
        raise InputError(f"--halo: {error}") from error


def _tiles(count: int) -> str:
    return f"{count} tile{'' if count == 1 else 's'}"


def _said(planned: "Plan", geometry: TileGeometry) -> str:
    """Set a plan as text."""
    lines = ["level  pixels             tiles to do      done     empty    failed"]
    for level in planned.levels:
        rows, cols = geometry.level_shape(level.level)
        lines.append(
            f"{level.level:5}  {f'{rows} × {cols}':17}{level.to_do:13}{level.done:10}"
            f"{level.empty:10}{level.failed:10}"
        )
    lines.append(f"{_tiles(planned.to_do)} to do; some may turn out to be empty")
    if planned.bytes is not None and planned.seconds is not None:
        lines.append(
            f"about {size_said(planned.bytes)} and {_time_said(planned.seconds)} at "
            f"{_time_said(planned.seconds / max(1, planned.to_do))} for a tile, measured with one"
        )
    return "\n".join(lines)


def _time_said(seconds: float) -> str:
    """Say how long something takes.

    Examples
    --------
    >>> [_time_said(seconds) for seconds in (3.7e-05, 0.4, 12.3, 180, 25_200)]
    ['less than 0.01 s', '0.4 s', '12 s', '3 min', '7.0 h']
    """
    if seconds < 0.01:
        return "less than 0.01 s"
    if seconds < 90:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _done(summary: "Summary", failed_before: int, store: "EmbeddingStore", where: str) -> str:
    """Say what was done; `failed_before` counts tiles that failed earlier and were not repeated."""
    size = f"{where}: {size_said(store.size_on_disk())}"
    if not (summary.done or summary.empty or summary.failed or summary.left):
        if not failed_before:
            return f"all tiles asked for are there already\n{size}"
        return (
            f"all tiles asked for are there already, but for {_tiles(failed_before)} that failed "
            f"before: repeat with --resume --retry-failed\n{size}"
        )
    parts = [f"{_tiles(summary.done)} encoded"]
    if summary.empty:
        parts.append(f"{summary.empty} empty")
    if summary.failed:
        parts.append(f"{len(summary.failed)} failed")
    text = f"{', '.join(parts)} in {_time_said(summary.seconds)}"
    if summary.done:
        error = summary.rounding_error
        text += f"; {f'rounded by at most {error:.2g} of a value' if error else 'stored exactly'}"
    return f"{text}\n{size}"
