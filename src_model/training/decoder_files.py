"""Files of fine-tuned decoders: everything of a model but its image encoder.

They are small, belong to one base model, and refuse any other.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from ..automatic_thresholds import read_thresholds, thresholds_metadata
from ..errors import CheckpointError
from ..safetensors_files import write_safetensors
from ..sam import Sam
from ..variants import Variant
from ..weight_files import encoder_hash
from .adapter_files import kind_of_adapter, read_tensors, refuse_other_base

__all__ = [
    "DecoderInfo",
    "is_decoder",
    "load_decoder",
    "read_decoder",
    "save_decoder",
]

_KIND = "napari-sam-decoder-"
_FORMAT = f"{_KIND}1"


@dataclass(frozen=True)
class DecoderInfo:
    """What a decoder's file says about itself.

    Parameters
    ----------
    variant : Variant
        Architecture of the whole model.
    base_hash, encoder_hash : str
        `model_hash` of the base model, and `encoder_hash` of it and of the fine-tuned one.
    created : str
        Date and time in UTC, ISO 8601.
    base : str
        Name or file name of the base model.
    """

    variant: Variant
    base_hash: str
    encoder_hash: str
    created: str
    base: str = ""


def save_decoder(
    path: str | os.PathLike[str],
    sam: Sam,
    base_hash: str,
    base_encoder_hash: str,
    base: str = "",
) -> None:
    """Write all of a model but its image encoder to a safetensors file.

    The file appears under its name only when it is whole; an older one stays until then.

    Parameters
    ----------
    path : path-like
        A file name ending in ``.safetensors``.
    sam : Sam
        Fine-tuned, without adapters.
    base_hash, base_encoder_hash : str
        `model_hash` and `encoder_hash` of the base model.
    base : str
        Its name, or its file's, to find it again.

    Raises
    ------
    ValueError
        If the model's encoder is not that of its base any more, so that the file would not bring
        the model back.
    CheckpointError
        If the name ends otherwise or the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"Decoders are saved as safetensors: let the name {path} end in .safetensors."
        )
    if encoder_hash(sam) != base_encoder_hash:
        raise ValueError(
            "The model's image encoder is no longer that of its base, and a decoder's file would "
            "not hold it: save the whole model."
        )
    metadata = {
        "format": _FORMAT,
        "variant": json.dumps(sam.variant.to_dict()),
        "base_hash": base_hash,
        "encoder_hash": base_encoder_hash,
        "base": base,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **thresholds_metadata(sam.automatic),
    }
    saved = {key: tensor.detach().cpu().contiguous() for key, tensor in _tensors(sam).items()}
    write_safetensors(path, saved, metadata)


def is_decoder(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is one that :func:`save_decoder` wrote, of whatever version."""
    return kind_of_adapter(path).startswith(_KIND)


def read_decoder(path: str | os.PathLike[str]) -> DecoderInfo:
    """Read what a decoder's file says about itself.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is not one that :func:`save_decoder` wrote.
    """
    return _read(Path(path))[0]


def load_decoder(sam: Sam, path: str | os.PathLike[str]) -> None:
    """Replace all of a model but its image encoder by what is in a file.

    Parameters
    ----------
    sam : Sam
        The base model, changed in place; unchanged if the file is refused.
    path : path-like
        What :func:`save_decoder` wrote.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged or holds no decoder, or belongs to another variant or
        other weights.
    """
    path = Path(path)
    info, saved = _read(path)
    refuse_other_base(sam, path, info.variant, info.base_hash)
    own = _tensors(sam)
    if {k: t.shape for k, t in own.items()} != {k: t.shape for k, t in saved.items()}:
        raise CheckpointError(
            f"{path} does not hold the decoder its description promises: save it again."
        )
    with torch.no_grad():
        for key, tensor in own.items():
            tensor.copy_(saved[key])
    sam.automatic = read_thresholds(path)


def _tensors(sam: Sam) -> dict[str, Tensor]:
    return {
        key: tensor
        for key, tensor in sam.state_dict().items()
        if not key.startswith("image_encoder.")
    }


def _read(path: Path) -> tuple[DecoderInfo, dict[str, Tensor]]:
    metadata, tensors = read_tensors(path)
    if metadata.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path} holds no decoder of this version: pass what a run that taught the decoder "
            f"saved, or load it as a model."
        )
    try:
        info = DecoderInfo(
            Variant(**json.loads(metadata["variant"])),
            metadata["base_hash"],
            metadata["encoder_hash"],
            metadata["created"],
            metadata.get("base", ""),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} describes a decoder this version cannot build ({error}): update this "
            f"package, or train it again."
        ) from error
    return info, tensors
