"""How long a person waits in the napari window: for a preview, for the window, for the first click.

xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/plugin.py [--quick] [--json FILE]

Each part runs in a process of its own, with vit_nano. Mouse events go to the canvas of a real
window, and what is waited for is that the layer `preview` has new data: drawing it on the screen,
which without a graphics card the processor does, comes after that.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

COUNTS = (1, 100, 10_000)
SIDE, FRESH = 16_384, 2_048

_CELL = 256
"""Rows and columns of the made scene that belong to one disc."""

_GOALS = {
    "preview p95, ms": 300,
    "growth from 1 to 10,000, %": 20,
    "timer late, ms": 100,
    "first click, s": 3,
}


class Window:
    """A viewer of napari, driven by mouse events."""

    def __init__(self) -> None:
        import napari

        from napari_sam.widgets.attached import attach

        self.viewer = napari.Viewer()
        self.sam = attach(self.viewer)
        self.native = self.viewer.window._qt_viewer.canvas.native
        run_until(self.native.isVisible)

    def click(self, row: float, col: float) -> None:
        """Click on a pixel of the scene; its layer must not be turned."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        camera, size = self.viewer.scene.camera, self.native.size()
        middle = np.array([size.width(), size.height()]) / 2
        x, y = middle + (np.array([col, row]) - camera.center[:0:-1]) * camera.zoom
        place = QPoint(round(x), round(y))
        left, plain = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QTest.mouseClick(self.native, left, plain, place)

    def preview(self, row: float, col: float) -> float:
        """Click, and return the seconds until the preview has it."""
        shown: list[float] = []
        start = time.perf_counter()

        def notice(event: Any = None) -> None:
            if not shown and np.any(self.viewer.layers["preview"].data):
                shown.append(time.perf_counter())

        def listen(event: Any) -> None:  # the layer comes with the first preview
            if event.value.name == "preview":
                event.value.events.data.connect(notice)

        layers = self.viewer.layers
        layers.events.inserted.connect(listen)
        if "preview" in layers:
            layers["preview"].events.data.connect(notice)
        self.click(row, col)
        run_until(lambda: shown)
        layers.events.inserted.disconnect(listen)
        layers["preview"].events.data.disconnect(notice)
        return shown[0] - start

    def clear(self) -> None:
        """Take the prompts away, and let the window come to rest."""
        from napari_sam.widgets import commands

        commands.clear(self.sam)
        run_for(0.25)

    def zoom_to(self, row: int, col: int, side: int) -> None:
        """Show a square."""
        from napari_sam.tiles.regions import Region

        self.sam.show(Region(row, col, row + side, col + side))
        run_for(0.3)


def run_until(there: Callable[[], object], seconds: float = 300) -> None:
    """Let the window work until something is so."""
    from qtpy.QtCore import QCoreApplication

    end = time.perf_counter() + seconds
    while not there():
        if time.perf_counter() > end:
            raise SystemExit("it did not happen")
        QCoreApplication.processEvents()
        time.sleep(0.0005)


def run_for(seconds: float) -> None:
    """Let the window work for a while."""
    end = time.perf_counter() + seconds
    run_until(lambda: time.perf_counter() >= end)


def discs_of(level: Any) -> list[tuple[float, float]]:
    """Return the middles of nine discs."""
    found = []
    for row in range(0, 3 * _CELL, _CELL):
        for col in range(0, 3 * _CELL, _CELL):
            cell = np.asarray(level[row : row + _CELL, col : col + _CELL])
            inside = np.argwhere(cell > 75).mean(0)
            found.append((row + float(inside[0]), col + float(inside[1])))
    return found


def previews(count: int, repeats: int) -> dict[str, float]:
    """Click on a scene with so many objects; return milliseconds until the preview is there.

    Shown are about 1,500 pixels, with objects of the session in them. The clicks go to nine of
    the discs that the scene is made of, near their middles; tiles are encoded before.
    """
    from napari_sam.segment.objects import Candidate
    from napari_sam.widgets.samples import made_pyramid

    window = Window()
    levels = made_pyramid(SIDE)
    layer = window.viewer.add_image(levels, multiscale=True, contrast_limits=(0, 255), name="discs")
    window.sam.use(layer, "vit_nano")
    workplace = window.sam.ready()
    across = np.arange(-20, 21)
    disc = np.hypot(across[:, None], across[None]) <= 20
    side = math.ceil(math.sqrt(count))
    places = [(20 + 160 * (n // side), 20 + 160 * (n % side)) for n in range(count)]
    workplace.session.add_objects(
        [Candidate(row - 20, col - 20, disc, 0.9, 0.9, "grid") for row, col in places]
    )
    window.zoom_to(0, 0, 1500)
    random = np.random.default_rng(0)
    middles = discs_of(levels[0])
    for row, col in (*middles, (5, 5)):  # encodes what is clicked on, coarse levels too
        window.preview(row, col)
        window.clear()
    clicks = random.permutation(np.tile(middles, (math.ceil(repeats / len(middles)), 1)))
    clicks = clicks[:repeats] + random.uniform(-5, 5, (repeats, 2))
    assert window.sam.embedder is not None
    window.sam.embedder.stop()
    milliseconds = []
    for row, col in clicks:
        milliseconds.append(1e3 * window.preview(row, col))
        window.clear()
    window.viewer.close()
    return {
        "objects": count,
        "median ms": round(statistics.median(milliseconds), 1),
        "p95 ms": round(float(np.percentile(milliseconds, 95)), 1),
        "worst ms": round(max(milliseconds), 1),
    }


def lateness(seconds: float) -> dict[str, float]:
    """Return by how much a timer of 16 ms is late while tiles are encoded in the background."""
    from qtpy.QtCore import QTimer

    from napari_sam.widgets.samples import made_pyramid

    window = Window()
    layer = window.viewer.add_image(
        made_pyramid(SIDE), multiscale=True, contrast_limits=(0, 255), name="discs"
    )
    window.sam.use(layer, "vit_nano")
    window.sam.ready()
    run_for(2.0)  # what is drawn for the first time
    embedder = window.sam.embedder
    assert embedder is not None
    done = embedder.status.counts.done
    embedder.embed()
    late: list[float] = []
    last = time.perf_counter()

    def tick() -> None:
        nonlocal last
        now = time.perf_counter()
        late.append(1e3 * (now - last) - 16)
        last = now

    timer = QTimer()
    timer.setInterval(16)
    timer.timeout.connect(tick)
    timer.start()
    last = time.perf_counter()
    from qtpy.QtCore import QCoreApplication

    end = last + seconds
    while time.perf_counter() < end:
        QCoreApplication.processEvents()
        time.sleep(0.0005)
    timer.stop()
    encoded = embedder.status.counts.done - done
    window.viewer.close()
    return {
        "seconds": seconds,
        "tiles encoded": encoded,
        "median ms": round(statistics.median(late), 1),
        "p99 ms": round(float(np.percentile(late, 99)), 1),
        "worst ms": round(max(late), 1),
    }


def first_click(warm: bool) -> dict[str, float]:
    """Return the seconds from `use` of a fresh image, and from the click, to its first preview.

    The click is made as soon as the image is open. Warm is a process that has done it with another
    image before.
    """
    # A window for each: Mesa's software renderer crashes after layers of shapes are removed.
    windows = [Window() for _ in range(2 if warm else 1)]
    for number, window in enumerate(windows):
        random = np.random.default_rng(number)
        rows, cols = np.mgrid[:FRESH, :FRESH]
        inside = np.hypot(rows % _CELL - 128, cols % _CELL - 128) < 60
        pixels = (np.where(inside, 150, 40) + random.integers(0, 40, inside.shape)).astype(np.uint8)
        layer = window.viewer.add_image(pixels, name=f"fresh {number}")
        run_for(1.0)
        start = time.perf_counter()
        window.sam.use(layer, "vit_nano")
        window.sam.ready()
        opened = time.perf_counter() - start
        answered = window.preview(_CELL * 4 + 128, _CELL * 4 + 128)
    for window in windows:
        window.viewer.close()
    return {
        "warm": warm,
        "open s": round(opened, 2),
        "click to preview s": round(answered, 2),
        "use to preview s": round(opened + answered, 2),
    }


PARTS: dict[str, Callable[..., dict[str, float]]] = {
    "previews": previews,
    "lateness": lateness,
    "first_click": first_click,
}


def in_a_process(part: str, *arguments: float | bool) -> dict[str, float]:
    """Measure a part in a fresh process, with settings and data of its own."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, __file__, "--part", part, json.dumps(arguments)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "NAPARI_SAM_DATA": folder,
                "NAPARI_CONFIG": str(Path(folder) / "napari.yaml"),
            },
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print("  ".join(f"{name}: {value:g}" for name, value in found.items()), flush=True)
    return found


def rows_of(found: dict[str, list[dict[str, float]]]) -> list[tuple[str, float, float]]:
    """Return what is aimed at, what was measured, and the goal."""
    by_count = {row["objects"]: row for row in found["previews"]}
    few, many = by_count[COUNTS[0]], by_count[COUNTS[-1]]
    growth = 100 * (many["median ms"] / few["median ms"] - 1)
    measured = [
        ("preview p95, ms", max(row["p95 ms"] for row in found["previews"])),
        ("growth from 1 to 10,000, %", round(growth, 1)),
        ("timer late, ms", found["lateness"][0]["worst ms"]),
    ]
    measured += [("first click, s", row["use to preview s"]) for row in found["first_click"]]
    return [(name, value, _GOALS[name]) for name, value in measured]


def main() -> None:
    """Measure, print a table, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer clicks, a shorter run")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        name, arguments = options.part
        print(json.dumps(PARTS[name](*json.loads(arguments))))
        return
    from report import machine

    here = machine()
    print(json.dumps(here, indent=2), flush=True)
    found = {
        "previews": [in_a_process("previews", n, 15 if options.quick else 60) for n in COUNTS],
        "lateness": [in_a_process("lateness", 8 if options.quick else 30)],
        "first_click": [in_a_process("first_click", warm) for warm in (False, True)],
    }
    rows = rows_of(found)
    if options.json is not None:
        record = {"machine": here, "display": "Xvfb, drawn by the processor", **found}
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    print("\n| what | measured | goal |\n|---|---|---|")
    for name, value, goal in rows:
        print(f"| {name} | {value:g} | {goal:g} |")


if __name__ == "__main__":
    main()
