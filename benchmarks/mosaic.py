"""Everything in a mosaic of real images with exact truth, beside the same images alone.

    python benchmarks/mosaic.py --images DIR --labels DIR [--across 3] [--spacing 12] [--json FILE]

Images of 256 × 256 pixels are put side by side, and tiles have 256 pixels too: in the encoder's
frame an image is as large in the mosaic as alone, and is enlarged the same way. With
``--enlarge 4`` images are enlarged beforehand and tiles have 1024 pixels, as they have in any large
scene: the network sees the same, and 10 × 10 images are 105 Mpx. When there are no more images they
come again, mirrored.

What is found is kept in ``--keep FOLDER``: a run that was stopped goes on, other thresholds need
no network.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from figures import Figure, machine_here, save, table
from PIL import Image
from zarr.storage import MemoryStore

from napari_sam.scene import open_scene
from napari_sam.segment.everything import (
    EverythingResult,
    FoundObjects,
    clicking,
    running,
    segment_everything,
)
from napari_sam.segment.everything.grid import Grid, plan_grid
from napari_sam.segment.everything.label_pyramid import paint
from napari_sam.segment.everything.thresholds import thresholds_of
from napari_sam.tiles.geometry import TileGeometry
from napari_sam.tiles.regions import Region
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo
from src_model import Sam, load_model
from src_model.training.evaluation.matching import average_precision
from src_model.training.evaluation.regions import cut_mask, iou_matrix
from src_model.training.pictures import ObjectMask

SIDE = 256
SMALLEST = 14.0
"""Size of nuclei in pixels of the images: levels and points follow. Smaller ones are found by the
way, as in the images alone."""

Picture = tuple[np.ndarray, np.ndarray]
"""A grey image, and the numbers of its objects."""


def load_pictures(images: Path, labels: Path, count: int, enlarge: int = 1) -> list[Picture]:
    """Return grey images of the right size; when there are no more, mirrored ones."""
    found: list[Picture] = []
    for path in sorted(images.glob("*.png")):
        image = Image.open(path)
        if image.mode == "L" and image.size == (SIDE, SIDE):
            side = enlarge * SIDE
            grey = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
            numbers = np.asarray(Image.open(labels / path.name)).astype(np.int32)
            found.append((grey, numbers.repeat(enlarge, 0).repeat(enlarge, 1)))
    if 2 * len(found) < count:
        raise SystemExit(f"{images} has only {len(found)} grey images of {SIDE} × {SIDE} pixels.")
    return [*found, *((image[::-1], labels[::-1]) for image, labels in found)][:count]


def put_together(pictures: list[Picture], across: int) -> Picture:
    """Return a mosaic of pictures, row by row, whose objects have numbers of their own."""
    last, numbered = 0, []
    for _, labels in pictures:
        numbered.append(np.where(labels > 0, labels + last, 0).astype(np.int32))
        last += int(labels.max())
    pixels = [image for image, _ in pictures]
    rows = range(0, len(pictures), across)
    return (
        np.block([pixels[row : row + across] for row in rows]),
        np.block([numbered[row : row + across] for row in rows]),
    )


def find(
    sam: Sam,
    pixels: np.ndarray,
    spacing: float | None,
    enlarge: int = 1,
    keep: Path | None = None,
    on_progress: Callable[[running.EverythingProgress], None] | None = None,
) -> tuple[EverythingResult, EmbeddingStore]:
    """Find everything in an image with tiles of `SIDE` pixels, or as many times more."""

    def other_points(*given: Any) -> Grid:
        grid = plan_grid(*given)
        first = grid.levels[0]
        closer = first.spacing if spacing is None else spacing * enlarge
        return Grid(grid.geometry, (replace(first, spacing=closer), *grid.levels[1:]))

    running.plan_grid = other_points
    scene = open_scene(pixels)
    side = SIDE * enlarge
    if keep is not None and keep.exists():
        store = EmbeddingStore.open(keep)
    else:
        geometry = TileGeometry(scene.shape, side, side // 8)
        where = MemoryStore() if keep is None else keep
        store = EmbeddingStore.create(where, SceneInfo.of(scene), ModelInfo.of(sam), geometry)
    result = segment_everything(
        scene,
        store,
        sam,
        sizes=(SMALLEST * enlarge, None),
        thresholds=thresholds_of(str(store.model.variant["name"])),  # no size is left out
        on_progress=on_progress,
    )
    assert not result.failed
    assert not result.left
    return result, store


def masks_of(objects: FoundObjects) -> list[ObjectMask]:
    """Return the objects as the evaluation takes them, without overlaps."""
    return truth_of(paint(objects, Region(0, 0, *objects.shape)))


def truth_of(labels: np.ndarray) -> list[ObjectMask]:
    """Return the objects of a label map."""
    from scipy import ndimage

    found = []
    for number, box in enumerate(ndimage.find_objects(labels.astype(np.int32, copy=False)), 1):
        if box is not None:
            found.append(cut_mask(labels[box] == number, box[0].start, box[1].start))
    return found


def whole_masks(objects: FoundObjects) -> list[ObjectMask]:
    """Return the objects with what others cover of them."""
    found = []
    for index in range(len(objects)):
        row0, col0, row1, col1 = objects.boxes[index].tolist()
        part = Region(row0, col0, min(row1, objects.shape[0]), min(col1, objects.shape[1]))
        found.append(cut_mask(objects.mask_at(index, part), part.row0, part.col0))
    return found


def ap(iou: np.ndarray) -> float:
    """Return AP@50."""
    return float(average_precision(iou, (0.5,))[0])


def by_picture(masks: list[ObjectMask], across: int, side: int = SIDE) -> dict[int, list[int]]:
    """Return which masks lie in which image of a mosaic, by the middle of their boxes."""
    where: dict[int, list[int]] = {}
    for index, mask in enumerate(masks):
        rows, cols = mask.window
        row, col = (rows.start + rows.stop) // 2 // side, (cols.start + cols.stop) // 2 // side
        where.setdefault(row * across + col, []).append(index)
    return where


def at_border(masks: list[ObjectMask], geometry: TileGeometry) -> np.ndarray:
    """Tell which objects lie in the cores of several tiles of level 0."""
    found = []
    for mask in masks:
        rows, cols = mask.window
        first = geometry.owner(0, rows.start, cols.start)
        found.append(first != geometry.owner(0, rows.stop - 1, cols.stop - 1))
    return np.array(found)


def duplicates(objects: FoundObjects) -> int:
    """Count the pairs of objects, with their whole masks, whose IoU is above 0.7."""
    masks = whole_masks(objects)
    return int((np.triu(iou_matrix(masks, masks), k=1) > 0.7).sum())


def time_network() -> list[float]:
    """Return a list to which the seconds of every run of encoder and decoder are added."""
    seconds: list[float] = []

    def timed(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            began = time.perf_counter()
            try:
                return work(*given)
            finally:
                seconds.append(time.perf_counter() - began)

        return run

    clicking._decode = timed(clicking._decode)
    running.Embeddings.at = timed(running.Embeddings.at)  # type: ignore[method-assign]
    return seconds


def told(progress: running.EverythingProgress) -> None:
    """Print how far things are, with the time."""
    left = "" if progress.seconds_left is None else f", {progress.seconds_left / 60:.0f} min left"
    print(
        f"  {time.strftime('%H:%M:%S')} tile {progress.settled} of {progress.total}{left}",
        flush=True,
    )


def quality(args: argparse.Namespace) -> Iterator[Figure]:
    """Compare a mosaic with its images alone, and with a mosaic that is not stitched."""
    sam = load_model(args.model, "cpu")
    across, side = args.across, SIDE * args.enlarge
    pictures = load_pictures(args.images, args.labels, across * across, args.enlarge)
    pixels, truth = put_together(pictures, across)
    if args.keep is not None:
        args.keep.mkdir(parents=True, exist_ok=True)

    def kept(name: str) -> Path | None:
        return None if args.keep is None else args.keep / name

    how = {"spacing": args.spacing, "enlarge": args.enlarge}
    network = time_network()
    began, cpu = time.perf_counter(), time.process_time()
    result, store = find(sam, pixels, keep=kept("mosaic"), on_progress=told, **how)
    seconds, took = time.perf_counter() - began, time.process_time() - cpu
    share = sum(network) / seconds
    alone, alone_best = [], []
    for number, (image, labels) in enumerate(pictures):
        found, _ = find(sam, image, keep=kept(f"alone {number}"), **how)
        iou = iou_matrix(truth_of(labels), masks_of(found.objects))
        alone.append(ap(iou))
        alone_best.append(iou.max(1, initial=0))
        now = time.strftime("%H:%M:%S")
        print(f"  {now} image {number + 1} alone: AP@50 {alone[-1]:.3f}", flush=True)
    spacing = args.spacing or SMALLEST / 2
    note = f"{across} × {across} images, points {spacing:g} px of theirs apart, {args.model}"
    objects = truth_of(truth)
    border = at_border(objects, store.geometry)
    there = by_picture(objects, across, side)
    # In the order of the images, as the objects of each alone.
    order = np.concatenate([there[number] for number in sorted(there)])
    best_alone = np.empty(len(objects))
    best_alone[order] = np.concatenate([best for best in alone_best if len(best)])
    yield Figure("megapixels", pixels.size / 1e6)
    yield Figure("AP@50, images alone (mean)", float(np.mean(alone)), note=note)
    usual = thresholds_of(str(store.model.variant["name"]))
    unstitched = result.everything.filter(usual, stitch=False)
    for name, offered in (("mosaic", result.objects), ("mosaic, not stitched", unstitched)):
        masks = masks_of(offered)
        iou = iou_matrix(objects, masks)
        here = by_picture(masks, across, side)
        parts = [
            ap(iou[np.ix_(there.get(number, []), here.get(number, []))])
            for number in range(across * across)
        ]
        best = iou.max(1, initial=0)
        goal = "alone - 0.02"
        yield Figure(f"AP@50, {name} (mean over images)", float(np.mean(parts)), goal=goal)
        difference = np.array(parts) - alone
        spread = difference.std(ddof=1) / np.sqrt(len(parts)) if len(parts) > 1 else 0.0
        yield Figure(f"... less alone, {name}", float(difference.mean()), f"± {spread:.3f}")
        yield Figure(f"objects, {name}", len(offered), note=f"{len(objects)} true ones")
        ids_ok = (np.diff(offered.ids) == 1).all() and (not len(offered) or offered.ids[0] == 1)
        yield Figure(f"ids contiguous, {name}", int(ids_ok), goal="1")
        for which, chosen in (("cut by tile borders", border), ("others", ~border)):
            yield Figure(
                f"mean best IoU, {name}, {which}",
                float(best[chosen].mean()),
                goal="others - 0.03" if chosen is border else "",
                note=f"{chosen.sum()} objects; alone {best_alone[chosen].mean():.3f}",
            )
        yield Figure(f"pairs with IoU > 0.7, {name}", duplicates(offered), goal="0")
    if result.done:  # and not only read
        yield Figure("network's share of the time", 100 * share, "%", "at least 85")
        yield Figure("CPU seconds per megapixel", took / (pixels.size / 1e6), "s", note=note)


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--images", type=Path, required=True, help="grey images of 256 × 256 pixels"
    )
    parser.add_argument(
        "--labels", type=Path, required=True, help="numbers of their objects, same names"
    )
    parser.add_argument("--model", default="vit_nano")
    parser.add_argument("--across", type=int, default=3, help="images along a side of the mosaic")
    parser.add_argument("--enlarge", type=int, default=1, help="times, of images and tiles")
    parser.add_argument(
        "--spacing",
        type=float,
        help="pixels of the images from point to point; by default half of the smallest object",
    )
    parser.add_argument("--keep", type=Path, help="folder for what is found")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    here = machine_here()
    figures = list(quality(args))
    print(table(figures), flush=True)
    save(args.json, here, figures)


if __name__ == "__main__":
    main()
