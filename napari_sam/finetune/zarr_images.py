"""Zarr arrays and OME-Zarr images at full resolution, with the names of their axes."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam.errors import InputError

if TYPE_CHECKING:
    import zarr

__all__ = ["ZarrImage", "find_labels", "is_zarr", "open_zarr_image"]

_MARKS = ("zarr.json", ".zarray", ".zgroup", ".zattrs")


@dataclass(frozen=True)
class ZarrImage:
    """An array and what its axes mean.

    Parameters
    ----------
    path : Path
        The array's group, or the array.
    array : zarr.Array
        Read when indexed.
    axes : tuple of str or None
        Names such as ``("t", "c", "z", "y", "x")``; None for an array that does not say.
    """

    path: Path
    array: "zarr.Array[Any]"
    axes: tuple[str, ...] | None


def is_zarr(path: Path) -> bool:
    """Tell whether a path is a Zarr array or group on disk."""
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


def open_zarr_image(path: Path) -> ZarrImage:
    """Open a Zarr array, or level 0 of an OME-Zarr image of version 0.4 or 0.5.

    Raises
    ------
    InputError
        If it is neither, or damaged.

    References
    ----------
    .. [1] https://ngff.openmicroscopy.org/0.5/#multiscale-md
    """
    import zarr

    node = _open(path)
    if isinstance(node, zarr.Array):
        names = getattr(node.metadata, "dimension_names", None)
        axes = tuple(map(str, names)) if names and all(names) else None
        return ZarrImage(path, node, axes)
    try:
        described = _ome(node)["multiscales"][0]
        axes = tuple(_axis_name(axis) for axis in described["axes"])
        level = str(described["datasets"][0]["path"])
    except (KeyError, IndexError, TypeError) as error:
        raise InputError(
            f"{path} is a Zarr group without an image in it (no OME-Zarr 'multiscales' with axes "
            "and datasets): give the path of the image or array inside."
        ) from error
    array = _open(path / level)
    if not isinstance(array, zarr.Array) or array.ndim != len(axes):
        raise InputError(f"{path / level} is not an array with the axes {', '.join(axes)}.")
    return ZarrImage(path, array, axes)


def find_labels(path: Path) -> Path:
    """Return the one label image inside an OME-Zarr image.

    Raises
    ------
    InputError
        If there is none, or more than one.
    """
    folder = path / "labels"
    names = _ome(_open(folder)).get("labels", []) if is_zarr(folder) else []
    if not isinstance(names, list) or not names:
        raise InputError(f"{path} has no labels inside: give the label volume too.")
    if len(names) > 1:
        raise InputError(
            f"{path} has several label images ({', '.join(map(str, names))}): give the one you "
            f"want, e.g. {folder / str(names[0])}."
        )
    return folder / str(names[0])


def _open(path: Path) -> Any:
    import zarr

    try:
        return zarr.open(path, mode="r")
    except Exception as error:  # metadata can be wrong in a dozen ways, with as many types
        raise InputError(f"{path} is missing, damaged, or not Zarr.") from error


def _ome(node: Any) -> dict[str, Any]:
    """Return OME-Zarr's metadata: under "ome" since 0.5, at the top before."""
    attributes = dict(node.attrs)
    nested = attributes.get("ome")
    return nested if isinstance(nested, dict) else attributes


def _axis_name(axis: Any) -> str:
    return str(axis["name"] if isinstance(axis, dict) else axis)
