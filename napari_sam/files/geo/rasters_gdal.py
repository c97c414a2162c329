"""Rasters that GDAL reads: virtual ones, those behind a URL or in a bucket, JPEG 2000, ENVI."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.extras import need
from napari_sam.scenes.georeference import from_gdal
from napari_sam.scenes.sources import LazyFile, Source
from napari_sam.scenes.tiff import size_on_the_ground

from .gdal import gdal_name, open_dataset, rasterio_errors_told

__all__ = ["is_raster", "open_raster"]

_MAGIC = (b"<VRTDataset", b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51", b"EHFA_HEADER_TAG")

_OTHERS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".npy")
"""Files that are what they are called, whatever lies beside them."""


def is_raster(path: Path) -> bool:
    """Tell from its content whether a file is a raster that `open_raster` is for.

    VRT, JPEG 2000 and ERDAS Imagine are known by their first bytes, ENVI by the header beside it.
    """
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            if file.read(16).startswith(_MAGIC):
                return True
        if path.suffix.lower() in _OTHERS:
            return False
        beside = path.with_name(f"{path.name}.hdr"), path.with_suffix(".hdr")
        for header in beside:
            if header != path and header.is_file():
                with header.open("rb") as file:
                    if file.read(4) == b"ENVI":
                        return True
    except OSError:
        return False  # whoever reads it says why it cannot be
    return False


def open_raster(path: Path | str, part: str | None = None) -> Source:
    """Open a raster with its overviews; nothing is read but what describes it.

    Parameters
    ----------
    path : Path or str
        A file, or what `gdal_name` takes.
    part : str, optional
        There are none.

    Returns
    -------
    Source
        Red, green and blue are samples (YXS), other bands are channels (CYX), of the type that
        holds those of all; a palette is looked up. Bands are called as they are described. Where
        there is no data is what GDAL says: one value, an alpha channel, or a mask.

    Raises
    ------
    InputError
        If it cannot be opened, or rasterio is missing.
    """
    if part is not None:
        raise InputError(f"{path} holds one image only, and no part {part!r}: leave part out.")
    name = gdal_name(path)
    with rasterio_errors_told(path), open_dataset(name) as dataset:
        return _describe(dataset, name, str(path))


def _describe(dataset: Any, name: str, called: str) -> Source:
    enums = need("rasterio.enums", "geo")
    if not dataset.count:
        raise InputError(f"{called} holds no bands: give the raster itself, or one it refers to.")
    kinds, colours = dataset.colorinterp, enums.ColorInterp
    rgb = tuple(kinds[:3]) == (colours.red, colours.green, colours.blue) and (
        dataset.count == 3 or (dataset.count == 4 and kinds[3] == colours.alpha)
    )
    palette = None
    if dataset.count == 1 and kinds[0] == colours.palette:
        palette = _palette(dataset.colormap(1), np.dtype(dataset.dtypes[0]))
    dtype = np.result_type(*dataset.dtypes) if palette is None else palette.dtype
    axes = "YXS" if rgb or palette is not None else "YX" if dataset.count == 1 else "CYX"
    nodata, masked = _nodata(dataset, enums.MaskFlags)
    masked = masked or (palette is not None and nodata is not None)
    levels: list[LazyFile] = []
    masks: list[LazyFile] = []
    for level, (rows, cols) in _sizes(dataset, name):
        count = dataset.count if palette is None else 3
        shape = tuple({"C": count, "Y": rows, "X": cols, "S": count}[axis] for axis in axes)
        levels.append(
            LazyFile(_Bands, name, level, axes, shape, dtype, palette, shape=shape, dtype=dtype)
        )
        masks.append(
            LazyFile(_Mask, name, level, (rows, cols), shape=(rows, cols), dtype=np.dtype(np.uint8))
        )
    georeference = from_gdal(dataset.crs, tuple(dataset.transform))
    notes = []
    if georeference is None and dataset.gcps[0]:
        notes.append(
            "It is placed on the map by control points only, which are not used: warp it first, "
            "with gdalwarp for example."
        )
    described = tuple(text or "" for text in dataset.descriptions)
    alpha = 3 if rgb and dataset.count == 4 else None
    return Source(
        called,
        tuple(levels),
        axes,
        described if palette is None and all(described) else (),
        size_on_the_ground(georeference),
        georeference,
        nodata if palette is None else None,
        tuple(masks) if masked and alpha is None else (),
        alpha,
        notes=tuple(notes),
    )


def _palette(colours: dict[int, tuple[int, ...]], dtype: np.dtype) -> np.ndarray:
    """Return red, green and blue of each value; black where it has none."""
    table = np.zeros((1 << min(16, 8 * dtype.itemsize), 3), np.uint8)
    for value, colour in colours.items():
        if 0 <= value < len(table):
            table[value] = colour[:3]
    return table


def _nodata(dataset: Any, flags: Any) -> tuple[float | None, bool]:
    """Return the one value of pixels without data, or that a mask tells where they are."""
    values, told = set(dataset.nodatavals), set().union(*map(set, dataset.mask_flag_enums))
    if told == {flags.nodata} and len(values) == 1:
        return values.pop(), False
    return None, told != {flags.all_valid}


def _sizes(dataset: Any, name: str) -> Iterator[tuple[int | None, tuple[int, int]]]:
    """Give full resolution and those overviews that all bands have and that halve it exactly."""
    yield None, dataset.shape
    factors = dataset.overviews(1)
    if any(dataset.overviews(band) != factors for band in dataset.indexes):
        return
    for level, factor in enumerate(factors):
        if factor & (factor - 1) == 0:
            with open_dataset(name, level) as overview:
                yield level, overview.shape


class _Lent:
    """Datasets of one level, each used by one thread at a time, as GDAL demands."""

    def __init__(self, name: str, level: int | None) -> None:
        self._name, self._level = name, level
        self._idle: deque[Any] = deque()
        self._process = os.getpid()

    def dataset(self) -> AbstractContextManager[Any]:
        """Lend an open dataset; one more is opened if all are in use."""
        if self._process != os.getpid():  # a forked process shares the place in the file
            self._idle, self._process = deque(), os.getpid()
        return open_dataset(self._name, self._level, self._idle)


class _Bands:
    """The bands of one level, read where they are indexed."""

    def __init__(
        self,
        name: str,
        level: int | None,
        axes: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        palette: np.ndarray | None,
    ) -> None:
        self._axes, self._shape, self._dtype, self._palette = axes, shape, dtype, palette
        self._lent = _Lent(name, level)

    def __getitem__(self, selection: Any) -> np.ndarray:
        parts = _slices(selection, self._shape)
        asked = dict(zip(self._axes, parts, strict=True))
        with self._lent.dataset() as dataset:
            bands = [1]
            if self._palette is None:
                bands = list(dataset.indexes[asked.get("C", asked.get("S", slice(None)))])
            window = (asked["Y"].start, asked["Y"].stop), (asked["X"].start, asked["X"].stop)
            block = dataset.read(bands, window=window)
        if self._palette is not None:
            place = np.clip(block[0].astype(np.int64), 0, len(self._palette) - 1)
            block = np.moveaxis(self._palette[place][..., asked["S"]], -1, 0)
        elif self._axes == "YX":
            block = block[0]
        if "S" in self._axes:
            block = np.moveaxis(block, 0, -1)
        return _without_integers(block.astype(self._dtype, copy=False), selection)


class _Mask:
    """Where one level has data: 255 there, 0 elsewhere."""

    def __init__(self, name: str, level: int | None, shape: tuple[int, int]) -> None:
        self._shape, self._lent = shape, _Lent(name, level)

    def __getitem__(self, selection: Any) -> np.ndarray:
        rows, cols = _slices(selection, self._shape)
        with self._lent.dataset() as dataset:
            mask = dataset.dataset_mask(window=((rows.start, rows.stop), (cols.start, cols.stop)))
        return _without_integers(mask, selection)


def _slices(selection: Any, shape: tuple[int, ...]) -> list[slice]:
    """Return a slice without a step for each axis."""
    found = []
    for part, size in zip(selection, shape, strict=True):
        if isinstance(part, slice):
            start, stop, step = part.indices(size)
            if step != 1:
                raise IndexError("rasters are read without steps")
            found.append(slice(start, stop))
        else:
            found.append(slice(int(part), int(part) + 1))
    return found


def _without_integers(block: np.ndarray, selection: Any) -> np.ndarray:
    """Drop the axes that were asked for by a number."""
    return block[tuple(slice(None) if isinstance(part, slice) else 0 for part in selection)]
