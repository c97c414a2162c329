"""A round is trained: from the base, with all that is annotated, and measured on one hold-out.

What is held out is chosen at the first training and kept in the project. No later round learns
from its pixels, so that the figures of all rounds can be compared.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam.errors import InputError
from napari_sam.finetune.datasets import BuildStopped, Dataset, build_dataset, copy_hold_out
from napari_sam.finetune.process import ENDED, RunView, TrainingProcess
from napari_sam.live.lesson_results import Result, keep, measure, saved_result
from napari_sam.live.lessons import Advanced, run_settings

from .importing import SessionOpener, costs_of, opened_session
from .learning import sources_of
from .project import Project
from .rounds import Round
from .saved import write_saved

if TYPE_CHECKING:
    from napari_sam.own_models import OwnModel
    from src_model.training.evaluation.bootstrap import Estimate

__all__ = ["train_round"]

_LOOK = 0.5
"""Seconds between two looks at the training."""

Told = Callable[[str, int, int], object]


def train_round(
    project: Project,
    *,
    method: str = "decoder",
    advanced: Advanced | None = None,
    device: str = "auto",
    opener: SessionOpener = opened_session,
    on_progress: Told | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Train the round that was imported last, compare it with the base, and register its model.

    What was done before it was stopped or killed is not done again: the dataset, the steps of the
    training, the comparison. The training is a process of its own; it is found again.

    Parameters
    ----------
    project : Project
        With an imported round.
    method : {"decoder", "lora", "full"}
        How.
    advanced : Advanced, optional
        What else a person chose.
    device : str
        As `src_model.load_model` takes it.
    opener : callable
        Opens a session.
    on_progress : callable, optional
        Told what is done ("pictures", "steps", "measurements"), how much of it, and of how much.
    should_stop : callable, optional
        Asked now and then.

    Returns
    -------
    dict
        What ``figures.json`` of the round says.

    Raises
    ------
    InputError
        If nothing is imported, the round was trained, there is too little to learn from, the
        training failed, or it was asked to stop.
    """
    told = on_progress or (lambda what, done, of: None)
    stop = should_stop or (lambda: False)
    with project.working():
        current = project.current()
        if current.imported is None:
            raise InputError(
                f"Nothing is imported in round {current.number} of {project.folder}: annotate, and "
                f"run `napari-sam engine import`."
            )
        if current.figures is not None:
            raise InputError(
                f"Round {current.number} of {project.folder} is trained: begin the next with "
                f"`napari-sam engine propose`."
            )
        dataset = _dataset(project, current, opener, told, stop)
        run = current.folder / "run"
        view = _run(dataset, run, project.base, method, advanced or Advanced(), device, told, stop)
        assert view.weights is not None, "a run that has finished has weights"

        def report(pair: Any) -> None:
            told("measurements", *pair)

        result = saved_result(run) or measure(run, view.weights, report, stop)
        if result is None:
            raise InputError(_stopped("what was trained is kept"))
        model = _keep(project, current, dataset, run, view.weights, result)
        figures = _figures(project, current, dataset, result, model, method)
        write_saved(current.folder / "figures.json", figures)
    return figures


def _dataset(
    project: Project,
    current: Round,
    opener: SessionOpener,
    told: Told,
    stop: Callable[[], bool],
) -> Dataset:
    """Return the round's dataset, with the project's hold-out."""
    folder, fixed = current.folder / "dataset", project.folder / "hold-out"
    if (folder / "dataset.json").exists():
        dataset = Dataset.open(folder)
    else:
        try:
            dataset = build_dataset(
                sources_of(project, current.number, opener),
                folder,
                hold_out_of=Dataset.open(fixed) if fixed.exists() else None,
                on_progress=lambda done, of: told("pictures", done, of),
                should_stop=stop,
            )
        except BuildStopped:
            raise InputError(_stopped("nothing is trained yet")) from None
    if not fixed.exists():
        partial = project.folder / ".hold-out.part"
        shutil.rmtree(partial, ignore_errors=True)
        copy_hold_out(dataset, partial)
        os.replace(partial, fixed)
    return dataset


def _run(
    dataset: Dataset,
    run: Path,
    base: str,
    method: str,
    advanced: Advanced,
    device: str,
    told: Told,
    stop: Callable[[], bool],
) -> RunView:
    """Train until the end; a run that was begun goes on as it was begun."""
    process = None
    if run.is_dir() and any(run.iterdir()):
        process = TrainingProcess.attach(run)
        state = process.view().state
        if state == "paused":
            process.go_on()
        elif state in ENDED and state != "finished":
            process = TrainingProcess.resume(run, device)
    if process is None:
        process = TrainingProcess.start(run_settings(dataset, base, method, advanced), run, device)
    asked = False
    while (view := process.wait(_LOOK)).state not in ENDED:
        told("steps", view.step, view.steps)
        if stop() and not asked:
            process.stop()
            asked = True
    if view.state == "stopped":
        raise InputError(_stopped(f"{view.step} of {view.steps} steps are made"))
    if view.state != "finished" or view.weights is None:
        raise InputError(view.problem or f"The training in {run} ended early: call it again.")
    return view


def _keep(
    project: Project,
    current: Round,
    dataset: Dataset,
    run: Path,
    weights: Path,
    result: Result,
) -> OwnModel:
    """Register the model under a name that is free, unless that was done before it was killed."""
    from napari_sam.own_models import find_own_model

    name, number = f"{project.name}-r{current.number}", 2
    while (there := find_own_model(name)) is not None:
        if there.card.data.get("dataset") == dataset.version and there.card.base == project.base:
            return there
        name, number = f"{project.name}-r{current.number}-{number}", number + 1
    return keep(run, weights, result, name, f"Round {current.number} of {project.name}.")


def _figures(
    project: Project,
    current: Round,
    dataset: Dataset,
    result: Result,
    model: OwnModel,
    method: str,
) -> dict[str, Any]:
    imported, before = current.imported, project.round(current.number - 1).imported
    assert imported is not None
    costs = costs_of(imported, 0.0 if before is None else before.time)
    return {
        "round": current.number,
        "base": project.base,
        "method": method,
        "model": model.name,
        "model_hash": model.hash,
        "verdict": "better" if result.better else "no better",
        "sentence": result.sentence,
        "forgetting": result.forgetting,
        "quality": _quality(result.report / "before_after.json", list(result.after)),
        "report": os.path.relpath(result.page, current.folder),
        "dataset": dataset.version,
        "notes": list(dataset.notes),
        "learned_from": dataset.objects("train"),
        "held_out": dataset.objects("hold-out"),
        "objects_by_people": costs.objects,
        "clicks": _ends(costs.clicks),
        "seconds": _ends(costs.seconds),
    }


def _quality(path: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """Read the figures that decide from the report, with their intervals."""
    try:
        (overall, *_) = json.loads(path.read_bytes())["groups"]
        scores = overall["scores"]
        found = {}
        for name in names:
            measure_name = "model" if name.startswith("AP") else "best predicted"
            change = scores[name][measure_name]
            found[name] = {"before": change["before"], "after": change["after"]}
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): remove its folder, and train again."
        ) from error


def _ends(estimate: Estimate | None) -> dict[str, float | None] | None:
    if estimate is None:
        return None
    ends = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: value if value == value else None for name, value in ends.items()}


def _stopped(what: str) -> str:
    return f"Stopped, {what}: go on with the same command."
