"""A comparison as tables, a page with pictures, and JSON."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam.finetune.changes import LEAST_PICTURES
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
    number,
    page,
    set_estimate,
    swatch,
    table,
    write_page_and_json,
)
from napari_sam.finetune.verdict import HEADLINE, NOT_WORSE, forgetting_sentence

if TYPE_CHECKING:
    from napari_sam.finetune.changed_objects import ChangedObject
    from napari_sam.finetune.changes import Change, Group, Marker
    from napari_sam.finetune.comparison import Comparison
    from src_model.training.evaluation import ScoreKey
    from src_model.training.evaluation.calibration import Calibration

__all__ = [
    "TABLE_HEADER",
    "BeforeAfterPaths",
    "TableRow",
    "comparison_text",
    "group_rows",
    "score_rows",
    "write_comparison",
]

TABLE_HEADER = ("", "before", "after", "difference", "", "disc", "box")
"""Of the tables of `score_rows` and `group_rows`."""

_NAMES = {
    "best of three": "mean IoU, best of three",
    "best predicted": "mean IoU, mask shown",
    "single mask": "mean IoU, single mask",
    "boundary F": "boundary F",
    "clicks": "clicks needed",
    "reached": "objects that reach it",
    "mean error": "mean error",
}

_FLOORS = {"boundary F": "boundary F floor: {}", "reached": "floor: {} reaches"}

_MARKS: dict[Marker, str] = {"better": "better", "worse": "worse", "same": ""}


@dataclass(frozen=True)
class TableRow:
    """A line of a table.

    Attributes
    ----------
    cells : tuple of str
        What it is about, before, after, difference, what the difference means, and the floors: as
        many as `TABLE_HEADER` has.
    marker : {"better", "worse", "same"}
        What the interval of the difference says.
    """

    cells: tuple[str, ...]
    marker: Marker


@dataclass(frozen=True)
class BeforeAfterPaths:
    """Where a comparison was written.

    Attributes
    ----------
    json, html : Path
        All figures, and a page to read.
    """

    json: Path
    html: Path


def score_rows(group: Group) -> list[TableRow]:
    """Return every figure of some objects as a line of text.

    Parameters
    ----------
    group : Group
        These objects.

    Returns
    -------
    list of TableRow
        Under `TABLE_HEADER`; the floors are empty where there is none.
    """
    return [_row(_said(key), key, group) for key in group.changes]


def group_rows(groups: Sequence[Group], key: ScoreKey = HEADLINE) -> list[TableRow]:
    """Return one figure of several groups of objects as lines of text.

    Parameters
    ----------
    groups : sequence of Group
        Such as the classes of a comparison.
    key : ScoreKey
        Which figure.

    Returns
    -------
    list of TableRow
        Under `TABLE_HEADER`.
    """
    return [
        _row(f"{group.name}: {_count(group.objects, 'object')}", key, group) for group in groups
    ]


def write_comparison(
    folder: Path,
    comparison: Comparison,
    forgetting: Comparison | None,
    about: Mapping[str, str | int],
) -> BeforeAfterPaths:
    """Write ``before_after.json`` and ``before_after.html``: both or none.

    Parameters
    ----------
    folder : Path
        Created if absent. Earlier reports are replaced.
    comparison : Comparison
        On pictures that were not trained on.
    forgetting : Comparison, optional
        The same on `default_validation`.
    about : mapping of str to str or int
        What was compared: the models, the data.

    Returns
    -------
    BeforeAfterPaths

    Raises
    ------
    InputError
        If the folder cannot be written to, or the disk is full.
    """
    content = comparison_dict(comparison, forgetting, about)
    text = comparison_page(comparison, forgetting, about)
    return BeforeAfterPaths(*write_page_and_json(folder, "before_after", content, text))


def comparison_text(comparison: Comparison) -> str:
    """Return all figures, then those of classes and sizes that decide, as plain text."""
    group = comparison.overall
    rows = [TABLE_HEADER, *(row.cells for row in score_rows(group))]
    blocks = [*comparison.notes, f"{_basis(group)}\n{align(rows)}"]
    parts = [group for group in comparison.groups if group.kind != "all"]
    if parts:
        rows = [TABLE_HEADER, *(row.cells for row in group_rows(parts))]
        blocks.append(f"The mask after one click\n{align(rows)}")
    return "\n\n".join([*blocks, _calibration_sentence(comparison.calibration)])


def comparison_dict(
    comparison: Comparison, forgetting: Comparison | None, about: Mapping[str, str | int]
) -> dict[str, Any]:
    """Return everything but the pictures, ready for JSON; what is not known is None."""
    content = {
        "about": dict(about),
        "verdict": {
            "better": comparison.verdict.better,
            "reason": comparison.verdict.reason,
            "sentence": comparison.verdict.sentence,
        },
        **_found_dict(comparison),
    }
    if forgetting is not None:
        sentence = forgetting_sentence(forgetting.overall)
        content["forgetting"] = {"sentence": sentence, **_found_dict(forgetting)}
    return content


def comparison_page(
    comparison: Comparison, forgetting: Comparison | None, about: Mapping[str, str | int]
) -> str:
    """Return one page that needs no other file."""
    verdict = comparison.verdict
    kind = "better" if verdict.better else "worse" if verdict.reason == "worse" else ""
    body = [
        "<h1>Before and after</h1>",
        f'<p class="verdict {kind}">{html.escape(verdict.sentence)}</p>',
        definition_list(about),
        *(f"<p>{html.escape(note)}</p>" for note in comparison.notes),
        f"<h2>All figures</h2><p>{_basis(comparison.overall)}</p>",
        _html_rows(score_rows(comparison.overall)),
        f"<p>{html.escape(_calibration_sentence(comparison.calibration))}</p>",
    ]
    for name, title in (("class", "By class"), ("size", "By size")):
        groups = [group for group in comparison.groups if group.kind == name]
        if groups:
            body.append(f"<h2>{title}</h2>")
            for key, said in ((HEADLINE, "the mask after one click"), *NOT_WORSE.items()):
                if key in groups[0].changes:
                    body.append(f"<h3>Mean IoU of {html.escape(said)}</h3>")
                    body.append(_html_rows(group_rows(groups, key)))
    body.append(
        "<h2>The objects that changed most</h2><p>Side by side the truth, the mask after one click "
        "before, and after, by the IoU of these two. "
        f"Truth {swatch(TRUTH_COLOUR)}, mask {swatch(PREDICTION_COLOUR)}, click "
        f"{swatch(CLICK_COLOURS[True])}. Contrast is stretched.</p>"
    )
    for title, cases in (("improved", comparison.improved), ("worsened", comparison.worsened)):
        body.append(f"<h3>Most {title}</h3>")
        shown = "".join(map(_figure, cases)) or f"<p>No object has {title}.</p>"
        body.append(f'<div class="cases wide">{shown}</div>')
    if forgetting is not None:
        body.append("<h2>What was forgotten</h2>")
        body.append(f"<p>{html.escape(forgetting_sentence(forgetting.overall))}</p>")
        body.append(f"<p>{_basis(forgetting.overall)}</p>")
        body.append(_html_rows(score_rows(forgetting.overall)))
    return page(f"Before and after: {verdict.words}", "\n".join(body))


def _row(name: str, key: ScoreKey, group: Group) -> TableRow:
    change = group.changes[key]
    digits = 1 if key[1] == "clicks" else 3
    return TableRow(
        (
            name,
            set_estimate(change.before, digits),
            set_estimate(change.after, digits),
            set_estimate(change.difference, digits, sign=True),
            _MARKS[change.marker],
            *(_floor(key, floor, group) for floor in ("disc", "box")),
        ),
        change.marker,
    )


def _floor(key: ScoreKey, floor: str, group: Group) -> str:
    named = _FLOORS.get(key[1], "floor: {}").format(floor)
    value = None if key[1] == "clicks" else group.floors.get((key[0], named))
    return "" if value is None else f"{value:.3f}"


def _said(key: ScoreKey) -> str:
    """Say what is measured."""
    prompt, measure = key
    return prompt if measure == "model" else f"{prompt}: {_NAMES[measure]}"


def _basis(group: Group) -> str:
    """Say what the figures rest on."""
    words = f"{_count(group.objects, 'object')} of {_count(group.pictures, 'picture')}."
    if group.pictures == 1:
        return f"{words} One picture says nothing of others: there are no intervals."
    return (
        f"{words} In brackets 95 % intervals over pictures; that of a difference is paired, and on "
        f"fewer than {LEAST_PICTURES} pictures it is not called better or worse. Disc and box are "
        "what the best disc around the click and the filled box reach without a model."
    )


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _calibration_sentence(both: tuple[Calibration, Calibration]) -> str:
    before, after = (
        f"{abs(each.bias):.3f} too {'high' if each.bias > 0 else 'low'} on average (expected "
        f"calibration error {each.expected_error:.3f})"
        for each in both
    )
    return f"Predicted IoU after one click was {before}, and is {after}."


def _html_rows(rows: Sequence[TableRow]) -> str:
    return table(TABLE_HEADER, [row.cells for row in rows], [row.marker for row in rows])


def _figure(case: ChangedObject) -> str:
    name, caption = html.escape(case.picture), html.escape(case.caption)
    return (
        f'<figure><img src="{png_data_uri(case.drawing)}" alt="an object of {name}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _found_dict(comparison: Comparison) -> dict[str, Any]:
    before, after = comparison.calibration
    return {
        "groups": [_group_dict(group) for group in comparison.groups],
        "calibration": {"before": calibration_dict(before), "after": calibration_dict(after)},
        "improved": [_case_dict(case) for case in comparison.improved],
        "worsened": [_case_dict(case) for case in comparison.worsened],
        "notes": list(comparison.notes),
    }


def _group_dict(group: Group) -> dict[str, Any]:
    scores: dict[str, dict[str, Any]] = {}
    for (prompt, measure), change in group.changes.items():
        scores.setdefault(prompt, {})[measure] = _change_dict(change)
    for (prompt, measure), value in group.floors.items():
        scores.setdefault(prompt, {})[measure] = {"value": number(value)}
    return {
        "name": group.name,
        "kind": group.kind,
        "pictures": group.pictures,
        "objects": group.objects,
        "scores": scores,
    }


def _change_dict(change: Change) -> dict[str, Any]:
    return {
        "before": estimate_dict(change.before),
        "after": estimate_dict(change.after),
        "difference": estimate_dict(change.difference),
        "marker": change.marker,
    }


def _case_dict(case: ChangedObject) -> dict[str, Any]:
    return {
        "picture": case.picture,
        "row": case.row,
        "col": case.col,
        "area_px": case.area,
        "iou_before": round(case.iou_before, 4),
        "iou_after": round(case.iou_after, 4),
    }
