"""Objects of elsewhere: labels of any size, read block by block, and what a search found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.segment.objects import Candidate
from napari_sam.tiles.regions import Region

from .runs import Runs, runs_by_value

if TYPE_CHECKING:
    from napari_sam.segment.everything import FoundObjects

__all__ = ["found_masks", "known_of", "read_labels"]

_BLOCK = 2048


def read_labels(labels: Any, shape: tuple[int, int]) -> list[tuple[int, Runs]]:
    """Read the objects of a label image.

    Parameters
    ----------
    labels : array, path or zarr
        Integers (row, col), 0 where there is nothing: numpy, dask, zarr, a label TIFF, an
        OME-Zarr. It is only read.
    shape : (int, int)
        Of the scene, which it must have too.

    Returns
    -------
    list of (int, Runs)
        Each value and its pixels, by value.

    Raises
    ------
    InputError
        If it is no such image, has another shape, or negative values.
    """
    from napari_sam.scenes.opening import open_source

    source = open_source(labels)
    array = source.levels[0]
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "biu":
        raise InputError(f"{source.name} holds {dtype} and no labels: give integers.")
    if tuple(array.shape) != tuple(shape):
        raise InputError(
            f"{source.name} has the shape {tuple(array.shape)}, and the scene {tuple(shape)}: give "
            f"labels of one plane at full resolution."
        )
    found = []
    for row in range(0, shape[0], _BLOCK):
        for col in range(0, shape[1], _BLOCK):
            block = np.asarray(array[row : row + _BLOCK, col : col + _BLOCK])
            block = block.astype(dtype.newbyteorder("="), copy=False)
            if block.dtype.kind == "b":
                block = block.astype(np.uint8)
            if block.dtype.kind == "i" and (block < 0).any():
                raise InputError(f"{source.name} has negative labels: give 0 for no object.")
            found.append(runs_by_value(block, row, col))
    values, starts, stops = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((starts, values))
    values, starts, stops = values[order], starts[order], stops[order]
    names, firsts = np.unique(values, return_index=True)
    ends = np.append(firsts, len(values))[1:]
    return [
        (int(name), Runs.of_ends(starts[first:end], stops[first:end]))
        for name, first, end in zip(names, firsts, ends, strict=True)
    ]


def known_of(candidate: Candidate) -> dict[str, Any]:
    """Return what an object's provenance takes from a candidate."""
    return {
        "predicted_iou": float(candidate.predicted_iou),
        "stability": float(candidate.stability),
        "level": candidate.level,
        "tiles": tuple(candidate.tiles),
    }


def found_masks(
    found: FoundObjects | Sequence[Candidate], scene: Region
) -> dict[int, tuple[Runs, dict[str, Any]]]:
    """Return the masks within the scene, and what is known of each.

    Parameters
    ----------
    found : FoundObjects or sequence of Candidate
        From elsewhere.
    scene : Region
        All of it.

    Returns
    -------
    dict
        Pixels of level 0 and provenance, by the number in `found` from 0; without empty masks.
    """
    masks: dict[int, tuple[Runs, dict[str, Any]]] = {}
    for index in range(len(found)):
        if isinstance(found, Sequence):
            runs, known = Runs.of(found[index]), known_of(found[index])
        else:
            level, region = int(found.levels[index]), found.region(index)
            runs = Runs.of_mask(found.mask(index), region.row0, region.col0).scaled(level)
            known = {
                "predicted_iou": float(found.predicted_ious[index]),
                "stability": float(found.stabilities[index]),
                "level": level,
            }
        if inside := runs.clip(scene):
            masks[index] = inside, known
    return masks
