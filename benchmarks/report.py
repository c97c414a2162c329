"""Figures of one comparison, a table of them, and the machine they were measured on."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Figure:
    """Seconds of theirs and ours for the same work; ``goal`` is the ratio aimed at."""

    what: str
    theirs: float
    ours: float
    goal: float
    note: str = ""

    @property
    def ratio(self) -> float:
        return self.theirs / self.ours


def alternate(repeats: int, **tasks: Callable[[], object]) -> dict[str, float]:
    """Run the tasks in turn, once to warm up and then ``repeats`` times; return median seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(repeats + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def machine() -> dict[str, object]:
    """Return what a reader needs to judge the figures."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    versions = {}
    for package in ("torch", "transformers", "openvino", "numpy"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        # 0 on a machine that was quiet beforehand
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else "unknown",
        "amx": bool(torch.cpu._is_amx_tile_supported()),
        "system": platform.system(),
        "python": platform.python_version(),
        **versions,
    }


def table(figures: list[Figure]) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        "| what | `transformers` float32 | ours | ratio | goal | |",
        "|---|---|---|---|---|---|",
    ]
    for f in figures:
        lines.append(
            f"| {f.what} | {_seconds(f.theirs)} | {_seconds(f.ours)} | {f.ratio:.1f}× "
            f"| {f.goal:g}× | {f.note} |"
        )
    return "\n".join(lines)


def write_json(path: Path, figures: list[Figure], measured_on: dict[str, object]) -> None:
    """Write figures and machine."""
    record = {
        "machine": measured_on,
        "figures": [asdict(f) | {"ratio": round(f.ratio, 2)} for f in figures],
    }
    path.write_text(json.dumps(record, indent=2) + "\n")


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.0f} ms"
