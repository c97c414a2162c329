"""OME-Zarr in a zip, read where it lies: nothing is unpacked to the disk."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from napari_sam.errors import InputError
from napari_sam.files.images import damage_told
from napari_sam.files.zarr_images import describe_zarr
from napari_sam.files.zarr_parts import image_in, images_in
from napari_sam.scenes.opening import from_zarr
from napari_sam.scenes.sources import Source

__all__ = ["open_zipped_zarr", "zipped_zarr_parts"]

_LARGEST = 1 << 28
"""Bytes that a compressed file in the archive may become: chunks are smaller, bombs are not."""

_ROOTS = ("zarr.json", ".zgroup", ".zarray")


def zipped_zarr_parts(path: Path | str) -> tuple[str, ...]:
    """Name the images in a zipped OME-Zarr; none where there is one only.

    Raises
    ------
    InputError
        If it is missing, damaged, or not safe to read.
    """
    return images_in(_opened(Path(path)))


def open_zipped_zarr(path: Path | str, part: str | None) -> Source:
    """Open an image of a zipped OME-Zarr.

    Parameters
    ----------
    path : Path
        Of the zip. The Zarr is all of it, or the one folder in it.
    part : str or None
        Which image, as `zipped_zarr_parts` names it; None for the only one.

    Raises
    ------
    InputError
        If it is missing, damaged, or not safe to read, or holds several images and none is chosen.
    """
    path = Path(path)
    return from_zarr(describe_zarr(image_in(_opened(path), part, path), path))


def _opened(path: Path) -> Any:
    import zarr

    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    with damage_told(path):
        inside = _checked(path)
        return zarr.open(zarr.storage.ZipStore(path, mode="r"), path=inside, mode="r")


def _checked(path: Path) -> str:
    """Refuse what could harm, and return the folder that the Zarr is in."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    for entry in entries:
        names = entry.filename.replace("\\", "/").split("/")
        if entry.filename.startswith(("/", "\\")) or ".." in names or ":" in names[0]:
            raise InputError(
                f"{path} is refused: a file in it has the name {entry.filename!r}, which leads out "
                "of the archive."
            )
        if entry.compress_type != zipfile.ZIP_STORED and entry.file_size > _LARGEST:
            raise InputError(
                f"{path} is refused: {entry.filename!r} in it would become "
                f"{entry.file_size >> 20} MiB; unpack it and open the folder."
            )
    files = {entry.filename for entry in entries}
    if any(root in files for root in _ROOTS):
        return ""
    folders = {name.split("/")[0] for name in files}
    if len(folders) == 1 and any(f"{next(iter(folders))}/{root}" in files for root in _ROOTS):
        return folders.pop()
    raise InputError(f"{path} holds no Zarr: neither all of it is one, nor the one folder in it.")
