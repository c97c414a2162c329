"""Teaching a model a domain that it never saw, on two cores: before, after, and a control run.

    python benchmarks/teaching.py base --data DIR -o OUT
    python benchmarks/teaching.py nuclei --base FILE --data DIR -o OUT
    python benchmarks/teaching.py crowns --base FILE --data DIR -o OUT

``base``: DIR holds train/ and val/ with images and label maps of nuclei. vit_nano's network is
trained from random weights on those of train/ that are no stained tissue, as
``teaching_base.yaml`` says. ``nuclei``: ten stained pictures teach it, others tell whether it
learned. ``crowns``: DIR holds an aerial picture with boxes around trees (OSBS_029.tif and .csv);
blocks of it teach, others tell. The truth is the ellipse in each box, as crowns are round.

``--control``: the same with truth that has nothing to do with the pictures (nuclei: that of another
picture; crowns: moved by half a picture). It must come out as "no better".
"""

from __future__ import annotations

import argparse
import csv
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from figures import Figure, machine_here, save, table
from PIL import Image

from napari_sam.files.outputs import write_labels, write_png
from napari_sam.finetune.changes import Change
from napari_sam.finetune.comparison import compare, write_comparison
from napari_sam.finetune.control import Control, Progress
from napari_sam.finetune.data import open_pictures
from napari_sam.finetune.datasets import Dataset, build_dataset, from_labels
from napari_sam.finetune.default_validation import default_validation
from napari_sam.finetune.run import run_training
from napari_sam.finetune.run_folder import RunFolder
from napari_sam.finetune.settings import RunSettings, read_settings, settings_from_dict
from napari_sam.finetune.stored import StoredPictures
from napari_sam.finetune.suggestions import suggested_settings
from napari_sam.loading import load
from napari_sam.scene import open_scene
from src_model.training.evaluation import picture_kind

TAUGHT, STAINED = 10, "H&E-like"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("domain", choices=("base", "nuclei", "crowns"))
    parser.add_argument("--base", default="vit_nano", help="model to start from")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--method", default="full", choices=("decoder", "lora", "full"))
    parser.add_argument("--steps", type=int, help="default: as the widget suggests")
    parser.add_argument("--test", type=int, default=30, help="pictures to tell by, at most")
    parser.add_argument("--objects", type=int, default=12, help="of each, at most")
    parser.add_argument("--control", action="store_true", help="with truth that is wrong")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    here = machine_here()
    if options.domain == "base":
        train_base(options)
        return
    made = {"nuclei": stained_tissue, "crowns": tree_crowns}[options.domain]
    settings, pictures = made(options)
    figures = teach(options, settings, pictures)
    print(table(figures))
    save(options.json, here, figures)


def train_base(options: argparse.Namespace) -> None:
    """Train on all nuclei but those of stained tissue."""
    for path in sorted((options.data / "train/images").glob("*.png")):
        if picture_kind(np.asarray(Image.open(path).convert("RGB"))) != STAINED:
            for part in ("images", "labels"):
                target = options.output / part / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(options.data / "train" / part / path.name, target)
    data = {part: str((options.output / part).absolute()) for part in ("images", "labels")}
    settings = read_settings(Path(__file__).with_name("teaching_base.yaml"), data)
    print(run_training(settings, RunFolder(options.output / "run"), Control(_told)))


def _told(progress: Progress) -> None:
    if progress.validation or progress.step % 20 == 0:
        print(progress.step, progress.validation, flush=True)


def stained_tissue(options: argparse.Namespace) -> tuple[RunSettings, StoredPictures]:
    """Write ten stained pictures to learn from, and others to tell by."""
    found = [
        (folder, path.name)
        for folder in ("train", "val")
        for path in sorted((options.data / folder / "images").glob("*.png"))
        if picture_kind(np.asarray(Image.open(path).convert("RGB"))) == STAINED
    ]
    trained_on = sum(folder == "train" for folder, _ in found)  # val/ is never learned from
    places = np.linspace(0, trained_on - 1, TAUGHT).round().astype(int).tolist()
    others = [one for place, one in enumerate(found) if place not in places]
    kept = np.linspace(0, len(others) - 1, min(options.test, len(others))).round().astype(int)
    for name, chosen, shift in (
        ("taught", [found[place] for place in places], int(options.control)),
        ("told", [others[place] for place in kept.tolist()], 0),
    ):
        for part in ("images", "labels"):
            (options.output / name / part).mkdir(parents=True, exist_ok=True)
        for number, (folder, file) in enumerate(chosen):
            image = np.asarray(Image.open(options.data / folder / "images" / file).convert("RGB"))
            where, other = chosen[(number + shift) % len(chosen)]
            labels = np.asarray(Image.open(options.data / where / "labels" / other))
            write_png(options.output / name / "images" / file, image)
            target = (options.output / name / "labels" / file).with_suffix(".tif")
            write_labels(target, _of_size(labels, image.shape[:2]))
    told = options.output / "told"
    pictures = open_pictures(told / "images", told / "labels")
    return _settings(options, options.output / "taught"), pictures


def tree_crowns(options: argparse.Namespace) -> tuple[RunSettings, StoredPictures]:
    """Cut the aerial picture into blocks to learn from, and others to tell by."""
    path = options.data / "OSBS_029.tif"
    scene = open_scene(path, channels=(0, 1, 2))
    labels = np.zeros(scene.shape, np.uint32)
    with path.with_suffix(".csv").open(encoding="utf-8") as file:
        boxes = [[int(row[name]) for name in _SIDES] for row in csv.DictReader(file)]
    rows, cols = np.mgrid[: scene.shape[0], : scene.shape[1]]
    large_first = sorted(boxes, key=lambda box: (box[0] - box[2]) * (box[3] - box[1]))
    for number, (left, top, right, bottom) in enumerate(large_first, start=1):
        down = (2 * rows - top - bottom + 1) / (bottom - top)
        across = (2 * cols - left - right + 1) / (right - left)
        labels[down**2 + across**2 <= 1] = number
    folder = options.output / "dataset"
    made = (folder / "dataset.json").exists()
    dataset = Dataset.open(folder) if made else build_dataset([from_labels(scene, labels)], folder)
    print("\n".join(dataset.notes))
    if options.control and not made:
        for part in (options.output / "dataset/train/labels").glob("*.tif"):
            wrong = np.asarray(Image.open(part))
            write_labels(part, np.roll(wrong, (wrong.shape[0] // 2, wrong.shape[1] // 2), (0, 1)))
    pictures = dataset.part("hold-out")
    assert pictures is not None
    return _settings(options, options.output / "dataset/train"), pictures


_SIDES = ("xmin", "ymin", "xmax", "ymax")


def teach(
    options: argparse.Namespace, settings: RunSettings, pictures: StoredPictures
) -> list[Figure]:
    """Train, compare, and write the report."""
    start = time.perf_counter()
    run = RunFolder(options.output / "run")
    # A run that was stopped goes on; its time is then that of the last part.
    weights = run_training(settings, run, Control(_told), resume=run.path.exists())
    minutes = (time.perf_counter() - start) / 60
    assert weights is not None
    before, after, count = load(options.base), load(str(weights)), options.objects
    found = compare(before, after, pictures, objects=count, on_progress=_said("pictures"))
    forgotten = None
    if not options.control:
        remembered = default_validation()
        forgotten = compare(before, after, remembered, objects=count, on_progress=_said("others"))
    about = {"base": options.base, "method": settings.method, "steps": settings.training.steps}
    paths = write_comparison(options.output / "report", found, forgotten, about)
    print(f"\n{found.verdict.sentence}\n{paths}")
    figures = [Figure("training", minutes, "min", "15")]
    for name, change in found.figures.items():
        goal = "0.10 more" if name in ("1 click", "AP@50") else ""
        figures += _changed(name, change, goal)
    if forgotten is not None:
        click = forgotten.figures["1 click"]
        figures += _changed("1 click on the default validation images", click)
    return figures


def _changed(name: str, change: Change, goal: str = "") -> list[Figure]:
    gain = change.difference
    note = f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
    return [
        Figure(f"{name}, before", change.before.value),
        Figure(f"{name}, after", change.after.value, goal=goal, note=note),
    ]


def _settings(options: argparse.Namespace, taught: Path) -> RunSettings:
    """Train as the widget suggests."""
    images, labels = taught / "images", taught / "labels"
    pictures = open_pictures(images, labels)
    count = sum(len(pictures.read_objects(number)) for number in range(len(pictures)))
    variant = load(options.base).variant
    values = suggested_settings(options.method, variant, len(pictures), count)
    if options.steps is not None:
        values["steps"] = options.steps
    data = {"images": str(images.absolute()), "labels": str(labels.absolute())}
    return settings_from_dict(
        {**data, **values, "base": options.base, "method": options.method, "validation_share": 0}
    )


def _of_size(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Cut or fill up to a size."""
    result = np.zeros(shape, labels.dtype)
    rows, cols = (min(one, other) for one, other in zip(shape, labels.shape, strict=True))
    result[:rows, :cols] = labels[:rows, :cols]
    return result


def _said(what: str) -> Callable[[int, int], None]:
    def say(done: int, of: int) -> None:
        print(f"\r{what}: {done} of {of}", end="", flush=True)

    return say


class _Raw(argparse.RawDescriptionHelpFormatter):
    pass


if __name__ == "__main__":
    main()
