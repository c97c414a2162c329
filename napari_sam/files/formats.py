"""Which module writes objects in which format."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam.errors import InputError
from napari_sam.files.labelled import Labelled

if TYPE_CHECKING:
    from napari_sam.scene import Scene

__all__ = ["WRITERS", "Writer", "check_options", "find_writer", "write_objects"]


@dataclass(frozen=True)
class Writer:
    """A format in which objects leave the program.

    Parameters
    ----------
    name : str
        By which it is chosen where an ending means several.
    says : str
        What it is, for people.
    writer : str
        ``"module:function"``: the function takes a path, a `Labelled` and options, and raises
        `InputError`. A file is replaced when the new one is whole.
    endings : tuple of str
        Of file names, lower case, with the dot.
    on_map : bool
        It is for objects of images that lie on a map, and comes first for these.
    """

    name: str
    says: str
    writer: str
    endings: tuple[str, ...]
    on_map: bool = False

    def write(self, path: Path, labelled: Labelled, **options: Any) -> None:
        """Write objects.

        Raises
        ------
        InputError
            If the format cannot hold them, a library is missing, or the file cannot be written.
        """
        self._function(path, labelled, **options)

    def known_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of some options that are set and mean something to this format."""
        known = inspect.signature(self._function).parameters
        return {name: value for name, value in given.items() if value and name in known}

    @property
    def _function(self) -> Callable[..., None]:
        module, function = self.writer.split(":")
        found: Callable[..., None] = getattr(importlib.import_module(module), function)
        return found


WRITERS: tuple[Writer, ...] = (
    Writer(
        "tiff",
        "labels as TIFF, for ImageJ where they fit",
        "napari_sam.files.label_pictures:write_label_tiff",
        (".tif", ".tiff"),
    ),
    Writer(
        "png",
        "labels of one plane as PNG",
        "napari_sam.files.label_pictures:write_label_png",
        (".png",),
    ),
    Writer(
        "ome-zarr",
        "labels as OME-Zarr, alone or in the image they belong to",
        "napari_sam.files.ome_labels:write_ome_labels",
        (".zarr",),
    ),
    Writer(
        "coco",
        "boxes and run lengths as COCO's JSON",
        "napari_sam.files.coco_writing:write_coco",
        (".json",),
    ),
    Writer(
        "qupath",
        "outlines in pixels as GeoJSON, for QuPath",
        "napari_sam.files.microscopy.qupath:write_qupath",
        (".qupath.geojson",),
    ),
    Writer(
        "imagej",
        "regions of interest for ImageJ",
        "napari_sam.files.microscopy.imagej_rois:write_imagej_rois",
        (".zip",),
    ),
    Writer(
        "cog",
        "labels as a cloud-optimised GeoTIFF",
        "napari_sam.files.geo.cog:write_cog",
        (".cog.tif", ".tif", ".tiff"),
        on_map=True,
    ),
    Writer(
        "gpkg",
        "outlines on the map as GeoPackage",
        "napari_sam.files.geo.vector_writing:write_geopackage",
        (".gpkg",),
    ),
    Writer(
        "geojson",
        "outlines as GeoJSON, longitude and latitude",
        "napari_sam.files.geo.geojson:write_geojson",
        (".geojson",),
    ),
    Writer(
        "flatgeobuf",
        "outlines on the map as FlatGeobuf",
        "napari_sam.files.geo.vector_writing:write_flatgeobuf",
        (".fgb",),
    ),
    Writer(
        "geoparquet",
        "outlines on the map as GeoParquet",
        "napari_sam.files.geo.vector_writing:write_geoparquet",
        (".parquet",),
    ),
    Writer(
        "nifti",
        "labels as NIfTI, on the voxels of the image",
        "napari_sam.files.medical.nifti_writing:write_nifti",
        (".nii", ".nii.gz"),
    ),
    Writer(
        "dicom-seg",
        "segments as DICOM SEG, on the images of the series",
        "napari_sam.files.medical.seg_writing:write_seg",
        (".dcm", ".seg.dcm"),
    ),
    Writer(
        "rtstruct",
        "contours as DICOM RTSTRUCT, on the images of the series",
        "napari_sam.files.medical.rtstruct_writing:write_rtstruct",
        (".rtstruct.dcm", ".rt.dcm"),
    ),
)
"""For one ending the first is meant, unless another is named."""


def check_options(writers: Sequence[Writer], given: Mapping[str, Any]) -> None:
    """Refuse an option that means nothing to any of some formats.

    Raises
    ------
    InputError
        If one does.
    """
    for name, value in given.items():
        if value and not any(writer.known_options({name: value}) for writer in writers):
            formats = ", ".join(dict.fromkeys(writer.name for writer in writers))
            raise InputError(
                f"The option {name.replace('_', ' ')} means nothing to {formats}: leave it out, or "
                f"choose another format."
            )


def find_writer(path: Path, name: str | None = None, scene: Scene | None = None) -> Writer:
    """Return what writes a file.

    Parameters
    ----------
    path : Path
        Its ending tells the format.
    name : str, optional
        Of the format, where its ending is not enough.
    scene : Scene, optional
        The image: TIFFs of one that lies on a map are written so that a GIS finds it.

    Raises
    ------
    InputError
        If there is no such format.
    """
    if name is not None:
        for writer in WRITERS:
            if writer.name == name:
                return writer
        there = ", ".join(writer.name for writer in WRITERS)
        raise InputError(f"There is no format {name!r}: choose one of {there}.")
    on_map = scene is not None and scene.georeference is not None
    fitting = [
        (len(ending), writer.on_map == on_map, -number)
        for number, writer in enumerate(WRITERS)
        for ending in writer.endings
        if path.name.lower().endswith(ending)
    ]
    if not fitting:
        there = ", ".join(dict.fromkeys(end for writer in WRITERS for end in writer.endings))
        raise InputError(f"{path} ends in none of {there}: choose a name that tells the format.")
    return WRITERS[-max(fitting)[2]]


def write_objects(
    path: Path,
    labelled: Labelled,
    to: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Writer:
    """Write objects, and return in which format.

    Parameters
    ----------
    path : Path
        In a folder that is there; a file is replaced when the new one is whole.
    labelled : Labelled
        The objects.
    to : str, optional
        The format, where the ending is not enough.
    options : mapping, optional
        Of writers; the format takes those that mean something to it.

    Raises
    ------
    InputError
        If there is no such format, it cannot hold them, a library is missing, or the file cannot
        be written.
    """
    writer = find_writer(path, to, labelled.scene)
    writer.write(path, labelled, **writer.known_options(options or {}))
    return writer
