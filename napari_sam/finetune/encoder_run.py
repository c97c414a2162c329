"""A run that fits the encoder to images without labels: MAE pre-training, or distillation."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import InputError
from napari_sam.files.outputs import write_png, written_together
from napari_sam.finetune.control import Control, Progress
from napari_sam.finetune.data import open_images
from napari_sam.finetune.run import SAVE_SECONDS
from napari_sam.finetune.run_folder import RunFolder
from napari_sam.finetune.settings import RunSettings
from napari_sam.loading import check_model, load
from src_model import Sam
from src_model.training.config import TrainingConfig
from src_model.training.distill import distill
from src_model.training.encoder_fitting import FitConfig, FitStep
from src_model.training.mae import MaeConfig, MaePretraining, picture_reconstruction, pretrain
from src_model.weight_files import model_hash, save_checkpoint

__all__ = ["Fitting", "fit_encoder", "open_fitting"]

# Rows of the picture that shows how well the encoder completes images.
_SHOWN = 4


class _Stopped(Exception):
    """Ends a run from inside a step."""


class _Images(Sequence[NDArray[np.uint8]]):
    """The images of a folder, read when asked for."""

    def __init__(self, folder: Path) -> None:
        self.files = open_images(folder)
        for index in range(len(self.files)):  # before time is spent
            if min(self.files.image_size(index)) < 2:
                name = self.files.name(index)
                raise InputError(f"{name} has a side of one pixel: leave it out.")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:  # type: ignore[override]  # no slices
        return self.files.read_image(index)


def fit_encoder(
    settings: RunSettings,
    folder: RunFolder,
    control: Control | None = None,
    *,
    resume: bool = False,
    device: str = "auto",
) -> Path | None:
    """Pre-train or distil; arguments, result and errors as of `run_training`.

    Beside the files of every run there is, for ``method: mae``, ``reconstructions.png``: images,
    what the encoder saw of them, and what it made of that, renewed with every validation.
    """
    control = control or Control()
    fitting = open_fitting(settings, device)
    sam, images = fitting.sam, fitting.images
    folder.begin(settings, model_hash(sam), resume)
    state = folder.load_state() if resume else None
    folder.forget_after(0 if state is None else state["step"])
    follow = _Follower(settings, folder, images, control)
    try:
        fitting.make_steps(follow, state)
    except _Stopped:
        folder.draw_curves()
        return None
    finally:
        folder.close()
    save_checkpoint(sam, folder.final)
    folder.draw_curves()
    return folder.final


@dataclass(frozen=True)
class Fitting:
    """What a run that needs no labels works with."""

    config: FitConfig
    images: _Images
    sam: Sam
    teacher: Sam | None

    def make_steps(
        self, follow: Callable[[FitStep], None], state: dict[str, Any] | None = None
    ) -> None:
        """Make all steps, or those that are left after a saved state.

        Parameters
        ----------
        follow : callable
            Called after every step; what it raises ends the run.
        state : dict, optional
            That of a `FitStep`.

        Raises
        ------
        InputError
            If an image cannot be used, or the loss is not a number any more.
        """
        try:
            if isinstance(self.config, MaeConfig):
                pretrain(self.sam, self.images, self.config, follow, state)
            else:
                assert self.teacher is not None  # checked by the settings
                distill(self.sam, self.teacher, self.images, self.config, follow, state)
        except InputError:
            raise
        except ValueError as error:
            raise InputError(str(error)) from error


def open_fitting(settings: RunSettings, device: str) -> Fitting:
    """Load what a run that needs no labels works with; errors as of `run_training`."""
    assert not isinstance(settings.training, TrainingConfig)
    for name in (settings.base, settings.teacher):
        if name is not None:
            check_model(name, device, "float32")
    images = _Images(settings.images)
    sam = load(settings.base, device, "float32")
    teacher = None if settings.teacher is None else load(settings.teacher, device, "float32")
    return Fitting(settings.training, images, sam, teacher)


class _Follower:
    """What is written down and told after every step."""

    def __init__(
        self,
        settings: RunSettings,
        folder: RunFolder,
        images: _Images,
        control: Control,
    ) -> None:
        self.settings, self.folder = settings, folder
        self.images, self.control = images, control
        self.began = self.saved = time.monotonic()
        self.made = 0

    def __call__(self, report: FitStep) -> None:
        steps, self.made = self.settings.training.steps, self.made + 1
        figures = {"loss": report.loss, "rate": report.learning_rate}
        self.folder.log(report.step, figures)
        last = report.step == steps
        if report.step % self.settings.validate_every == 0 or last:
            if isinstance(report.module, MaePretraining):
                with written_together(self.folder.path / "reconstructions.png") as (part,):
                    write_png(part, self._draw(report.module))
            self.folder.draw_curves()
        paused = self.control.wait(lambda: self.folder.save_state(report.state()))
        self.began += paused
        stop = self.control.should_stop()
        late = time.monotonic() - self.saved > SAVE_SECONDS
        if report.step % self.settings.save_every == 0 or late or last or stop:
            self.folder.save_state(report.state())
            self.saved = time.monotonic()
        pace = (time.monotonic() - self.began) / self.made
        left = pace * (steps - report.step)
        self.control.on_progress(Progress(report.step, steps, figures, {}, left))
        if stop and not last:
            raise _Stopped

    def _draw(self, module: MaePretraining) -> NDArray[np.uint8]:
        rows = [
            np.concatenate(picture_reconstruction(module, self.images[i], seed=i), axis=1)
            for i in range(min(_SHOWN, len(self.images)))
        ]
        return np.concatenate(rows)
