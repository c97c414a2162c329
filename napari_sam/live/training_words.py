"""What a training run is doing, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_sam.finetune.estimate import Estimate
    from napari_sam.finetune.process import RunView

__all__ = ["ENDED", "RESUMABLE", "duration", "estimate_said", "run_said", "run_title"]

ENDED = ("stopped", "finished", "failed", "killed")
"""States in which no process works on a run any more."""

RESUMABLE = ("stopped", "failed", "killed")
"""Those of them from which a run can go on."""


def duration(seconds: float) -> str:
    """Say how long something takes.

    Examples
    --------
    >>> duration(40), duration(400), duration(9000)
    ('40 s', '7 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def estimate_said(estimate: Estimate) -> str:
    """Say what a training takes on this machine."""
    return f"{duration(estimate.seconds)}, {estimate.memory_bytes / 1e9:.1f} GB"


def run_title(view: RunView) -> str:
    """Name a run where one of several is chosen."""
    how = {"stopped": "stopped", "finished": "finished", "failed": "failed", "killed": "ended"}
    state = how.get(view.state, view.state)
    at = "" if view.state == "finished" or not view.steps else f" at step {view.step:,}"
    return f"{view.folder.name}, {state}{at}"


def run_said(view: RunView) -> str:
    """Say how far a run is, and what can be done about its end."""
    at = f"{view.step:,} of {view.steps:,} steps" if view.steps else "no step yet"
    if view.state == "starting":
        return "Starting: the model is loaded and the pictures are read ..."
    if view.state == "running":
        left = "" if view.seconds_left is None else f", {duration(view.seconds_left)} left"
        return f"{at}{left}."
    if view.state == "paused":
        return f"Paused after {at}."
    if view.state == "finished":
        return f"Finished after {at}."
    if view.state == "stopped":
        kept = "the best weights until then are kept" if view.weights else "no weights are kept yet"
        return f"Stopped after {at}; {kept}. Resume goes on."
    return view.problem or f"The training ended by itself after {at}: Resume goes on."
