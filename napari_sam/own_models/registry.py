"""Registering models of one's own, finding them again, removing them."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from napari_sam.errors import InputError
from napari_sam.user_folder import user_folder
from src_model.checkpoints import CHECKPOINTS
from src_model.errors import CheckpointError

from .card import ModelCard
from .files import write_files

__all__ = ["OwnModel", "check_name", "find_own_model", "own_models", "register", "remove"]

_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?")
_WAIT = 60.0
"""Seconds that one process waits for another that registers a model."""

# Folders that begin with a dot are no models: what is being written, or replaced, or removed.
_NEW, _OLD, _GONE = ".new-", ".old-", ".gone-"


@dataclass(frozen=True)
class OwnModel:
    """A model that was registered.

    Parameters
    ----------
    name : str
        By which `napari_sam.loading.load` and ``--model`` know it.
    folder : Path
        Where it lies.
    card : ModelCard
        What it is.
    variant : str
        Name of its architecture.
    hash, encoder_hash : str
        `model_hash` and `encoder_hash` of its weights.
    """

    name: str
    folder: Path
    card: ModelCard
    variant: str
    hash: str
    encoder_hash: str

    @property
    def path(self) -> Path:
        """The file that is loaded: whole weights, or an adapter to a published model."""
        weights = self.folder / "weights.safetensors"
        return weights if weights.is_file() else self.folder / "adapter.safetensors"

    @property
    def adapter(self) -> Path | None:
        """A small file to mail, that needs the base; None if the method makes none."""
        path = self.folder / "adapter.safetensors"
        return path if path.is_file() else None

    @property
    def report(self) -> Path | None:
        """The folder of the report before/after."""
        path = self.folder / "report"
        return path if path.is_dir() else None

    @property
    def size(self) -> int:
        """Bytes of the file that is loaded."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def changed_only_the_decoder(self) -> bool:
        """Whether it uses the embeddings of its base."""
        return self.card.method == "decoder"


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a model of one's own.

    Raises
    ------
    InputError
        If it has other characters, or is that of a published model.

    Examples
    --------
    >>> check_name("cells-1")
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be the name of a model: take up to 64 letters, digits, '.', '_' and "
            f"'-', with a letter or digit first and no '.' last."
        )
    if name.casefold() in {known.casefold() for known in CHECKPOINTS}:
        raise InputError(f"{name} is a published model: choose another name for your own.")


def own_models() -> list[OwnModel]:
    """Return all registered models, by name; those whose card cannot be read are left out."""
    folder = _folder()
    if not folder.is_dir():
        return []
    if any(folder.glob(f"{_OLD}*")):
        with _locked(folder):
            pass  # what was interrupted while it replaced one is mended
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name.casefold()):
        if _NAME.fullmatch(path.name) and (path / "card.json").is_file():
            try:
                found.append(_read(path))
            except InputError:
                continue  # whoever asks for it by its name is told
    return found


def find_own_model(name: str) -> OwnModel | None:
    """Return a registered model; None if there is none of this name.

    Raises
    ------
    InputError
        If there is one, but what describes it is damaged.
    """
    if not _NAME.fullmatch(name):
        return None
    path = _folder() / name
    if not (path / "card.json").is_file():
        return next((model for model in own_models() if model.name == name), None)
    return _read(path)


def register(
    weights: Path,
    name: str,
    card: ModelCard,
    report: Path | None = None,
    *,
    replace: bool = False,
) -> OwnModel:
    """Give a model a name, by which it is known everywhere afterwards.

    Its files are copied: those given may be moved or removed. It is there when all of it is.

    Parameters
    ----------
    weights : Path
        A file of weights, or an adapter. Beside weights that a run saved, the adapter beside them
        (``<stem>_adapter.safetensors``) is copied too. Of an adapter to a model that is not
        published the whole model is kept as well.
    name : str
        Letters, digits, ``.``, ``_`` and ``-``.
    card : ModelCard
        What it is.
    report : Path, optional
        A folder with the report before/after.
    replace : bool
        Whether a model that has this name is replaced; otherwise it is an error.

    Raises
    ------
    InputError
        If the name, weights or report cannot be used, or the files cannot be written.
    """
    from napari_sam.loading import load_file
    from src_model.weight_files import encoder_hash, model_hash

    check_name(name)
    weights = Path(weights).expanduser()
    if report is not None and not Path(report).is_dir():
        raise InputError(f"{report} is no folder: give that of the report, or none.")
    folder = _folder()
    _refuse_taken(folder, name, replace)  # before weights are read
    sam = load_file(weights, "cpu", "float32")
    about: dict[str, Any] = {
        "format_version": _VERSION,
        "name": name,
        "variant": sam.variant.name,
        "hash": model_hash(sam),
        "encoder_hash": encoder_hash(sam),
        "card": card.to_json(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            _refuse_taken(folder, name, replace)
            new = Path(tempfile.mkdtemp(prefix=_NEW, dir=folder))
            try:
                new.chmod(folder.stat().st_mode)
                write_files(new, weights, sam, about["hash"])
                if report is not None:
                    shutil.copytree(report, new / "report")
                (new / "card.md").write_text(_page(card, about), encoding="utf-8")
                (new / "card.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
                _put_in_place(new, folder / name)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
    except (OSError, CheckpointError) as error:
        raise InputError(
            f"{name} cannot be registered in {folder} ({_reason(error)}): make room, or set "
            f"NAPARI_SAM_DATA to a folder that you may write to."
        ) from error
    return _read(folder / name)


def remove(name: str) -> None:
    """Remove a registered model, with its card and report.

    Raises
    ------
    InputError
        If there is none of this name, or it cannot be removed.
    """
    folder = _folder()
    if not _NAME.fullmatch(name) or not (folder / name).is_dir():
        raise InputError(f"There is no model of your own named {name!r}: {_known()}.")
    try:
        with _locked(folder):
            (folder / name).rename(folder / f"{_GONE}{name}")
    except OSError as error:
        raise InputError(f"{folder / name} cannot be removed ({_reason(error)}).") from error
    shutil.rmtree(folder / f"{_GONE}{name}", ignore_errors=True)  # or with the next change


def _folder() -> Path:
    return user_folder() / "models"


def _refuse_taken(folder: Path, name: str, replace: bool) -> None:
    """Refuse a name that is there; on some disks names differ by more than their case."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.casefold() == name.casefold() and not (replace and path.name == name):
            raise InputError(
                f"There is a model named {path.name} already: choose another name, or replace it."
            )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time change the folder, and begin with what others left half done."""
    try:
        with FileLock(folder / ".lock", timeout=_WAIT):
            _mend(folder)
            yield
    except Timeout as error:
        raise InputError(
            f"Another process is changing the models in {folder}: try again when it is done."
        ) from error


def _mend(folder: Path) -> None:
    """Tidy up after processes that were killed; nobody else is writing."""
    for path in list(folder.iterdir()):
        if path.name.startswith(_OLD) and not (folder / path.name.removeprefix(_OLD)).exists():
            path.rename(folder / path.name.removeprefix(_OLD))
        elif path.name.startswith((_NEW, _OLD, _GONE)):
            shutil.rmtree(path, ignore_errors=True)


def _put_in_place(new: Path, path: Path) -> None:
    old = path.with_name(f"{_OLD}{path.name}")
    if path.exists():
        path.rename(old)
    new.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def _read(path: Path) -> OwnModel:
    try:
        about: dict[str, Any] = json.loads((path / "card.json").read_text(encoding="utf-8"))
        if about["format_version"] != _VERSION:
            raise ValueError(f"version {about['format_version']}")
        return OwnModel(
            path.name,
            path,
            ModelCard.from_json(about["card"]),
            about["variant"],
            about["hash"],
            about["encoder_hash"],
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The card of your model {path.name} ({path / 'card.json'}) cannot be read ({error}): "
            f"remove the model with 'napari-sam models remove {path.name}'."
        ) from error


def _page(card: ModelCard, about: dict[str, Any]) -> str:
    name = about["name"]
    return (
        f"{card.to_markdown(name)}\n## Use\n\n"
        f"Architecture {about['variant']}, hash {about['hash'][:12]}.\n"
        f"`napari-sam segment IMAGE --model {name}`, or choose it in the Models widget.\n"
    )


def _known() -> str:
    names = ", ".join(model.name for model in own_models())
    return f"choose one of {names}" if names else "none is registered"


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error).rstrip(".")
