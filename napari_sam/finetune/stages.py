"""Any training run: one that learns from labels, perhaps with pre-training before, or without."""

from dataclasses import replace
from pathlib import Path

from napari_sam.finetune.control import Control, Progress
from napari_sam.finetune.encoder_run import fit_encoder
from napari_sam.finetune.run import run_training
from napari_sam.finetune.run_folder import RunFolder
from napari_sam.finetune.settings import ENCODER_METHODS, RunSettings
from napari_sam.finetune.validation import open_data

__all__ = ["PRETRAINING", "pretraining_stage", "start_run"]

PRETRAINING = "mae"
"""Folder of the first of two stages, inside that of the run."""


def start_run(
    settings: RunSettings,
    folder: RunFolder,
    control: Control | None = None,
    *,
    resume: bool = False,
    device: str = "auto",
) -> Path | None:
    """Make a run of whatever method; arguments, result and errors as of `run_training`.

    With ``pretraining_images`` it has two stages: the encoder is pre-trained on these images, in
    the folder ``mae`` inside, and the method begins with its weights. Steps are counted through.
    """
    if settings.method in ENCODER_METHODS:
        return fit_encoder(settings, folder, control, resume=resume, device=device)
    if settings.pretraining_images is None:
        return run_training(settings, folder, control, resume=resume, device=device)
    control = control or Control()
    first = RunFolder(folder.path / PRETRAINING)
    open_data(settings)  # not only once the encoder is pre-trained
    if not resume:
        folder.begin_stages(settings)
    before = settings.pretraining.steps
    if not first.final.exists():
        again = first.holds_run
        stage = _counting(control, 0, settings.steps)
        if (
            fit_encoder(pretraining_stage(settings), first, stage, resume=again, device=device)
            is None
        ):
            return None
    again = (folder.path / "config.yaml").exists()
    settings = replace(settings, base=str(first.final.absolute()), pretraining_images=None)
    stage = _counting(control, before, before + settings.steps)
    return run_training(settings, folder, stage, resume=again, device=device)


def pretraining_stage(settings: RunSettings) -> RunSettings:
    """Return the first stage of a run of two as a run of its own."""
    assert settings.pretraining_images is not None
    return RunSettings(
        settings.pretraining_images,
        method="mae",
        base=settings.base,
        validate_every=settings.validate_every,
        save_every=settings.save_every,
        training=settings.pretraining,
    )


def _counting(control: Control, before: int, steps: int) -> Control:
    """Return a control for one stage that counts the steps of both."""

    def on_progress(progress: Progress) -> None:
        control.on_progress(replace(progress, step=before + progress.step, steps=steps))

    return replace(control, on_progress=on_progress)
