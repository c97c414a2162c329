"""Mean IoU of a model after one click and with boxes, on a folder of images and label maps.

    python scripts/evaluate_nano.py vit_nano --images DIR/images --labels DIR/labels

Twelve objects an image; the click is the object's point furthest from its boundary, the box its
own. Beside the model stand two floors that need none: the best disc around the click, and the
filled box.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage import io

from src_model import Sam, SamPredictor, load_model

OBJECTS = 12


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Return the IoU of two masks."""
    return float((a & b).sum() / max(1, (a | b).sum()))


def best_disc(mask: np.ndarray, row: int, col: int) -> float:
    """Return the best IoU any disc around the point reaches."""
    rows, cols = np.indices(mask.shape)
    distance = np.hypot(rows - row, cols - col)
    order = np.argsort(distance, axis=None)
    inside = np.cumsum(mask.ravel()[order])
    covered = np.arange(1, mask.size + 1)
    return float((inside / (mask.sum() + covered - inside)).max())


def evaluate(sam: Sam, images: Path, labels: Path, limit: int | None = None) -> dict[str, float]:
    """Return the means over all objects."""
    predictor, figures = SamPredictor(sam), {}
    rng = np.random.default_rng(0)
    for path in sorted(images.glob("*.png"))[:limit]:
        image, label_map = io.imread(path), io.imread(labels / path.name)
        image = np.stack([image] * 3, -1) if image.ndim == 2 else image[..., :3]
        predictor.set_image(image)
        present = np.unique(label_map[label_map > 0])
        for label in rng.choice(present, min(OBJECTS, len(present)), replace=False):
            mask = label_map == label
            depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
            row, col = np.unravel_index(depth.argmax(), depth.shape)
            masks, predicted, _ = predictor.predict(np.array([[col, row]]), np.array([1]))
            ious = [iou(m, mask) for m in masks]
            rows, cols = ndimage.find_objects(mask.astype(np.uint8))[0]
            box = np.array([cols.start, rows.start, cols.stop - 1, rows.stop - 1])
            boxed, _, _ = predictor.predict(box=box, multimask_output=False)
            boxed3, _, _ = predictor.predict(box=box)
            filled = np.zeros_like(mask)
            filled[rows, cols] = True
            for name, value in {
                "click, best of three": max(ious),
                "click, best predicted": ious[int(predicted.argmax())],
                "box": iou(boxed[0], mask),
                "box, best of three": max(iou(m, mask) for m in boxed3),
                "predicted IoU, mean error": float(np.abs(predicted - ious).mean()),
                "floor: best disc": best_disc(mask, row, col),
                "floor: filled box": iou(filled, mask),
            }.items():
                figures.setdefault(name, []).append(value)
    return {name: round(float(np.mean(values)), 4) for name, values in figures.items()} | {
        "objects": len(next(iter(figures.values())))
    }


def main() -> None:
    """Parse the command line and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a model's name, or a file of weights")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--limit", type=int, help="only the first images")
    args = parser.parse_args()
    sam = load_model(args.model, precision=args.precision)
    print(json.dumps(evaluate(sam, args.images, args.labels, args.limit), indent=2))


if __name__ == "__main__":
    main()
