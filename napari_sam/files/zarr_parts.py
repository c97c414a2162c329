"""Which images an OME-Zarr holds: one, a series as of bioformats2raw, or the fields of a plate."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from napari_sam.errors import InputError
from napari_sam.files.microscopy.parts import choose_part

__all__ = ["image_in", "images_in", "ome_attributes"]

_SAFE = re.compile(r"[A-Za-z0-9_.+ -]+")
"""What the name of a folder inside may be made of."""

_WELLS = 4096


def image_in(node: Any, part: str | None, path: Path | str) -> Any:
    """Return the group of an image inside a group that holds several, or the group itself.

    Parameters
    ----------
    node : zarr.Group or zarr.Array
        What was opened.
    part : str or None
        Which image: ``"0"`` of a series, ``"A/1/0"`` (row, column, field) of a plate.
    path : Path or str
        What messages call it.

    Raises
    ------
    InputError
        If there is no such image, or several and none is chosen.
    """
    if part is None and _is_image(node):
        return node
    if part is not None and (_is_image(node) or not hasattr(node, "attrs")):
        raise InputError(f"{path} holds one image only, and no part {part!r}: leave part out.")
    parts = images_in(node)
    if not parts and part is None:
        return node  # whose description tells what is wrong
    chosen = choose_part(part, parts, path, "images")
    try:
        return node[chosen]
    except Exception as error:  # metadata can be wrong in a dozen ways, with as many types
        raise InputError(f"{path}/{chosen} is missing, damaged, or not Zarr.") from error


def images_in(node: Any) -> tuple[str, ...]:
    """Name the images in a group; none where it is an image itself, or something else."""
    import zarr

    if not isinstance(node, zarr.Group) or _is_image(node):
        return ()
    about = ome_attributes(node)
    if isinstance(about.get("plate"), dict):
        found = []
        for well in _safe_paths(about["plate"].get("wells"))[:_WELLS]:
            group = _group(node, well)
            if group is not None:
                found += [f"{well}/{field}" for field in _fields(ome_attributes(group))]
        return tuple(found)
    if isinstance(about.get("well"), dict):
        return tuple(_fields(about))
    told = _group(node, "OME")
    series = _listed(ome_attributes(told).get("series")) if told is not None else []
    names = [name for name in series if _is_safe(name)]
    if not names:
        # bioformats2raw numbers them, without a gap.
        while _is_image(_group(node, str(len(names)))):
            names.append(str(len(names)))
    return tuple(names)


def ome_attributes(node: Any) -> dict[str, Any]:
    """Return OME-Zarr's metadata: under "ome" since 0.5, at the top before."""
    attributes = dict(node.attrs)
    nested = attributes.get("ome")
    return nested if isinstance(nested, dict) else attributes


def _is_image(node: Any) -> bool:
    import zarr

    if isinstance(node, zarr.Array):
        return True
    return isinstance(node, zarr.Group) and "multiscales" in ome_attributes(node)


def _fields(about: dict[str, Any]) -> list[str]:
    well = about.get("well")
    return _safe_paths(well.get("images")) if isinstance(well, dict) else []


def _safe_paths(listed: Any) -> list[str]:
    """Return the paths of what metadata list, but for those that would lead out."""
    paths = [one.get("path") for one in _listed(listed) if isinstance(one, dict)]
    return [path for path in paths if isinstance(path, str) and _is_safe(path)]


def _group(node: Any, name: str) -> Any:
    """Return a group inside; None where there is none, or it is damaged."""
    import zarr

    try:
        found = node[name]
    except Exception:  # metadata can be wrong in a dozen ways, with as many types
        return None
    return found if isinstance(found, zarr.Group) else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_safe(path: Any) -> bool:
    """Tell whether a path of the metadata leads further inside, and nowhere else."""
    return isinstance(path, str) and all(
        _SAFE.fullmatch(name) and name.strip(".") for name in path.split("/")
    )
