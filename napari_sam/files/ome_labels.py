"""Labels as OME-Zarr: an image of its own, or among the labels of the image they belong to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.label_colours import label_colour
from napari_sam.files.labelled import Labelled, blocks_of
from napari_sam.files.outputs import written_together
from napari_sam.files.rasters import told, whole_or_not
from napari_sam.files.zarr_images import is_zarr
from napari_sam.provenance import ABOUT
from napari_sam.scenes.pyramid import halved
from napari_sam.tiles.regions import Region

__all__ = ["write_ome_labels"]

_CHUNK, _AT_ONCE, _COARSEST = 512, 2048, 1024

_TYPES = {"t": "time", "z": "space", "y": "space", "x": "space"}


def write_ome_labels(
    path: Path, labelled: Labelled, *, version: Literal["0.4", "0.5"] | None = None
) -> None:
    """Write labels with coarser levels, colours and what is known of each object.

    Parameters
    ----------
    path : Path
        A folder that does not exist: a .zarr of its own; or, to put them into an OME-Zarr image,
        ``image.ome.zarr/labels/NAME``, whose list of labels then gets the name.
    labelled : Labelled
        The objects.
    version : {"0.5", "0.4"}, optional
        Of OME-Zarr: by default that of the image it goes into, else 0.5.

    Raises
    ------
    InputError
        If there is something already, or it cannot be written.

    References
    ----------
    .. [1] https://ngff.openmicroscopy.org/0.5/#labels-md
    """
    import zarr

    image = _image_of(path)
    if image is not None:
        there = _version_of(image)
        if version not in (None, there):
            raise InputError(f"{image} is OME-Zarr {there}: labels inside have the same version.")
        version = there
    version = version or "0.5"
    if image is not None:
        _check_shape(image, labelled)
    shapes = [labelled.scene.shape]
    while max(shapes[-1]) > _COARSEST:
        shapes.append(halved(shapes[-1], 1))
    front = tuple(labelled.labels.shape)[:-2]
    layout: dict[str, Any] = (
        {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
        if version == "0.4"
        else {"dimension_names": list(labelled.axes.lower())}
    )
    with told(path):
        path.parent.mkdir(exist_ok=True)
    with told(path), whole_or_not(path) as partial:
        group = zarr.create_group(partial, zarr_format=2 if version == "0.4" else 3)
        levels = [
            group.create_array(
                str(number),
                shape=(*front, *shape),
                chunks=(*(1 for _ in front), *(min(_CHUNK, side) for side in shape)),
                dtype=np.uint32,
                fill_value=0,
                **layout,
            )
            for number, shape in enumerate(shapes)
        ]
        seen: set[int] = set()
        for place, part, values in _blocks(labelled):
            seen.update(np.unique(values).tolist())
            if values.any():
                where: tuple[int | slice, ...] = (*place, part.rows, part.cols)
                levels[0][where] = values
        for finer, coarser in pairwise(levels):
            _halve(finer, coarser)
        group.update_attributes(
            _attributes(path.stem, labelled, len(levels), version, sorted(seen - {0}), image)
        )
    if image is not None:
        _enlist(path, image, version)


def _blocks(labelled: Labelled) -> Iterator[tuple[tuple[int, ...], Region, np.ndarray]]:
    for t, z, part in blocks_of(labelled, _AT_ONCE):
        place = tuple({"T": t, "Z": z}[axis] for axis in labelled.axes[:-2])
        yield place, part, labelled.plane(part, t, z)


def _halve(finer: Any, coarser: Any) -> None:
    """Let a coarser pixel be the upper left of the four below it: ids cannot be averaged."""
    *front, rows, cols = coarser.shape
    for place in np.ndindex(*front):
        for row in range(0, rows, _AT_ONCE):
            for col in range(0, cols, _AT_ONCE):
                below = slice(2 * row, 2 * (row + _AT_ONCE)), slice(2 * col, 2 * (col + _AT_ONCE))
                values = np.asarray(finer[(*place, *below)])[::2, ::2]
                if values.any():
                    height, width = values.shape
                    inside = slice(row, row + height), slice(col, col + width)
                    coarser[(*place, *inside)] = values


def _attributes(
    name: str, labelled: Labelled, levels: int, version: str, ids: list[int], image: Path | None
) -> dict[str, Any]:
    """Return what the group says of itself."""
    scene = labelled.scene
    size = scene.pixel_size
    steps = {"y": 1.0, "x": 1.0} if size is None else {"y": size.rows, "x": size.cols}
    if scene.depth is not None:
        steps["z"] = scene.depth
    axes = []
    for letter in labelled.axes.lower():
        axis = {"name": letter, "type": _TYPES[letter]}
        if size is not None and letter in steps:
            axis["unit"] = size.unit
        axes.append(axis)
    datasets = []
    for number in range(levels):
        scale = [
            steps.get(axis, 1.0) * (1 << number if axis in "yx" else 1)
            for axis in labelled.axes.lower()
        ]
        told_of = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(number), "coordinateTransformations": told_of})
    multiscales = [{"name": name, "axes": axes, "datasets": datasets}]
    label: dict[str, Any] = {
        "colors": [{"label-value": number, "rgba": [*label_colour(number), 255]} for number in ids],
        "properties": [{"label-value": number, **_plain(labelled.row(number))} for number in ids],
    }
    if image is not None:
        label["source"] = {"image": "../../"}
    about = {ABOUT: {**labelled.provenance, "t": scene.t, "z": scene.z}}
    if version == "0.4":
        return {
            "multiscales": [{"version": version, **multiscales[0]}],
            "image-label": {"version": version, **label},
            **about,
        }
    return {"ome": {"version": version, "multiscales": multiscales, "image-label": label}, **about}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of a row what JSON holds."""
    kept = {}
    for key, value in row.items():
        plain = value.item() if isinstance(value, np.generic) else value
        if key == "id" or plain is None:
            continue
        if isinstance(plain, str | bool | int) or (isinstance(plain, float) and np.isfinite(plain)):
            kept[key] = plain
    return kept


def _image_of(path: Path) -> Path | None:
    """Return the OME-Zarr image that labels at a path belong to; None if they are on their own."""
    image = path.parent.parent
    if path.parent.name != "labels" or not is_zarr(image):
        return None
    if path.exists():
        raise InputError(f"{image} has labels of the name {path.name!r} already: choose another.")
    return image


def _version_of(image: Path) -> Literal["0.4", "0.5"]:
    import zarr

    try:
        attributes: dict[str, Any] = dict(zarr.open_group(image, mode="r").attrs)
    except Exception as error:  # metadata can be wrong in a dozen ways, with as many types
        raise InputError(f"{image} is damaged, or no OME-Zarr image.") from error
    if "multiscales" in attributes:
        return "0.4"
    if "multiscales" in attributes.get("ome", {}):
        return "0.5"
    raise InputError(f"{image} is no OME-Zarr image, and cannot hold labels.")


def _check_shape(image: Path, labelled: Labelled) -> None:
    from napari_sam.files.zarr_images import open_zarr_image

    known = open_zarr_image(image)
    names = known.axes or ()
    sizes = dict(zip(names, known.array.shape, strict=False))
    if (sizes.get("y"), sizes.get("x")) != labelled.scene.shape:
        raise InputError(
            f"{image} has {sizes.get('y')} x {sizes.get('x')} pixels and the labels "
            f"{labelled.scene.shape[0]} x {labelled.scene.shape[1]}: they belong to another image."
        )


def _enlist(path: Path, image: Path, version: str) -> None:
    """Add the name to the list of labels, which is replaced at once."""
    import zarr

    folder = path.parent
    file = folder / (".zattrs" if version == "0.4" else "zarr.json")
    try:
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if version == "0.4":
            known.setdefault("labels", [])
            listed = known["labels"]
        else:
            known = {"zarr_format": 3, "node_type": "group", **known}
            ome = known.setdefault("attributes", {}).setdefault("ome", {"version": version})
            listed = ome.setdefault("labels", [])
        listed.append(path.name)
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path} is written, but {file} is damaged and does not list it: mend that file."
        ) from error
    with told(file):
        if version == "0.4" and not (folder / ".zgroup").exists():
            (folder / ".zgroup").write_text('{"zarr_format": 2}', encoding="utf-8")
        with written_together(file) as (partial,):
            partial.write_text(json.dumps(known, indent=2), encoding="utf-8")
    # Readers that find a summary of all metadata look no further.
    if zarr.open_group(image, mode="r").metadata.consolidated_metadata is not None:
        zarr.consolidate_metadata(image)
