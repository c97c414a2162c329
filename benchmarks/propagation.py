"""Objects followed through stacks from one click, one box or one mask: how well, and how fast.

    python benchmarks/propagation.py [--medical FOLDER] [--memory 30,120] [--json FILE]

Each object is outlined in its middle plane and followed both ways. Beside the Dice of the whole
object: that of the box of the middle plane, filled, in every plane in which the object is (the
floor); of the mask of the middle plane, copied likewise; and of a box around the truth asked in
each plane by itself. "truth" begins with the true mask, as a person would have drawn it. Stacks
are made with exact truth; organs are those of shared/devdata/medical.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from made_stacks import STACKS, made_stack
from report import machine

from napari_sam.scene import Scene, open_scene
from napari_sam.scenes.planes import at_plane
from napari_sam.segment.objects import Candidate, cut_candidate
from napari_sam.segment.propagation import PlaneSegmenters, Settings, propagate
from napari_sam.segment.propagation.shapes import box, tight
from napari_sam.segment.scribbles import MaskRegion, mask_points
from src_model import load_model

MODEL = "vit_nano"
ORGANS = {
    1: "spleen",
    5: "liver",
    52: "aorta",
    69: "humerus",
    79: "spinal cord",
    99: "rib",
}
"""Labels of the CT that are seen in all its planes."""


@dataclass(frozen=True)
class Result:
    """Dice of one object, followed from one prompt.

    ``start`` is the Dice in the plane of the prompt, ``planes`` in how many it was found of those
    in which it is, ``extra`` in how many in which it is not. ``seconds`` are the processor's for
    each plane, which is encoded already: those of the memory's table encode.
    """

    stack: str
    prompt: str
    start: float
    followed: float
    floor: float
    copied: float
    truth_boxes: float
    planes: str
    extra: int
    seconds: float
    stops: dict[str, str]


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * np.count_nonzero(one & other) / max(1, one.sum() + other.sum()))


def put(mask: Candidate | MaskRegion, shape: tuple[int, int]) -> np.ndarray:
    whole = np.zeros(shape, bool)
    rows, cols = mask.mask.shape
    whole[mask.row : mask.row + rows, mask.col : mask.col + cols] = mask.mask
    return whole


def asked_each(segmenters: PlaneSegmenters, truth: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Ask for the box around the truth in each plane by itself."""
    found = np.zeros_like(truth)
    for z in places:
        there = tight(MaskRegion(0, 0, truth[z]))
        assert there is not None
        row0, col0, row1, col1 = box(there)
        corners = (row0 - 0.5, col0 - 0.5, row1 + 0.5, col1 + 0.5)
        found[z] = put(segmenters((0, int(z))).prompt(box=corners)[0], truth.shape[1:])
    return found


def measure(
    name: str,
    scene: Scene,
    truth: np.ndarray,
    segmenters: PlaneSegmenters,
    prompts: Sequence[str],
) -> Iterator[Result]:
    places = np.flatnonzero(truth.any(axis=(1, 2)))
    middle = int(places[len(places) // 2])
    there = tight(MaskRegion(0, 0, truth[middle]))
    assert there is not None
    row0, col0, row1, col1 = box(there)
    corners = (row0 - 0.5, col0 - 0.5, row1 + 0.5, col1 + 0.5)
    answers = segmenters((0, middle)).prompt
    asked = {
        "click": lambda: answers(points=mask_points(there, 1))[0],
        "box": lambda: answers(box=corners)[0],
        "truth": lambda: cut_candidate(truth[middle], 1.0, 1.0, "mask"),
    }
    floor, copied = np.zeros_like(truth), np.zeros_like(truth)
    floor[places, row0 : row1 + 1, col0 : col1 + 1] = True
    each = asked_each(segmenters, truth, places)
    for kind in prompts:
        mask = asked[kind]()
        if not mask.mask.any():
            continue
        began = time.process_time()
        found = propagate(
            segmenters,
            (0, middle),
            mask,
            [(0, z) for z in range(len(truth))],
            settings=Settings.through_depth(scene),
        )
        seconds = (time.process_time() - began) / max(1, len(found.followed))
        drawn = np.zeros_like(truth)
        drawn[middle] = put(mask, truth.shape[1:])
        copied[:] = False
        copied[places] = drawn[middle]
        for one in found.followed:
            drawn[one.plane[1]] = put(one.mask, truth.shape[1:])
        seen = drawn.any(axis=(1, 2))
        yield Result(
            name,
            kind,
            dice(drawn[middle], truth[middle]),
            dice(drawn, truth),
            dice(floor, truth),
            dice(copied, truth),
            dice(each, truth),
            f"{np.count_nonzero(seen[places])}/{len(places)}",
            int(np.count_nonzero(seen)) - int(np.count_nonzero(seen[places])),
            seconds,
            dict(found.stops),
        )


def made(prompts: Sequence[str]) -> Iterator[Result]:
    model = load_model(MODEL, "cpu")
    for name in STACKS:
        stack = made_stack(name)
        scene = open_scene(stack.pixels, axes="ZYX")
        with tempfile.TemporaryDirectory() as folder:
            yield from measure(
                name, scene, stack.truth, PlaneSegmenters(scene, model, Path(folder))
            )


def organs(folder: Path, prompts: Sequence[str]) -> Iterator[Result]:
    scene = open_scene(folder / "ct_dicom")
    known = open_scene(folder / "ct_dicom_labels.nii.gz")
    labels = np.stack(
        [
            at_plane(known, 0, z).read(0, slice(None), slice(None))[..., 0]
            for z in range(known.planes)
        ]
    )
    model = load_model(MODEL, "cpu")
    with tempfile.TemporaryDirectory() as kept:
        segmenters = PlaneSegmenters(scene, model, Path(kept))
        for number, name in ORGANS.items():
            yield from measure(name, scene, labels == number, segmenters, prompts)


class Endless:
    """A stack of 512 × 512 × 1000 with one tube, drawn where it is read."""

    shape, dtype = (1000, 512, 512), np.dtype(np.uint8)

    def __getitem__(self, part: tuple[int, slice, slice]) -> np.ndarray:
        z, rows, cols = part
        row, col = np.ogrid[rows, cols] if isinstance(rows, slice) else (rows, cols)
        inside = np.hypot(row - 256, col - 256 - 80 * np.sin(z / 60)) < 30
        noise = np.random.default_rng(z).normal(0, 6, inside.shape)
        return np.clip(np.where(inside, 170, 85) + noise, 0, 255).astype(np.uint8)


def follow_endless(planes: int) -> dict[str, float]:
    """Follow a tube; return how far it came, and the peak memory of this process in MiB."""
    scene = open_scene(Endless(), axes="ZYX", z=10)
    segmenters = PlaneSegmenters(scene, load_model(MODEL, "cpu"))
    mask = segmenters((0, 10)).prompt(box=(225, 225, 300, 300))[0]
    began, start = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = propagate(segmenters, (0, 10), mask, [(0, z) for z in range(10, 11 + planes)])
    return {
        "planes": len(found.followed),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "peak_of_first_mib": start,
        "seconds_per_plane": (time.process_time() - began) / max(1, len(found.followed)),
    }


def memory(counts: list[int]) -> Iterator[dict[str, float]]:
    """Measure each in a process of its own."""
    for count in counts:
        said = subprocess.run(
            [sys.executable, __file__, "--endless", str(count)],
            check=True,
            capture_output=True,
            text=True,
        )
        yield json.loads(said.stdout.splitlines()[-1])


def row(result: Result) -> str:
    return (
        f"| {result.stack} | {result.prompt} | {result.start:.2f} | **{result.followed:.2f}** "
        f"| {result.truth_boxes:.2f} | {result.floor:.2f} | {result.copied:.2f} | {result.planes} "
        f"| {result.extra} | {result.seconds:.2f} s |"
    )


def main() -> None:
    """Measure, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--medical", type=Path, help="shared/devdata/medical")
    parser.add_argument("--memory", help="numbers of planes, such as 30,120")
    parser.add_argument("--prompts", default="click,box,truth", help="some of click,box,truth")
    parser.add_argument("--no-made", action="store_true", help="leave out the made stacks")
    parser.add_argument("--threads", type=int, help="of torch; all cores by default")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--endless", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.endless:
        print(json.dumps(follow_endless(args.endless)))
        return
    record: dict[str, object] = {"machine": machine()}
    print(json.dumps(record["machine"], indent=2), flush=True)
    prompts = args.prompts.split(",")
    parts = {} if args.no_made else {"made": made(prompts)}
    if args.medical is not None:
        parts["organs"] = organs(args.medical, prompts)
    for name, results in parts.items():
        print(
            "\n| object | prompt | Dice there | followed | truth's boxes | floor | copied | planes "
            "| too many | a plane |\n|---|---|---|---|---|---|---|---|---|---|"
        )
        done = []
        for result in results:
            print(row(result), flush=True)
            done.append(asdict(result))
        record[name] = done
    if args.memory:
        print("\n| planes | peak memory | of the first plane | a plane |\n|---|---|---|---|")
        peaks = []
        for peak in memory([int(count) for count in args.memory.split(",")]):
            print(
                f"| {peak['planes']} | {peak['peak_mib']:.0f} MiB "
                f"| {peak['peak_of_first_mib']:.0f} MiB | {peak['seconds_per_plane']:.2f} s |",
                flush=True,
            )
            peaks.append(peak)
        record["memory"] = peaks
    if args.json is not None:
        args.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
