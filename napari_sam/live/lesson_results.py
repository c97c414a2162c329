"""What a training run was worth: measured on its hold-out, kept beside it, and put into words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam.errors import InputError
from napari_sam.files.outputs import write_png, written_together

if TYPE_CHECKING:
    from napari_sam.finetune.comparison import Comparison
    from napari_sam.finetune.datasets import Dataset
    from napari_sam.own_models import OwnModel

__all__ = ["Case", "Line", "Result", "dataset_of", "keep", "measure", "saved_result"]

_FILE = "shown.json"
_VERSION = 1


@dataclass(frozen=True)
class Line:
    """One figure of both models.

    Parameters
    ----------
    name : str
        What it is.
    before, after, difference : str
        With intervals in brackets, where there are any.
    marker : {"better", "worse", "same"}
        What the interval of the difference says.
    """

    name: str
    before: str
    after: str
    difference: str
    marker: str


@dataclass(frozen=True)
class Case:
    """An object that changed much, as a picture of truth, before and after.

    Parameters
    ----------
    file : str
        Name of the picture, in the report's folder.
    caption : str
        Where it is, and how well the masks fit.
    """

    file: str
    caption: str


@dataclass(frozen=True)
class Result:
    """What a run was worth.

    Parameters
    ----------
    report : Path
        The folder with the page and the pictures.
    better : bool
        Whether it is better beyond chance.
    sentence, forgetting : str
        That in words, and what it has forgotten.
    lines : tuple of Line
        The figures: of all objects, by class and size, and of the default validation pictures.
    improved, worsened : tuple of Case
        The objects that changed most.
    base : str
        The model that was taught.
    before, after : mapping of str to float
        The figures that decide.
    """

    report: Path
    better: bool
    sentence: str
    forgetting: str
    lines: tuple[Line, ...]
    improved: tuple[Case, ...]
    worsened: tuple[Case, ...]
    base: str
    before: Mapping[str, float]
    after: Mapping[str, float]

    @property
    def page(self) -> Path:
        """The same to be read in a browser, and more."""
        return self.report / "before_after.html"


def measure(
    run: Path,
    weights: Path,
    report: Callable[[object], None],
    should_stop: Callable[[], bool],
) -> Result | None:
    """Compare the base and the new model on the hold-out of a run; None if asked to stop.

    Parameters
    ----------
    run : Path
        The run's folder; the report is written into ``report`` in it.
    weights : Path
        Of the new model.
    report : callable
        Given (measured, of all) pictures.
    should_stop : callable
        Asked now and then.

    Raises
    ------
    InputError
        If the base, the weights or the dataset are gone, or the disk is full.
    """
    from napari_sam.finetune.before_after import write_comparison
    from napari_sam.finetune.comparison import ComparisonStopped, compare
    from napari_sam.finetune.default_validation import default_validation
    from napari_sam.finetune.run_folder import RunFolder
    from napari_sam.loading import load

    settings = RunFolder(run).settings()
    dataset = dataset_of(run)
    pictures, others = dataset.part("hold-out"), default_validation()
    assert pictures is not None, "every dataset has a hold-out"
    base, new = (load(name, "auto", "float32") for name in (settings.base, str(weights)))
    total = 2 * (len(pictures) + len(others))
    try:
        comparison = compare(
            base,
            new,
            pictures,
            known=lambda name: dataset.known("hold-out", name),
            classes=lambda name: dataset.classes("hold-out", name),
            on_progress=lambda done, _: report((done, total)),
            should_stop=should_stop,
        )
        forgetting = compare(
            base,
            new,
            others,
            objects=8,
            automatic=False,
            on_progress=lambda done, _: report((2 * len(pictures) + done, total)),
            should_stop=should_stop,
        )
    except ComparisonStopped:
        return None
    about = {
        "base": settings.base,
        "method": settings.method,
        "new": str(weights),
        "dataset": f"{dataset.path.name}, version {dataset.version[:12]}",
        "hold-out": f"{dataset.objects('hold-out')} objects",
    }
    folder = run / "report"
    write_comparison(folder, comparison, forgetting, about)
    return _save(folder, settings.base, comparison, forgetting)


def dataset_of(run: Path) -> Dataset:
    """Open the dataset that a run learned from.

    Raises
    ------
    InputError
        If it is gone, or the run was not made from one.
    """
    from napari_sam.finetune.datasets import Dataset
    from napari_sam.finetune.run_folder import RunFolder

    watched = RunFolder(run).settings().watched_images
    if watched is None:
        raise InputError(f"{run} was not made from a dataset, and has no hold-out to compare on.")
    return Dataset.open(watched.parent.parent)


def saved_result(run: Path) -> Result | None:
    """Read what `measure` found before; None if it was not measured, or that cannot be read."""
    folder = run / "report"
    try:
        told = json.loads((folder / _FILE).read_text("utf-8"))
        if told.pop("format_version") != _VERSION:
            return None
        told["lines"] = tuple(Line(**line) for line in told["lines"])
        for name in ("improved", "worsened"):
            told[name] = tuple(Case(**case) for case in told[name])
        return Result(report=folder, **told)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # it can be measured again


def keep(run: Path, weights: Path, result: Result, name: str, note: str = "") -> OwnModel:
    """Register what came out of a run as a model of one's own.

    Parameters
    ----------
    run, weights : Path
        Of the run.
    result : Result
        What it was worth; card and report go with the model.
    name : str
        By which it is chosen everywhere.
    note : str
        Whatever else people should know.

    Raises
    ------
    InputError
        If the name is taken or cannot be one, or the disk is full.
    """
    from napari_sam.commands.models import model_rows
    from napari_sam.finetune.run_folder import RunFolder
    from napari_sam.finetune.stages import PRETRAINING
    from napari_sam.own_models import ModelCard, register

    settings, dataset = RunFolder(run).settings(), dataset_of(run)
    first = run / PRETRAINING  # where there is one, it is what began with the base
    environment = (first if first.is_dir() else run) / "environment.json"
    licences = {row.name: row.licence for row in model_rows()}
    card = ModelCard(
        base=settings.base,
        base_hash=json.loads(environment.read_text("utf-8"))["base_hash"],
        method=settings.method,
        data={
            "dataset": dataset.version,
            "sources": [source["name"] for source in dataset.sources],
            "objects learned from": dataset.objects("train"),
            "objects to choose the weights": dataset.objects("validation"),
        },
        hold_out={
            "objects": dataset.objects("hold-out"),
            "blocks": sum(crop.part == "hold-out" for crop in dataset.crops),
        },
        before=result.before,
        after=result.after,
        verdict=result.sentence,
        licence=licences.get(settings.base, ""),
        note=note,
    )
    return register(weights, name, card, result.report)


def _save(folder: Path, base: str, comparison: Comparison, forgetting: Comparison) -> Result:
    """Write what a person is shown beside the page, and return it."""
    from napari_sam.finetune.before_after import group_rows, score_rows
    from napari_sam.finetune.verdict import forgetting_sentence

    groups = [group for group in comparison.groups if group.kind != "all"]
    lines = [
        *(_line(row.cells, row.marker) for row in score_rows(comparison.overall)),
        *(_line(row.cells, row.marker, "1 click, ") for row in group_rows(groups)),
        *(
            _line(row.cells, row.marker, "1 click, default validation, ")
            for row in group_rows([forgetting.overall])
        ),
    ]
    figures = comparison.figures
    try:
        cases = {
            kind: [
                _case(folder, f"{kind}-{number:02d}.png", found)
                for number, found in enumerate(getattr(comparison, kind), start=1)
            ]
            for kind in ("improved", "worsened")
        }
        result = Result(
            report=folder,
            better=comparison.verdict.better,
            sentence=comparison.verdict.sentence,
            forgetting=forgetting_sentence(forgetting.overall),
            lines=tuple(lines),
            improved=tuple(cases["improved"]),
            worsened=tuple(cases["worsened"]),
            base=base,
            before={name: change.before.value for name, change in figures.items()},
            after={name: change.after.value for name, change in figures.items()},
        )
        told = asdict(result) | {"format_version": _VERSION}
        del told["report"]
        with written_together(folder / _FILE) as (part,):
            part.write_text(json.dumps(told, indent=1), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"The report cannot be written to {folder} ({error.strerror or error}): make room on "
            f"the disk, and compare again."
        ) from error
    return result


def _line(cells: Sequence[str], marker: str, before: str = "") -> Line:
    return Line(before + cells[0], cells[1], cells[2], cells[3], marker)


def _case(folder: Path, name: str, found: Any) -> Case:
    with written_together(folder / name) as (part,):
        write_png(part, found.drawing)
    return Case(name, found.caption)
