"""A store as one .zip file, to keep or to send."""

from __future__ import annotations

import zipfile
from pathlib import Path

from napari_sam.files.outputs import written_together

from .journal import FOLDER
from .places import ROOT, Place
from .store_errors import StoreUnusable

__all__ = ["write_zip"]


def write_zip(place: Place, path: Path) -> None:
    """Copy all keys of a store into a .zip file, without compressing them again.

    Others may write to the store meanwhile: all that the copy says is done, is in it.

    Parameters
    ----------
    place : Place
        The store.
    path : Path
        Replaced when the copy is whole.

    Raises
    ------
    StoreUnusable
        If the store cannot be read or the file not written; then nothing is left behind.
    """
    try:
        with (
            written_together(path) as (part,),
            zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive,
        ):
            _copy(place, archive)
    except OSError as error:
        raise StoreUnusable(
            f"{path} could not be written ({error.strerror or error}): choose an existing folder "
            f"with enough free space that you may write to."
        ) from error


def _copy(place: Place, archive: zipfile.ZipFile) -> None:
    # The records first: what becomes done meanwhile is then not in the copy, rather than its data.
    copied: set[str] = set()
    _add(place, archive, [ROOT, *(f"{FOLDER}/{name}" for name in place.names(FOLDER))], copied)
    while True:
        others = {key for key in place.all_keys() if not key.startswith(f"{FOLDER}/")}
        # A tile that vanished since it was listed has moved to a shard.
        if _add(place, archive, sorted(others - copied), copied):
            return


def _add(place: Place, archive: zipfile.ZipFile, keys: list[str], copied: set[str]) -> bool:
    """Copy keys; tell whether all of them were still there."""
    complete = True
    for key in keys:
        content = place.fetch(key)
        if content is None:
            complete = False
            continue
        archive.writestr(zipfile.ZipInfo(key), content)
        copied.add(key)
    return complete
