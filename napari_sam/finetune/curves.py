"""The figures of a training run as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["draw_curves", "smooth"]


_STYLES: dict[str, dict[str, Any]] = {
    "training": {"alpha": 0.5},
    "validation": {"marker": "o"},
    "hold-out": {"marker": "s", "linestyle": "--"},
}


def draw_curves(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Draw training and validation figures over the steps.

    Parameters
    ----------
    path : Path
        Of the PNG, whatever its suffix.
    lines : sequence of mapping
        As in ``metrics.jsonl``: ``step``, ``kind`` ("training", "validation" or "hold-out"),
        and figures.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in dict.fromkeys(k for line in lines for k in line) if _is_score(name)]
    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for number, name in enumerate(names):
        for kind, style in _STYLES.items():
            points = [(x["step"], x[name]) for x in lines if x["kind"] == kind and name in x]
            if points:
                steps, values = np.array(points, float).T
                if kind == "training":
                    values = smooth(values)
                label = f"{name} ({kind})"
                right.plot(steps, values, color=f"C{number}", label=label, **style)
    for name in ("loss", "dense"):
        points = [(x["step"], x[name]) for x in lines if x["kind"] == "training" and name in x]
        if points:
            steps, values = np.array(points, float).T
            left.plot(steps, smooth(values), label=name)
    left.set(xlabel="step", title="loss")
    right.set(xlabel="step", title="mean IoU")
    for axes in (left, right):
        if axes.has_data():
            axes.legend(fontsize="x-small")
            axes.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=100)


def _is_score(name: str) -> bool:
    return name not in ("step", "kind", "loss", "dense", "gradient", "rate", "seconds")


def smooth(values: np.ndarray, most: int = 25) -> np.ndarray:
    """Average over up to ``most`` neighbours: single steps see other images each time."""
    reach = max(1, min(most, len(values) // 10))
    kernel = np.ones(reach)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones_like(values), kernel, "same")
