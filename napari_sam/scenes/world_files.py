"""Where an image lies, as a world file beside it says; the system is that of a .prj file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.scenes.georeference import Georeference, is_usable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["read_world_file"]

_MOST = 1 << 16
"""Bytes that are read of a text that is a few lines long."""


def read_world_file(image: Path) -> Georeference | None:
    r"""Look for a world file beside an image.

    Parameters
    ----------
    image : Path
        ``photo.jpg``, for example: ``photo.jgw``, ``photo.jpgw`` and ``photo.wld`` are looked for,
        and ``photo.prj``, which holds WKT.

    Returns
    -------
    Georeference or None
        None where there is no world file, or one that makes no sense. Six lines of it are the
        steps along columns (x, y) and rows (x, y), and the *centre* of the first pixel.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "photo.jgw").write_text("2\n0\n0\n-2\n501\n899\n")
    ...     read_world_file(Path(folder) / "photo.jpg").affine
    (2.0, 0.0, 500.0, 0.0, -2.0, 900.0)
    """
    for path in _names(image):
        text = _read(path)
        if text is None:
            continue
        try:
            a, d, b, e, x, y = (float(line.replace(",", ".")) for line in text.split()[:6])
        except ValueError:
            continue
        affine = a, b, x - (a + b) / 2, d, e, y - (d + e) / 2
        if is_usable(affine):
            crs, unit = _system(image.with_suffix(".prj"))
            return Georeference(crs, affine, unit)
    return None


def _names(image: Path) -> Iterator[Path]:
    ending = image.suffix
    if len(ending) > 2:
        for name in (f".{ending[1]}{ending[-1]}w", f"{ending}w", ".wld"):
            for written in (name, name.lower(), name.upper()):
                yield image.with_suffix(written)


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_MOST).decode("utf-8-sig", "replace")
    except OSError:
        return None  # not there, as most are not


def _system(path: Path) -> tuple[str | None, str | None]:
    """Return the system that a .prj file names, and its unit."""
    text = (_read(path) or "").strip(" \0\r\n\t")
    if not text:
        return None, None
    try:
        import pyproj
    except ImportError:
        return text, None  # as it is; where it matters the library is asked for
    try:
        crs = pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError:
        return text, None
    code = crs.to_epsg()
    return text if code is None else f"EPSG:{code}", crs.axis_info[0].unit_name
