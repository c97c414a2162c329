"""Bilinear resizing of 8-bit images with antialiasing, to the last bit as Pillow does it.

The published weights were trained, and everybody's SAM results made, on images resized by Pillow.
PyTorch's antialiased interpolation rounds differently in some percent of the pixels, which is
enough to change the order of masks of nearly equal quality. Pillow works in fixed point: weights
with 22 fractional bits, one pass along each axis, rounding to 8 bits after each.

References
----------
.. [1] https://github.com/python-pillow/Pillow, ``src/libImaging/Resample.c``
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["resize_bilinear"]

_FRACTION = 1 << 22

# Output positions made at once: their weights are a short band of the source.
_BLOCK = 64


def resize_bilinear(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize an image as ``PIL.Image.resize((width, height), BILINEAR)`` does, columns before rows.

    Pillow up to 12 always takes that order; Pillow 13 takes the other for some images more than
    twice as tall as wide, which changes about every fifth pixel by 1.

    Parameters
    ----------
    image : np.ndarray
        (H, W, C) uint8.
    height, width : int
        New size in pixels, at least 1.

    Returns
    -------
    np.ndarray
        (height, width, C) uint8, contiguous.

    Examples
    --------
    >>> image = np.array([[0, 100, 200, 100]], dtype=np.uint8)[..., None]
    >>> resize_bilinear(image, 1, 2)[..., 0]
    array([[ 71, 143]], dtype=uint8)
    """
    if width != image.shape[1]:
        image = _resize_first_axis(image.swapaxes(0, 1), width).swapaxes(0, 1)
    if height != image.shape[0]:
        image = _resize_first_axis(image, height)
    return np.ascontiguousarray(image)


def _resize_first_axis(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(n, ...) uint8 -> (size, ...) uint8."""
    flat = image.reshape(len(image), -1)
    resized = np.empty((size, flat.shape[1]), dtype=np.uint8)
    scale = len(image) / size
    reach = max(scale, 1.0)
    for start in range(0, size, _BLOCK):
        centres = (np.arange(start, min(start + _BLOCK, size)) + 0.5) * scale
        first = np.maximum((centres - reach + 0.5).astype(int), 0)
        stop = np.minimum((centres + reach + 0.5).astype(int), len(image))
        source = np.arange(first[0], stop[-1])
        weights = np.maximum(1 - np.abs((source + 0.5 - centres[:, None]) / reach), 0)
        weights[(source < first[:, None]) | (source >= stop[:, None])] = 0
        weights /= weights.sum(axis=1, keepdims=True)
        fixed = np.floor(weights * _FRACTION + 0.5)
        # Integers below 2**53 are exact in float64, and their matrix product is fast.
        sums = fixed @ flat[source[0] : source[-1] + 1].astype(np.float64)
        sums += _FRACTION // 2
        resized[start : start + len(centres)] = np.clip(np.floor(sums / _FRACTION), 0, 255)
    return resized.reshape(size, *image.shape[1:])
