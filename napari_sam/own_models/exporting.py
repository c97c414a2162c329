"""Models as plain weights for other tools."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam.errors import InputError

if TYPE_CHECKING:
    from src_model import Sam, Variant

__all__ = ["export", "export_adapter"]

_OTHER_TOOLS = {
    "vit_b": "segment-anything and the tools that load its vit_b",
    "vit_l": "segment-anything and the tools that load its vit_l",
    "vit_h": "segment-anything and the tools that load its vit_h",
    "vit_t": "MobileSAM and the tools that load its vit_t",
}


def export(name: str, path: Path) -> str:
    """Write a model as plain SAM weights, with the official keys and whatever was taught merged.

    Parameters
    ----------
    name : str
        Of a registered model, or whatever else `napari_sam.loading.load` takes.
    path : Path
        Ends in ``.pth`` or ``.pt``, as most tools want it, or in ``.safetensors``.

    Returns
    -------
    str
        A sentence that says what was written, and which tools load it.

    Raises
    ------
    InputError
        If there is no such model, or the file cannot be written.
    """
    from napari_sam.loading import check_model, load
    from src_model.errors import CheckpointError
    from src_model.weight_files import save_for_others

    path = Path(path).expanduser()
    if path.suffix not in (".pth", ".pt", ".safetensors"):
        raise InputError(f"{path} does not end in .pth, .pt or .safetensors: let it end in one.")
    check_model(name, "cpu", "float32")
    sam = load(name, "cpu", "float32")
    try:
        save_for_others(sam, path)
    except CheckpointError as error:
        raise InputError(str(error)) from error
    return f"{path} holds {name} as plain weights: {_who_reads(sam, path)}."


def export_adapter(name: str, path: Path) -> str:
    """Copy the small file of a registered model, to be mailed.

    Parameters
    ----------
    name : str
        Of the model.
    path : Path
        Ends in ``.safetensors``.

    Returns
    -------
    str
        A sentence that says what was written, and what it needs.

    Raises
    ------
    InputError
        If there is no such model or it has none, or the file cannot be written.
    """
    from .registry import find_own_model

    path = Path(path).expanduser()
    own = find_own_model(name)
    if own is None or own.adapter is None:
        raise InputError(f"{name} has no small file: export it as plain weights.")
    if path.suffix != ".safetensors":
        raise InputError(f"{path} does not end in .safetensors: choose a name that does.")
    try:
        shutil.copyfile(own.adapter, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error
    return f"{path} holds what {name} adds to {own.card.base}: use it with --model {path.name}."


def _who_reads(sam: Sam, path: Path) -> str:
    """Say which tools load a file of weights that was written."""
    from src_model.variants import VARIANTS

    dimensions = _dimensions(sam.variant)
    for known, tools in _OTHER_TOOLS.items():
        if dimensions == _dimensions(VARIANTS[known]):
            return f"{tools} read it, and napari-sam with --model {path.name}"
    only = f"no other tool knows the variant {sam.variant.name}, so that only napari-sam reads it"
    if path.suffix == ".safetensors" or _can_be_found(sam):
        return f"{only}, with --model {path.name}"
    return f"{only}, and that only as .safetensors, which says what its dimensions are"


def _can_be_found(sam: Sam) -> bool:
    """Tell whether the weights alone show the variant's dimensions."""
    from src_model.errors import CheckpointError
    from src_model.variant_from_weights import find_variant

    try:
        return _dimensions(find_variant(sam.state_dict())) == _dimensions(sam.variant)
    except CheckpointError:
        return False


def _dimensions(variant: Variant) -> dict[str, Any]:
    return {**variant.to_dict(), "name": ""}
