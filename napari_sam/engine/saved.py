"""JSON files of a project: written whole or not at all, and refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_sam.errors import InputError
from napari_sam.files.outputs import written_together

__all__ = ["FORMAT_VERSION", "damaged", "read_saved", "write_saved"]

FORMAT_VERSION = 1
"""Of all files of a project."""


def write_saved(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file of a project; its folder is made.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    text = json.dumps({"format_version": FORMAT_VERSION, **content}, indent=1, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_together(path) as (partial,):
            partial.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}).") from error


def read_saved(path: Path) -> dict[str, Any] | None:
    """Read a file of a project; None if there is none.

    Raises
    ------
    InputError
        If it cannot be read, is damaged, or of another version.
    """
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}).") from error
    except ValueError as error:
        raise damaged(path, error) from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise damaged(path, "it does not say its version")
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path} is of version {version}, and this program reads version {FORMAT_VERSION}: "
            f"use the program that wrote it, or a newer one."
        )
    return dict(content)


def damaged(path: Path, why: object) -> InputError:
    """Return what says that a file makes no sense."""
    reason = str(why).rstrip(".")
    return InputError(f"{path} is damaged ({reason}): bring back an older copy of it.")
