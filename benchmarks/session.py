"""What accepting an object and taking it back costs with 1, 100 and 10,000 objects there.

The segmenter is a stand-in that answers at once, so that what is measured is the session: sharing
pixels out, the journal, undo, and painting a window around the object.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from report import machine

from napari_sam.scene import open_scene
from napari_sam.segment.objects import Candidate
from napari_sam.session import Session
from napari_sam.tiles.regions import Region

SIDE = 16_384
STEP = 160
"""Pixels from one object to the next."""


class Computed:
    """An image that is computed where it is read."""

    shape, dtype = (SIDE, SIDE), np.dtype(np.uint8)

    def __getitem__(self, window: Any) -> np.ndarray:
        rows, cols = (np.arange(part.start, part.stop) for part in window)
        return (np.add.outer(rows, cols) % 251).astype(np.uint8)


class Stand:
    """Answers with a disc around the first point."""

    def prompt(self, points: Any = None, **others: Any) -> list[Candidate]:
        row, col = (int(place) for place in points[0])
        across = np.arange(-40, 41)
        return [Candidate(row - 40, col - 40, disc(across), 0.9, 0.9, "point")]


def disc(across: np.ndarray) -> np.ndarray:
    return np.hypot(across[:, None], across[None]) <= 40


def timed(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return 1e3 * (time.perf_counter() - start)


def cost(count: int, repeats: int, folder: Path) -> dict[str, float]:
    """Return medians and 95th percentiles in milliseconds, and bytes of a step."""
    across = np.arange(-40, 41)
    side = math.ceil(math.sqrt(count))
    seconds: dict[str, list[float]] = {"accept": [], "undo": [], "window": [], "hit": []}
    written = []
    scene = open_scene(Computed(), axes="YX")
    with Session.create(folder / str(count), scene, Stand()) as session:
        places = [(100 + STEP * (n // side), 100 + STEP * (n % side)) for n in range(count)]
        seconds_in = timed(
            lambda: session.add_objects(
                [Candidate(r - 40, c - 40, disc(across), 0.9, 0.9, "grid") for r, c in places]
            )
        )
        random = np.random.default_rng(0)
        for _ in range(repeats):
            row, col = places[random.integers(count)]
            session.add_point(row + 60, col + 20)
            session.candidates()
            size = _size(session.path)
            seconds["accept"].append(timed(lambda: session.accept(overlap="take_new")))
            written.append(_size(session.path) - size)
            window = Region(
                max(0, row - 400), max(0, col - 400), min(SIDE, row + 400), min(SIDE, col + 400)
            )
            seconds["window"].append(timed(lambda w=window: session.labels(w)))
            seconds["hit"].append(timed(lambda r=row, c=col: session.object_at(r, c)))
            seconds["undo"].append(timed(session.undo))
            session.undo()
    opening = timed(lambda: Session.open(folder / str(count), scene, Stand()).close())
    found = {
        f"{name} {what}": round(value, 2)
        for name, values in seconds.items()
        for what, value in (
            ("median", statistics.median(values)),
            ("p95", float(np.percentile(values, 95))),
        )
    }
    return {
        "objects": count,
        **found,
        "bytes": statistics.median(written),
        "all in": round(seconds_in),
        "open": round(opening),
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("journal-*"))


def main() -> None:
    """Print a table, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, 100, 10_000):
            rows.append(cost(count, options.repeats, Path(folder)))
            print("  ".join(f"{name}: {value:g}" for name, value in rows[-1].items()))
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine(), "session": rows}, indent=1))


if __name__ == "__main__":
    main()
