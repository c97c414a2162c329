"""`napari-sam models show`, `export`, `remove` and `register`."""

import json
from pathlib import Path
from typing import Any

from napari_sam import own_models
from napari_sam.commands.models import readable_size
from napari_sam.errors import InputError
from napari_sam.own_models import ModelCard


def show(name: str) -> None:
    """Print the card of a model of one's own.

    Raises
    ------
    InputError
        If there is none of this name.
    """
    model = own_models.find_own_model(name)
    if model is None:
        raise InputError(
            f"There is no model of your own named {name!r}: see those there are with "
            f"'napari-sam models'."
        )
    print(model.card.to_markdown(name).rstrip())
    print()
    print(f"{model.path}: {readable_size(model.size)}, {model.variant}, hash {model.hash[:12]}")
    if model.adapter is not None:
        size = readable_size(model.adapter.stat().st_size)
        print(f"{model.adapter}: {size}, to mail; needs {model.card.base}")
    if model.report is not None:
        print(f"{model.report}: the report before/after")


def export(name: str, path: Path) -> None:
    """Write a model as plain weights.

    Raises
    ------
    InputError
        As `own_models.export`.
    """
    print(own_models.export(name, path))


def remove(name: str) -> None:
    """Remove a model of one's own.

    Raises
    ------
    InputError
        As `own_models.remove`.
    """
    own_models.remove(name)
    print(f"{name} is removed")


def register(what: Path, name: str, *, report: Path | None, note: str, replace: bool) -> None:
    """Give a model a name.

    Parameters
    ----------
    what : Path
        Folder of a training run, or a file of weights, or an adapter.
    name, report, replace
        As `own_models.register` takes them.
    note : str
        For its card.

    Raises
    ------
    InputError
        If there are no weights, or as `own_models.register`.
    """
    own_models.check_name(name)
    if what.is_dir():
        weights, card = _of_a_run(what, note)
    else:
        weights, card = what, _card_of_a_file(what, note)
    model = own_models.register(weights, name, card, report, replace=replace)
    print(f"{name} is registered ({model.folder}): use it with --model {name}")


def _of_a_run(folder: Path, note: str) -> tuple[Path, ModelCard]:
    from napari_sam.finetune.run_folder import RunFolder

    run = RunFolder(folder)
    settings = run.settings()
    if run.weights is None:
        raise InputError(f"{folder} has no weights yet: let the run go on (--resume) to its end.")
    data: dict[str, Any] = {"images": str(settings.images)}
    if settings.labels is not None:
        data["labels"] = str(settings.labels)
    held_out = {}
    if settings.watched_images is not None:
        held_out["images"] = str(settings.watched_images)
    return run.weights, ModelCard(
        base=_named(settings.base),
        base_hash=_base_hash(folder),
        method="mae" if settings.pretraining_images is not None else settings.method,
        data=data,
        hold_out=held_out,
        licence=_licence(settings.base),
        note=note,
    )


def _base_hash(folder: Path) -> str:
    """Return the hash of the model that a run began with."""
    from napari_sam.finetune.stages import PRETRAINING

    first = folder / PRETRAINING  # of two stages
    path = (first if first.is_dir() else folder) / "environment.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["base_hash"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} does not say which model the run began with ({error}): bring the file back, "
            f"or register the weights in the folder themselves."
        ) from error


def _card_of_a_file(path: Path, note: str) -> ModelCard:
    from napari_sam.loading import about_adapter
    from src_model.training.adapter_files import AdapterInfo

    about = about_adapter(path)
    if about is None:
        return ModelCard("unknown", note=note)
    base = about.base or about.variant.name
    return ModelCard(
        base,
        about.base_hash,
        "lora" if isinstance(about, AdapterInfo) else "decoder",
        licence=_licence(base),
        created=about.created,
        note=note,
    )


def _named(base: str) -> str:
    """Return a model's name, or its file's."""
    return Path(base).name


def _licence(base: str) -> str:
    """Return the licence of a base model's weights, as far as it is known."""
    from src_model.checkpoints import CHECKPOINTS

    if base in CHECKPOINTS:
        return CHECKPOINTS[base].licence
    own = own_models.find_own_model(base)
    return "" if own is None else own.card.licence
