"""Full-size mask logits in a window only.

The mask decoder gives logits at a quarter of the frame's size. `Sam.postprocess_masks` makes
full-size logits of them in three steps: bilinear to the frame, crop off the padding, bilinear to
the image. All three are linear and act on rows and columns separately, so any window of the result
is ``row_weights[window] @ low_res @ column_weights[window].T`` with one small matrix per axis, and
a full-size logit is a weighted mean (weights >= 0, sum 1) of a few neighbouring low-resolution
logits. Two things follow that the mask generator and tiled work live on: a window costs what the
window is worth, and a full-size logit can exceed a threshold only where a low-resolution logit
near it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["AxisInterpolation", "MaskUpsampler", "Window", "axis_interpolation"]

# Output rows made at once: enough for the matrix product to be efficient, few enough that a strip
# of a 1024 px image (256 KB) stays in cache while it is compared with thresholds.
_STRIP = 64


@dataclass(frozen=True)
class Window:
    """A rectangle of the full-size image: half-open row and column ranges.

    Attributes
    ----------
    rows, cols : slice
        With start and stop, in pixels of the full-size image.
    """

    rows: slice
    cols: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rows.stop - self.rows.start, self.cols.stop - self.cols.start


@dataclass(frozen=True)
class AxisInterpolation:
    """How full-size positions along one axis are made of low-resolution ones.

    Attributes
    ----------
    weights : Tensor
        (full, low) float32; each row sums to 1 and has a short run of non-zero entries.
    first, last : np.ndarray
        (full,) int64, the first and last low-resolution index with a non-zero weight, both
        ascending.
    """

    weights: Tensor
    first: np.ndarray
    last: np.ndarray

    @property
    def size(self) -> int:
        """Number of full-size positions."""
        return int(self.weights.shape[0])

    def reach(self, low: slice) -> slice:
        """Full-size positions to which low-resolution indices `low` (not empty) contribute."""
        start = int(np.searchsorted(self.last, low.start, side="left"))
        stop = int(np.searchsorted(self.first, low.stop - 1, side="right"))
        return slice(start, max(start, stop))

    def support(self, full: slice) -> slice:
        """Low-resolution indices that contribute to full-size positions `full` (not empty)."""
        return slice(int(self.first[full.start]), int(self.last[full.stop - 1]) + 1)


def axis_interpolation(low: int, frame: int, content: int, full: int) -> AxisInterpolation:
    """Compose the two bilinear steps of mask post-processing along one axis.

    Parameters
    ----------
    low : int
        Number of low-resolution logits along the axis.
    frame : int
        Side of the model's square frame in pixels.
    content : int
        How much of the frame the resized image fills along the axis (the rest is padding).
    full : int
        Size of the image along the axis in pixels.

    Returns
    -------
    AxisInterpolation

    Raises
    ------
    ValueError
        If a size is below 1 or `content` exceeds `frame`.

    Examples
    --------
    >>> axis = axis_interpolation(low=2, frame=4, content=4, full=4)
    >>> axis.weights
    tensor([[1.0000, 0.0000],
            [0.7500, 0.2500],
            [0.2500, 0.7500],
            [0.0000, 1.0000]])
    >>> axis.reach(slice(0, 1)), axis.support(slice(3, 4))
    (slice(0, 3, None), slice(1, 2, None))
    """
    if min(low, frame, content, full) < 1 or content > frame:
        raise ValueError(
            f"Sizes along an axis must be at least 1 and content at most the frame, got low={low}, "
            f"frame={frame}, content={content}, full={full}."
        )
    # What interpolation does to unit vectors is its matrix: no second definition of "bilinear" to
    # keep equal.
    units = torch.eye(low)[None]
    units = F.interpolate(units, size=frame, mode="linear", align_corners=False)[..., :content]
    weights = F.interpolate(units, size=full, mode="linear", align_corners=False)[0].T.contiguous()
    used = weights.numpy() != 0
    first = used.argmax(axis=1)
    last = low - 1 - used[:, ::-1].argmax(axis=1)
    return AxisInterpolation(weights, first, last)


class MaskUpsampler:
    """Full-size logits of one image's masks, window by window.

    Equal to `Sam.postprocess_masks` up to float rounding. Works on the CPU in float32.

    Parameters
    ----------
    low_size : tuple of int
        (height, width) of the low-resolution logits.
    image_size : int
        Side of the model's square frame in pixels.
    input_size : tuple of int
        (height, width) of the resized image inside the frame.
    original_size : tuple of int
        (height, width) of the full-size image.

    Examples
    --------
    >>> upsampler = MaskUpsampler((4, 4), 16, input_size=(16, 12), original_size=(32, 24))
    >>> low_res = torch.full((4, 4), -1.0)
    >>> low_res[1, 1] = 5.0
    >>> window = upsampler.active_window(low_res, threshold=0.0)
    >>> window
    Window(rows=slice(3, 21, None), cols=slice(3, 21, None))
    >>> upsampler.logits(low_res, window).shape
    torch.Size([18, 18])
    """

    def __init__(
        self,
        low_size: tuple[int, int],
        image_size: int,
        input_size: tuple[int, int],
        original_size: tuple[int, int],
    ) -> None:
        self.rows, self.cols = (
            axis_interpolation(low, image_size, content, full)
            for low, content, full in zip(low_size, input_size, original_size, strict=True)
        )

    @property
    def full_window(self) -> Window:
        """The window that is the whole image."""
        return Window(slice(0, self.rows.size), slice(0, self.cols.size))

    def active_window(self, low_res: Tensor, threshold: float) -> Window | None:
        """Find where full-size logits can exceed `threshold`.

        Parameters
        ----------
        low_res : Tensor
            (height, width) low-resolution logits of one mask.
        threshold : float
            Logits at or below it do not count.

        Returns
        -------
        Window or None
            Outside of it every full-size logit is at most `threshold`; None if that is so
            everywhere.
        """
        logits = low_res.numpy()
        rows = np.flatnonzero(logits.max(axis=1) > threshold)
        if rows.size == 0:
            return None
        cols = np.flatnonzero(logits.max(axis=0) > threshold)
        window = Window(
            self.rows.reach(slice(int(rows[0]), int(rows[-1]) + 1)),
            self.cols.reach(slice(int(cols[0]), int(cols[-1]) + 1)),
        )
        # All that was active may lie in the padding.
        return window if min(window.shape) > 0 else None

    def logits(self, low_res: Tensor, window: Window | None = None) -> Tensor:
        """Full-size logits in a window.

        Parameters
        ----------
        low_res : Tensor
            (..., height, width) float32 low-resolution logits; leading axes are masks.
        window : Window, optional
            Default is the whole image.

        Returns
        -------
        Tensor
            (..., window height, window width) float32 logits.
        """
        window = window or self.full_window
        return torch.cat(
            list(_strips(low_res, self.rows, self.cols, window.rows, window.cols)), dim=-2
        )

    def column_strips(self, low_res: Tensor, window: Window) -> Iterator[Tensor]:
        """Full-size logits in a window, a few image columns at a time, transposed.

        The order in which run-length encodings read a mask; holds one strip at a time.

        Parameters
        ----------
        low_res : Tensor
            (height, width) float32 low-resolution logits of one mask.
        window : Window
            Where.

        Yields
        ------
        Tensor
            (columns, window height) float32 logits, contiguous, left to right.
        """
        return _strips(low_res.mT, self.cols, self.rows, window.cols, window.rows)


def _strips(
    low_res: Tensor,
    rows: AxisInterpolation,
    cols: AxisInterpolation,
    row_range: slice,
    col_range: slice,
) -> Iterator[Tensor]:
    """Yield (..., strip, columns) logits of consecutive rows, from short bands of the weights."""
    low_rows = rows.support(row_range)
    narrow = low_res[..., low_rows, :]
    # Columns first, on the few low-resolution rows.
    stretched = torch.cat(
        [
            narrow[..., cols.support(part)] @ cols.weights[part, cols.support(part)].T
            for part in _parts(col_range, 2 * _STRIP)
        ],
        dim=-1,
    )
    for part in _parts(row_range, _STRIP):
        band = rows.support(part)
        yield (
            rows.weights[part, band]
            @ stretched[..., band.start - low_rows.start : band.stop - low_rows.start, :]
        )


def _parts(span: slice, size: int) -> Iterator[slice]:
    for start in range(span.start, span.stop, size):
        yield slice(start, min(start + size, span.stop))
