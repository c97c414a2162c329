"""Labels as a cloud-optimised GeoTIFF on the grid of their image."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam.errors import InputError
from napari_sam.extras import need
from napari_sam.files.rasters import blocks
from napari_sam.provenance import provenance_said

from .crs import crs_of
from .whole_files import whole_file

if TYPE_CHECKING:
    from napari_sam.files.labelled import Labelled
    from napari_sam.tiles.regions import Region

__all__ = ["write_cog"]

_TILE = 512
_BLOCK = 4 * _TILE


def write_cog(path: Path, labelled: Labelled) -> None:
    """Write ids as a tiled, compressed uint32 GeoTIFF with overviews: 0 is no data.

    A pixel of an overview is one of those that it covers: ids cannot be averaged. The provenance
    is in the file's metadata.

    Parameters
    ----------
    path : Path
        Ends in .tif. A file of that name is replaced when the new one is whole.
    labelled : Labelled
        Of one plane of an image with a georeference; read block by block.

    Raises
    ------
    InputError
        If the image has no georeference, there are several planes, or the file cannot be written.

    References
    ----------
    .. [1] OGC Cloud Optimized GeoTIFF Standard, https://docs.ogc.org/is/21-026/21-026.html
    """
    rasterio = need("rasterio", "geo")
    shutil = need("rasterio.shutil", "geo")
    scene = labelled.scene
    place = scene.georeference
    if place is None:
        raise InputError(
            f"{scene.name} has no place on a map, which a GeoTIFF needs: choose another format."
        )
    if len(labelled.planes) > 1:
        raise InputError(
            f"{scene.name} has labels of {len(labelled.planes)} planes: a map holds those of one."
        )
    crs = crs_of(place, scene.name)
    need("rasterio.windows", "geo")
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": scene.shape[0],
        "width": scene.shape[1],
        "count": 1,
        "dtype": "uint32",
        "nodata": 0,
        "crs": None if crs is None else rasterio.crs.CRS.from_wkt(crs.to_wkt()),
        "transform": rasterio.Affine(*place.affine),
    }
    parts = blocks(scene.shape, _BLOCK)
    with whole_file(path, *_failures()) as partial:
        first = partial.with_name("blocks.tif")
        sums = _write_blocks(rasterio, first, labelled, parts, profile)
        shutil.copy(
            first,
            partial,
            driver="COG",
            compress="deflate",
            blocksize=_TILE,
            overviews="ignore_existing",
            overview_resampling="nearest",
            bigtiff="if_safer",
        )
        first.unlink()
        # GDAL says nothing where a disk is full when it writes its last bytes.
        with rasterio.open(partial) as file:
            for part, known in zip(parts, sums, strict=True):
                if zlib.crc32(file.read(1, window=_window(rasterio, part)).tobytes()) != known:
                    raise OSError("what was written is not there: the disk is full or failing")


def _write_blocks(
    rasterio: Any, path: Path, labelled: Labelled, parts: list[Region], profile: dict[str, Any]
) -> list[int]:
    """Write a plain GeoTIFF, and return a checksum of each block."""
    told = labelled.provenance
    t, z = labelled.planes[0]
    sums = []
    with rasterio.open(
        path,
        "w",
        **profile,
        tiled=True,
        blockxsize=_TILE,
        blockysize=_TILE,
        sparse_ok=True,
        compress="deflate",
        bigtiff="if_safer",
    ) as file:
        file.update_tags(
            **told,
            TIFFTAG_SOFTWARE=told.get("program", "napari-sam-tiled"),
            TIFFTAG_IMAGEDESCRIPTION=provenance_said(told),
        )
        for part in parts:
            values = labelled.plane(part, t, z)
            sums.append(zlib.crc32(values.tobytes()))
            if values.any():
                file.write(values, 1, window=_window(rasterio, part))
    return sums


def _window(rasterio: Any, part: Region) -> Any:
    return rasterio.windows.Window(part.col0, part.row0, part.shape[1], part.shape[0])


def _failures() -> tuple[type[Exception], ...]:
    """Return what rasterio raises: its own errors, GDAL's as they are, and SystemError."""
    errors, plain = need("rasterio.errors", "geo"), need("rasterio._err", "geo")
    return errors.RasterioError, plain.CPLE_BaseError, SystemError
