"""The process of a training run: ``python -m napari_sam.finetune.process_child FOLDER DEVICE``."""

import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from napari_sam.allocator import keep_freed_memory
from napari_sam.errors import InputError, first_line
from napari_sam.finetune.control import Control, Progress
from napari_sam.finetune.process_files import ProcessFiles

__all__ = ["main", "sentence"]

# Between two notes of how far the run is.
_NOTE_SECONDS = 0.5
# The window, and whatever else a person does, comes first.
_NICE = 5


def main(folder: Path, device: str) -> int:
    """Make the run that is described in a folder, or go on with it.

    Parameters
    ----------
    folder : Path
        With ``process/settings.yaml``.
    device : str
        As `src_model.load_model` takes it.

    Returns
    -------
    int
        0, or 1 if the run failed; why stands in ``process/state.json``.
    """
    files = ProcessFiles(folder)
    speaker = _Speaker(files)
    speaker.say("starting")
    # Told to end, as by a machine that is shut down, it ends as if a person had stopped it.
    before = signal.signal(signal.SIGTERM, speaker.interrupt)
    try:
        finished = _make_run(folder, device, speaker)
    except Exception as error:
        if not isinstance(error, InputError):
            traceback.print_exc()
        own = f"{type(error).__name__}: {first_line(error)}"
        unforeseen = f"The training ended with an error of its own ({own}): see {files.log}."
        speaker.say("failed", problem=sentence(error, folder) or unforeseen)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)
    speaker.say("finished" if finished else "stopped")
    return 0


def _make_run(folder: Path, device: str, speaker: "_Speaker") -> bool:
    """Return whether the run came to its end."""
    from napari_sam.finetune.run_folder import RunFolder
    from napari_sam.finetune.settings import read_settings
    from napari_sam.finetune.stages import start_run

    target = RunFolder(folder)
    resume = target.holds_run
    settings = target.settings() if resume else read_settings(speaker.files.settings)
    control = Control(
        speaker.on_progress, speaker.should_stop, print, should_pause=speaker.should_pause
    )
    weights = start_run(settings, target, control, resume=resume, device=device)
    return weights is not None


class _Speaker:
    """Says how far the run is, and hears what it is asked."""

    def __init__(self, files: ProcessFiles) -> None:
        self.files = files
        self._said: dict[str, Any] = {}
        self._noted = 0.0
        self._interrupted = False

    def say(self, state: str, **more: Any) -> None:
        self._said = {"state": state, "problem": "", **more}
        self._noted = time.monotonic()
        self.files.write_state(self._said)

    def interrupt(self, *_: object) -> None:
        self._interrupted = True

    def on_progress(self, progress: Progress) -> None:
        """Note the time left now and then; the figures have a file of their own."""
        if time.monotonic() - self._noted > _NOTE_SECONDS or self._said["state"] != "running":
            self.say("running", seconds_left=progress.seconds_left)

    def should_stop(self) -> bool:
        if self._said["state"] == "starting":
            self.say("running")
        return self._interrupted or self.files.asked() == "stop"

    def should_pause(self) -> bool:
        pause = self.files.asked() == "pause"
        if pause != (self._said["state"] == "paused"):
            left = self._said.get("seconds_left")
            self.say("paused" if pause else "running", seconds_left=left)
        return pause


def sentence(error: Exception, folder: Path) -> str | None:
    """Say in one sentence why the run in a folder ended; None if that was not foreseen."""
    from src_model.errors import CheckpointError

    if isinstance(error, InputError | CheckpointError):
        return str(error)
    words = first_line(error)
    # torch has a class for a graphics card only; on a CPU it says "can't allocate memory".
    if isinstance(error, MemoryError) or "out of memory" in words or "allocate memory" in words:
        return (
            "There is not enough memory for this training: choose a smaller batch or window, "
            "fewer objects at once, or the method decoder."
        )
    if isinstance(error, OSError):
        return (
            f"A file of the run in {folder} cannot be read or written "
            f"({error.strerror or words}): mend that, then go on with the run."
        )
    return None


if __name__ == "__main__":
    keep_freed_memory()
    if hasattr(os, "nice"):
        os.nice(_NICE)
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
