"""MetaImage (.mha, .mhd) -> a Source, laid out as radiologists expect."""

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

__all__ = ["open_metaimage"]

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2",
    "MET_INT": "i4", "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_WHAT = "MetaImage"


def open_metaimage(path: Path | str, part: str | None = None) -> Source:
    """Open a MetaImage file; the header is read, pixels when they are needed.

    Parameters
    ----------
    path : path
        A .mha file, or a .mhd beside the file with its pixels.
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
    .. [1] MetaIO documentation, https://itk.org/Wiki/ITK/MetaIO/Documentation
    """
    return open_described(path, part, _WHAT, _described)


def _described(path: Path, head: bytes) -> Described:
    fields, end = _fields(path, head)
    count = int(fields["NDims"])
    sizes = tuple(map(int, numbers(fields["DimSize"])))
    if len(sizes) != count or count not in (2, 3, 4):
        raise InputError(f"{path} has {count} axes, and not 2, 3 or 4.")
    given = fields.get("ElementSpacing", fields.get("ElementSize"))
    spacing = numbers(given) if given else (1.0,) * count
    samples = int(fields.get("ElementNumberOfChannels", 1))
    if fields["ElementType"] not in _TYPES:
        raise InputError(f"{path} holds values that are no real numbers.")
    msb = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False"))
    order = ">" if msb.lower() in ("true", "1") else "<"
    packed = fields.get("CompressedData", "False").lower() in ("true", "1")
    if fields.get("BinaryData", "True").lower() not in ("true", "1"):
        raise InputError(f"{path} holds its values as text: save them as binary data.")
    pixels, offset = path, end
    name = fields["ElementDataFile"]
    if name.upper() == "LIST" or "%" in name:
        raise InputError(f"{path} has its pixels in several files: save it as one .mha file.")
    if name.upper() != "LOCAL":
        pixels = beside(path, name)
        offset = int(fields.get("HeaderSize", 0))
        if offset == -1:  # the pixels end the file
            wanted = np.prod([float(n) for n in (*sizes, samples)])
            width = np.dtype(_TYPES[fields["ElementType"]]).itemsize
            offset = max(0, pixels.stat().st_size - int(wanted) * width)
    affine = None
    if count > 2:
        affine = np.eye(4)
        matrix = fields.get("TransformMatrix", fields.get("Orientation", fields.get("Rotation")))
        if matrix is not None:  # a row for each axis
            affine[:3, :3] = np.reshape(numbers(matrix), (count, count))[:3, :3].T
        affine[:3, :3] *= spacing[:3]
        origin = fields.get("Offset", fields.get("Origin", fields.get("Position")))
        affine[:3, 3] = (0, 0, 0) if origin is None else numbers(origin)[:3]
    axes = "XYZT"[:count]
    if samples > 1:
        sizes, axes = (samples, *sizes), ("S" if samples in (3, 4) else "C") + axes
    return Described(
        path=pixels,
        offset=max(0, offset),
        packed=packed,
        dtype=np.dtype(order + _TYPES[fields["ElementType"]]),
        sizes=sizes,
        axes=axes,
        spacing=spacing[:count],
        affine=affine,
    )


def _fields(path: Path, head: bytes) -> tuple[dict[str, str], int]:
    """Read the lines up to the one that says where the pixels are, which is the last."""
    fields: dict[str, str] = {}
    place = 0
    while "ElementDataFile" not in fields:
        end = head.find(b"\n", place)
        if end < 0:
            raise no_file(path, _WHAT)
        line = head[place:end].decode("latin-1")
        place = end + 1
        key, mark, value = line.partition("=")
        if mark:
            fields[key.strip()] = value.strip()
        elif line.strip():
            raise no_file(path, _WHAT)
    return fields, place
