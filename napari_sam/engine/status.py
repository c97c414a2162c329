"""The rounds in numbers: what objects took, and how good the models are; as a table and drawn."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_sam.errors import InputError
from napari_sam.files.outputs import written_together
from src_model.training.evaluation.bootstrap import Estimate

from .importing import Costs, costs_of
from .project import Project
from .rounds import Round

__all__ = ["RoundRow", "draw_rounds", "round_rows", "set_rows"]

HEADLINE = "1 click"
"""The figure that decides: mean IoU of the mask shown after one click."""

AUTOMATIC = "AP@50"


@dataclass(frozen=True)
class RoundRow:
    """A round.

    Parameters
    ----------
    number : int
        From 1.
    regions : int
        That were proposed.
    kinds : mapping of str to int
        Objects in the sessions when they were imported, by who is behind them.
    costs : Costs or None
        What objects took; None before the import.
    quality : mapping of str to Estimate
        Figures of its model on the fixed hold-out, by name; empty before the training.
    base : mapping of str to Estimate
        Those of the base model.
    verdict, model : str
        Whether it is better than the base, and what it is called; empty before the training.
    """

    number: int
    regions: int
    kinds: Mapping[str, int]
    costs: Costs | None
    quality: Mapping[str, Estimate]
    base: Mapping[str, Estimate]
    verdict: str
    model: str


def round_rows(project: Project) -> list[RoundRow]:
    """Return all rounds of a project.

    Raises
    ------
    InputError
        If a file of a round is damaged.
    """
    rows, since = [], 0.0
    for one in project.rounds:
        proposed, imported, figures = one.proposed, one.imported, one.figures or {}
        objects = (
            [] if imported is None else [o for some in imported.objects.values() for o in some]
        )
        rows.append(
            RoundRow(
                one.number,
                0 if proposed is None else len(proposed.regions),
                dict(sorted(Counter(each.kind for each in objects).items())),
                None if imported is None else costs_of(imported, since),
                _quality(one, figures, "after"),
                _quality(one, figures, "before"),
                str(figures.get("verdict", "")),
                str(figures.get("model", "")),
            )
        )
        since = since if imported is None else imported.time
    return rows


def set_rows(rows: Sequence[RoundRow]) -> str:
    """Set rounds as a table; intervals are in brackets.

    Examples
    --------
    >>> costs = Costs(12, Estimate(2.5, 2.0, 3.0), None)
    >>> row = RoundRow(1, 8, {"automatic": 3, "person": 12}, costs, {}, {}, "", "")
    >>> print(set_rows([row]))
    round  regions  objects  by people   clicks/object  s/object  1 click IoU  AP@50  verdict
        1        8       15         12  2.5 [2.0, 3.0]                                not trained
    """
    head = ("round", "regions", "objects", "by people", "clicks/object", "s/object")
    titles = (*head, f"{HEADLINE} IoU", AUTOMATIC, "verdict")
    cells = [_cells(row) for row in rows]
    if rows and (first := next((row.base for row in rows if row.base), None)):
        base = (_said(first.get(HEADLINE), 2), _said(first.get(AUTOMATIC), 2))
        cells.insert(0, ("base", "", "", "", "", "", *base, ""))
    widths = [max(len(line[column]) for line in (titles, *cells)) for column in range(len(titles))]
    lines = []
    for line in (titles, *cells):
        parts = [text.rjust(width) for text, width in zip(line[:-1], widths, strict=False)]
        lines.append("  ".join([*parts, line[-1]]).rstrip())
    return "\n".join(lines)


def draw_rounds(rows: Sequence[RoundRow], path: Path) -> None:
    """Draw seconds and clicks for an object, and the quality, over the rounds, with intervals.

    Parameters
    ----------
    rows : sequence of RoundRow
        Of a project.
    path : Path
        Of the picture, a PNG; it is replaced when the new one is whole.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    costs = [(row.number, row.costs) for row in rows if row.costs is not None]
    _draw(axes[0], {"": [(number, one.seconds) for number, one in costs]}, "seconds for an object")
    _draw(axes[1], {"": [(number, one.clicks) for number, one in costs]}, "clicks for an object")
    quality: dict[str, list[tuple[int, Estimate | None]]] = {}
    for name in (HEADLINE, AUTOMATIC):
        base = next((row.base[name] for row in rows if name in row.base), None)
        found = [(row.number, row.quality.get(name)) for row in rows]
        if base is not None:
            quality[name] = [(0, base), *found]
    _draw(axes[2], quality, "quality on the hold-out (0: the base)")
    axes[2].set_ylim(0, 1)
    for ax in axes:
        ax.set_xlabel("round")
        ax.set_xticks(range(0 if ax is axes[2] else 1, max([1, *(row.number for row in rows)]) + 1))
    try:
        with written_together(path) as (partial,):
            figure.savefig(partial, format="png", dpi=110)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}).") from error


def _draw(ax: Any, curves: Mapping[str, Sequence[tuple[int, Estimate | None]]], title: str) -> None:
    for name, points in curves.items():
        there = [(number, one) for number, one in points if one is not None]
        if not there:
            continue
        numbers, values = [number for number, _ in there], [one.value for _, one in there]
        below, above = (
            [0.0 if math.isnan(end) else end for end in ends]
            for ends in (
                [one.value - one.low for _, one in there],
                [one.high - one.value for _, one in there],
            )
        )
        label = {"1 click": "mean IoU, 1 click"}.get(name, name)
        # A percentile interval need not hold the value itself.
        spread = [[max(0.0, end) for end in ends] for ends in (below, above)]
        ax.errorbar(numbers, values, yerr=spread, marker="o", capsize=4, label=label or None)
        if label:
            ax.legend()
    if not ax.lines:
        ax.text(0.5, 0.5, "not known yet", ha="center", transform=ax.transAxes, color="grey")
    ax.set_ylim(bottom=0)
    ax.set_title(title)


def _cells(row: RoundRow) -> tuple[str, ...]:
    people = 0 if row.costs is None else row.costs.objects
    clicks, seconds = (None, None) if row.costs is None else (row.costs.clicks, row.costs.seconds)
    waiting = "not imported" if row.costs is None else "not trained"
    return (
        str(row.number),
        str(row.regions),
        str(sum(row.kinds.values())),
        str(people),
        _said(clicks, 1),
        _said(seconds, 1),
        _said(row.quality.get(HEADLINE), 2),
        _said(row.quality.get(AUTOMATIC), 2),
        row.verdict or waiting,
    )


def _said(estimate: Estimate | None, digits: int) -> str:
    if estimate is None or math.isnan(estimate.value):
        return ""
    if math.isnan(estimate.low):
        return f"{estimate.value:.{digits}f}"
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def _quality(one: Round, figures: Mapping[str, Any], side: str) -> dict[str, Estimate]:
    try:
        return {
            str(name): Estimate(*(_number(both[side][end]) for end in ("value", "low", "high")))
            for name, both in figures.get("quality", {}).items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{one.folder / 'figures.json'} is damaged ({error}): remove it, and train the round "
            f"again."
        ) from error


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
