"""`napari-sam train`: teach a model from a folder of images and labels."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from napari_sam.commands.running import stopping
from napari_sam.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam.finetune.control import Progress


def run(
    config: Path | None,
    values: Mapping[str, Any],
    folder: Path,
    resume: bool,
    device: str,
) -> None:
    """Train, or go on with a run.

    Parameters
    ----------
    config : Path or None
        A YAML file of settings.
    values : mapping
        Settings by name, which replace the file's.
    folder : Path
        Of the run.
    resume : bool
        Go on with the run in the folder.
    device : str
        As `src_model.load_model` takes it.

    Raises
    ------
    InputError
        If settings, data, model or folder cannot be used.
    """
    from napari_sam.finetune.control import Control
    from napari_sam.finetune.run_folder import RunFolder
    from napari_sam.finetune.settings import read_settings, settings_from_dict
    from napari_sam.finetune.stages import start_run
    from src_model.errors import CheckpointError
    from src_model.training.distributed import join_processes, process_rank

    target = RunFolder(folder)
    if resume:
        if config is not None or values:
            raise InputError(
                "A run goes on with the settings it was started with: leave out everything but "
                "--resume and -o."
            )
        settings = target.settings()
    elif config is not None:
        settings = read_settings(config, values)
    else:
        settings = settings_from_dict(values)
    device = join_processes() or device
    leads = process_rank()[0] == 0
    try:
        with stopping() as should_stop, _shown(settings.steps, leads) as show:
            warn = tqdm.write if leads else _say_nothing
            control = Control(show, should_stop, warn)
            weights = start_run(settings, target, control, resume=resume, device=device)
    except CheckpointError as error:  # weights that cannot be written
        raise InputError(str(error)) from error
    if leads and weights is None:
        print(f"stopped; go on with: napari-sam train --resume -o {folder}")
        if target.weights is not None:
            print(f"weights so far: {target.weights}")
    elif leads:
        print(f"weights: {weights}")
        print(f"curves:  {folder / 'curves.png'}")


def _say_nothing(text: str) -> None:
    """Leave it to the leading process."""


@contextmanager
def _shown(steps: int, leads: bool) -> "Iterator[Callable[[Progress], None]]":
    """Show a bar with the time left, and a line for every validation."""
    with tqdm(total=steps, unit=" steps", disable=None if leads else True) as bar:

        def show(progress: "Progress") -> None:
            bar.update(progress.step - bar.n)
            bar.set_postfix_str(f"loss {progress.figures['loss']:.3f}")
            minutes = progress.seconds_left / 60
            for name, measured in (("", progress.validation), ("hold-out ", progress.held_out)):
                if measured and leads:
                    figures = ", ".join(f"{k} {v:.3f}" for k, v in measured.items())
                    tqdm.write(f"step {progress.step}: {name}{figures}; {minutes:.0f} min left")

        yield show
