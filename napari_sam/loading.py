"""Loading a model for a person: what is wrong with the choice is told in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.errors import InputError

if TYPE_CHECKING:
    from src_model import Sam
    from src_model.loading import Precision
    from src_model.training.adapter_files import AdapterInfo
    from src_model.training.decoder_files import DecoderInfo

__all__ = [
    "about_adapter",
    "base_of",
    "check_model",
    "file_of",
    "kind_of_adapter",
    "load",
    "load_file",
]


def check_model(name_or_path: str, device: str, precision: Precision) -> None:
    """Refuse what `load` would refuse, as far as it shows without reading or downloading weights.

    Parameters
    ----------
    name_or_path, device, precision : str
        As `load` takes them.

    Raises
    ------
    InputError
        If there is no such model, device or precision.
    """
    from src_model.checkpoints import CHECKPOINTS
    from src_model.loading import choose_device

    with _told_as_input_error():
        choose_device(device, precision)
    if name_or_path not in CHECKPOINTS:
        file_of(name_or_path)


def load(name_or_path: str, device: str = "auto", precision: Precision = "auto") -> Sam:
    """Load a model.

    Parameters
    ----------
    name_or_path : str
        The name of a published model, or of one that was registered (`napari_sam.own_models`); or
        a file of weights, or of an adapter that a training run saved: it is put on the model that
        it was trained on, a published one, a registered one, or a file beside it.
    device, precision : str
        As `src_model.load_model` takes them.

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

    if name_or_path in CHECKPOINTS:
        with _told_as_input_error():
            return load_model(name_or_path, device, precision)
    return load_file(file_of(name_or_path), device, precision)


def file_of(name_or_path: str) -> Path:
    """Return the file of a model that is not published.

    Parameters
    ----------
    name_or_path : str
        A registered model's name, or a path.

    Raises
    ------
    InputError
        If there is none.
    """
    from napari_sam.own_models import find_own_model, own_models
    from src_model.checkpoints import CHECKPOINTS

    own = find_own_model(name_or_path)
    if own is not None:
        if not own.path.is_file():
            raise InputError(
                f"The file of your model {own.name} is gone from {own.folder}: bring it back, or "
                f"remove the model."
            )
        return own.path
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    names = ", ".join([*CHECKPOINTS, *(model.name for model in own_models())])
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"There is no file {path}: check the path, or name one of {names}.")
    raise InputError(
        f"There is no model named {name_or_path!r}: choose one of {names}, or give the path of a "
        f"file of weights."
    )


def load_file(path: Path, device: str = "auto", precision: Precision = "auto") -> Sam:
    """Load the model in a file: weights, or an adapter with the model that it belongs to.

    Raises
    ------
    InputError
        If the file cannot be used, or an adapter's base is not to be had.
    """
    from src_model import load_model
    from src_model.loading import choose_device, prepare
    from src_model.training.adapter_files import load_adapter
    from src_model.training.decoder_files import is_decoder, load_decoder
    from src_model.training.lora import merge_lora

    with _told_as_input_error():
        if not kind_of_adapter(path):
            return load_model(path, device, precision)
        target = choose_device(device, precision)
        sam = load(base_of(path), "cpu", "float32")  # the sum is made in float32
        if is_decoder(path):
            load_decoder(sam, path)
        else:
            load_adapter(sam, path)
            merge_lora(sam)
        return prepare(sam, target, precision)


def kind_of_adapter(path: Path) -> str:
    """Return the format that an adapter's file names; empty for everything else."""
    from src_model.training import adapter_files

    return adapter_files.kind_of_adapter(path)


def about_adapter(path: Path) -> AdapterInfo | DecoderInfo | None:
    """Return what an adapter's file says about itself; None for everything else.

    Raises
    ------
    InputError
        If it is of another version.
    """
    from src_model.training.adapter_files import read_adapter
    from src_model.training.decoder_files import is_decoder, read_decoder

    if not kind_of_adapter(path):
        return None
    with _told_as_input_error():
        return read_decoder(path) if is_decoder(path) else read_adapter(path)


def base_of(adapter: Path) -> str:
    """Return the model that an adapter belongs to, as `load` takes it.

    Whether it really does is checked when the adapter is loaded.

    Raises
    ------
    InputError
        If the adapter cannot be read, or its base is not to be had.
    """
    from napari_sam.own_models import own_models
    from src_model.checkpoints import CHECKPOINTS

    about = about_adapter(adapter)
    if about is None:
        raise InputError(f"{adapter} is no adapter: load it as a model.")
    for own in own_models():
        if own.hash == about.base_hash:
            return own.name
    name = about.base or about.variant.name  # files of earlier versions name only the variant
    if name in CHECKPOINTS:
        return name
    beside = adapter.with_name(Path(name).name)
    if beside.is_file() and not kind_of_adapter(beside):
        return str(beside.absolute())
    raise InputError(
        f"{adapter} is an adapter to a model of your own ({name}): register that, or put its file "
        f"beside the adapter, or give the whole model that was saved with it."
    )


@contextmanager
def _told_as_input_error() -> Iterator[None]:
    """Turn what `src_model.load_model` raises, a sentence each, into `InputError`."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, ImportError) as error:
        raise InputError(str(error)) from error
