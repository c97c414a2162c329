"""Thresholds for finding everything that were found best for some weights, kept in their files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import CheckpointError
from .safetensors_files import read_metadata, write_safetensors

__all__ = [
    "AutomaticThresholds",
    "read_thresholds",
    "thresholds_in",
    "thresholds_metadata",
    "write_thresholds",
]

_KEY = "automatic_thresholds"


@dataclass(frozen=True)
class AutomaticThresholds:
    """What makes an object of a mask that was found without a prompt.

    Parameters
    ----------
    predicted_iou, stability : float
        Least values, from 0 to 1.
    overlap : float
        Greatest IoU of two objects, from 0 to 1.

    Raises
    ------
    ValueError
        If one lies outside.
    """

    predicted_iou: float
    stability: float
    overlap: float

    def __post_init__(self) -> None:
        if not all(0 <= value <= 1 for value in asdict(self).values()):
            raise ValueError(f"thresholds lie between 0 and 1, not so {asdict(self)}.")


def thresholds_metadata(thresholds: AutomaticThresholds | None) -> dict[str, str]:
    """Return what a file of weights says of them; nothing where there are none."""
    return {} if thresholds is None else {_KEY: json.dumps(asdict(thresholds))}


def thresholds_in(metadata: Mapping[str, str], path: Path) -> AutomaticThresholds | None:
    """Read what `thresholds_metadata` gave.

    Raises
    ------
    CheckpointError
        If it is damaged.

    Examples
    --------
    >>> thresholds_in(thresholds_metadata(AutomaticThresholds(0.6, 0.4, 0.3)), Path("a"))
    AutomaticThresholds(predicted_iou=0.6, stability=0.4, overlap=0.3)
    """
    if _KEY not in metadata:
        return None
    try:
        return AutomaticThresholds(**json.loads(metadata[_KEY]))
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} names thresholds this version does not understand ({error}): update this "
            f"package, or save the weights again."
        ) from error


def read_thresholds(path: str | os.PathLike[str]) -> AutomaticThresholds | None:
    """Read the thresholds in a file of weights; None where it names none.

    Raises
    ------
    CheckpointError
        If the file or what it says is damaged.
    """
    return thresholds_in(read_metadata(path), Path(path))


def write_thresholds(path: str | os.PathLike[str], thresholds: AutomaticThresholds) -> None:
    """Let a file of weights, or of an adapter, name thresholds; nothing else in it changes.

    The new file takes the old one's place when it is whole.

    Raises
    ------
    CheckpointError
        If the file is damaged, or cannot be written.
    """
    from safetensors.torch import load_file

    path = Path(path)
    metadata = read_metadata(path) | thresholds_metadata(thresholds)
    write_safetensors(path, load_file(path), metadata)
