"""Measure how well objects of slices are joined to those of a volume, and what that takes.

python benchmarks/volumes.py [--only made directions large scan] [--scan DIR] [--json FILE]

made: volumes whose objects are known, in perfect slices and in slices with faults.
directions: the same, along z alone and where two of three directions agree.
large: time and memory for 512 × 512 × 1000.
scan: everything by vit_nano in some slices of a CT of the chest with known organs, DIR/ct_dicom.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from made_volumes import MADE, apart, average_precision, with_faults
from report import machine

from napari_sam.segment.everything.joining import join
from napari_sam.segment.volumes import Joining, join_slices, segment_volume
from napari_sam.segment.volumes.consensus import agree, voted
from napari_sam.segment.volumes.label_volume import Along, new_labels
from napari_sam.segment.volumes.overlaps import measure_overlaps
from napari_sam.segment.volumes.slices import Kept, Slice

SEEDS = (0, 1)
THICK = 3
LARGE = 64
"""Organs of the CT are looked for that are so large in a slice: sides of squares, in pixels."""
AXIS: dict[Along, int] = {"z": 0, "y": 1, "x": 2}


def main() -> None:
    """Measure, print, write JSON."""
    parts = {"made": made, "directions": directions, "large": large, "scan": scan}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(parts), default=["made", "directions"])
    parser.add_argument("--scan", type=Path, help="holds ct_dicom and ct_dicom_labels.nii.gz")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    figures: dict[str, Any] = {"machine": machine()}
    for name in args.only:
        figures[name] = parts[name](args)
        if args.json is not None:
            args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def made(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Print AP@50 and counts beside those of linking whatever overlaps."""
    rows = []
    for name, make in MADE.items():
        for kind in ("perfect", "with faults", "thick", "thick with faults"):
            found: dict[str, list[tuple[float, int, int, int]]] = {"ours": [], "overlap alone": []}
            for seed in SEEDS:
                truth = make(seed)[1::THICK] if kind.startswith("thick") else make(seed)
                slices = apart(truth)
                if kind.endswith("faults"):
                    slices = with_faults(slices, seed)
                count = int(truth.max())
                for how, labels in (("ours", _joined(slices)), ("overlap alone", _plain(slices))):
                    least = _in_two(labels)
                    pieces = sum(len(np.unique(plane)) - 1 for plane in slices)
                    found[how].append(
                        (average_precision(truth, least), len(np.unique(least)) - 1, count, pieces)
                    )
            row = {"volume": name, "slices": kind} | {
                how: np.mean(values, axis=0).round(2).tolist() for how, values in found.items()
            }
            rows.append(row)
            text = "  ".join(
                f"{how}: AP@50 {ap:.2f}, {count:.0f} of {true:.0f} (in slices {pieces:.0f})"
                for how in found
                for ap, count, true, pieces in [row[how]]
            )
            print(f"{name:20}{kind:20}{text}", flush=True)
    return rows


def directions(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Print AP@50 along z alone, and of what two of three directions agree about."""
    rows = []
    for name, make in MADE.items():
        truth = make(0)
        with tempfile.TemporaryDirectory() as folder:
            arrays, counts, alone = [], [], 0.0
            for along, axis in AXIS.items():
                slices = with_faults(apart(np.moveaxis(truth, axis, 0)), axis)
                labels = new_labels(Path(folder) / along, truth.shape)
                joined = join_slices(_kept(slices), labels, Joining(), along)
                arrays.append(labels)
                counts.append(joined.count)
                if along == "z":
                    alone = average_precision(truth, _in_two(np.asarray(labels[:])))
            agreement = agree(tuple(arrays), tuple(counts))
            both = np.stack(list(voted(tuple(arrays), agreement)))
        row = {
            "volume": name,
            "z alone": round(alone, 2),
            "consensus": round(average_precision(truth, _in_two(both)), 2),
            "true": int(truth.max()),
            "objects": [*counts, agreement.count],
        }
        rows.append(row)
        print(row, flush=True)
    return rows


def large(args: argparse.Namespace) -> dict[str, Any]:
    """Print what joining 1000 slices of 512 × 512 takes."""
    rows, cols = np.indices((512, 512))

    def read(number: int) -> Slice:
        # Balls of 16 slices on a lattice; every other layer lies between those below.
        layer, z = divmod(number, 16)
        radius = np.sqrt(max(0.0, 64 - (z - 7.5) ** 2))
        shift = 12 * (layer % 2)
        near = np.hypot((rows + shift) % 24 - 12, (cols + shift) % 24 - 12) <= radius
        labels = ((rows + shift) // 24 * 64 + (cols + shift) // 24 + 1) * near
        return Slice.of(labels)

    with tempfile.TemporaryDirectory() as folder:
        labels = new_labels(Path(folder) / "labels", (1000, 512, 512))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, used = time.perf_counter(), time.process_time()
        joined = join_slices(Kept(read, 1000), labels, Joining())
        figures = {
            "objects": joined.count,
            "of slices": joined.of_slices,
            "seconds": round(time.perf_counter() - began, 1),
            "processor seconds": round(time.process_time() - used, 1),
            "MB before": before // 1024,
            "MB at most": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
    print(figures)
    return figures


def scan(args: argparse.Namespace) -> dict[str, Any]:
    """Print what vit_nano finds in a CT, against its organs."""
    import nibabel

    from napari_sam.loading import load
    from napari_sam.scene import open_scene

    image = args.scan / "ct_dicom"
    scene = open_scene(image)
    known = nibabel.load(args.scan / "ct_dicom_labels.nii.gz")
    # Slices from the head to the feet, rows to the back, columns to the left, as it is read.
    turned = nibabel.orientations.ornt_transform(
        nibabel.orientations.io_orientation(known.affine),
        nibabel.orientations.axcodes2ornt(("L", "P", "I")),
    )
    truth = nibabel.orientations.apply_orientation(np.asanyarray(known.dataobj), turned)
    truth = truth.transpose(2, 1, 0).astype(np.int64)
    assert truth.shape == (scene.planes, *scene.shape)
    slices = apart(truth)
    figures: dict[str, Any] = {"organs": len(np.unique(truth)) - 1}
    for kind, seen in (("true slices", slices), ("with faults", with_faults(slices, 0))):
        labels = _in_two(_joined(seen))
        figures[kind] = {
            "objects of slices": sum(len(np.unique(plane)) - 1 for plane in seen),
            "objects": len(np.unique(labels)) - 1,
            "AP@50": round(float(average_precision(truth, labels)), 2),
            "AP@50, overlap alone": round(
                float(average_precision(truth, _in_two(_plain(seen)))), 2
            ),
        }
    print(figures, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        result = segment_volume(
            image, Path(folder), load("vit_nano"), sizes=(LARGE, None), model="vit_nano"
        )
        assert result.labelled is not None
        labels = result.labelled.volume()
    best = []
    for number in np.unique(truth)[1:]:
        mask = truth == number
        if mask.sum((1, 2)).max() < LARGE**2:
            truth[mask] = 0
            continue
        over = np.bincount(labels[mask])
        over[0] = 0
        other = int(over.argmax())
        best.append(over[other] / np.count_nonzero(mask | (labels == other)) if over.any() else 0.0)
    figures["vit_nano"] = {
        "objects of slices": result.of_slices,
        "objects": len(result.labelled.table),
        "left out": result.removed,
        "large organs": len(best),
        "... with IoU > 0.5": int(np.count_nonzero(np.array(best) > 0.5)),
        "mean best IoU": round(float(np.mean(best)), 3),
        "AP@50": round(float(average_precision(truth, labels)), 3),
        "seconds per slice": round(result.seconds_per_slice, 1),
    }
    print(figures)
    return figures


def _kept(slices: np.ndarray) -> Kept:
    return Kept(lambda number: Slice.of(slices[number]), len(slices))


def _joined(slices: np.ndarray) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        labels = new_labels(Path(folder) / "labels", slices.shape)
        join_slices(_kept(slices), labels, Joining())
        return np.asarray(labels[:])


def _plain(slices: np.ndarray, least: float = 0.25) -> np.ndarray:
    """Link all that overlap with such an IoU in neighbouring slices."""
    kept = _kept(slices)
    overlaps = measure_overlaps(kept, gap=0)
    one, other = overlaps.areas[overlaps.below], overlaps.areas[overlaps.above]
    good = overlaps.common >= least * (one + other - overlaps.common)
    roots = join(len(overlaps), overlaps.below[good], overlaps.above[good])
    firsts = overlaps.firsts
    painted = [
        np.concatenate([[0], roots[firsts[z] : firsts[z + 1]] + 1])[kept[z].labels]
        for z in range(len(kept))
    ]
    return np.stack(painted)


def _in_two(labels: np.ndarray) -> np.ndarray:
    """Leave out what is in one slice only."""
    counts = np.zeros(int(labels.max()) + 1, int)
    for plane in labels:
        counts += np.bincount(plane.ravel(), minlength=len(counts)) > 0
    return np.where(counts[labels] >= 2, labels, 0)


if __name__ == "__main__":
    main()
