"""A training run in a process of its own, which goes on when the window that started it is gone."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_sam.errors import InputError
from napari_sam.finetune.estimate import Estimate, estimate
from napari_sam.finetune.process_files import MODULE, ProcessFiles, Rows, last_line
from napari_sam.finetune.run_folder import RunFolder
from napari_sam.finetune.settings import RunSettings, read_settings, write_settings
from napari_sam.finetune.stages import PRETRAINING

__all__ = ["ENDED", "Estimate", "RunView", "TrainingProcess", "estimate", "find_runs"]

ENDED = ("stopped", "finished", "failed", "killed")
"""States in which no process works on a run any more."""

# With less than this a disk is as good as full.
_FULL = 4 << 20
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class RunView:
    """How a run is now.

    Parameters
    ----------
    folder : Path
        Of the run.
    state : str
        "starting", "running", "paused", "stopped", "finished", "failed" or "killed". All of the
        last four but "finished" can be resumed.
    step, steps : int
        Made, and to be made; those of pre-training before count too.
    seconds_left : float or None
        Estimated, of the stage the run is in; None if nobody knows.
    training, validation, held_out : list of dict
        Figures, each with its ``step``.
    pretraining : list of dict
        Figures of the steps that pre-train the encoder before, if there are such.
    previews : list of Path
        Pictures of the hold-out in the order of their steps; the first is from before training.
    problem : str
        A sentence, if the run failed or was killed.
    weights : Path or None
        What can be used.
    """

    folder: Path
    state: str
    step: int = 0
    steps: int = 0
    seconds_left: float | None = None
    training: list[dict[str, Any]] = field(default_factory=list)
    validation: list[dict[str, Any]] = field(default_factory=list)
    held_out: list[dict[str, Any]] = field(default_factory=list)
    pretraining: list[dict[str, Any]] = field(default_factory=list)
    previews: list[Path] = field(default_factory=list)
    problem: str = ""
    weights: Path | None = None


class TrainingProcess:
    """A run in a folder, whoever started it; made by `start`, `resume` and `attach`.

    Parameters
    ----------
    folder : Path
        Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._files, self._run = ProcessFiles(self.folder), RunFolder(self.folder)
        self._rows = Rows(self.folder / "metrics.jsonl")
        self._before = Rows(self.folder / PRETRAINING / "metrics.jsonl")
        self._settings: RunSettings | None = None
        self._child: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, settings: RunSettings, folder: Path, device: str = "auto") -> "TrainingProcess":
        """Start a run.

        Parameters
        ----------
        settings : RunSettings
            What it is to do. What is wrong with its data is told by the view.
        folder : Path
            Made; there must be no run in it yet.
        device : str
            As `src_model.load_model` takes it.

        Raises
        ------
        InputError
            If there is a run in the folder, or it cannot be made.
        """
        process = cls(folder)
        if process._run.holds_run or process._files.is_alive():
            raise InputError(f"{folder} holds a run already: resume it, or choose another folder.")
        process._launch(device, settings)
        return process

    @classmethod
    def resume(cls, folder: Path, device: str | None = None) -> "TrainingProcess":
        """Go on with a run that has ended early.

        Parameters
        ----------
        folder : Path
            Of the run, begun by `start` or by the command line.
        device : str, optional
            As for `start`; the one of before by default.

        Raises
        ------
        InputError
            If there is none, it is being worked on, or it has come to its end.
        """
        process = cls.attach(folder)
        state = process.view().state
        if state == "finished":
            raise InputError(f"The run in {folder} has come to its end: start a new one.")
        if state not in ENDED:
            raise InputError(f"The run in {folder} is being worked on: there is nothing to resume.")
        before = process._files.read_process()
        device = device or (before["command"][-1] if before else "auto")
        process._launch(device, process._read_settings())
        return process

    @classmethod
    def attach(cls, folder: Path) -> "TrainingProcess":
        """Return the run in a folder, at work or not.

        Raises
        ------
        InputError
            If there is none.
        """
        process = cls(folder)
        process._read_settings()
        return process

    def view(self) -> RunView:
        """Look at the run; reads what is new, and is quick enough for a timer of a window."""
        if self._child is not None:
            self._child.poll()  # or a process that has ended stays among those that are there
        state, problem, said = self._state()
        self._rows.update()
        self._before.update()
        settings = self._read_settings()
        training, before = self._rows.of("training"), list(self._before.rows)
        # What is written for the stage of the labels says nothing of the one before, if resumed.
        step = training[-1]["step"] if training else 0
        if settings.pretraining_images is not None:
            step += before[-1]["step"] if before else 0
        return RunView(
            self.folder,
            state,
            step,
            settings.steps,
            None if state in ENDED else said.get("seconds_left"),
            training,
            self._rows.of("validation"),
            self._rows.of("hold-out"),
            before,
            _previews(self._run.previews),
            problem,
            self._run.weights,
        )

    def pause(self) -> None:
        """Ask the process to save its state and wait, after the step it is in."""
        self._files.ask("pause")

    def go_on(self) -> None:
        """End a pause."""
        self._files.ask("")

    def stop(self) -> None:
        """Ask the process to save its state and weights, and to end."""
        self._files.ask("stop")

    def wait(self, timeout: float | None = None) -> RunView:
        """Wait until the process has ended, or for so many seconds; returns the view then."""
        until = None if timeout is None else time.monotonic() + timeout
        while (view := self.view()).state not in ENDED:
            if until is not None and time.monotonic() > until:
                break
            time.sleep(_LOOK_SECONDS)
        return view

    def _launch(self, device: str, settings: RunSettings) -> None:
        """Start the process, such that it does not end with this one."""
        command = [sys.executable, "-m", MODULE, str(self.folder), device]
        try:
            self._files.path.mkdir(parents=True, exist_ok=True)
            self._files.clear()
            write_settings(self._files.settings, settings)
            with self._files.log.open("wb") as log:
                self._child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **_detached()
                )
            self._files.write_process(self._child.pid, command)
        except OSError as error:
            if self._child is not None:  # nobody would find it
                self._child.kill()
            raise InputError(
                f"The training in {self.folder} cannot be started ({error.strerror or error}): "
                "make room, or choose another folder."
            ) from error
        self._settings = None

    def _state(self) -> tuple[str, str, dict[str, Any]]:
        """Return the state, what is wrong, and all that the process last said."""
        # In this order: a process that ends in between has said so before.
        alive = self._files.is_alive()
        said = self._files.read_state() or {}
        state = said.get("state", "starting")
        if state in ENDED:
            return state, said["problem"], said
        if alive:
            return state, "", said
        if self._files.read_process() is None and not self._files.settings.exists():
            finished = self._run.final.exists()  # a run of the command line
            return ("finished" if finished else "stopped"), "", said
        return "killed", self._cause_of_death(), said

    def _cause_of_death(self) -> str:
        """Say why a process is gone that said nothing."""
        if shutil.disk_usage(self.folder).free < _FULL:
            return (
                f"The training ended because the disk of {self.folder} is full: make room, then "
                "resume it."
            )
        words = last_line(self._files.log)
        if words and self._files.read_state() is None:  # which is the first thing that it writes
            return f"The training could not begin ({words}): see {self._files.log}."
        return (
            "The training ended without a word: it was killed, the machine was restarted, or there "
            "was not enough memory; resume it to go on from its last saved state."
        )

    def _read_settings(self) -> RunSettings:
        if self._settings is None:
            if self._run.holds_run:
                self._settings = self._run.settings()
            elif self._files.settings.exists():
                self._settings = read_settings(self._files.settings)
            else:
                raise InputError(f"{self.folder} holds no training run: choose another folder.")
        return self._settings


def find_runs(folder: Path) -> list[RunView]:
    """Find the runs in a folder and in the folders in it, the latest first.

    Parameters
    ----------
    folder : Path
        Need not exist.
    """
    found = []
    for place in (folder, *_folders(folder)):
        files = (place / "config.yaml", place / "stages.yaml", ProcessFiles(place).settings)
        begun = [path.stat().st_mtime for path in files if path.exists()]
        if begun:
            found.append((min(begun), place))
    return [_look(place) for _, place in sorted(found, reverse=True)]


def _look(folder: Path) -> RunView:
    try:
        return TrainingProcess.attach(folder).view()
    except InputError as error:  # its settings were damaged: the others are still to be had
        return RunView(folder, "failed", problem=str(error))


def _folders(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if path.is_dir() and path.name != PRETRAINING)


def _previews(folder: Path) -> list[Path]:
    pictures = [path for path in folder.glob("*.png") if path.stem.isdecimal()]
    return sorted(pictures, key=lambda path: int(path.stem))


def _detached() -> dict[str, Any]:
    """Return what lets a process live on when its parent, or the parent's terminal, ends."""
    if os.name == "nt":
        flags = ("CREATE_NEW_PROCESS_GROUP", "CREATE_NO_WINDOW")
        return {"creationflags": sum(getattr(subprocess, flag) for flag in flags)}
    return {"start_new_session": True}
