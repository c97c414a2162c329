"""Zarr arrays and OME-Zarr images, with what their metadata says about axes, levels and scale."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.chunks import check_chunk
from napari_sam.files.zarr_parts import image_in, images_in, ome_attributes

if TYPE_CHECKING:
    import zarr

__all__ = [
    "ZarrImage",
    "describe_zarr",
    "find_labels",
    "is_zarr",
    "open_zarr_image",
    "zarr_parts",
]

_MARKS = ("zarr.json", ".zarray", ".zgroup", ".zattrs")


@dataclass(frozen=True)
class ZarrImage:
    """An array and what its metadata says of it.

    Parameters
    ----------
    path : Path or str
        The array's group, or the array; what messages call it.
    array : zarr.Array
        Full resolution; read when indexed.
    axes : tuple of str or None
        Names such as ``("t", "c", "z", "y", "x")``; None for an array that does not say.
    coarser : tuple of zarr.Array
        The other resolutions of an OME-Zarr image, finest first, with the same axes.
    channel_names : tuple of str
        The labels of OME-Zarr's channels; empty where there are none.
    scale : tuple of float or None
        The size of a step along each axis, in `units`; None where unknown.
    units : tuple of (str or None)
        For each axis, such as ``"micrometer"``; empty where `scale` is None.
    """

    path: Path | str
    array: "zarr.Array[Any]"
    axes: tuple[str, ...] | None
    coarser: tuple["zarr.Array[Any]", ...] = ()
    channel_names: tuple[str, ...] = ()
    scale: tuple[float, ...] | None = None
    units: tuple[str | None, ...] = ()


def is_zarr(path: Path) -> bool:
    """Tell whether a path is a Zarr array or group on disk."""
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


def open_zarr_image(path: Path | str, part: str | None = None) -> ZarrImage:
    """Open a Zarr array, or an OME-Zarr image of version 0.4 or 0.5.

    Parameters
    ----------
    path : Path or str
        A folder, or a URL that zarr can open.
    part : str or None
        Which of several images, as `zarr_parts` names them.

    Raises
    ------
    InputError
        If it is neither, or damaged, or holds several images and none is chosen.

    References
    ----------
    .. [1] https://ngff.openmicroscopy.org/0.5/#multiscale-md
    """
    return describe_zarr(image_in(_open(path), part, path), path)


def zarr_parts(path: Path | str) -> tuple[str, ...]:
    """Name the images of a plate, a well or a series; none where there is one only.

    Raises
    ------
    InputError
        If it is missing, or damaged.
    """
    return images_in(_open(path))


def describe_zarr(node: "zarr.Array[Any] | zarr.Group", path: Path | str) -> ZarrImage:
    """Describe an opened Zarr array or OME-Zarr image, as `open_zarr_image` does.

    Raises
    ------
    InputError
        If a group holds no image, or its metadata is damaged.
    """
    import zarr

    if isinstance(node, zarr.Array):
        names = getattr(node.metadata, "dimension_names", None)
        axes = tuple(map(str, names)) if names and all(names) else None
        check_chunk(node.chunks, np.dtype(node.dtype), str(path))
        return ZarrImage(path, node, axes)
    ome = ome_attributes(node)
    try:
        described = ome["multiscales"][0]
        axes = tuple(_axis_name(axis) for axis in described["axes"])
        first, *coarser = [str(level["path"]) for level in described["datasets"]]
        scale = _scale(described, len(axes))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} is a Zarr group without an image in it (no OME-Zarr 'multiscales' with axes "
            "and datasets): give the path of the image or array inside."
        ) from error
    arrays = []
    for level in (first, *coarser):
        try:
            array = node[level]
        except Exception as error:  # metadata can be wrong in a dozen ways, with as many types
            raise InputError(f"{path}/{level} is missing, damaged, or not Zarr.") from error
        if not isinstance(array, zarr.Array) or array.ndim != len(axes):
            raise InputError(f"{path}/{level} is not an array with the axes {', '.join(axes)}.")
        check_chunk(array.chunks, np.dtype(array.dtype), f"{path}/{level}")
        arrays.append(array)
    units = [axis.get("unit") if isinstance(axis, dict) else None for axis in described["axes"]]
    return ZarrImage(
        path,
        arrays[0],
        axes,
        tuple(arrays[1:]),
        _channel_names(ome),
        scale,
        tuple(units) if scale else (),
    )


def find_labels(path: Path) -> Path:
    """Return the one label image inside an OME-Zarr image.

    Raises
    ------
    InputError
        If there is none, or more than one.
    """
    folder = path / "labels"
    names = ome_attributes(_open(folder)).get("labels", []) if is_zarr(folder) else []
    if not isinstance(names, list) or not names:
        raise InputError(f"{path} has no labels inside: give the label volume too.")
    if len(names) > 1:
        raise InputError(
            f"{path} has several label images ({', '.join(map(str, names))}): give the one you "
            f"want, e.g. {folder / str(names[0])}."
        )
    return folder / str(names[0])


def _open(path: Path | str) -> Any:
    import zarr

    try:
        return zarr.open(path, mode="r")
    except Exception as error:  # metadata can be wrong in a dozen ways, with as many types
        raise InputError(f"{path} is missing, damaged, or not Zarr.") from error


def _axis_name(axis: Any) -> str:
    return str(axis["name"] if isinstance(axis, dict) else axis)


def _scale(multiscale: dict[str, Any], ndim: int) -> tuple[float, ...] | None:
    """Return the size of a step along each axis at full resolution, None if it is not told.

    The transformations of the first level apply first, then those of the whole pyramid.
    """
    steps, found = [1.0] * ndim, False
    for holder in (multiscale["datasets"][0], multiscale):
        for transformation in holder.get("coordinateTransformations") or ():
            scale = transformation.get("scale")
            if transformation.get("type") == "scale" and scale and len(scale) == ndim:
                steps = [step * float(factor) for step, factor in zip(steps, scale, strict=True)]
                found = True
    return tuple(steps) if found else None


def _channel_names(ome: dict[str, Any]) -> tuple[str, ...]:
    """Return the labels of the channels, as OME-Zarr's transitional "omero" block has them."""
    try:
        return tuple(str(channel["label"]) for channel in ome["omero"]["channels"])
    except (KeyError, TypeError):
        return ()
