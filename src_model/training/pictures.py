"""A picture with the objects outlined in it: what every source of training data gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["ObjectMask", "ObjectMasks", "Picture", "PictureSource", "trim"]


@dataclass(frozen=True)
class ObjectMask:
    """One object's pixels, kept as the smallest window around them.

    Parameters
    ----------
    top, left : int
        Row and column of the window's first pixel in the picture.
    mask : (h, w) bool array
        The object inside the window; at least one pixel of it in every outer row and column.
    """

    top: int
    left: int
    mask: NDArray[np.bool_]

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the picture that the window covers."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.mask))

    def inside(self, rows: slice, cols: slice) -> NDArray[np.bool_]:
        """Return what lies in a part of the picture, (row, col) of that part.

        Examples
        --------
        >>> ObjectMask(2, 5, np.ones((1, 2), bool)).inside(slice(1, 3), slice(6, 9)).astype(int)
        array([[0, 0, 0],
               [1, 0, 0]])
        """
        part = np.zeros((rows.stop - rows.start, cols.stop - cols.start), bool)
        own_rows, own_cols = self.window
        top, bottom = max(rows.start, own_rows.start), min(rows.stop, own_rows.stop)
        left, right = max(cols.start, own_cols.start), min(cols.stop, own_cols.stop)
        if top < bottom and left < right:
            part[top - rows.start : bottom - rows.start, left - cols.start : right - cols.start] = (
                self.mask[top - self.top : bottom - self.top, left - self.left : right - self.left]
            )
        return part


def trim(mask: NDArray[np.bool_], top: int = 0, left: int = 0) -> ObjectMask | None:
    """Cut a mask to the smallest window around its pixels.

    Parameters
    ----------
    mask : (h, w) bool array
        The object somewhere inside.
    top, left : int
        Row and column of the array's first pixel in the picture.

    Returns
    -------
    ObjectMask or None
        None if there is no pixel.

    Examples
    --------
    >>> trimmed = trim(np.array([[0, 0, 0], [0, 1, 1]], bool), top=10)
    >>> trimmed.top, trimmed.left, trimmed.mask.shape
    (11, 1, (1, 2))
    """
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    window = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    return ObjectMask(top + int(rows[0]), left + int(cols[0]), np.array(window, bool))


@dataclass(frozen=True)
class ObjectMasks:
    """The objects of one picture; they may overlap.

    Windows instead of full masks: five hundred small objects on a large picture take no more
    memory than the pixels they cover.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the picture.
    items : tuple of ObjectMask
        The objects.

    Examples
    --------
    >>> objects = ObjectMasks.from_labels(np.array([[0, 1, 1], [0, 1, 0], [4, 0, 0]]))
    >>> len(objects), objects.items[1].top, objects.items[0].area
    (2, 2, 3)
    >>> objects.box(0)
    (1, 0, 2, 1)
    """

    shape: tuple[int, int]
    items: tuple[ObjectMask, ...]

    @classmethod
    def from_labels(cls, labels: NDArray[np.integer]) -> ObjectMasks:
        """Take every id of a (H, W) label map as one object; 0 is background.

        Raises
        ------
        ValueError
            If the labels are not a 2-D array of integers.
        """
        if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(
                f"labels must be a 2-D array of integers, not {labels.ndim}-D of {labels.dtype}."
            )
        from scipy import ndimage

        if labels.size and labels.min() >= 0 and labels.max() <= labels.size:
            numbered = labels.astype(np.int32, copy=False)
        else:  # large or negative numbers: sorting all pixels is slow, but always possible
            ids, dense = np.unique(labels, return_inverse=True)
            # Without background, find_objects would take the first number for it.
            numbered = dense.reshape(labels.shape) + (len(ids) > 0 and ids[0] != 0)
        items = []
        for index, window in enumerate(ndimage.find_objects(numbered), start=1):
            if window is not None:
                mask = numbered[window] == index
                items.append(ObjectMask(window[0].start, window[1].start, mask))
        return cls((labels.shape[0], labels.shape[1]), tuple(items))

    @classmethod
    def from_masks(cls, masks: Sequence[NDArray[np.bool_]], shape: tuple[int, int]) -> ObjectMasks:
        """Take full (H, W) masks; empty ones are left out."""
        trimmed = (trim(mask) for mask in masks)
        return cls(shape, tuple(item for item in trimmed if item is not None))

    def __len__(self) -> int:
        return len(self.items)

    def full(self, index: int) -> NDArray[np.bool_]:
        """Return one object as a (H, W) mask."""
        return self.items[index].inside(slice(0, self.shape[0]), slice(0, self.shape[1]))

    def box(self, index: int) -> tuple[int, int, int, int]:
        """Return (x0, y0, x1, y1) of one object's first and last pixels."""
        item = self.items[index]
        height, width = item.mask.shape
        return item.left, item.top, item.left + width - 1, item.top + height - 1

    def low_resolution(
        self, indices: Sequence[int], size: tuple[int, int], stride: int = 4
    ) -> NDArray[np.float32]:
        """Return the covered fraction of every low-resolution pixel.

        Parameters
        ----------
        indices : sequence of int
            Which objects.
        size : (int, int)
            Height and width of the result; ``stride * size`` covers at least the picture.
        stride : int
            Pixels of the picture per low-resolution pixel, on a side.

        Returns
        -------
        (n, *size) float32 array
            Between 0 and 1.
        """
        result = np.zeros((len(indices), *size), np.float32)
        for target, index in zip(result, indices, strict=True):
            item = self.items[index]
            height, width = item.mask.shape
            top, left = item.top // stride, item.left // stride
            bottom = -(-(item.top + height) // stride)
            right = -(-(item.left + width) // stride)
            padded = np.zeros(((bottom - top) * stride, (right - left) * stride), np.float32)
            row, col = item.top - top * stride, item.left - left * stride
            padded[row : row + height, col : col + width] = item.mask
            blocks = padded.reshape(bottom - top, stride, right - left, stride)
            target[top:bottom, left:right] = blocks.mean((1, 3))
        return result


@dataclass(frozen=True)
class Picture:
    """An image with its objects, in its own resolution.

    Parameters
    ----------
    name : str
        What to call it in messages, usually a file's name.
    image : (H, W, 3) uint8 array
        RGB.
    objects : ObjectMasks
        The truth, of the same height and width.
    """

    name: str
    image: NDArray[np.uint8]
    objects: ObjectMasks


class PictureSource(Protocol):
    """A collection of pictures, read when asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Picture: ...
