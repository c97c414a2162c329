"""Files of weights: safetensors with what they say of themselves, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from .errors import CheckpointError

__all__ = ["damaged", "is_safetensors", "read_metadata", "write_safetensors", "write_whole"]


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read what a safetensors file says about itself; nothing of any other file.

    Raises
    ------
    CheckpointError
        If the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file() or not is_safetensors(path):
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise CheckpointError(damaged(path, error)) from error


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file that appears under its name only when it is whole.

    Parameters
    ----------
    path : Path
        The file; it gets the permissions that the user's umask gives to new files.
    tensors : dict of str to Tensor
        Contiguous, on the CPU.
    metadata : dict of str to str
        What the file says about itself.

    Raises
    ------
    CheckpointError
        If it cannot be written.
    """
    from safetensors.torch import save_file

    write_whole(path, lambda whole: save_file(tensors, whole, metadata))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let a file be written beside its place, and bring it there when it is whole."""
    try:
        # Beside the target, because only within one file system a rename is all or nothing.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
            whole = Path(folder) / path.name
            whole.touch()
            mode = whole.stat().st_mode  # safetensors itself does not heed the umask
            write(whole)
            whole.chmod(mode)
            os.replace(whole, path)
    except (OSError, RuntimeError) as error:  # torch.save raises RuntimeError where a disk is full
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error).partition(
            "\n"
        )[0]
        raise CheckpointError(
            f"{path} could not be written ({reason}): choose an existing folder with free space "
            f"that you may write to."
        ) from error


def is_safetensors(path: Path) -> bool:
    """Tell safetensors from everything else: eight bytes of header length, then a JSON object."""
    with open(path, "rb") as file:
        start = file.read(9)
    # A name that promises the format gets that format's explanation of what is wrong.
    return start[8:] == b"{" or path.suffix == ".safetensors"


def damaged(path: Path, error: Exception) -> str:
    """Say that a file of weights is damaged, in a sentence."""
    size = path.stat().st_size
    reason = (
        (str(error).strip().splitlines() or [type(error).__name__])[0].split(". ")[0].rstrip(".")
    )
    return (
        f"{path} ({size:,} bytes) is truncated, damaged or not a file of weights ({reason}): "
        f"fetch it again from where it came from."
    )
