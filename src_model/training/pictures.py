"""A picture with the objects outlined in it: what every source of training data gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["ObjectMask", "ObjectMasks", "Picture", "PictureSource"]


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

        ids, dense = np.unique(labels, return_inverse=True)
        dense = dense.reshape(labels.shape)
        if len(ids) and ids[0] != 0:
            dense = dense + 1  # no background: find_objects would take the first id for it
        items = []
        for index, window in enumerate(ndimage.find_objects(dense), start=1):
            if window is not None:
                items.append(ObjectMask(window[0].start, window[1].start, dense[window] == index))
        return cls((labels.shape[0], labels.shape[1]), tuple(items))

    @classmethod
    def from_masks(cls, masks: Sequence[NDArray[np.bool_]], shape: tuple[int, int]) -> ObjectMasks:
        """Take full (H, W) masks; empty ones are left out."""
        items = []
        for mask in masks:
            rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            if len(rows):
                top, left = int(rows[0]), int(cols[0])
                window = mask[top : rows[-1] + 1, left : cols[-1] + 1]
                items.append(ObjectMask(top, left, window.astype(bool)))
        return cls(shape, tuple(items))

    def __len__(self) -> int:
        return len(self.items)

    def full(self, index: int) -> NDArray[np.bool_]:
        """Return one object as a (H, W) mask."""
        mask = np.zeros(self.shape, bool)
        mask[self.items[index].window] = self.items[index].mask
        return mask

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
