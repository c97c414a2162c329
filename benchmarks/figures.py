"""Figures with their goals: a table to read, a file of JSON to keep."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from report import machine


@dataclass(frozen=True)
class Figure:
    """One figure; ``goal`` is what it should be at most, or in words."""

    what: str
    value: float
    unit: str = ""
    goal: str = ""
    note: str = ""


def table(figures: list[Figure]) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| what | value | goal | |", "|---|---|---|---|"]
    for figure in figures:
        digits = "d" if figure.value == int(figure.value) else ".3f"
        value = f"{int(figure.value) if digits == 'd' else figure.value:{digits}}"
        lines.append(f"| {figure.what} | {value} {figure.unit} | {figure.goal} | {figure.note} |")
    return "\n".join(lines)


def machine_here() -> dict[str, Any]:
    """Tell the machine, and print it."""
    here = machine()
    if hasattr(os, "sched_getaffinity"):
        here["cores it may use"] = len(os.sched_getaffinity(0))
    print(json.dumps(here, indent=2), flush=True)
    return here


def save(path: Path | None, here: dict[str, Any], figures: list[Figure]) -> None:
    """Write figures as JSON, if it is said where."""
    if path is not None:
        record = {"machine": here, "figures": [asdict(figure) for figure in figures]}
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
