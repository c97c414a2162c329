"""NRRD (.nrrd, .nhdr) -> a Source, laid out as radiologists expect."""

import re
from pathlib import Path

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.medical.text_headers import (
    Described,
    beside,
    no_file,
    numbers,
    open_described,
)
from napari_sam.scenes.sources import Source

__all__ = ["open_nrrd"]

_TYPES = {
    "signed char": "i1", "int8": "i1", "int8_t": "i1",
    "uchar": "u1", "unsigned char": "u1", "uint8": "u1", "uint8_t": "u1",
    "short": "i2", "short int": "i2", "signed short": "i2", "signed short int": "i2",
    "int16": "i2", "int16_t": "i2",
    "ushort": "u2", "unsigned short": "u2", "unsigned short int": "u2", "uint16": "u2",
    "uint16_t": "u2",
    "int": "i4", "signed int": "i4", "int32": "i4", "int32_t": "i4",
    "uint": "u4", "unsigned int": "u4", "uint32": "u4", "uint32_t": "u4",
    "longlong": "i8", "long long": "i8", "long long int": "i8", "int64": "i8", "int64_t": "i8",
    "ulonglong": "u8", "unsigned long long": "u8", "uint64": "u8", "uint64_t": "u8",
    "float": "f4", "double": "f8",
}  # fmt: skip
_TO_LPS = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip
_COLOURS = ("rgb-color", "rgba-color", "hsv-color", "xyz-color", "vector", "3-vector", "4-vector")
_WHAT = "NRRD"


def open_nrrd(path: Path | str, part: str | None = None) -> Source:
    """Open an NRRD file; the header is read, pixels when they are needed.

    Parameters
    ----------
    path : path
        A .nrrd file, or a .nhdr beside the file with its pixels.
    part : str, optional
        There are no parts.

    Returns
    -------
    Source
        Axes ``YX``, ``ZYX`` or ``TZYX``, and ``S`` or ``C`` behind for several samples.

    Raises
    ------
    InputError
        If it is missing, damaged, cut off or of an unknown kind.

    References
    ----------
    .. [1] Definition of NRRD, https://teem.sourceforge.net/nrrd/format.html
    """
    return open_described(path, part, _WHAT, _described)


def _described(path: Path, head: bytes) -> Described:
    fields, end = _fields(path, head)
    sizes = tuple(map(int, numbers(fields["sizes"])))
    count = int(fields["dimension"])
    kinds = fields.get("kinds", "").lower().split() or ["???"] * count
    if not len(sizes) == len(kinds) == count:
        raise no_file(path, _WHAT)
    directions = _directions(fields.get("space directions"))
    spatial = _spatial(kinds, directions)
    if len(spatial) not in (2, 3) or count - len(spatial) > 1:
        raise InputError(
            f"{path} has {len(spatial)} axes of space and {count - len(spatial)} others: 2 or 3 "
            "and at most one other can be read."
        )
    letters = dict(zip(spatial, "XYZ", strict=False))
    for axis in set(range(count)) - set(spatial):
        letters[axis] = "T"
        if kinds[axis] in _COLOURS or (kinds[axis] == "???" and axis == 0):
            letters[axis] = "S" if sizes[axis] in (3, 4) else "C"
    affine, spacing, notes = _geometry(fields, spatial, directions)
    encoding = fields["encoding"].lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise InputError(f"{path} is encoded as {encoding[:20]!r}: save it as raw or gzip.")
    if fields["type"].lower() not in _TYPES:
        raise InputError(f"{path} holds values that are no real numbers.")
    pixels, offset = path, end
    name = fields.get("data file", fields.get("datafile"))
    if name is not None:
        if name.upper().startswith("LIST") or "%" in name:
            raise InputError(f"{path} has its pixels in several files: save it as one file.")
        pixels, offset = beside(path, name), 0
    if int(fields.get("line skip", fields.get("lineskip", 0))):
        raise InputError(f"{path} skips lines before its pixels, which is not supported.")
    skip = int(fields.get("byte skip", fields.get("byteskip", 0)))
    if skip and (encoding != "raw" or skip < 0):
        raise InputError(f"{path} skips bytes before its pixels in a way that is not supported.")
    order = ">" if fields.get("endian", "little").lower() == "big" else "<"
    return Described(
        path=pixels,
        offset=offset + skip,
        packed=encoding != "raw",
        dtype=np.dtype(order + _TYPES[fields["type"].lower()]),
        sizes=sizes,
        axes="".join(letters[axis] for axis in range(count)),
        spacing=spacing,
        affine=affine,
        notes=notes,
    )


def _fields(path: Path, head: bytes) -> tuple[dict[str, str], int]:
    """Read the lines up to an empty one, or to the end of a header of its own."""
    found = re.search(rb"\r?\n\r?\n", head)
    text = head[: found.start()] if found else head
    lines = text.decode("latin-1").splitlines()
    if not lines or not lines[0].startswith("NRRD"):
        raise no_file(path, _WHAT)
    fields = {}
    for line in lines[1:]:
        key, mark, value = line.partition(":")
        if mark and not value.startswith("=") and not line.startswith("#"):
            fields[key.strip().lower()] = value.strip()
    return fields, found.end() if found else len(head)


def _directions(text: str | None) -> list[tuple[float, ...] | None] | None:
    """Read a vector for each axis, None for those that are none of space."""
    if text is None:
        return None
    return [
        None if word.lower() == "none" else numbers(word)
        for word in re.findall(r"none|\([^)]*\)", text, re.IGNORECASE)
    ]


def _spatial(kinds: list[str], directions: list[tuple[float, ...] | None] | None) -> list[int]:
    """Return which axes are those of space."""
    if directions is not None:
        return [axis for axis, direction in enumerate(directions) if direction is not None]
    if "???" not in kinds:
        return [axis for axis, kind in enumerate(kinds) if kind in ("domain", "space")]
    return list(range(min(len(kinds), 3)))


def _geometry(
    fields: dict[str, str], spatial: list[int], directions: list[tuple[float, ...] | None] | None
) -> tuple[np.ndarray | None, tuple[float, ...], tuple[str, ...]]:
    """Return the affine, the distances of pixels, and what is odd."""
    given = fields.get("spacings")
    steps = [1.0 if word == "nan" else float(word) for word in (given or "").lower().split()]
    spacing = tuple(steps[axis] if steps else 1.0 for axis in spatial)
    if directions is not None:
        vectors = np.array([directions[axis] for axis in spatial], float)
        spacing = tuple(map(float, np.linalg.norm(vectors, axis=1)))
    if len(spatial) != 3:
        return None, spacing, ()
    space = fields.get("space", "").lower().removesuffix("-time").removesuffix("t")
    notes: tuple[str, ...] = ()
    if space not in _TO_LPS:
        notes = (
            "The file does not say how it lies in the patient: left and right are those that most "
            "programs assume.",
        )
    affine = np.eye(4)
    affine[:3, :3] = np.diag(spacing) if directions is None else vectors.T
    affine[:3, 3] = numbers(fields["space origin"]) if "space origin" in fields else 0
    affine[:3] *= np.array(_TO_LPS.get(space, (1, 1, 1)))[:, np.newaxis]
    return affine, spacing, notes
