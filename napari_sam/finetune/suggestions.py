"""Settings that suit a method, a model and the amount of data, for people who name none."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam.errors import InputError
from src_model.variants import VARIANTS, Variant

if TYPE_CHECKING:
    from napari_sam.finetune.datasets import Dataset

__all__ = ["suggested", "suggested_settings"]

# What the steps below are meant for; more pictures are given more steps, as their root.
_PICTURES = 10
_FEWEST, _MOST = 0.5, 4.0

# So that a small encoder without absolute positions is done in a quarter of an hour on two cores,
# looks at validation and hold-out included.
_STEPS = {"decoder": 240, "lora": 160, "full": 160, "mae": 200}
_RATES = {"decoder": 2e-4, "lora": 1e-3, "full": 3e-4, "mae": 3e-4}

# Side of the part of a frame that an encoder which can sees in a step: a quarter of the pixels.
_WINDOW = 512
# Looks at the validation pictures: each costs as much as several steps.
_LOOKS = 4


def suggested(method: str, dataset: "Dataset", base: str = "vit_nano") -> dict[str, Any]:
    """Suggest settings for a dataset.

    Parameters
    ----------
    method : {"decoder", "lora", "full", "mae"}
        As `RunSettings.method`.
    dataset : Dataset
        What is to be learned from.
    base : str
        Model to start from: a name, or a file of weights.

    Returns
    -------
    dict
        Values for `Dataset.settings`.

    Raises
    ------
    InputError
        If there is nothing to suggest for the method, or the file is damaged.
    """
    pictures = dataset.part("train")
    count = 0 if pictures is None else len(pictures)
    return suggested_settings(method, _variant(base), count, dataset.objects("train"))


def suggested_settings(
    method: str, variant: Variant | None, pictures: int, objects: int
) -> dict[str, Any]:
    """Suggest settings.

    Parameters
    ----------
    method : {"decoder", "lora", "full", "mae"}
        As `RunSettings.method`.
    variant : Variant or None
        Architecture of the model to start from; None if it is not known.
    pictures, objects : int
        To learn from, in all.

    Returns
    -------
    dict
        Values for `settings_from_dict`; those for "mae" are also what its ``pretraining`` takes.

    Raises
    ------
    InputError
        If there is nothing to suggest for the method.

    Examples
    --------
    >>> values = suggested_settings("lora", VARIANTS["vit_nano"], pictures=10, objects=300)
    >>> values["steps"], values["batch"], values["window"]
    (160, 4, 512)
    >>> suggested_settings("lora", VARIANTS["vit_b"], pictures=10, objects=300)["batch"]
    1
    """
    if method not in _STEPS:
        raise InputError(f"There are no suggestions for the method {method!r}: set its values.")
    small = variant is not None and variant.encoder == "tiny_vit"
    batch = 4 if small else 1
    share = min(max(math.sqrt(max(pictures, 1) / _PICTURES), _FEWEST), _MOST)
    steps = 10 * round(_STEPS[method] * share / 10)
    values: dict[str, Any] = {
        "steps": steps,
        "lr": _RATES[method],
        "warmup": max(1, steps // 12),
    }
    if method == "mae":
        return values | {"batch": 2 if small else 1}
    values |= {
        "validate_every": math.ceil(steps / _LOOKS),
        "batch": batch,
        "error_points": 1,
        # Of few objects all are shown each time.
        "objects": max(1, min(8, math.ceil(objects / max(pictures, 1)))),
        "local": 0.85,
        "ema": 0.97,
    }
    if method == "decoder":  # decoding whole frames costs more than encoding parts of them
        return values | {"batch": 2}
    if small:
        if variant is not None and variant.image_size > _WINDOW:
            values["window"] = _WINDOW
    else:  # the activations of a large encoder fill the memory before anything else does
        values["checkpointing"] = True
    return values


def _variant(base: str) -> Variant | None:
    """Return a model's architecture without loading it; None if its file does not say."""
    from napari_sam.own_models import find_own_model
    from src_model.checkpoints import CHECKPOINTS
    from src_model.errors import CheckpointError
    from src_model.training.adapter_files import is_adapter, read_adapter
    from src_model.weight_files import read_variant

    if base in CHECKPOINTS:
        return VARIANTS[CHECKPOINTS[base].variant]
    own = find_own_model(base)
    path = Path(base).expanduser() if own is None else own.path
    try:
        return read_adapter(path).variant if is_adapter(path) else read_variant(path)
    except CheckpointError as error:
        raise InputError(str(error)) from error
