"""Which files are DICOM: told from their content, without a library for it."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

__all__ = ["dicom_files", "is_dicom"]

_LOOKED_AT = 64
"""Files of a folder that are looked at to tell what it holds."""

_NO_PREAMBLE = (b"\x08\x00", b"\x02\x00")
"""How old files begin, which have no mark."""


def is_dicom(path: Path) -> bool:
    """Tell whether something is a DICOM file, or a folder with some in it or one level below.

    Examples
    --------
    >>> is_dicom(Path("no_such_file"))
    False
    """
    if path.is_dir():
        return any(_is_marked(file) for file in islice(_files(path), _LOOKED_AT))
    return _is_marked(path)


def dicom_files(folder: Path) -> Iterator[Path]:
    """Find what may be DICOM in a folder and one level below, by name."""
    return (file for file in _files(folder) if _is_marked(file) or _starts_old(file))


def _files(folder: Path) -> Iterator[Path]:
    inside = _inside(folder)
    yield from (path for path in inside if path.is_file())
    for below in inside:
        if below.is_dir():
            yield from (path for path in _inside(below) if path.is_file())


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # nobody may look into it
        return []


def _is_marked(path: Path) -> bool:
    return _bytes(path, 128, 4) == b"DICM"


def _starts_old(path: Path) -> bool:
    start = _bytes(path, 0, 8)
    # Group 2 or 8, an element, and then a length that is short or two capital letters.
    return start[:2] in _NO_PREAMBLE and len(start) == 8 and start[3] == 0


def _bytes(path: Path, offset: int, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(count)
    except OSError:  # what cannot be opened is none
        return b""
