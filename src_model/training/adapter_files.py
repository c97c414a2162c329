"""Files of LoRA adapters: a few megabytes that belong to one base model and refuse any other."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from ..automatic_thresholds import read_thresholds, thresholds_metadata
from ..errors import CheckpointError
from ..loading import Precision, choose_device, load_model, prepare
from ..safetensors_files import write_safetensors
from ..sam import Sam
from ..variants import Variant
from ..weight_files import model_hash
from .lora import LoraConfig, add_lora, base_model, lora_layers, merge_lora

__all__ = [
    "AdapterInfo",
    "is_adapter",
    "kind_of_adapter",
    "load_adapter",
    "load_with_adapter",
    "read_adapter",
    "read_tensors",
    "refuse_other_base",
    "save_adapter",
]

_KIND = "napari-sam-lora-"
_FORMAT = f"{_KIND}1"


@dataclass(frozen=True)
class AdapterInfo:
    """What an adapter file says about itself.

    Parameters
    ----------
    config : LoraConfig
        Rank, scale and targets.
    variant : Variant
        Architecture of the base model.
    base_hash : str
        `model_hash` of the base model.
    created : str
        Date and time in UTC, ISO 8601.
    base : str
        Name or file name of the base model; empty in files of earlier versions.
    """

    config: LoraConfig
    variant: Variant
    base_hash: str
    created: str
    base: str = ""


def save_adapter(path: str | os.PathLike[str], sam: Sam, base_hash: str, base: str = "") -> None:
    """Write a model's adapters to a safetensors file.

    The file appears under its name only when it is whole; an older one stays until then.

    Parameters
    ----------
    path : path-like
        A file name ending in ``.safetensors``.
    sam : Sam
        With adapters.
    base_hash : str
        `model_hash` of the base model, from before the adapters were added.
    base : str
        Its name, or its file's, to find it again.

    Raises
    ------
    ValueError
        If the model has no adapters, or its other weights are no longer those of the base model,
        so that the adapters alone would not bring the trained model back.
    CheckpointError
        If the name ends otherwise or the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"Adapters are saved as safetensors: let the name {path} end in .safetensors."
        )
    tensors = _tensors(sam)
    config = next((part.config for _, _, adapters in lora_layers(sam) for part in adapters), None)
    if config is None:
        raise ValueError("This model has no LoRA adapters: call add_lora first.")
    if model_hash(base_model(sam)) != base_hash:
        raise ValueError(
            "The model's other weights are no longer those of its base, and an adapter file would "
            "not hold them: train the adapters alone (with hold_batch_norm), or merge_lora and "
            "save the whole model."
        )
    metadata = {
        "format": _FORMAT,
        "config": json.dumps(asdict(config)),
        "variant": json.dumps(sam.variant.to_dict()),
        "base_hash": base_hash,
        "base": base,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **thresholds_metadata(sam.automatic),
    }
    saved = {key: tensor.detach().float().cpu().contiguous() for key, tensor in tensors.items()}
    write_safetensors(path, saved, metadata)


def is_adapter(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is one that :func:`save_adapter` wrote, of whatever version."""
    return kind_of_adapter(path).startswith(_KIND)


def kind_of_adapter(path: str | os.PathLike[str]) -> str:
    """Return the format that an adapter's file names; of a whole model or anything else ``""``."""
    from safetensors import SafetensorError, safe_open

    if Path(path).suffix != ".safetensors":
        return ""
    try:
        with safe_open(path, framework="pt") as file:
            named = (file.metadata() or {}).get("format", "")
    except (SafetensorError, OSError):
        return ""  # whatever it is, who loads it as a model says so
    return named if named.startswith("napari-sam-") else ""


def read_adapter(path: str | os.PathLike[str]) -> AdapterInfo:
    """Read what an adapter file says about itself.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is not one that :func:`save_adapter` wrote.
    """
    return _read(Path(path))[0]


def load_adapter(sam: Sam, path: str | os.PathLike[str]) -> LoraConfig:
    """Add the adapters in a file to the base model they were trained on.

    Parameters
    ----------
    sam : Sam
        The base model, in any precision and on any device; unchanged if the file is refused.
    path : path-like
        What :func:`save_adapter` wrote.

    Returns
    -------
    LoraConfig
        That of the adapters.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged or no adapter, or belongs to another variant or other
        weights.
    ValueError
        If the model already has adapters.
    """
    path = Path(path)
    info, saved = _read(path)
    refuse_other_base(sam, path, info.variant, info.base_hash)
    add_lora(sam, info.config)
    own_tensors = _tensors(sam)
    if {k: t.shape for k, t in own_tensors.items()} != {k: t.shape for k, t in saved.items()}:
        merge_lora(sam)  # adds nothing yet, only takes the adapters away again
        raise CheckpointError(
            f"{path} does not hold the adapters its description promises: save it again."
        )
    with torch.no_grad():
        for key, tensor in own_tensors.items():
            tensor.copy_(saved[key])
    sam.automatic = read_thresholds(path)
    return info.config


def refuse_other_base(sam: Sam, path: Path, variant: Variant, base_hash: str) -> None:
    """Refuse a model that is not the one an adapter was trained on.

    Parameters
    ----------
    sam : Sam
        The model.
    path, variant, base_hash
        The adapter's file, and what it says of its base.

    Raises
    ------
    CheckpointError
        If dimensions or weights differ.
    """
    own, needed = sam.variant.to_dict(), variant.to_dict()
    differing = [name for name in own if name != "name" and own[name] != needed[name]]
    if differing:
        raise CheckpointError(
            f"{path} is an adapter for {variant.name}, which differs from this model "
            f"({sam.variant.name}) in {', '.join(differing)}: load the model it was trained on."
        )
    found = model_hash(base_model(sam))
    if found != base_hash:
        raise CheckpointError(
            f"{path} is an adapter for another {variant.name} (its base has the hash "
            f"{base_hash[:12]}, this model {found[:12]}): load the weights it was trained on."
        )


def load_with_adapter(
    base: str | os.PathLike[str],
    adapter: str | os.PathLike[str],
    device: str | torch.device = "auto",
    precision: Precision = "auto",
) -> Sam:
    """Load a base model with an adapter merged into its weights, ready for prediction.

    Parameters
    ----------
    base : str or path-like
        The base model, as for `load_model`.
    adapter : path-like
        What :func:`save_adapter` wrote.
    device, precision
        As for `load_model`. The sum is made in float32, whatever the precision.

    Returns
    -------
    Sam
        A plain model in eval mode, with a hash of its own.

    Raises
    ------
    CheckpointError, ValueError, ImportError
        As from `load_model` and :func:`load_adapter`.
    """
    target = choose_device(device, precision)
    read_adapter(adapter)  # refuses before a base model is downloaded
    sam = load_model(base, device="cpu", precision="float32")
    load_adapter(sam, adapter)
    merge_lora(sam)
    return prepare(sam, target, precision)


def _tensors(sam: Sam) -> dict[str, Tensor]:
    """Return the adapters' parameters under the names they have in files."""
    return {
        f"{name}.{adapter.part}.{key}": tensor
        for name, _, adapters in lora_layers(sam)
        for adapter in adapters
        for key, tensor in adapter.named_parameters()
    }


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return what an adapter's file says of itself, and its tensors.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is damaged.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    if not path.is_file():
        raise CheckpointError(f"There is no file {path}: check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {}), load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or not an adapter file ({error}): pass what a training run saved."
        ) from error


def _read(path: Path) -> tuple[AdapterInfo, Mapping[str, Tensor]]:
    """Read an adapter file: its description and its tensors."""
    metadata, tensors = read_tensors(path)
    if metadata.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path} holds no LoRA adapter of this version: pass what a LoRA run saved, or load it "
            f"as a model."
        )
    try:
        info = AdapterInfo(
            LoraConfig(**json.loads(metadata["config"])),
            Variant(**json.loads(metadata["variant"])),
            metadata["base_hash"],
            metadata["created"],
            metadata.get("base", ""),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} describes an adapter this version cannot build ({error}): update this "
            f"package, or train it again."
        ) from error
    return info, tensors
