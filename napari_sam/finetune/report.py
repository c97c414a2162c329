"""What an evaluation leaves behind: tables for the terminal, JSON, and one page with pictures."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam.finetune.drawing import (
    CLICK_COLOURS,
    PREDICTION_COLOUR,
    TRUTH_COLOUR,
    png_data_uri,
)
from napari_sam.finetune.pages import (
    align,
    calibration_dict,
    definition_list,
    estimate_dict,
    page,
    set_estimate,
    swatch,
    table,
    write_page_and_json,
)
from napari_sam.finetune.worst_cases import WorstCase

if TYPE_CHECKING:
    from src_model.training.evaluation import Summary
    from src_model.training.evaluation.bootstrap import Estimate

__all__ = ["EvaluationReport", "write_report"]

_PROMPTS = ("1 click", "2 clicks", "3 clicks", "5 clicks", "8 clicks", "box", "jittered box")

_TABLES = (
    (
        "Mean IoU",
        "best predicted is the mask a user sees; best of three needs to know the truth",
        _PROMPTS,
        ("best of three", "best predicted", "single mask", "floor: disc", "floor: box"),
    ),
    (
        "Boundary F",
        "of the best predicted mask, within 0.8 % of the picture's diagonal",
        _PROMPTS,
        ("boundary F", "boundary F floor: disc", "boundary F floor: box"),
    ),
    (
        "Clicks needed",
        "for an IoU of 0.85 and 0.90; 20 where 20 are not enough, and how often fewer are",
        ("NoC@85", "NoC@90"),
        ("clicks", "reached", "floor: disc reaches", "floor: box reaches"),
    ),
    (
        "Found without a prompt",
        "AP is TP / (TP + FP + FN); the floors know where each object is",
        ("AP@50", "AP@75", "mean AP", "AR@100", "AR@1000", "coverage"),
        ("model", "floor: disc", "floor: box"),
    ),
)


@dataclass(frozen=True)
class EvaluationReport:
    """An evaluation, ready to be written.

    Attributes
    ----------
    about : mapping of str to str or int
        What was evaluated and how: the model, its hash, the data, versions.
    summaries : mapping of str to Summary
        By group of pictures; "all" is the first.
    worst : sequence of WorstCase
        The worst outlined objects, worst first.
    """

    about: Mapping[str, str | int]
    summaries: Mapping[str, Summary]
    worst: Sequence[WorstCase]

    def to_text(self) -> str:
        """Return the tables of all groups as plain text."""
        blocks = []
        for group, summary in self.summaries.items():
            blocks.append(f"{group}: {_size(summary)}")
            for title, note, header, rows in _filled_tables(summary):
                blocks.append(f"{title} ({note})\n{align([header, *rows])}")
            blocks.append(_calibration_sentence(summary))
        return "\n\n".join(blocks)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pictures, ready for JSON; what is not known is None."""
        return {
            "about": dict(self.about),
            "groups": {group: _summary_dict(s) for group, s in self.summaries.items()},
            "worst": [
                {
                    "picture": case.picture,
                    "row": case.row,
                    "col": case.col,
                    "area_px": case.area,
                    "iou_after_clicks": [round(iou, 4) for iou in case.ious],
                }
                for case in self.worst
            ],
        }

    def to_html(self) -> str:
        """Return one page that needs no other file."""
        body = [f"<h1>{html.escape(str(self.about['model']))}</h1>", definition_list(self.about)]
        for group, summary in self.summaries.items():
            body.append(f"<h2>{html.escape(group)}</h2><p>{_size(summary)}</p>")
            for title, note, header, rows in _filled_tables(summary):
                body.append(f"<h3>{title}</h3><p>{html.escape(note)}</p>{table(header, rows)}")
            body.append(f"<h3>Predicted IoU</h3><p>{_calibration_sentence(summary)}</p>")
            body.append(_calibration_table(summary))
        body.append("<h2>The worst outlined objects</h2>")
        body.append(
            f"<p>Truth {swatch(TRUTH_COLOUR)}, mask after the last click shown "
            f"{swatch(PREDICTION_COLOUR)}; clicks on the object {swatch(CLICK_COLOURS[True])} "
            f"and beside it {swatch(CLICK_COLOURS[False])}, numbered. Contrast is stretched.</p>"
        )
        body.append(f'<div class="cases">{"".join(map(_figure, self.worst))}</div>')
        return page(f"Evaluation of {self.about['model']}", "\n".join(body))


def write_report(folder: Path, report: EvaluationReport) -> tuple[Path, Path]:
    """Write ``evaluation.json`` and ``evaluation.html``: both or none.

    Parameters
    ----------
    folder : Path
        Created if absent. Earlier reports are replaced.
    report : EvaluationReport
        What to write.

    Returns
    -------
    (json, page) : tuple of Path

    Raises
    ------
    InputError
        If the folder cannot be written to, or the disk is full.
    """
    return write_page_and_json(folder, "evaluation", report.to_dict(), report.to_html())


def _size(summary: Summary) -> str:
    pictures, objects = (
        f"{count} {noun}{'' if count == 1 else 's'}"
        for count, noun in ((summary.pictures, "picture"), (summary.objects, "prompted object"))
    )
    interval = "in brackets 95 % intervals over pictures"
    return f"{pictures}, {objects}" + (f"; {interval}" if summary.pictures > 1 else "")


def _filled_tables(
    summary: Summary,
) -> list[tuple[str, str, list[str], list[list[str]]]]:
    """Return title, note, header and rows of each table of which anything was measured."""
    tables = []
    for title, note, rows, columns in _TABLES:
        present = [row for row in rows if (row, columns[0]) in summary.estimates]
        if present:
            lines = [
                [row, *(_cell(column, summary.estimates[row, column]) for column in columns)]
                for row in present
            ]
            header = ["", *(column.removeprefix("boundary F ") for column in columns)]
            tables.append((title, note, header, lines))
    return tables


def _cell(column: str, estimate: Estimate) -> str:
    """Set a figure, with its interval unless it is a floor's."""
    digits = 1 if column == "clicks" else 3
    if "floor" in column:
        return f"{estimate.value:.{digits}f}"
    return set_estimate(estimate, digits)


def _calibration_sentence(summary: Summary) -> str:
    found = summary.calibration
    error = _cell("error", summary.estimates["predicted IoU", "mean error"])
    direction = "high" if found.bias > 0 else "low"
    return (
        f"Predicted IoU after one click is {error} off on average (always saying the median would "
        f"be {found.constant_error:.3f} off), {abs(found.bias):.3f} too {direction} on average; "
        f"expected calibration error {found.expected_error:.3f}."
    )


def _summary_dict(summary: Summary) -> dict[str, Any]:
    scores: dict[str, dict[str, Any]] = {}
    for (prompt, measure), estimate in summary.estimates.items():
        scores.setdefault(prompt, {})[measure] = estimate_dict(estimate)
    return {
        "pictures": summary.pictures,
        "objects": summary.objects,
        "scores": scores,
        "calibration": calibration_dict(summary.calibration),
    }


def _calibration_table(summary: Summary) -> str:
    rows = [
        [
            f"{each.low:.1f} to {each.high:.1f}",
            str(each.count),
            f"{each.predicted:.3f}",
            f"{each.measured:.3f}",
        ]
        for each in summary.calibration.bins
        if each.count
    ]
    return table(["predicted IoU", "masks", "mean predicted", "mean measured"], rows)


def _figure(case: WorstCase) -> str:
    ious = ", ".join(f"{iou:.2f}" for iou in case.ious)
    name = html.escape(case.picture)
    caption = (
        f"{name}, row {case.row}, column {case.col}, {case.area} px<br>IoU after each click: {ious}"
    )
    return (
        f'<figure><img src="{png_data_uri(case.drawing)}" alt="an object of {name}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
