"""The figures of a training run as curves, and the marks beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_sam.finetune.curves import smooth

__all__ = ["Curve", "curve_of", "ticks"]

_POINTS = 400
"""More are not seen."""


@dataclass(frozen=True)
class Curve:
    """One line of a drawing.

    Parameters
    ----------
    name : str
        What it is.
    steps, values : tuple of float
        As many of each, at least one.
    marked : bool
        Whether each value is marked, as one of few.
    """

    name: str
    steps: tuple[float, ...]
    values: tuple[float, ...]
    marked: bool = False


def curve_of(
    rows: Sequence[Mapping[str, Any]], key: str, name: str, marked: bool = False
) -> Curve | None:
    """Take one figure out of rows that have a ``step``; None if none has it.

    Unmarked curves are smoothed and thinned: single steps see other pictures each time.

    Examples
    --------
    >>> curve_of([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}], "loss", "loss", True)
    Curve(name='loss', steps=(1.0, 2.0), values=(2.0, 1.0), marked=True)
    """
    points = np.array([(row["step"], row[key]) for row in rows if key in row], np.float64)
    points = points.reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return None
    steps, values = points.T
    if not marked:
        values = smooth(values)
        chosen = np.unique(np.linspace(0, len(steps) - 1, _POINTS).round().astype(int))
        steps, values = steps[chosen], values[chosen]
    return Curve(name, tuple(steps.tolist()), tuple(values.tolist()), marked)


def ticks(low: float, high: float, count: int = 4) -> tuple[float, ...]:
    """Return round numbers, evenly spaced, that reach from below `low` to above `high`.

    Examples
    --------
    >>> ticks(0.13, 0.58)
    (0.0, 0.2, 0.4, 0.6)
    >>> ticks(5, 5)
    (5.0, 5.5, 6.0)
    """
    if high - low < 1e-9 * max(1.0, abs(high)):
        high = low + 1
    rough = (high - low) / max(1, count - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(number * step, 10) for number in range(first, max(last, first + 1) + 1))
