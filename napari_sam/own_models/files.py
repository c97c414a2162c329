"""The files of weights that a registered model keeps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.errors import InputError
from src_model.checkpoints import CHECKPOINTS
from src_model.weight_files import model_hash, read_variant, save_checkpoint

if TYPE_CHECKING:
    from src_model import Sam

__all__ = ["write_files"]


def write_files(folder: Path, weights: Path, sam: Sam, its_hash: str) -> None:
    """Write ``weights.safetensors``, ``adapter.safetensors``, or both.

    Parameters
    ----------
    folder : Path
        Where to.
    weights : Path
        What is registered: weights, or an adapter.
    sam : Sam
        The model in it, in float32.
    its_hash : str
        `model_hash` of that.

    Raises
    ------
    OSError, CheckpointError
        If they cannot be written.
    """
    from napari_sam.loading import base_of, kind_of_adapter

    whole, adapter = folder / "weights.safetensors", folder / "adapter.safetensors"
    if kind_of_adapter(weights):
        shutil.copyfile(weights, adapter)
        if base_of(weights) not in CHECKPOINTS:
            save_checkpoint(sam, whole)  # its base may be moved or removed
        return
    # A file that says which variant it is.
    if weights.suffix == ".safetensors" and read_variant(weights) is not None:
        shutil.copyfile(weights, whole)
    else:
        save_checkpoint(sam, whole)
    beside = weights.with_name(f"{weights.stem}_adapter.safetensors")
    if kind_of_adapter(beside) and _brings_back(beside, its_hash):
        shutil.copyfile(beside, adapter)


def _brings_back(adapter: Path, its_hash: str) -> bool:
    """Tell whether an adapter is that of a model, and not one that an earlier run left."""
    from napari_sam.loading import load_file

    try:
        return model_hash(load_file(adapter, "cpu", "float32")) == its_hash
    except InputError:
        return False  # its base is gone, so that it would help nobody
