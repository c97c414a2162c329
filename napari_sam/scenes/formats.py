"""Which module reads which kind of file; what needs an optional library is imported when read."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_sam.scenes.sources import Source

__all__ = ["FORMATS", "Format", "find_format"]


@dataclass(frozen=True)
class Format:
    """A kind of file, folder or address, and what opens it.

    Parameters
    ----------
    name : str
        What people call it.
    opener : str
        ``"module:function"``. The function takes the path or address and the name of a part (or
        None) and returns a `Source`; it raises `InputError` for what it cannot read.
    endings : tuple of str
        Of names of files and addresses, lower case, with the dot.
    starts : tuple of str
        Of addresses.
    address_endings : tuple of str
        Of names of addresses only, without what follows a question mark.
    recognise : str, optional
        ``"module:function"``, which takes a path and tells from its content whether it is one; for
        folders and for files whose names tell nothing. It needs no optional library.
    parts : str, optional
        ``"module:function"``, which takes the path and names the images in it, for formats whose
        files may hold several.
    """

    name: str
    opener: str
    endings: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    address_endings: tuple[str, ...] = ()
    recognise: str | None = None
    parts: str | None = None

    def open(self, path: Path | str, part: str | None) -> Source:
        """Open an image.

        Raises
        ------
        InputError
            If it cannot be read, or a library for it is missing.
        """
        source: Source = _function(self.opener)(path, part)
        return source

    def list_parts(self, path: Path | str) -> tuple[str, ...]:
        """Name the images in a file; none for formats whose files hold one.

        Raises
        ------
        InputError
            If it cannot be read, or a library for it is missing.
        """
        return tuple(_function(self.parts)(path)) if self.parts is not None else ()

    def is_it(self, path: Path) -> bool:
        """Tell from its content whether something is of this kind."""
        return self.recognise is not None and bool(_function(self.recognise)(path))


FORMATS: tuple[Format, ...] = (
    Format(
        "ZEISS CZI",
        "napari_sam.files.microscopy.czi:open_czi",
        endings=(".czi",),
        parts="napari_sam.files.microscopy.czi:czi_parts",
    ),
    Format(
        "Leica LIF",
        "napari_sam.files.microscopy.lif:open_lif",
        endings=(".lif",),
        parts="napari_sam.files.microscopy.lif:lif_parts",
    ),
    Format(
        "Nikon ND2",
        "napari_sam.files.microscopy.nd2_files:open_nd2",
        endings=(".nd2",),
        parts="napari_sam.files.microscopy.nd2_files:nd2_parts",
    ),
    Format(
        "OME-Zarr in a zip",
        "napari_sam.files.microscopy.zipped_zarr:open_zipped_zarr",
        endings=(".zarr.zip", ".ozx"),
        parts="napari_sam.files.microscopy.zipped_zarr:zipped_zarr_parts",
    ),
    Format(
        "raster through GDAL",
        "napari_sam.files.geo.rasters_gdal:open_raster",
        endings=(".vrt", ".jp2", ".j2k", ".ers", ".asc", ".hgt", ".dt0", ".dt1", ".dt2"),
        starts=("/vsi",),
        address_endings=(".tif", ".tiff"),
        recognise="napari_sam.files.geo.rasters_gdal:is_raster",
    ),
    Format(
        "DICOM",
        "napari_sam.files.medical.dicom:open_dicom",
        endings=(".dcm", ".dicom", ".ima"),
        recognise="napari_sam.files.medical.dicom_files:is_dicom",
        parts="napari_sam.files.medical.dicom:dicom_parts",
    ),
    Format("NIfTI", "napari_sam.files.medical.nifti:open_nifti", endings=(".nii", ".nii.gz")),
    Format("NRRD", "napari_sam.files.medical.nrrd:open_nrrd", endings=(".nrrd", ".nhdr")),
    Format(
        "MetaImage", "napari_sam.files.medical.metaimage:open_metaimage", endings=(".mha", ".mhd")
    ),
)
"""All but TIFF, Zarr, .npy and pictures, which `open_source` reads itself."""


def find_format(path: Path | str) -> Format | None:
    """Return what opens a path or an address; None for those `open_source` reads itself.

    Names are looked at first, the longest ending that fits, then contents.

    Examples
    --------
    >>> find_format("no_such_file.png") is None
    True
    """
    text = str(path)
    for format_ in FORMATS:
        if text.startswith(format_.starts or ("\0",)):
            return format_
    address = "://" in text
    name = (text.partition("?")[0] if address else text).rstrip("/").lower()
    fitting = [
        (len(ending), -number)
        for number, format_ in enumerate(FORMATS)
        for ending in format_.endings + (format_.address_endings if address else ())
        if name.endswith(ending)
    ]
    if fitting:
        return FORMATS[-max(fitting)[1]]
    if isinstance(path, Path) and path.exists():
        return next((format_ for format_ in FORMATS if format_.is_it(path)), None)
    return None


def _function(name: str) -> Callable[..., Any]:
    module, function = name.split(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found
