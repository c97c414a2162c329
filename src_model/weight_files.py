"""Files of weights: reading them safely, loading them strictly, writing them whole."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .automatic_thresholds import thresholds_metadata
from .errors import CheckpointError
from .safetensors_files import (
    damaged,
    is_safetensors,
    read_metadata,
    write_safetensors,
    write_whole,
)
from .sam import Sam
from .variants import Variant

__all__ = [
    "encoder_hash",
    "load_weights",
    "model_hash",
    "read_state_dict",
    "read_variant",
    "save_checkpoint",
    "save_for_others",
]

# Where training scripts keep the network's weights in a dict of other things: torch-em and
# micro-sam, Lightning, and many hand-written loops.
_WRAPPERS = ("model_state", "state_dict", "model")
_PREFIX = re.compile(r"(module\.|sam\.)+")
_VARIANT_KEY = "variant"

# What of a variant's dimensions an embedding does not depend on.
_BEHIND_THE_ENCODER = (
    "name",
    "mask_in_chans",
    "prompt_map_dim",
    "refine_dim",
    "part_size",
    "decoder_depth",
    "decoder_mlp_dim",
    "decoder_heads",
    "iou_head_depth",
    "iou_head_hidden_dim",
    "num_multimask_outputs",
    "mask_threshold",
)

# Dimensions that came after stores had been written with hashes: where a variant does not use
# them they do not count, so that its embeddings stay good.
_CAME_LATER = ("refine_dim", "part_size")


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the weights in a file, without ever running code from it.

    The kind of file is told from its first bytes: safetensors, or what ``torch.save`` writes,
    holding a plain state dict or a dict with one under ``"model_state"`` (micro-sam; what lies
    beside it, such as ``"decoder_state"``, is left alone), ``"state_dict"`` or ``"model"``. The
    prefixes ``module.`` (DataParallel) and ``sam.`` (micro-sam) are taken off the keys. Tensors
    keep the file's dtype and are mapped from it where the format allows, so that nothing is read
    before it is used.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    dict of str to Tensor
        Weights on the CPU.

    Raises
    ------
    CheckpointError
        If there is no such file, it is truncated or in no known format, it contains pickled code,
        or it holds something other than weights.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}: check the path.")
    state: Any
    if is_safetensors(path):
        state = _read_safetensors(path)
    else:
        state = _read_torch(path)
        for wrapper in _WRAPPERS:
            if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
                state = state[wrapper]
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(
            f"{path} holds no weights but {type(state).__name__}: pass a file with a model's "
            f"state dict."
        )
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path} holds {type(value).__name__} under the key {key!r} where a tensor should "
                f"be: pass a file with a model's state dict."
            )
    return {
        _PREFIX.sub("", key, count=1) if _PREFIX.match(key) else key: state[key] for key in state
    }


def read_variant(path: str | os.PathLike[str]) -> Variant | None:
    """Read the variant that `save_checkpoint` wrote into a file.

    Parameters
    ----------
    path : path-like
        An existing file of weights.

    Returns
    -------
    Variant or None
        None where the file says nothing about it.

    Raises
    ------
    CheckpointError
        If the file is damaged, or what it says is no variant.
    """
    text = read_metadata(path).get(_VARIANT_KEY)
    if text is None:
        return None
    try:
        return Variant(**json.loads(text))
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} describes an architecture this version cannot build "
            f"({str(error).rstrip('.')}): pass its Variant explicitly, or update this package."
        ) from error


def load_weights(sam: Sam, path: str | os.PathLike[str]) -> None:
    """Load the weights in a file into a network, all of them and nothing else.

    Parameters
    ----------
    sam : Sam
        The network, changed in place; its parameters keep their dtype and device.
    path : path-like
        A file `read_state_dict` can read.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or its keys or shapes are not those of `sam`; `sam` is
        unchanged then.
    """
    copy_weights(sam, read_state_dict(path), Path(path))


def copy_weights(sam: Sam, state: Mapping[str, Tensor], path: Path) -> None:
    """Copy `state`, which was read from `path`, into `sam`; see `load_weights`."""
    own = sam.state_dict()
    problems = []
    if missing := [key for key in own if key not in state]:
        problems.append(f"{_some(missing)} missing")
    if unexpected := [key for key in state if key not in own]:
        problems.append(f"{_some(unexpected)} unexpected")
    if misshapen := [
        f"{key} ({_shape(state[key])} instead of {_shape(own[key])})"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]:
        problems.append(f"{_some(misshapen)} of another shape")
    if problems:
        raise CheckpointError(
            f"{path} does not fit the variant {sam.variant.name}: {'; '.join(problems)}; pass the "
            f"file's own variant, or leave it to be found from the file."
        )
    sam.load_state_dict(dict(state))


def save_checkpoint(
    sam: Sam, path: str | os.PathLike[str], dtype: torch.dtype | None = None
) -> None:
    """Write a network's weights and variant to a safetensors file.

    The file appears under its name only when it is whole; an older one stays until then.

    Parameters
    ----------
    sam : Sam
        The network.
    path : path-like
        A file name ending in ``.safetensors``.
    dtype : torch.dtype, optional
        Floating-point type in the file, for instance ``torch.float16`` for half the size; by
        default each weight's own. `load_weights` converts back to the network's.

    Raises
    ------
    CheckpointError
        If the name ends otherwise or the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"Weights are saved as safetensors: let the name {path} end in .safetensors."
        )
    tensors = {}
    for key, tensor in sam.state_dict().items():
        saved = tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
        tensors[key] = saved.detach().cpu().contiguous()
    metadata = {"format": "pt", _VARIANT_KEY: json.dumps(sam.variant.to_dict())}
    metadata |= thresholds_metadata(sam.automatic)
    write_safetensors(path, tensors, metadata)


def save_for_others(sam: Sam, path: str | os.PathLike[str]) -> None:
    """Write a network's weights, in float32 under the official keys, as other SAM tools load them.

    The file appears under its name only when it is whole; an older one stays until then.

    Parameters
    ----------
    sam : Sam
        The network, without adapters.
    path : path-like
        Ends in ``.safetensors``, or in ``.pth`` or ``.pt`` for a state dict as ``torch.save``
        writes it: what ``segment_anything.sam_model_registry`` takes.

    Raises
    ------
    CheckpointError
        If the name ends otherwise or the file cannot be written.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        save_checkpoint(sam, path, torch.float32)
    elif path.suffix in (".pth", ".pt"):
        state = {
            key: (tensor.float() if tensor.is_floating_point() else tensor).detach().cpu()
            for key, tensor in sam.state_dict().items()
        }
        state = {key: tensor.contiguous() for key, tensor in state.items()}
        write_whole(path, lambda whole: torch.save(state, whole))
    else:
        raise CheckpointError(
            f"Weights are saved as .safetensors, .pth or .pt: let the name {path} end in one of "
            f"these."
        )


def model_hash(sam: Sam) -> str:
    """Return a hash of a network's weights and dimensions, to tell which model made an embedding.

    Weights count after rounding to bfloat16, so that a model has the same hash in whatever
    precision it runs; a change too small for that in every single weight goes unnoticed. The
    variant's name and counters of training batches do not count.

    Parameters
    ----------
    sam : Sam
        The network, on any device.

    Returns
    -------
    str
        64 hexadecimal digits (SHA-256).
    """
    dimensions = sam.variant.to_dict()
    del dimensions["name"]
    for name in _CAME_LATER:
        if not dimensions[name]:
            del dimensions[name]
    return _hash(dimensions, sam.state_dict())


def encoder_hash(sam: Sam) -> str:
    """Return a hash of what an embedding depends on: the image encoder and the pixels' scale.

    Models that differ only behind the encoder, such as one whose decoder was fine-tuned and its
    base, have the same, and can use each other's embeddings. Weights count as for `model_hash`.

    Parameters
    ----------
    sam : Sam
        The network, on any device.

    Returns
    -------
    str
        64 hexadecimal digits (SHA-256).
    """
    dimensions = sam.variant.to_dict()
    for name in _BEHIND_THE_ENCODER:
        del dimensions[name]
    return _hash(dimensions, sam.image_encoder.state_dict())


def _hash(dimensions: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(dimensions, sort_keys=True).encode())
    for key, tensor in sorted(weights.items()):
        if tensor.is_floating_point():
            digest.update(f"{key} {_shape(tensor)}".encode())
            rounded = tensor.detach().to("cpu", torch.bfloat16).contiguous()
            digest.update(rounded.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(damaged(path, error)) from error


def _read_torch(path: Path) -> Any:
    with open(path, "rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"  # the format since PyTorch 1.6, which can be mapped
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        if match := re.search(r"GLOBAL (\S+)", str(error)):
            raise CheckpointError(
                f"{path} contains pickled code ({match[1]}), which is never run: ask for a file "
                f"with the plain weights, or, if you trust where it comes from, save its state "
                f"dict alone in a new file."
            ) from error
        raise CheckpointError(damaged(path, error)) from error
    except Exception as error:
        # torch.load meets damaged bytes with whatever its parsers run into: RuntimeError, EOFError,
        # KeyError, UnicodeDecodeError, ...
        raise CheckpointError(damaged(path, error)) from error


def _some(items: list[str]) -> str:
    """Name how many there are and the first three."""
    more = ", ..." if len(items) > 3 else ""
    return f"{len(items)} {'key' if len(items) == 1 else 'keys'} ({', '.join(items[:3])}{more})"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
