"""One resampling from a picture's own pixels to a sample's, for the image and for its objects.

Coordinates are (row, col) and count pixel edges from the first pixel's outer corner, so that the
centre of the first pixel is (0.5, 0.5): scaling and mirroring need no half-pixel corrections.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from .pictures import ObjectMask, ObjectMasks, trim

__all__ = ["Placement", "gaussian_blur", "warp_image", "warp_objects"]

# Positions resampled at once: their weights are a short band of the source.
_BLOCK = 64


@dataclass(frozen=True)
class Placement:
    """Where a sample lies in a picture: ``sample = matrix @ native + offset``.

    Parameters
    ----------
    native : (int, int)
        Height and width of the picture.
    shape : (int, int)
        Height and width of the sample.
    matrix : (2, 2) float64 array
        Flips, turns and scale, on (row, col).
    offset : (2,) float64 array
        In the sample's pixels.
    """

    native: tuple[int, int]
    shape: tuple[int, int]
    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    @property
    def area_scale(self) -> float:
        """Sample pixels per picture pixel."""
        return float(abs(np.linalg.det(self.matrix)))

    def native_pixels(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return row and column, (h, w) int32 each, of the picture's pixel under each of ours.

        Outside the picture they are negative or beyond its size.
        """
        rows, cols = self._native_edges()
        return np.floor(rows).astype(np.int32), np.floor(cols).astype(np.int32)

    def inside(self) -> NDArray[np.bool_]:
        """Tell which of the sample's pixels, (h, w), have their centre in the picture."""
        rows, cols = self._native_edges()
        height, width = self.native
        return (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)

    def _native_edges(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the picture's coordinates, (h, w) each, of the sample's pixel centres."""
        inverse = np.linalg.inv(self.matrix)
        row = np.arange(self.shape[0])[:, None] + 0.5 - self.offset[0]
        col = np.arange(self.shape[1])[None] + 0.5 - self.offset[1]
        rows = inverse[0, 0] * row + inverse[0, 1] * col
        cols = inverse[1, 0] * row + inverse[1, 1] * col
        return rows, cols


def warp_image(image: NDArray[np.uint8], placement: Placement) -> NDArray[np.float32]:
    """Resample a picture once, without aliasing where it shrinks.

    Without a rotation other than quarter turns, each axis is filtered as Pillow (and the
    predictor, :mod:`src_model.resampling`) does it: a triangle as wide as two of the sample's
    pixels, or of the picture's where it grows. The result differs from the predictor's by at most
    1 level, because that one rounds to 8 bits after each axis. With a rotation, the picture is
    averaged over whole blocks and a triangle of that width, then read bilinearly.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    placement : Placement

    Returns
    -------
    (h, w, 3) float32 array
        0 to 255. Beyond the picture its border goes on.
    """
    rows_of, cols_of = placement.matrix
    if rows_of[1] == 0 and cols_of[0] == 0:
        return _resample(image, _Line.of(placement, 0, 0), _Line.of(placement, 1, 1))
    if rows_of[0] == 0 and cols_of[1] == 0:
        turned = _resample(image, _Line.of(placement, 1, 0), _Line.of(placement, 0, 1))
        return np.ascontiguousarray(turned.swapaxes(0, 1))
    return _rotate(image, placement)


def warp_objects(objects: ObjectMasks, placement: Placement) -> list[ObjectMask | None]:
    """Move objects as the image is moved; each pixel takes what is under its centre.

    Parameters
    ----------
    objects : ObjectMasks
        Of the picture.
    placement : Placement

    Returns
    -------
    list of ObjectMask or None
        In the order given; None where nothing is left of an object.
    """
    if not objects.items:
        return []
    rows, cols = placement.native_pixels()
    warped: list[ObjectMask | None] = []
    for item, (top, bottom, left, right) in zip(
        objects.items, _boxes_in_sample(objects, placement), strict=True
    ):
        if top >= bottom or left >= right:
            warped.append(None)
            continue
        height, width = item.mask.shape
        row = rows[top:bottom, left:right] - item.top
        col = cols[top:bottom, left:right] - item.left
        outside = (row < 0) | (row >= height) | (col < 0) | (col >= width)
        row[outside] = 0
        col[outside] = 0
        mask = item.mask[row, col]
        mask[outside] = False
        warped.append(trim(mask, top, left))
    return warped


def gaussian_blur(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Blur with a Gaussian cut off at three standard deviations; nothing counts beyond the border.

    Parameters
    ----------
    image : (h, w, channels) float32 array
    sigma : float
        Standard deviation in pixels, above 0.

    Returns
    -------
    (h, w, channels) float32 array
    """
    lines = (_Line(np.arange(float(n)) + 0.5, 3 * sigma + 0.5, sigma) for n in image.shape[:2])
    return _resample(image, *lines)


@dataclass(frozen=True)
class _Line:
    """Evenly spaced places along one axis of the picture, in edge coordinates."""

    places: NDArray[np.float64]
    reach: float  # of the filter to either side
    sigma: float | None = None  # of a Gaussian; a triangle without

    @classmethod
    def of(cls, placement: Placement, axis: int, native_axis: int) -> _Line:
        """Return where the centres of the sample's pixels along ``axis`` meet the picture."""
        scale = placement.matrix[axis, native_axis]
        places = np.arange(placement.shape[axis]) + 0.5 - placement.offset[axis]
        # As wide as a sample's pixel, but no narrower than one of the picture's.
        return cls(places / scale, max(1.0, 1 / abs(scale)))

    def weights(self, block: slice, size: int) -> tuple[slice, NDArray[np.float32]]:
        """Return which of ``size`` pixels some places see, and how much of each, (places, seen)."""
        places = self.places[block]
        first = max(0, int(places.min() - self.reach + 0.5))
        stop = min(size, int(places.max() + self.reach + 0.5))
        distance = np.abs(np.arange(first, stop) + 0.5 - places[:, None])
        if self.sigma is None:
            weights = np.maximum(1 - distance / self.reach, 0)
        else:
            weights = np.exp(-0.5 * (distance / self.sigma) ** 2) * (distance <= self.reach)
        weights /= weights.sum(axis=1, keepdims=True)
        return slice(first, stop), weights.astype(np.float32)


def _resample(
    image: NDArray[np.uint8] | NDArray[np.float32], rows: _Line, cols: _Line
) -> NDArray[np.float32]:
    """Filter at places along both axes; (H, W, 3) -> (rows, cols, 3)."""
    left = max(0, int(cols.places.min() - cols.reach))
    right = min(image.shape[1], int(np.ceil(cols.places.max() + cols.reach)))
    tall = _resample_first_axis(image[:, left:right], rows)
    within = replace(cols, places=cols.places - left)
    wide = _resample_first_axis(np.ascontiguousarray(tall.swapaxes(0, 1)), within)
    return np.ascontiguousarray(wide.swapaxes(0, 1))


def _resample_first_axis(
    image: NDArray[np.uint8] | NDArray[np.float32], line: _Line
) -> NDArray[np.float32]:
    """(n, ...) -> (places, ...)."""
    resized = np.empty((len(line.places), *image.shape[1:]), np.float32)
    for start in range(0, len(resized), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(resized)))
        seen, weights = line.weights(block, len(image))
        band = image[seen].reshape(weights.shape[1], -1).astype(np.float32, copy=False)
        np.matmul(weights, band, out=resized[block].reshape(len(weights), -1))
    return resized


def _rotate(image: NDArray[np.uint8], placement: Placement) -> NDArray[np.float32]:
    """Resample through any affine map: average, filter, read bilinearly."""
    shrink = placement.area_scale**-0.5
    block = max(1, int(shrink))
    (top, left), (bottom, right) = _native_window(placement, margin=int(3 * shrink) + 2)
    cut = image[top:bottom, left:right].astype(np.float32)
    if block > 1:
        channels_first = torch.from_numpy(cut).permute(2, 0, 1)[None]
        pooled = F.avg_pool2d(channels_first, block, ceil_mode=True, count_include_pad=False)
        cut = np.ascontiguousarray(pooled[0].permute(1, 2, 0).numpy())
    reach = shrink / block
    if reach > 1:
        lines = (_Line(np.arange(float(n)) + 0.5, reach) for n in cut.shape[:2])
        cut = _resample(cut, *lines)
    rows, cols = placement._native_edges()
    height, width = cut.shape[0] * block, cut.shape[1] * block
    grid = np.empty((*placement.shape, 2), np.float32)
    grid[..., 0] = (cols - left) * (2 / width) - 1
    grid[..., 1] = (rows - top) * (2 / height) - 1
    read = F.grid_sample(
        torch.from_numpy(cut).permute(2, 0, 1)[None],
        torch.from_numpy(grid)[None],
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return np.ascontiguousarray(read[0].permute(1, 2, 0).numpy())


def _native_window(placement: Placement, margin: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return first and stop (row, col) of the picture's part that the sample shows."""
    height, width = placement.shape
    corners = np.array([(0, 0), (0, width), (height, 0), (height, width)]) - placement.offset
    corners = corners @ np.linalg.inv(placement.matrix).T
    # A sample may lie beside the picture, at least one pixel is kept then.
    last = np.array(placement.native) - 1
    first = np.clip(np.floor(corners.min(0)) - margin, 0, last).astype(int)
    stop = np.clip(np.ceil(corners.max(0)) + margin, first + 1, last + 1).astype(int)
    return (int(first[0]), int(first[1])), (int(stop[0]), int(stop[1]))


def _boxes_in_sample(objects: ObjectMasks, placement: Placement) -> list[list[int]]:
    """Return [top, bottom, left, right] in the sample of every object's window, stops excluded."""
    first = np.array([(item.top, item.left) for item in objects.items], float)
    stop = first + np.array([item.mask.shape for item in objects.items])
    corners = np.stack(
        [first, stop, np.c_[first[:, 0], stop[:, 1]], np.c_[stop[:, 0], first[:, 1]]]
    )
    corners = corners @ placement.matrix.T + placement.offset
    low = np.clip(np.floor(corners.min(0)), 0, placement.shape).astype(int)
    high = np.clip(np.ceil(corners.max(0)), 0, placement.shape).astype(int)
    boxes = np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)
    return boxes.tolist()
