"""A training run on disk: everything needed to look at it, to go on with it, and to repeat it.

    config.yaml         what was asked for
    stages.yaml         the same for both stages, if the encoder is pre-trained first (in mae/)
    environment.json    versions, git commit, the base model's hash, the machine
    metrics.jsonl       one line a step, one per validation, and one per look at the hold-out
    events.out.tfevents.*   the same for TensorBoard
    curves.png          the same as a picture
    last.pt             the state to go on from
    previews/STEP.png   objects of the hold-out: truth, before the first step, after this one
    best.safetensors    the weights that were best on the validation pictures
    model.safetensors   the weights at the end, or when the run was stopped without a best

Files appear under their name only when they are whole.
"""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from napari_sam.errors import InputError
from napari_sam.files.outputs import written_together
from napari_sam.finetune.settings import RunSettings, read_settings, write_settings

__all__ = ["Kind", "RunFolder"]

Kind = Literal["training", "validation", "hold-out"]
"""What the figures of a line were measured on."""


class RunFolder:
    """The files of one run.

    Parameters
    ----------
    path : Path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = path / "last.pt"
        self.best = path / "best.safetensors"
        self.final = path / "model.safetensors"
        self.previews = path / "previews"
        self._metrics = path / "metrics.jsonl"
        self._events: Any = None

    @property
    def weights(self) -> Path | None:
        """The weights to use: the best, else those of the end; None if there are none yet."""
        return next((path for path in (self.best, self.final) if path.exists()), None)

    def begin(self, settings: RunSettings, base_hash: str, resume: bool) -> None:
        """Make the folder of a new run, or make sure that the run in it can go on.

        Parameters
        ----------
        settings : RunSettings
            What the run is to do.
        base_hash : str
            Of the model that it starts from.
        resume : bool
            Go on with the run in the folder, instead of making one.

        Raises
        ------
        InputError
            If there is a run already, the folder cannot be made, or the run in it was started
            from another model.
        """
        if not resume:
            self._create(settings, base_hash)
            return
        environment = json.loads((self.path / "environment.json").read_text())
        if environment["base_hash"] != base_hash:
            raise InputError(
                f"{self.path} was started from other weights than {settings.base} now has: bring "
                "those back, or start a new run."
            )
        for half in self.path.glob(".*.part"):  # written when the run was killed
            half.unlink(missing_ok=True)

    @property
    def holds_run(self) -> bool:
        """Whether a run was begun here."""
        return any((self.path / name).exists() for name in ("stages.yaml", "config.yaml"))

    def begin_stages(self, settings: RunSettings) -> None:
        """Make the folder of a run of two stages; errors as of `begin`."""
        self._refuse_second()
        with self._writable(), written_together(self.path / "stages.yaml") as (part,):
            write_settings(part, settings)

    def _refuse_second(self) -> None:
        if self.holds_run:
            raise InputError(
                f"{self.path} holds a run already: go on with it (--resume), or choose another "
                "folder."
            )

    @contextmanager
    def _writable(self) -> Iterator[None]:
        """Make the folder, and say so if it cannot be written to."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            raise InputError(
                f"The folder {self.path} cannot be written ({_reason(error)}): choose another one."
            ) from error

    def _create(self, settings: RunSettings, base_hash: str) -> None:
        """Make the folder and note what the run is."""
        if (self.path / "config.yaml").exists():
            self._refuse_second()
        # The settings last, because they are what makes the folder a run.
        paths = [self.path / name for name in ("environment.json", "config.yaml")]
        with self._writable(), written_together(*paths) as (about, config):
            about.write_text(json.dumps(_environment(base_hash), indent=2))
            write_settings(config, settings)

    def check_room(self, needed: int) -> None:
        """Refuse to begin what the disk has no room for.

        Parameters
        ----------
        needed : int
            Bytes that the run will write.

        Raises
        ------
        InputError
            If there is less.
        """
        place = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
        free = shutil.disk_usage(place).free
        if free < needed:
            raise InputError(
                f"The run will need about {needed / 1e6:.0f} MB on the disk of {self.path}, which "
                f"has {free / 1e6:.0f} MB left: make room, or choose another folder."
            )

    def settings(self) -> RunSettings:
        """Read what was asked for.

        Raises
        ------
        InputError
            If the folder holds no run.
        """
        for path in (self.path / "stages.yaml", self.path / "config.yaml"):
            if path.exists():
                return read_settings(path)
        raise InputError(f"{self.path} holds no run to go on with: start one without --resume.")

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Write the state to go on from.

        Raises
        ------
        InputError
            If the disk is full or gone; the state written before is still there.
        """
        import torch

        try:
            with written_together(self.last) as (part,):
                torch.save(dict(state), part)
        except (OSError, RuntimeError) as error:  # torch's own writer raises RuntimeError
            raise InputError(
                f"The run's state could not be written to {self.last} ({_reason(error)}): make "
                "room, then go on from the last one with --resume."
            ) from error

    def load_state(self) -> dict[str, Any] | None:
        """Read the state to go on from; None if the run has not come so far."""
        import torch

        if not self.last.exists():
            return None
        state: dict[str, Any] = torch.load(self.last, map_location="cpu", weights_only=True)
        return state

    def log(self, step: int, figures: Mapping[str, float], kind: Kind = "training") -> None:
        """Add a line of figures."""
        line = {"step": step, "kind": kind, **figures}
        with self._metrics.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self._events is None:
            from tensorboardX import SummaryWriter

            self._events = SummaryWriter(str(self.path))
        for key, value in figures.items():
            self._events.add_scalar(f"{kind}/{key}", value, step)

    def lines(self) -> list[dict[str, Any]]:
        """Read all figures; a line that a crash cut short is left out."""
        result = []
        if self._metrics.exists():
            for line in self._metrics.read_text().splitlines():
                try:
                    result.append(json.loads(line))
                except json.JSONDecodeError:
                    break  # only the last line can be unfinished
        return result

    def forget_after(self, step: int) -> None:
        """Drop the figures of steps that a resumed run will make again."""
        kept = [json.dumps(line) + "\n" for line in self.lines() if line["step"] <= step]
        with written_together(self._metrics) as (part,):
            part.write_text("".join(kept))

    def draw_curves(self) -> None:
        """Draw the figures so far as ``curves.png``."""
        from napari_sam.finetune.curves import draw_curves

        lines = self.lines()
        if lines:
            with written_together(self.path / "curves.png") as (part,):
                draw_curves(part, lines)

    def close(self) -> None:
        """Write what is still in memory."""
        if self._events is not None:
            self._events.close()
            self._events = None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).splitlines()[0]


def _environment(base_hash: str) -> dict[str, Any]:
    """Say with what a run was made."""
    packages = ("napari-sam-tiled", "torch", "numpy", "scipy", "scikit-image")
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "base_hash": base_hash,
        "git": _git_version(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "versions": versions,
    }


def _git_version() -> str | None:
    """Return the commit of the code, "-dirty" if it was changed; None outside a checkout."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=here.parent, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        # An environment may lie inside the checkout of something else.
        git("ls-files", "--error-unmatch", here.name)
        return git("describe", "--always", "--dirty", "--abbrev=12")
    except (OSError, subprocess.CalledProcessError):
        return None
