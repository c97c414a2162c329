"""What changes when tiles lie elsewhere: objects of everything, and the network's own answers.

    python benchmarks/origin.py --images DIR --labels DIR [--across 3] [--shift 64] [--keep FOLDER]

A mosaic is searched twice, the second time without its first rows and columns, so that windows
lie as many pixels further on while clicks fall on the same pixels of the images. Then single
clicks, at the middle of objects that were found, are answered in the windows of both: what differs
there is the network's, as nothing else has a say.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from figures import Figure, machine_here, save, table
from mosaic import find, load_pictures, put_together, told, whole_masks

from napari_sam.scene import Scene, open_scene
from napari_sam.segment.everything import FoundObjects
from napari_sam.segment.everything.clicking import RawThresholds, click_tile
from napari_sam.segment.everything.thresholds import default_thresholds
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.store import EmbeddingStore
from src_model import Sam, load_model
from src_model.training.evaluation.regions import cut_mask, iou_matrix
from src_model.training.pictures import ObjectMask

SHIFT = 64
"""Rows and columns that are left away: whole steps of the clicks, and no whole step of tiles. The
encoder attends in windows of 16, 32 and 64 of these pixels, so that 64 leaves all of them in their
places, and 40 none."""

SPACING = 8.0
"""Between clicks: it divides the mosaic's side and `SHIFT`, as 16 and 32 do."""

INSIDE = 32
"""Objects nearer to the new border are not compared: what is seen around them is another thing."""

ALL = RawThresholds(-1e3, 0.0)


def inside(objects: FoundObjects, first: int) -> np.ndarray:
    """Return which objects lie at least `INSIDE` pixels from where the scene may begin."""
    return np.flatnonzero((objects.boxes[:, :2] >= first + INSIDE).all(1))


def moved(masks: list[ObjectMask], by: int) -> list[ObjectMask]:
    """Return masks as they lie in the other scene."""
    return [ObjectMask(mask.top + by, mask.left + by, mask.mask) for mask in masks]


def answers(
    embeddings: Embeddings, points: np.ndarray
) -> Iterator[tuple[list[ObjectMask], np.ndarray, np.ndarray]]:
    """Give each click's masks, with predicted IoUs and stabilities, of the tile that owns it."""
    geometry = embeddings.store.geometry
    for row, col in points.tolist():
        tile = geometry.owner(0, round(row), round(col))
        raw = click_tile(embeddings.at(tile), np.array([[row, col]]), ALL, geometry.shape)
        masks = [cut_mask(raw.mask(i), *raw.boxes[i, :2].tolist()) for i in range(len(raw))]
        yield masks, raw.predicted_ious, raw.stabilities


def same_clicks(
    one: Embeddings, other: Embeddings, points: np.ndarray, shift: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return mask IoU, and the scores in both windows, of what clicks give in two windows.

    Returns
    -------
    (n,) ndarray, (n, 2, 2) ndarray
        IoU of the first window's best mask with the most similar of the second; for each window
        predicted IoU and stability.
    """
    ious, scores = [], []
    pairs = zip(answers(one, points), answers(other, points - shift), strict=True)
    for (masks, predicted, stable), (others, predicted_too, stable_too) in pairs:
        if not (masks and others):
            continue
        best = int(predicted.argmax())
        alike = iou_matrix([masks[best]], moved(others, shift))[0]
        like = int(alike.argmax())
        ious.append(alike[like])
        scores.append([(predicted[best], stable[best]), (predicted_too[like], stable_too[like])])
    return np.array(ious), np.array(scores).reshape(-1, 2, 2)


def measure(args: argparse.Namespace) -> Iterator[Figure]:
    """Search twice, click twice."""
    sam: Sam = load_model(args.model, "cpu")
    pixels, _ = put_together(load_pictures(args.images, args.labels, args.across**2), args.across)
    found: list[FoundObjects] = []
    scenes: list[Scene] = []
    stores: list[EmbeddingStore] = []
    for name, part in (("here", pixels), ("elsewhere", pixels[args.shift :, args.shift :].copy())):
        if args.keep is not None:
            args.keep.mkdir(parents=True, exist_ok=True)
        keep = None if args.keep is None else args.keep / name
        result, store = find(sam, part, args.spacing, keep=keep, on_progress=told)
        found.append(result.objects)
        stores.append(store)
        scenes.append(open_scene(part))
    chosen = inside(found[0], args.shift)
    masks = whole_masks(found[0])
    iou = iou_matrix([masks[i] for i in chosen], moved(whole_masks(found[1]), args.shift))
    lost = iou.max(1, initial=0) <= 0.5
    note = f"{len(chosen)} objects, points {args.spacing:g} px apart, {args.model}"
    yield Figure("objects that change with the tiles' places", 100 * lost.mean(), "%", "1", note)
    embeddings = [
        Embeddings(store, sam, scene) for store, scene in zip(stores, scenes, strict=True)
    ]
    middles = np.round(found[0].centroids[chosen])
    similar, scores = same_clicks(embeddings[0], embeddings[1], middles, args.shift)
    wanted = default_thresholds(sam)
    good = (scores >= (wanted.predicted_iou, wanted.stability)).all(2)
    there = good[:, 0]
    note = f"{there.sum()} clicks"
    changes = np.abs(scores[there, 0] - scores[there, 1])
    yield Figure("same click, mask IoU, median", float(np.median(similar[there])), note=note)
    yield Figure("same click, predicted IoU, mean change", float(changes[:, 0].mean()))
    yield Figure("same click, stability, mean change", float(changes[:, 1].mean()))
    yield Figure(
        "same click, other mask (IoU of 0.5 or less)", 100 * (similar[there] <= 0.5).mean(), "%"
    )
    yield Figure(
        "same click, same mask, below the thresholds elsewhere",
        100 * ((similar > 0.5) & ~good[:, 1])[there].mean(),
        "%",
    )


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
    parser.add_argument("--spacing", type=float, default=SPACING, help="pixels between clicks")
    parser.add_argument(
        "--shift", type=int, default=SHIFT, help="rows and columns left away the second time"
    )
    parser.add_argument("--keep", type=Path, help="folder for what is found")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    here = machine_here()
    figures = list(measure(args))
    print(table(figures), flush=True)
    save(args.json, here, figures)


if __name__ == "__main__":
    main()
