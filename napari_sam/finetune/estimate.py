"""What a training run will take on this machine, measured by a few of its steps."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from napari_sam.errors import InputError
from napari_sam.finetune.process_files import last_line
from napari_sam.finetune.settings import RunSettings, write_settings

__all__ = ["Estimate", "estimate"]

_MODULE = "napari_sam.finetune.measuring"
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Parameters
    ----------
    seconds : float
        Of all of it, validations and the embedding of pictures included.
    memory_bytes : float
        The most it will use; on a graphics card, of its memory.
    seconds_per_step : float
        Of the method itself, not of pre-training before it.
    """

    seconds: float
    memory_bytes: float
    seconds_per_step: float


def estimate(
    settings: RunSettings,
    folder: Path | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    device: str = "auto",
) -> Estimate | None:
    """Make one step and two more, in a process of its own, and reckon what all of them will take.

    Parameters
    ----------
    settings : RunSettings
        What the run is to do.
    folder : Path, optional
        Where it will be, to see that the disk has room for it; the current folder by default.
    should_stop : callable
        Asked often; on True the process is ended.
    device : str
        As `src_model.load_model` takes it.

    Returns
    -------
    Estimate or None
        None if stopped.

    Raises
    ------
    InputError
        As the run would: if its data, model or settings cannot be used.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        place = Path(name)
        config, result, log = place / "settings.yaml", place / "result.json", place / "log.txt"
        write_settings(config, settings)
        run = str((folder or Path()).absolute())
        command = [sys.executable, "-m", _MODULE, str(config), run, device, str(result)]
        with (
            log.open("wb") as output,
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            ) as process,
        ):
            while process.poll() is None:
                if should_stop():
                    process.kill()
                    return None
                time.sleep(_LOOK_SECONDS)
        if not result.exists():
            raise InputError(
                f"A training step could not be tried ({last_line(log)})."
                if process.returncode > 0
                else "The process that tried a training step was killed: there may not be enough "
                "memory for it; choose a smaller batch or the method decoder."
            )
        found = json.loads(result.read_text())
    if "problem" in found:
        raise InputError(found["problem"])
    return Estimate(**found)
