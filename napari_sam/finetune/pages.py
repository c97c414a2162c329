"""What reports have in common: figures as text and for JSON, one page of HTML, two files."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam.errors import InputError
from napari_sam.files.outputs import check_output_folder, written_together

if TYPE_CHECKING:
    from src_model.training.evaluation.bootstrap import Estimate
    from src_model.training.evaluation.calibration import Calibration

__all__ = [
    "align",
    "calibration_dict",
    "definition_list",
    "estimate_dict",
    "number",
    "page",
    "set_estimate",
    "swatch",
    "table",
    "write_page_and_json",
]


def number(value: float) -> float | None:
    """Round a figure for JSON, which has no NaN.

    Examples
    --------
    >>> number(1 / 3), number(float("nan"))
    (0.33333, None)
    """
    return None if math.isnan(value) else round(value, 5)


def estimate_dict(estimate: Estimate) -> dict[str, float | None]:
    """Return a figure and its interval, ready for JSON."""
    return {
        "value": number(estimate.value),
        "low": number(estimate.low),
        "high": number(estimate.high),
    }


def calibration_dict(found: Calibration) -> dict[str, Any]:
    """Return predicted against measured IoU, ready for JSON."""
    return {
        "masks": found.count,
        "mean_error": number(found.error),
        "bias": number(found.bias),
        "expected_error": number(found.expected_error),
        "constant_error": number(found.constant_error),
        "bins": [
            {
                "low": each.low,
                "high": each.high,
                "masks": each.count,
                "predicted": number(each.predicted),
                "measured": number(each.measured),
            }
            for each in found.bins
        ],
    }


def set_estimate(estimate: Estimate, digits: int = 3, sign: bool = False) -> str:
    """Set a figure with its interval, if it has one.

    Parameters
    ----------
    estimate : Estimate
        The figure.
    digits : int
        Behind the point.
    sign : bool
        Whether a plus stands before what is above 0.

    Examples
    --------
    >>> from src_model.training.evaluation.bootstrap import Estimate
    >>> set_estimate(Estimate(0.25, 0.125, 0.5), 2), set_estimate(Estimate(2, -1, 3), 0, sign=True)
    ('0.25 [0.12, 0.50]', '+2 [-1, +3]')
    """
    plus = "+" if sign else ""
    value, low, high = (
        f"{round(each, digits) + 0.0:{plus}.{digits}f}"  # no "-0.000"
        for each in (estimate.value, estimate.low, estimate.high)
    )
    return value if math.isnan(estimate.low) else f"{value} [{low}, {high}]"


def align(lines: Sequence[Sequence[str]]) -> str:
    """Set rows in columns for a terminal: the first to the left, others to the right.

    Examples
    --------
    >>> print(align([["", "a"], ["cell", "0.5"]]))
              a
      cell  0.5
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            [
                f"  {line[0]:{widths[0]}}",
                *(f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True)),
            ]
        )
        for line in lines
    )


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], classes: Sequence[str] | None = None
) -> str:
    """Return a table of HTML.

    Parameters
    ----------
    header : sequence of str
        Plain text, as all of it is.
    rows : sequence of sequence of str
        The first cell of each says what the row is about.
    classes : sequence of str, optional
        Class of each row, for the style.

    Examples
    --------
    >>> table(["", "a"], [["x", "<1"]])
    '<table><tr><th></th><th>a</th></tr><tr><th>x</th><td>&lt;1</td></tr></table>'
    """
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    lines = []
    for row, name in zip(rows, classes or [""] * len(rows), strict=True):
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        mark = f' class="{html.escape(name)}"' if name else ""
        lines.append(f"<tr{mark}><th>{html.escape(row[0])}</th>{cells}</tr>")
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def definition_list(about: Mapping[str, str | int]) -> str:
    """Return names and what they stand for as HTML."""
    rows = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd>"
        for name, value in about.items()
    )
    return f"<dl>{rows}</dl>"


def swatch(colour: tuple[int, int, int]) -> str:
    """Return a dot of a colour as HTML."""
    return f'<span class="swatch" style="background:rgb{colour}"></span>'


def page(title: str, body: str) -> str:
    """Return a page that needs no other file, light or dark as the reader has it.

    Parameters
    ----------
    title : str
        Plain text.
    body : str
        HTML.
    """
    return _PAGE.format(title=html.escape(title), body=body)


def write_page_and_json(
    folder: Path, stem: str, content: Mapping[str, Any], text: str
) -> tuple[Path, Path]:
    """Write ``stem.json`` and ``stem.html``: both or none.

    Parameters
    ----------
    folder : Path
        Created if absent. Earlier files of these names are replaced.
    stem : str
        What the files are called.
    content : mapping
        For JSON.
    text : str
        The page.

    Returns
    -------
    (json, page) : tuple of Path

    Raises
    ------
    InputError
        If the folder cannot be written to, or the disk is full.
    """
    check_output_folder(folder)
    paths = folder / f"{stem}.json", folder / f"{stem}.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with written_together(*paths) as (data, shown):
            data.write_text(
                json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
                encoding="utf-8",
            )
            shown.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"The report cannot be written to {folder}: {error.strerror or error}."
        ) from error
    return paths


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --good: light-dark(#0a7d33, #4cc472);
  --bad: light-dark(#b3261e, #ff8a80); }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto;
  padding: 0 1rem; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; display: block;
  overflow-x: auto; font-size: 0.9rem; }}
th, td {{ padding: 0.2rem 0.7rem; text-align: right; border-bottom: 1px solid #8884;
  white-space: nowrap; }}
th:first-child {{ text-align: left; }}
dl {{ display: grid; grid-template-columns: max-content auto; gap: 0 1rem; }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
h2 {{ margin-top: 2.5rem; }}
.cases {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: 1rem; }}
.cases.wide {{ grid-template-columns: repeat(auto-fill, minmax(28rem, 1fr)); }}
figure {{ margin: 0; }}
img {{ max-width: 100%; }}
.swatch {{ display: inline-block; width: 0.9em; height: 0.9em; border-radius: 50%;
  border: 1px solid #888; vertical-align: -0.1em; }}
.verdict {{ font-size: 1.2rem; padding: 0.8rem 1.2rem; border-left: 0.4rem solid #888;
  background: #8881; }}
.verdict.better {{ border-color: var(--good); }}
.verdict.worse {{ border-color: var(--bad); }}
tr.better td:nth-child(n+4):nth-child(-n+5) {{ color: var(--good); }}
tr.worse td:nth-child(n+4):nth-child(-n+5) {{ color: var(--bad); }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
