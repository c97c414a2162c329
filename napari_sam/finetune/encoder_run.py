"""A run that fits the encoder to images without labels: MAE pre-training, or distillation."""

import time
from collections.abc import Callable, Sequence
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

__all__ = ["fit_encoder"]

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
    assert not isinstance(settings.training, TrainingConfig)
    control = control or Control()
    for name in (settings.base, settings.teacher):
        if name is not None:
            check_model(name, device, "float32")
    images = _Images(settings.images)
    sam = load(settings.base, device, "float32")
    teacher = None if settings.teacher is None else load(settings.teacher, device, "float32")
    folder.begin(settings, model_hash(sam), resume)
    state = folder.load_state() if resume else None
    folder.forget_after(0 if state is None else state["step"])
    follow = _Follower(settings, folder, images, control)
    try:
        _fit(settings.training, sam, teacher, images, follow, state)
    except _Stopped:
        folder.draw_curves()
        return None
    except ValueError as error:
        raise InputError(str(error)) from error
    finally:
        folder.close()
    save_checkpoint(sam, folder.final)
    folder.draw_curves()
    return folder.final


def _fit(
    config: FitConfig,
    sam: Sam,
    teacher: Sam | None,
    images: _Images,
    follow: Callable[[FitStep], None],
    state: dict[str, Any] | None,
) -> None:
    if isinstance(config, MaeConfig):
        pretrain(sam, images, config, follow, state)
    else:
        assert teacher is not None  # checked by the settings
        distill(sam, teacher, images, config, follow, state)


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
