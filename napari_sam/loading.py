"""Loading a model for a person: what is wrong with the choice is told in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.errors import InputError

if TYPE_CHECKING:
    from src_model import Sam
    from src_model.loading import Precision


def check_model(name_or_path: str, device: str, precision: "Precision") -> None:
    """Refuse what `load` would refuse, as far as it shows without reading or downloading weights.

    Parameters
    ----------
    name_or_path, device, precision : str
        As `src_model.load_model` takes them.

    Raises
    ------
    InputError
        If there is no such model, device or precision.
    """
    from src_model.checkpoints import CHECKPOINTS
    from src_model.loading import choose_device

    with _told_as_input_error():
        choose_device(device, precision)
    if name_or_path not in CHECKPOINTS and not Path(name_or_path).expanduser().is_file():
        load(name_or_path, device, precision)  # which says what is wrong


def load(name_or_path: str, device: str = "auto", precision: "Precision" = "auto") -> "Sam":
    """Load a model.

    Parameters
    ----------
    name_or_path, device, precision : str
        As `src_model.load_model` takes them; or the file of an adapter (what a LoRA run saves) to
        one of the models that have a name.

    Returns
    -------
    Sam

    Raises
    ------
    InputError
        If there is no such model, device or precision, or the model's file is not to be had or
        not usable.
    """
    from src_model import load_model
    from src_model.checkpoints import CHECKPOINTS
    from src_model.training.adapter_files import is_adapter, load_with_adapter, read_adapter

    path = Path(name_or_path).expanduser()
    with _told_as_input_error():
        if not is_adapter(path):
            return load_model(name_or_path, device, precision)
        base = read_adapter(path).variant.name
        if base not in CHECKPOINTS:
            raise InputError(
                f"{path} is an adapter to a model of your own ({base}): give the whole model that "
                f"was saved beside it."
            )
        return load_with_adapter(base, path, device, precision)


@contextmanager
def _told_as_input_error() -> Iterator[None]:
    """Turn what `src_model.load_model` raises, a sentence each, into `InputError`."""
    try:
        yield
    except (ValueError, ImportError) as error:
        raise InputError(str(error)) from error
