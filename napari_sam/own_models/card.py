"""What a model of one's own is: what it came from, was taught with, and is worth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

__all__ = ["ModelCard"]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class ModelCard:
    """What is known of a fine-tuned model. All but the base may be left out.

    Parameters
    ----------
    base : str
        Name or file of the model that it began as; of a path the last part is kept.
    base_hash : str
        `src_model.weight_files.model_hash` of that.
    method : str
        How it was taught: ``"decoder"``, ``"lora"``, ``"full"``, ``"mae"``.
    data : mapping
        What with: version of the dataset, sources, counts; plain JSON.
    hold_out : mapping
        What it was measured on, and never taught with; plain JSON.
    before, after : mapping of str to float
        Figures on the hold-out of the base, and of this model, by the same names.
    verdict : str
        ``"better"``, or ``"no better"`` and why.
    licence : str
        Of the base's weights, which holds for these too.
    created : str
        Date and time in UTC, ISO 8601; now, if it is not given.
    note : str
        Whatever else a person should know.

    Examples
    --------
    >>> card = ModelCard("vit_nano", "0" * 64, "decoder", before={"IoU, one click": 0.61},
    ...                  after={"IoU, one click": 0.74}, created="2026-01-02T03:04:05+00:00")
    >>> print(card.to_markdown("cells-1"))
    # cells-1
    <BLANKLINE>
    | | |
    |---|---|
    | base | vit_nano (hash 000000000000) |
    | method | decoder |
    | created | 2026-01-02T03:04:05+00:00 |
    <BLANKLINE>
    ## Measured on the hold-out
    <BLANKLINE>
    | figure | before | after |
    |---|---:|---:|
    | IoU, one click | 0.610 | 0.740 |
    <BLANKLINE>
    """

    base: str
    base_hash: str = ""
    method: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    hold_out: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)
    verdict: str = ""
    licence: str = ""
    created: str = field(default_factory=_now)
    note: str = ""

    def __post_init__(self) -> None:
        # Whoever gets the card has other folders, and need not know these.
        object.__setattr__(self, "base", self.base.replace("\\", "/").rsplit("/", 1)[-1])

    def to_json(self) -> dict[str, Any]:
        """Return what is saved: plain JSON, whatever numbers and paths were given."""
        figures = {
            name: {figure: float(value) for figure, value in given.items()}
            for name, given in (("before", self.before), ("after", self.after))
        }
        saved: dict[str, Any] = json.loads(json.dumps({**asdict(self), **figures}, default=str))
        return saved

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> ModelCard:
        """Read what `to_json` gave; what a later version added is left out.

        Raises
        ------
        TypeError
            If it is something else.
        """
        return cls(**{key: saved[key] for key in cls.__dataclass_fields__ if key in saved})

    def to_markdown(self, name: str) -> str:
        """Set it as a page under a model's name."""
        base = f"{self.base} (hash {self.base_hash[:12]})" if self.base_hash else self.base
        rows = [
            ("base", base),
            ("method", self.method),
            ("verdict", self.verdict),
            ("licence of the base", self.licence),
            ("created", self.created),
            ("note", self.note),
        ]
        lines = [f"# {name}", "", *_table(rows)]
        if self.before or self.after:
            lines += ["## Measured on the hold-out", ""]
            lines += ["| figure | before | after |", "|---|---:|---:|"]
            for figure in dict.fromkeys([*self.before, *self.after]):
                both = _number(self.before.get(figure)), _number(self.after.get(figure))
                lines.append(f"| {_cell(figure)} | {both[0]} | {both[1]} |")
            lines.append("")
        for title, about in (("Data", self.data), ("Hold-out", self.hold_out)):
            if about:
                lines += [f"## {title}", "", *_table([(k, _said(v)) for k, v in about.items()])]
        return "\n".join(lines)


def _table(rows: list[tuple[str, str]]) -> list[str]:
    told = [f"| {_cell(what)} | {_cell(value)} |" for what, value in rows if value]
    return ["| | |", "|---|---|", *told, ""]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_said(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(map(_said, value))
    return str(value)
