"""Label maps: a picture of numbers in which each object has its own."""

from pathlib import Path
from typing import Literal

import numpy as np

from napari_sam.errors import InputError
from src_model.training.pictures import ObjectMasks

__all__ = ["LABEL_SUFFIXES", "Instances", "objects_from_labels", "read_labels"]

Instances = Literal["ids", "components"]
"""What one object is: all pixels of one number, or a connected region of one number."""

LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".bmp", ".gif")
"""Files that can hold label maps; JPEG cannot, because it changes numbers."""


def read_labels(path: Path) -> np.ndarray:
    """Read a label map as it is stored.

    Parameters
    ----------
    path : Path
        A one-channel PNG (palette indices count as numbers), TIFF, or NumPy array.

    Returns
    -------
    ndarray
        (row, col) integers of any width, at least 0; 0 is background.

    Raises
    ------
    InputError
        If the file is missing, damaged, or does not hold one plane of whole numbers from 0 on.
    """
    try:
        labels = _read(path)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.") from None
    except MemoryError:
        raise InputError(f"{path} does not fit into the memory of this machine.") from None
    except Exception as error:  # the decoders raise a dozen types for damaged files
        raise InputError(f"{path} is damaged or not a label map.") from error
    return check_labels(labels, str(path))


def check_labels(labels: np.ndarray, name: str) -> np.ndarray:
    """Refuse what is not one plane of whole numbers from 0 on.

    Parameters
    ----------
    labels : ndarray
        To be of shape (row, col) once axes of length 1 before and after these are dropped.
    name : str
        What the sentence calls it.

    Returns
    -------
    ndarray
        (row, col); bool becomes uint8.

    Raises
    ------
    InputError
        For floats, other shapes, no pixels, and negative numbers.
    """
    if labels.ndim == 3 and labels.shape[2] == 1:
        labels = labels[..., 0]
    while labels.ndim > 2 and labels.shape[0] == 1:
        labels = labels[0]
    if labels.ndim != 2:
        raise InputError(
            f"{name} has shape {labels.shape}, but a label map is one plane of numbers, "
            "(row, col): save the plane that belongs to the image."
        )
    if labels.size == 0:
        raise InputError(f"{name} has no pixels (shape {labels.shape}).")
    if labels.dtype.kind not in "bui":
        raise InputError(
            f"{name} holds {labels.dtype} numbers, but labels are whole numbers: save them as "
            "integers, e.g. labels.astype('int32')."
        )
    if labels.dtype.kind == "b":
        return labels.astype(np.uint8)
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise InputError(
            f"{name} holds the negative label {labels.min()}: number objects from 1 on and set "
            "everything else to 0."
        )
    return labels


def objects_from_labels(labels: np.ndarray, instances: Instances = "ids") -> ObjectMasks:
    """Take the objects out of a label map.

    Parameters
    ----------
    labels : ndarray
        (row, col) integers, 0 for background.
    instances : {"ids", "components"}
        Whether the regions of one number that do not touch, not even at corners, are one object
        or several.

    Returns
    -------
    ObjectMasks

    Examples
    --------
    >>> labels = np.array([[1, 0, 1, 2], [1, 0, 0, 2]])
    >>> len(objects_from_labels(labels)), len(objects_from_labels(labels, "components"))
    (2, 3)
    """
    if instances == "components":
        from skimage.measure import label

        labels = label(labels, background=0)
    return ObjectMasks.from_labels(labels)


def _read(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        magic = file.read(6)
    if not magic:
        raise InputError(f"{path} is empty (0 bytes).")
    if magic == b"\x93NUMPY":
        return np.asarray(np.load(path, allow_pickle=False))
    if magic[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        import tifffile

        with tifffile.TiffFile(path) as tiff:
            return np.asarray(tiff.series[0].asarray())
    from PIL import Image, UnidentifiedImageError

    try:
        opened = Image.open(path)
    except UnidentifiedImageError:
        raise InputError(
            f"{path} is not a label map that can be read (PNG, TIFF or .npy is)."
        ) from None
    with opened as picture:
        if picture.format == "JPEG":
            raise InputError(
                f"{path} is a JPEG, which changes numbers: save label maps as PNG or TIFF."
            )
        if picture.mode not in ("1", "L", "P", "I", "F") and not picture.mode.startswith("I;16"):
            raise InputError(
                f"{path} is a colour picture ({picture.mode}), but a label map is one plane of "
                "numbers: save each object's number, not its colour."
            )
        return np.asarray(picture)
