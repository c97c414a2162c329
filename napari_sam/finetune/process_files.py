"""How the process of a training run and those who watch it talk: small files in ``process/``.

settings.yaml   what was asked for
process.json    which process works on it, on which machine
state.json      what that process last said of itself
command         what it is asked to do: "pause" or "stop"
log.txt         what it printed
"""

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["MODULE", "ProcessFiles", "Rows", "last_line"]

MODULE = "napari_sam.finetune.process_child"
"""What the process runs."""

# The state is written over itself where a new file cannot be made: it must not need more room.
_STATE_BYTES = 2048


class ProcessFiles:
    """The files beside a run by which its process is found and led.

    Parameters
    ----------
    folder : Path
        Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "process"
        self.settings = self.path / "settings.yaml"
        self.log = self.path / "log.txt"
        self._command = self.path / "command"
        self._process = self.path / "process.json"
        self._state = self.path / "state.json"

    def clear(self) -> None:
        """Forget the last process."""
        for path in (self._command, self._state, self._process):
            path.unlink(missing_ok=True)

    def ask(self, command: str) -> None:
        """Ask the process for something; "" takes it back."""
        if command:
            self._replace(self._command, command)
        else:
            self._command.unlink(missing_ok=True)

    def asked(self) -> str:
        """Return what the process is asked for."""
        try:
            return self._command.read_text()
        except OSError:
            return ""

    def write_process(self, pid: int, command: list[str]) -> None:
        """Note which process works on the run."""
        about = {"pid": pid, "command": command, "host": platform.node()}
        self._replace(self._process, json.dumps(about))

    def read_process(self) -> dict[str, Any] | None:
        """Return what `write_process` noted."""
        return _read(self._process)

    def is_alive(self) -> bool:
        """Tell whether the run's process works, on whatever machine.

        Of a process on another machine only its last state is known.
        """
        import psutil

        about = self.read_process()
        if about is None:
            return False
        if about["host"] != platform.node():
            return (self.read_state() or {}).get("state") in ("running", "paused")
        try:
            process = psutil.Process(about["pid"])
            # Numbers are given again: what it runs, and on which folder, is its own.
            same = process.cmdline()[1:] == about["command"][1:]
            return same and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Say what the process is doing; this works on a full disk too."""
        text = json.dumps(state).ljust(_STATE_BYTES)
        try:
            self._replace(self._state, text)
        except OSError:  # a full disk; or on Windows, somebody reads it just now
            with self._state.open("r+") as file:
                file.write(text)
                file.truncate()

    def read_state(self) -> dict[str, Any] | None:
        """Return what the process last said; None if nothing, or it is being written just now."""
        return _read(self._state)

    def _replace(self, path: Path, text: str) -> None:
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            part.write_text(text)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


class Rows:
    """The figures of a run, of which only what is new is read.

    Parameters
    ----------
    path : Path
        ``metrics.jsonl``, which need not be there yet.

    Attributes
    ----------
    rows : list of dict
        All so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self._offset, self._file = 0, 0

    def update(self) -> None:
        """Read what was added; everything, if the file is another (a run that went back)."""
        try:
            with self.path.open("rb") as file:
                about = os.fstat(file.fileno())
                if about.st_ino != self._file or about.st_size < self._offset:
                    self.rows, self._offset, self._file = [], 0, about.st_ino
                file.seek(self._offset)
                new = file.read()
        except OSError:
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                self.rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue  # cut short by a crash; who resumes removes it

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return those of one kind."""
        return [row for row in self.rows if row["kind"] == kind]


def last_line(path: Path) -> str:
    """Return the last line of a log; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
