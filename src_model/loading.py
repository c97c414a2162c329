"""`load_model`: from a name or a file to a network ready to run on this machine."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch.overrides import TorchFunctionMode

from .automatic_thresholds import read_thresholds
from .checkpoints import CHECKPOINTS, download
from .errors import CheckpointError
from .sam import Sam, build_sam
from .variant_from_weights import find_variant
from .variants import VARIANTS, Variant
from .weight_files import copy_weights, read_state_dict, read_variant

__all__ = ["Precision", "SkipInitialisation", "load_model"]

Precision = Literal["auto", "float32", "bfloat16", "openvino"]

# To read and compile a graph takes OpenVINO some 0.5 s at every start. It saves vit_b (90 M
# parameters in the encoder) more than that with every image, but vit_nano (2 M) only 30 ms.
_OPENVINO_PARAMETERS = 20_000_000


def load_model(
    name_or_path: str | os.PathLike[str],
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    variant: Variant | None = None,
) -> Sam:
    """Build a network with the weights of a known checkpoint or of any file, ready for prediction.

    Parameters
    ----------
    name_or_path : str or path-like
        A name in `src_model.checkpoints.CHECKPOINTS` (downloaded on first use, except for the
        bundled ``"vit_nano"``), or the path of a file of weights.
    device : str or torch.device
        Where the network runs; ``"auto"`` takes CUDA, else Apple's MPS, else the CPU.
    precision : {"auto", "float32", "bfloat16", "openvino"}
        ``"float32"`` everywhere; ``"bfloat16"`` for the weights and the inside of the image
        encoder and the mask decoder (the prompt encoder, whose coordinates need it, stays in
        float32, and so does all that goes in and out); ``"openvino"`` runs the image encoder
        through OpenVINO on the CPU, see `openvino_backend.accelerate`. ``"auto"`` takes OpenVINO
        on a CPU if it is installed and the image encoder has at least 20 million parameters: a
        smaller one gains less than it costs to start OpenVINO. Wherever the processor multiplies
        in bfloat16 (GPUs that support it, CPUs with AMX or AVX512-BF16), ``"auto"`` and
        ``"openvino"`` use it, and float32 elsewhere.
    variant : Variant, optional
        The architecture of the weights. By default the table's for a known name, for a file what
        `save_checkpoint` wrote into it, or else what `find_variant` reads from its keys and shapes.

    Returns
    -------
    Sam
        In eval mode.

    Raises
    ------
    CheckpointError
        If the name is unknown, or the file is missing, damaged, unsafe or does not fit.
    ValueError
        If the device or precision is none of the above or not to be had here.
    ImportError
        If ``precision="openvino"`` and OpenVINO is not installed.
    """
    target = choose_device(device, precision)
    checkpoint = CHECKPOINTS.get(os.fspath(name_or_path))
    if checkpoint is not None:
        path = download(checkpoint.name)
        variant = variant or VARIANTS[checkpoint.variant]
    else:
        path = _existing_file(name_or_path)
    state = read_state_dict(path)
    try:
        variant = variant or read_variant(path) or find_variant(state)
    except CheckpointError as error:
        if str(path) in str(error):
            raise
        raise CheckpointError(f"{path}: {error}") from error
    with SkipInitialisation():
        sam = build_sam(variant)
    copy_weights(sam, state, path)
    sam.automatic = read_thresholds(path)
    return prepare(sam.eval(), target, precision)


def _existing_file(name_or_path: str | os.PathLike[str]) -> Path:
    """Return a path that is a file, or say what was probably meant."""
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise CheckpointError(
            f"There is no file {path}: check the path, or name one of {', '.join(CHECKPOINTS)}."
        )
    raise CheckpointError(
        f"There is no model named {os.fspath(name_or_path)!r}: choose one of "
        f"{', '.join(CHECKPOINTS)}, or give the path of a file of weights."
    )


def choose_device(device: str | torch.device, precision: Precision) -> torch.device:
    """Return the device to run on; device, precision and errors as for `load_model`."""
    target = _find_device("cpu" if (device, precision) == ("auto", "openvino") else device)
    _check_precision(precision, target)
    return target


def _find_device(device: str | torch.device) -> torch.device:
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"There is no device {device!r}: choose 'auto', 'cpu', 'cuda' or 'mps'."
        ) from error
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(chosen.type, False):
        raise ValueError(f"The device {str(chosen)!r} cannot be used here: choose 'auto' or 'cpu'.")
    return chosen


def _check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse a precision that is not to be had on a device."""
    if precision not in get_args(Precision):
        known = ", ".join(map(repr, get_args(Precision)))
        raise ValueError(f"There is no precision {precision!r}: choose one of {known}.")
    if precision == "openvino":
        if device.type != "cpu":
            raise ValueError(f"precision='openvino' runs on the CPU, not on {str(device)!r}.")
        if importlib.util.find_spec("openvino") is None:
            raise ImportError(
                "precision='openvino' needs OpenVINO: install it with "
                '`pip install "napari-sam-tiled[openvino]"`.'
            )


def _best_precision(sam: Sam, device: torch.device) -> Precision:
    """Resolve "auto" for a network."""
    parameters = sum(parameter.numel() for parameter in sam.image_encoder.parameters())
    if (
        device.type == "cpu"
        and parameters >= _OPENVINO_PARAMETERS
        and importlib.util.find_spec("openvino") is not None
    ):
        return "openvino"
    return "bfloat16" if multiplies_bfloat16(device) else "float32"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Tell whether bfloat16 is faster than float32 on a device, not merely possible."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return False


def prepare(sam: Sam, device: torch.device, precision: Precision) -> Sam:
    """Move a network to its device, its precision and the memory layout it runs fastest in."""
    sam.to(device)
    if precision == "auto":
        precision = _best_precision(sam, device)
    if precision == "openvino":
        from .openvino_backend import accelerate

        sam = accelerate(sam)
        precision = "bfloat16" if multiplies_bfloat16(device) else "float32"
    if precision == "bfloat16":
        sam.set_precision(torch.bfloat16)
    # Convolutions on channels_last weights: on two CPU cores the TinyViT of vit_t encodes 1.3
    # times as fast in float32 and 2.2 times in bfloat16, and the necks of the others gain too.
    sam.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return sam


class SkipInitialisation(TorchFunctionMode):
    """Leave new parameters unset, because a checkpoint fills them.

    Use it as a context manager around `build_sam`: vit_l is built in 0.03 s, not 3 s. Unlike
    building on the meta device, buffers that no checkpoint holds keep their values.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Skip what fills a parameter, call everything else."""
        kwargs = kwargs or {}
        random_fill = func in (torch.Tensor.uniform_, torch.Tensor.normal_)
        if random_fill or getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)
