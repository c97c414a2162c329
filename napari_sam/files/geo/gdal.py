"""GDAL, through rasterio: which files it may open, and how long it may wait for a server."""

from __future__ import annotations

import logging
import os
import re
import textwrap
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from napari_sam.errors import InputError
from napari_sam.extras import need

__all__ = ["gdal_name", "open_dataset", "rasterio_errors_told"]

_DRIVERS = (
    *("GTiff", "VRT", "JP2OpenJPEG", "HFA", "ENVI"),
    *("EHdr", "ERS", "AAIGrid", "DTED", "SRTMHGT"),
)
"""GDAL knows two hundred formats; a file is not tried with those nobody asked for."""

_SETTINGS = {
    "GDAL_VRT_ENABLE_PYTHON": "NO",  # a virtual raster may hold code
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_LOW_SPEED_TIME": "20",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_MAX_RETRY": "2",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
}
"""Those of servers may be set otherwise by variables of the environment, as GDAL documents."""

_QUIET = logging.NullHandler()


def gdal_name(image: Path | str) -> str:
    """Return what GDAL calls an image.

    Parameters
    ----------
    image : Path or str
        A file, an address (``https://``, ``s3://``), or such an address as GDAL writes it
        (``/vsicurl/``, ``/vsis3/``).

    Raises
    ------
    InputError
        If there is no such file, or the name is one of GDAL's others: its names of what lies in
        an archive or in memory are not opened.

    Examples
    --------
    >>> gdal_name("s3://bucket/scene.tif"), gdal_name("https://there.org/scene.tif")
    ('/vsis3/bucket/scene.tif', '/vsicurl/https://there.org/scene.tif')
    """
    text = str(image)
    if isinstance(image, Path):
        if not image.is_file():
            raise InputError(f"{image}: there is no such file.")
        if image.suffix.lower() == ".vrt":
            _check_text(image)
        return str(image.absolute())
    if text.startswith(("http://", "https://")):
        text = f"/vsicurl/{text}"
    elif text.startswith("s3://"):
        text = f"/vsis3/{text.removeprefix('s3://')}"
    known = re.fullmatch(r"/vsicurl/https?://[^/].*|/vsis3/[^/].*", text)
    if known is None or "/vsi" in text[1:]:
        raise InputError(
            f"{image} is not opened: give a file, a URL, or a path that begins with "
            f"/vsicurl/https:// or /vsis3/, and unpack archives first."
        )
    return text


@contextmanager
def open_dataset(
    name: str, level: int | None = None, idle: deque[Any] | None = None
) -> Iterator[Any]:
    """Give a dataset, with GDAL careful of code and of dead servers, in this thread.

    Parameters
    ----------
    name : str
        Of what is opened, as `gdal_name` gives it.
    level : int, optional
        The overview that is meant, from 0.
    idle : deque, optional
        Datasets of this that are open and not in use: one of them is taken if there is one, and
        given back. By default it is closed afterwards.

    Raises
    ------
    InputError
        If rasterio is missing.
    rasterio.errors.RasterioError
        If it cannot be opened.
    """
    rasterio = need("rasterio", "geo")
    # What GDAL logs it also raises; and that a picture lies nowhere on Earth is no news here.
    logging.getLogger("rasterio").addHandler(_QUIET)
    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    settings = {key: value for key, value in _SETTINGS.items() if key not in os.environ}
    settings["GDAL_VRT_ENABLE_PYTHON"] = "NO"
    if name.startswith("/vsi"):
        settings["GDAL_DISABLE_READDIR_ON_OPEN"] = "EMPTY_DIR"  # no lists of whole folders
        settings["VSI_CACHE"] = "TRUE"
    if name.startswith("/vsis3/"):
        settings |= _own_server()
    with rasterio.Env(**settings):
        try:
            dataset = (deque() if idle is None else idle).pop()
        except IndexError:
            options = {} if level is None else {"overview_level": level}
            # rasterio.open takes a single driver only.
            dataset = rasterio.io.DatasetReader(name, driver=list(_DRIVERS), **options)
        try:
            yield dataset
        finally:
            if idle is None:
                dataset.close()
            else:
                idle.append(dataset)


@contextmanager
def rasterio_errors_told(image: Path | str) -> Iterator[None]:
    """Turn whatever rasterio raises for a file into one sentence.

    Raises
    ------
    InputError
        If it does.
    """
    rasterio = need("rasterio", "geo")
    try:
        yield
    except (rasterio.errors.RasterioError, ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        cause = error.__cause__ or error
        reason = textwrap.shorten(" ".join(str(cause).split()).strip(" ."), 160)
        raise InputError(f"{image} cannot be opened by GDAL ({reason}).") from error


def _check_text(path: Path) -> None:
    """Refuse a virtual raster that is no text: rasterio stumbles over GDAL's words about it."""
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is damaged: it is no text in UTF-8.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}.") from error


def _own_server() -> dict[str, str]:
    """Find buckets where the variables of AWS's own tools say that they are."""
    address = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not address or "AWS_S3_ENDPOINT" in os.environ:
        return {}
    parts = urlsplit(address)
    return {
        "AWS_S3_ENDPOINT": parts.netloc,
        "AWS_HTTPS": "NO" if parts.scheme == "http" else "YES",
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }
