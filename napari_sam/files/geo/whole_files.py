"""Files that libraries of C write: whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_sam.errors import InputError

__all__ = ["whole_file"]

_LOGS = ("-wal", "-journal")
"""What SQLite leaves beside a database that is open or was not closed."""


@contextmanager
def whole_file(path: Path, *failures: type[Exception]) -> Iterator[Path]:
    """Lend a name for a file, and put the file in its place when the block ends well.

    It lies in a folder of its own, which is removed with all that libraries leave in it, and has
    the final name, as they look at endings.

    Parameters
    ----------
    path : Path
        The final name; its folder exists.
    *failures : type of Exception
        What the library raises if it cannot write, beside `OSError`.

    Raises
    ------
    InputError
        If it cannot be written; a file that was there is untouched.
    """
    for log in _LOGS:
        if path.with_name(path.name + log).exists():
            raise InputError(
                f"{path} is open in another program ({path.name}{log} lies beside it): close it "
                f"there, or choose another name."
            )
    beside = ""
    try:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder")
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as beside:
            partial = Path(beside) / path.name
            yield partial
            with partial.open("r+b") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
    except (OSError, *failures) as error:  # type: ignore[misc]
        # rasterio points to what GDAL said; where that was is nobody's business.
        said = getattr(error, "strerror", None) or str(error.__cause__ or error)
        said = said.replace(f"{beside}{os.sep}", "").rstrip(".")
        raise InputError(f"{path} cannot be written ({said}).") from error
