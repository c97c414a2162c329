"""NRRD and MetaImage (.mha, .mhd), read with SimpleITK -> a Source, laid out for radiologists."""

import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.extras import need
from napari_sam.files.medical.laid_out import LaidOut
from napari_sam.scenes.axes import LazyArray
from napari_sam.scenes.sources import LazyFile, PixelSize, Source, colour_names
from napari_sam.scenes.volume_grid import VolumeGrid

__all__ = ["open_itk"]

_IO = {".nrrd": "NrrdImageIO", ".nhdr": "NrrdImageIO", ".mha": "MetaImageIO", ".mhd": "MetaImageIO"}
_BEST_COMPRESSION = 1032
_TYPES = (
    *(f"{sign}Int{bits}" for sign in ("U", "") for bits in (8, 16, 32, 64)),
    "Float32",
    "Float64",
)
_HEADER = 1 << 16
"""Bytes that are looked at for the name of a file with the pixels."""

_ELSEWHERE = re.compile(rb"^(?:ElementDataFile\s*=|data ?file:)\s*(.+?)\s*$", re.M | re.I)
_INSIDE = ("local", "list")


@dataclass(frozen=True)
class Header:
    """What SimpleITK says of a file: sizes and directions in its own axes, x first."""

    sizes: tuple[int, ...]
    samples: int
    dtype: np.dtype
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: np.ndarray


class WholeVolume:
    """The values of a file in the axes (time, z, y, x, sample), read whole when first indexed."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._path, self._shape = path, shape
        self._lock = threading.Lock()
        self._values: np.ndarray | None = None

    def __getitem__(self, selection: Any) -> np.ndarray:
        """Read a part."""
        with self._lock:
            if self._values is None:
                self._values = _values(self._path).reshape(self._shape)
        part: np.ndarray = self._values[selection]
        return part


def open_itk(path: Path | str, part: str | None = None) -> Source:
    """Open an NRRD or MetaImage file; the header is read, and all pixels when one is needed.

    Parameters
    ----------
    path : path
        A .nrrd, .nhdr, .mha or .mhd file.
    part : str, optional
        There are no parts.

    Returns
    -------
    Source
        Axes ``YX``, ``ZYX`` or ``TZYX``, and ``S`` or ``C`` behind for several samples.

    Raises
    ------
    InputError
        If it is missing, damaged or cut off, or of values that are no image.
    """
    path = Path(path)
    if part is not None:
        raise InputError(f"{path} has no parts: leave part={part!r} out.")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    header = _header(path)
    _check(path, header)
    dimensions = len(header.sizes)
    samples = (header.samples,) if header.samples > 1 else ()
    axes = {2: "YX", 3: "ZYX", 4: "TZYX"}[dimensions]
    if samples:
        axes += "S" if header.samples in (3, 4) else "C"
    shape = (*header.sizes[::-1], *samples)
    array: LazyArray = LazyFile(WholeVolume, path, shape, shape=shape, dtype=header.dtype)
    names = colour_names(header.samples) if "S" in axes else ()
    if dimensions == 2:
        size = PixelSize(header.spacing[1], header.spacing[0], "millimeter")
        return Source(str(path), (array,), axes, names, size)
    affine = np.eye(4)
    # ITK's first axis runs fastest: the last one here.
    affine[:3, :3] = (header.direction[:3, :3] * header.spacing[:3])[:, ::-1]
    affine[:3, 3] = header.origin[:3]
    try:
        grid = VolumeGrid.lay_out(affine, header.sizes[2::-1])
    except ValueError:
        raise InputError(
            f"{path} is damaged: its header has no three directions of axes."
        ) from None
    return Source(
        str(path),
        (LaidOut(array, grid, dimensions - 3),),
        axes,
        names,
        PixelSize(grid.spacing[1], grid.spacing[2], "millimeter"),
        depth=grid.plane_distance,
        grid=grid,
    )


def _header(path: Path) -> Header:
    itk = need("SimpleITK", "itk")
    try:
        itk.ProcessObject.SetGlobalWarningDisplay(False)  # which shows what is in headers
        reader = itk.ImageFileReader()
        reader.SetImageIO(_IO[path.suffix.lower()])
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        count = reader.GetDimension()
        kind = reader.GetPixelID()
        named = {
            getattr(itk, f"sitk{vector}{name}"): np.dtype(name.lower())
            for name in _TYPES
            for vector in ("", "Vector")
        }
        if kind not in named:
            raise InputError(f"{path} holds values that are no real numbers.")
        header = Header(
            tuple(map(int, reader.GetSize())),
            int(reader.GetNumberOfComponents()),
            named[kind],
            tuple(map(float, reader.GetSpacing())),
            tuple(map(float, reader.GetOrigin())),
            np.reshape(reader.GetDirection(), (count, count)),
        )
    except (RuntimeError, KeyError) as error:  # its own errors are RuntimeErrors of many lines
        raise InputError(f"{path} is damaged, or no NRRD or MetaImage file.") from error
    return header


def _check(path: Path, header: Header) -> None:
    """Refuse what cannot be, before room is made for it, and pixels in files elsewhere."""
    if len(header.sizes) not in (2, 3, 4) or min(header.sizes) < 1:
        raise InputError(f"{path} has {len(header.sizes)} axes, and not 2, 3 or 4.")
    numbers = (*header.spacing, *header.origin, *header.direction.ravel())
    if not np.isfinite(numbers).all() or min(header.spacing) <= 0:
        raise InputError(f"{path} is damaged: its header makes no sense.")
    there = path.stat().st_size
    with path.open("rb") as file:
        text = file.read(_HEADER)
    for found in _ELSEWHERE.findall(text.partition(b"\n\n")[0]):
        name = found.decode(errors="replace")
        if name.lower().startswith(_INSIDE):
            continue
        if not name.isprintable():
            raise InputError(f"{path} is damaged: it names no file that its pixels are in.")
        pixels = (path.parent / name).resolve()
        if path.parent.resolve() not in pixels.parents:
            raise InputError(f"{path} says its pixels are in {name}, outside of its folder.")
        if not pixels.is_file():
            raise InputError(f"{path} says its pixels are in {name}, which is not there.")
        there = pixels.stat().st_size
    wanted = float(np.prod([float(n) for n in header.sizes])) * header.samples
    if wanted * header.dtype.itemsize > there * _BEST_COMPRESSION:
        raise InputError(f"{path} is shorter than its header says: it is damaged or was cut off.")


def _values(path: Path) -> np.ndarray:
    itk = need("SimpleITK", "itk")
    try:
        image = itk.ReadImage(str(path), imageIO=_IO[path.suffix.lower()])
    except (RuntimeError, MemoryError) as error:
        raise InputError(
            f"{path} cannot be read: it is damaged, was cut off, or does not fit into memory."
        ) from error
    values: np.ndarray = itk.GetArrayFromImage(image)
    return values
