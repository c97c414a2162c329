"""Labels of a scene, whichever axis it is looked along, as the volume that its reader laid out."""

from __future__ import annotations

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.labelled import Labelled
from napari_sam.scenes.volume_grid import VolumeGrid
from napari_sam.tiles.regions import Region

__all__ = ["grid_of", "laid_out", "only_time", "smallest_dtype"]


def grid_of(labelled: Labelled) -> VolumeGrid:
    """Return where the image lies in the patient.

    Raises
    ------
    InputError
        If it does not tell.
    """
    grid = labelled.scene.grid
    if grid is None:
        raise InputError(
            f"{labelled.scene.name} does not tell where it lies in a patient, as DICOM and NIfTI "
            f"do: write its objects as a label TIFF or an OME-Zarr."
        )
    return grid


def only_time(labelled: Labelled) -> int:
    """Return the one time that there are labels of.

    Raises
    ------
    InputError
        If there are several.
    """
    times = sorted({t for t, _ in labelled.planes})
    if len(times) > 1:
        raise InputError(
            f"The objects of {labelled.scene.name} are of {len(times)} times, and this format "
            f"holds one: write those of a single time, or a NIfTI."
        )
    return times[0]


def laid_out(labelled: Labelled, time: int) -> np.ndarray:
    """Read labels of one time as a volume.

    Parameters
    ----------
    labelled : Labelled
        Of a scene with a grid, along any axis. Planes that it has no labels of are 0.
    time : int
        One of those it has labels of.

    Returns
    -------
    ndarray
        Unsigned, of the smallest dtype that holds the ids: (z, row, col) of `VolumeGrid`.

    Raises
    ------
    InputError
        If the image has no grid.
    """
    grid, scene = grid_of(labelled), labelled.scene
    # The scene's letters tell what its planes, rows and columns are among the axes of the grid.
    letters = [axis for axis in scene.axes if axis in "ZYX"]
    if "Z" not in letters:
        letters.insert(0, "Z")
    order = [letters.index(axis) for axis in "ZYX"]
    volume = np.zeros(grid.shape, np.uint8)
    whole = Region(0, 0, *scene.shape)
    for t, z in labelled.planes:
        if t != time:
            continue
        plane = labelled.plane(whole, t, z)
        volume = volume.astype(np.promote_types(volume.dtype, smallest_dtype(plane)), copy=False)
        volume.transpose(order)[z] = plane
    return volume


def smallest_dtype(labels: np.ndarray) -> np.dtype:
    """Return the smallest unsigned type that holds all ids.

    Examples
    --------
    >>> smallest_dtype(np.array([0, 255])), smallest_dtype(np.array([256]))
    (dtype('uint8'), dtype('uint16'))
    """
    return np.min_scalar_type(int(labels.max(initial=0)))
