"""A training run from beginning to end, or from where it was stopped to the end."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from napari_sam.errors import InputError
from napari_sam.finetune.best_thresholds import keep_thresholds
from napari_sam.finetune.control import Control, Progress
from napari_sam.finetune.embedding_cache import EmbeddingCache
from napari_sam.finetune.previews import Previews
from napari_sam.finetune.run_folder import RunFolder
from napari_sam.finetune.settings import RunSettings
from napari_sam.finetune.validation import Split, open_data, split_pictures, validate
from napari_sam.loading import check_model, load
from src_model import Sam
from src_model.training.adapter_files import save_adapter
from src_model.training.augment import Sample
from src_model.training.config import TrainingConfig
from src_model.training.decoder_files import save_decoder
from src_model.training.distributed import process_rank, wait_for_all
from src_model.training.feed import BadSample
from src_model.training.lora import merge_lora
from src_model.training.trainer import NotFinite, Trainer, check_config
from src_model.weight_files import encoder_hash, model_hash, save_checkpoint

__all__ = ["make_trainer", "open_run", "run_training", "textures"]

# The state is also saved when this many seconds have passed, so that no crash costs more.
SAVE_SECONDS = 60.0

# Pictures in scikit-image that are free to use (NASA, public domain or CC0).
TEXTURES = (
    "astronaut",
    "brick",
    "camera",
    "chelsea",
    "coffee",
    "grass",
    "gravel",
    "hubble_deep_field",
    "moon",
    "rocket",
)


def run_training(
    settings: RunSettings,
    folder: RunFolder,
    control: Control | None = None,
    *,
    resume: bool = False,
    device: str = "auto",
) -> Path | None:
    """Train a model and keep everything about it in a folder.

    Parameters
    ----------
    settings : RunSettings
        With ``method`` full, decoder or lora.
    folder : RunFolder
        Created, unless ``resume``.
    control : Control
        Who follows the run; nobody by default.
    resume : bool
        Go on from the folder's last state. The result is that of a run without interruption,
        bitwise on a CPU with one thread.
    device : str
        As :func:`src_model.load_model` takes it.

    Returns
    -------
    Path or None
        The trained weights, best on the validation pictures if there are any. None if stopped:
        then ``folder.weights`` are those of that moment, and the run can go on.

    Raises
    ------
    InputError
        If the data, the model or the folder cannot be used, or the loss is not a number any more.
    """
    assert isinstance(settings.training, TrainingConfig)
    control = control or Control()
    sam, split = open_run(settings, folder, control, device)
    base_hash = model_hash(sam)
    rank, _ = process_rank()
    if resume or rank == 0:
        folder.begin(settings, base_hash, resume)
    wait_for_all()
    embed = None
    if settings.training.method == "decoder":
        embed = EmbeddingCache(folder.path / "embeddings.zarr", sam, base_hash)
    trainer = make_trainer(settings, sam, split, embed)
    run = _Run(settings, folder, split, trainer, base_hash, leads=rank == 0)
    run.look_at_base()
    if resume:
        run.restore()
    if not run.make_steps(control):
        return None
    weights = run.finish()
    if rank == 0:
        keep_thresholds(settings, split, weights, device, control.should_stop)
    wait_for_all()
    return weights


def open_run(
    settings: RunSettings, folder: RunFolder, control: Control, device: str
) -> tuple[Sam, Split]:
    """Load what a run needs; nothing is written. Arguments and errors as of `run_training`."""
    assert isinstance(settings.training, TrainingConfig)
    check_model(settings.base, device, "float32")
    data = open_data(settings)  # before a model is loaded, or even downloaded
    if data.warnings:
        control.on_warning(data.warnings)
    sam = load(settings.base, device, "float32")
    split = split_pictures(settings, data, sam.variant.image_size)
    try:
        check_config(settings.training, sam)
    except ValueError as error:
        raise InputError(str(error)) from error
    folder.check_room(_size_on_disk(settings, sam, len(split.training)))
    return sam, split


def make_trainer(
    settings: RunSettings, sam: Sam, split: Split, embed: Callable[[Sample], Tensor] | None
) -> Trainer:
    """Return what makes the steps of a run; ``embed`` as `Trainer` takes it."""
    assert isinstance(settings.training, TrainingConfig)
    natural = textures() if settings.training.generated else ()
    return Trainer(sam, split.training, settings.training, natural, embed)


class _Run:
    """A trainer, its folder, and what has been measured so far."""

    def __init__(
        self,
        settings: RunSettings,
        folder: RunFolder,
        split: Split,
        trainer: Trainer,
        base_hash: str,
        leads: bool,
    ) -> None:
        self.settings, self.folder, self.split = settings, folder, split
        self.trainer, self.base_hash, self.leads = trainer, base_hash, leads
        self.best_score = -1.0
        self.previews: Previews | None = None

    def look_at_base(self) -> None:
        """See what the model can do before the first step, also if the run goes on later."""
        if self.split.watched and self.leads:
            with self.trainer.averaged() as sam:
                self.previews = Previews(self.split.watched, sam)

    def restore(self) -> None:
        """Go on from the folder's last state; from the start if there is none yet."""
        state = self.folder.load_state()
        if state is not None:
            self.trainer.load_state_dict(state["trainer"])
            self.best_score = state["best_score"]
        if self.leads:
            # Without a state nothing has been, not even what was measured before the first step.
            self.folder.forget_after(-1 if state is None else self.trainer.step_count)

    def save(self) -> None:
        """Write the state to go on from."""
        if self.leads:
            state = {"trainer": self.trainer.state_dict(), "best_score": self.best_score}
            self.folder.save_state(state)

    def make_steps(self, control: Control) -> bool:
        """Train until the end (True) or until asked to stop (False)."""
        if self.trainer.step_count == 0:
            self._watch()
            wait_for_all()
        steps, began = self.settings.training.steps, time.monotonic()
        first, saved = self.trainer.step_count, time.monotonic()
        while self.trainer.step_count < steps:
            began += control.wait(self.save)
            if control.should_stop():
                self._leave()
                return False
            try:
                report = self.trainer.step()
            except NotFinite as error:
                raise InputError(self._keep_evidence(error)) from error
            except BadSample as error:
                self.save()
                raise InputError(
                    f"{error} The run can go on (--resume) once that is mended."
                ) from error
            if self.leads:
                self.folder.log(report.step, report.figures)
            validation: dict[str, float] = {}
            held_out: dict[str, float] = {}
            if report.step % self.settings.validate_every == 0 or report.step == steps:
                validation, held_out = self._validate(), self._watch()
                if self.leads and (validation or held_out):
                    self.folder.draw_curves()
                wait_for_all()
            late = time.monotonic() - saved > SAVE_SECONDS
            if report.step % self.settings.save_every == 0 or late or report.step == steps:
                self.save()
                saved = time.monotonic()
            pace = (time.monotonic() - began) / (report.step - first)
            left = pace * (steps - report.step)
            control.on_progress(
                Progress(report.step, steps, report.figures, validation, left, held_out)
            )
        return True

    def _leave(self) -> None:
        """Stop early: keep the state to go on from, and weights to use."""
        self.save()
        if self.leads:
            if not self.folder.best.exists():
                self._write_weights(self.folder.final)
            self.folder.draw_curves()
        self.folder.close()

    def finish(self) -> Path:
        """Write the final weights and the curves; returns the best weights there are."""
        if self.leads:
            self._write_weights(self.folder.final)  # also over those of an earlier stop
            self.folder.draw_curves()
        self.folder.close()
        wait_for_all()
        return self.folder.weights or self.folder.final

    def _validate(self) -> dict[str, float]:
        """Measure, and keep the weights if they are the best so far."""
        figures: dict[str, float] = {}
        if self.split.validation and self.leads:
            with self.trainer.averaged() as sam:
                figures = validate(sam, self.split.validation)
            self.folder.log(self.trainer.step_count, figures, "validation")
            if figures["score"] > self.best_score:
                self.best_score = figures["score"]
                self._write_weights(self.folder.best)
        return figures

    def _watch(self) -> dict[str, float]:
        """Measure and draw the hold-out, which decides nothing."""
        if self.previews is None or self.split.watched is None:
            return {}
        step = self.trainer.step_count
        with self.trainer.averaged() as sam:
            figures = validate(sam, self.split.watched, "hold-out")
            self.previews.write(self.folder.previews / f"{step}.png", sam, step)
        self.folder.log(step, figures, "hold-out")
        return figures

    def _write_weights(self, path: Path) -> None:
        """Write the averaged weights, as a plain model; for LoRA or a decoder a small file too."""
        base = load(self.settings.base, "cpu", "float32")
        encoder, called = encoder_hash(base), Path(self.settings.base).name
        sam = self.trainer.export(base)
        adapter = path.with_name(f"{path.stem}_adapter.safetensors")
        if self.settings.method == "lora":
            save_adapter(adapter, sam, self.base_hash, called)
            merge_lora(sam)
        elif self.settings.method == "decoder":
            save_decoder(adapter, sam, self.base_hash, encoder, called)
        save_checkpoint(sam, path)

    def _keep_evidence(self, error: NotFinite) -> str:
        """Save the batch that broke the loss; returns what to tell."""
        path = self.folder.path / "failed_batch.npz"
        images = {f"image_{i}": sample.image for i, sample in enumerate(error.samples)}
        names = np.array([sample.name for sample in error.samples])
        np.savez_compressed(path, allow_pickle=False, names=names, **images)
        return f"{error} The batch is in {path}; the state before it in {self.folder.last}."


def _size_on_disk(settings: RunSettings, sam: Sam, pictures: int) -> int:
    """Return about how many bytes a run writes."""
    weights = 4 * sum(parameter.numel() for parameter in sam.parameters())
    # Two sets of weights; a state and the one before it, each with the weights, their average and
    # the two moments of the optimiser.
    size = 2 * weights + 2 * 4 * weights
    if settings.method == "decoder":
        size += 4 * pictures * math.prod(sam.variant.embedding_shape)
    return size


def textures() -> Sequence[NDArray[np.uint8]]:
    """Return natural pictures that scikit-image bundles, for generated scenes."""
    from skimage import data

    pictures = [getattr(data, name)() for name in TEXTURES]
    return [p if p.ndim == 3 else np.stack([p] * 3, axis=-1) for p in pictures]
