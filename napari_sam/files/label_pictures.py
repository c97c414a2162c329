"""Labels as plain pictures: TIFF that ImageJ opens, large TIFF in tiles, and PNG."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.geotiff import geotiff_tags, ome_size, ome_unit
from napari_sam.files.labelled import Labelled, blocks_of
from napari_sam.files.outputs import written_together
from napari_sam.files.rasters import told
from napari_sam.provenance import provenance_said
from napari_sam.tiles.regions import Region

__all__ = ["write_label_png", "write_label_tiff"]

_IMAGEJ = 1 << 31
"""Bytes: what is larger becomes a BigTIFF of tiles, which ImageJ opens through Bio-Formats."""

_SIDE = 512


def write_label_tiff(path: Path, labelled: Labelled) -> None:
    """Write labels as a TIFF with the smallest type that holds them, compressed.

    A TIFF of ImageJ (a hyperstack where there are planes or times, with the size of a voxel) as
    long as ids fit into 16 bits and pixels into 2 GiB, else an OME-TIFF of tiles. The georeference
    of the image is kept.

    Parameters
    ----------
    path : Path
        Of the file; replaced when the new one is whole.
    labelled : Labelled
        The objects.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    import tifffile

    dtype = np.dtype(np.min_scalar_type(_highest(labelled)))
    shape = tuple(labelled.labels.shape)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    place = labelled.scene.georeference
    options: dict[str, Any] = {
        "shape": shape,
        "dtype": dtype,
        "photometric": "minisblack",
        "compression": "zlib",
        "software": labelled.provenance.get("program", "napari-sam-tiled"),
        "extratags": [] if place is None else geotiff_tags(place),
    }
    with told(path), written_together(path) as (partial,):
        if dtype.itemsize <= 2 and size < _IMAGEJ:
            planes = _planes(labelled, dtype)
            step = _imagej_step(labelled)
            tifffile.imwrite(partial, planes, imagej=True, **options, **step)
        else:
            tifffile.imwrite(
                partial,
                _tiles(labelled, dtype),
                tile=(_SIDE, _SIDE),
                bigtiff=size >= _IMAGEJ,
                ome=True,
                metadata=_ome(labelled),
                **options,
            )


def write_label_png(path: Path, labelled: Labelled) -> None:
    """Write the labels of one plane as a grey PNG of 8 or 16 bits.

    Parameters
    ----------
    path : Path
        Of the file; replaced when the new one is whole.
    labelled : Labelled
        The objects, in one plane and with ids up to 65535.

    Raises
    ------
    InputError
        If they do not fit, or it cannot be written.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    if len(labelled.planes) > 1:
        raise InputError(
            f"{path}: PNG holds one plane, and there are {len(labelled.planes)}: write a TIFF, or "
            "choose a plane."
        )
    highest = _highest(labelled)
    if highest > 65535:
        raise InputError(
            f"{path}: PNG holds ids up to 65535, and there are some up to {highest}: write a TIFF."
        )
    texts = PngInfo()
    for name, text in labelled.provenance.items():
        texts.add_itxt(name, text)
    dtype = np.dtype(np.min_scalar_type(highest))
    (pixels,) = _planes(labelled, dtype)
    with told(path), written_together(path) as (partial,):
        Image.fromarray(pixels).save(partial, format="PNG", pnginfo=texts)


def _highest(labelled: Labelled) -> int:
    """Return the largest id; reads all labels once."""
    return max(int(labelled.plane(part, t, z).max()) for t, z, part in blocks_of(labelled))


def _planes(labelled: Labelled, dtype: np.dtype) -> Iterator[np.ndarray]:
    whole = Region(0, 0, *labelled.scene.shape)
    for t, z in labelled.planes:
        yield labelled.plane(whole, t, z).astype(dtype)


def _tiles(labelled: Labelled, dtype: np.dtype) -> Iterator[np.ndarray]:
    for t, z, part in blocks_of(labelled, _SIDE):
        tile = np.zeros((_SIDE, _SIDE), dtype)
        tile[: part.shape[0], : part.shape[1]] = labelled.plane(part, t, z)
        yield tile


def _imagej_step(labelled: Labelled) -> dict[str, Any]:
    """Return what ImageJ is told of the size of a voxel, and of provenance."""
    # Image > Show Info shows it, a line for each.
    said = "\n".join(f"{name} = {text}" for name, text in labelled.provenance.items())
    metadata: dict[str, Any] = {"axes": labelled.axes, "Info": said}
    size = labelled.scene.pixel_size
    if size is None:
        return {"metadata": metadata}
    # ImageJ takes "micron" for µm, and its descriptions are ASCII.
    unit = {"µm": "micron"}.get(ome_unit(size.unit) or "", size.unit)
    metadata["unit"] = unit.encode("ascii", "replace").decode()
    if labelled.scene.depth is not None and "Z" in labelled.axes:
        metadata["spacing"] = labelled.scene.depth
    return {"metadata": metadata, "resolution": (1 / size.cols, 1 / size.rows)}


def _ome(labelled: Labelled) -> dict[str, Any]:
    scene = labelled.scene
    known = (None if scene.pixel_size is None else ome_size(scene.pixel_size, 0)) or {}
    if known and scene.depth is not None and "Z" in labelled.axes:
        known["PhysicalSizeZ"] = scene.depth
        known["PhysicalSizeZUnit"] = known["PhysicalSizeXUnit"]
    said = {"Description": provenance_said(labelled.provenance)} if labelled.provenance else {}
    return {**known, **said, "axes": labelled.axes}
