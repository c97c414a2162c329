"""A mask carried from one picture to the next by the motion that is seen between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from napari_sam.segment.objects import MaskLike
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.tiles.regions import Region

from .shapes import Shape, centre, pasted, signed_distance, tight

__all__ = ["Pictured", "Warp", "carry"]

_PAD = 20
"""Pixels around the mask that are looked at, at the resolution of the flow."""

_SIDE = 256
"""Rows and columns that are compared at most; larger objects are compared at a coarser level."""

_RADIUS, _WARPS = 5, 4
"""Of the flow: half the side of the windows that move as one, and how often it is corrected. Of
radius 5, 9 and a variational flow (TV-L1), 5 carried organs best, and it is fast."""

_FLAT = 2.0 / 255
"""Standard deviation of a picture in which nothing can be compared."""

_RIM = 3
"""Pixels around a mask by which a motion is judged."""


class Pictured(Protocol):
    """What shows its plane, as a `Scene` does."""

    def read_rgb(self, level: int, rows: slice, cols: slice) -> np.ndarray:
        """Return a window of a level as uint8 RGB."""


@dataclass(frozen=True, eq=False)
class Warp:
    """Where what is seen in a window of one picture came from in the one before.

    Parameters
    ----------
    region : Region
        The window, in pixels of `level`.
    level : int
        Of the pictures.
    sources : (2, rows, cols) ndarray
        For each pixel of the window the (row, col) in it that moved there.
    """

    region: Region
    level: int
    sources: np.ndarray

    def carried(self, mask: MaskLike, shape: Shape) -> MaskRegion | None:
        """Carry a mask of level 0 along; None if nothing of it is left in the plane."""
        from scipy import ndimage

        scale = 1 << self.level
        window = _at_level_0(self.region, self.level, shape)
        distance = signed_distance(pasted(mask, window))
        rows, cols = (np.arange(length, dtype=np.float64) for length in window.shape)
        if scale == 1:
            places = self.sources
        else:
            # Motion is smooth: it is interpolated, and the outline stays as sharp as it was.
            grid = np.meshgrid(*((p + 0.5) / scale - 0.5 for p in (rows, cols)), indexing="ij")
            own = np.indices(self.sources.shape[1:])
            moved = [
                ndimage.map_coordinates(
                    self.sources[axis] - own[axis], grid, order=1, mode="nearest"
                )
                for axis in (0, 1)
            ]
            places = np.stack(np.meshgrid(rows, cols, indexing="ij")) + scale * np.stack(moved)
        there = ndimage.map_coordinates(distance, places, order=1, mode="nearest") > 0
        return tight(MaskRegion(window.row0, window.col0, there))


def carry(
    before: Pictured, after: Pictured, mask: MaskRegion, guess: MaskRegion | None, shape: Shape
) -> Warp | None:
    """Find how the surroundings of a mask moved from one picture to the next.

    Three motions are tried: none, that of the object until now, and the one at which a picture of
    the object alone fits best; each is corrected by the optical flow that is left. The one after
    which the object looks most like itself is taken.

    Parameters
    ----------
    before, after : Pictured
        The planes.
    mask : MaskRegion
        Of the object before, tight.
    guess : MaskRegion or None
        Where it is expected from its motion.
    shape : (int, int)
        Rows and columns of the planes.

    Returns
    -------
    Warp or None
        None if one of the pictures shows nothing.

    References
    ----------
    .. [1] Le Besnerais and Champagnat, "Dense optical flow by iterative local window registration",
       2005.
    """
    from skimage.registration import optical_flow_ilk

    jump = np.zeros(2) if guess is None else centre(guess) - centre(mask)
    level, region = _window(mask, jump, shape)
    pictures = [_grey(each, region, level) for each in (before, after)]
    if min(picture.std() for picture in pictures) < _FLAT:
        return None
    scale = 1 << level
    inside = _reduced(pasted(mask, _at_level_0(region, level, shape)), scale, pictures[0].shape)
    grid = np.indices(pictures[0].shape, np.float64)
    best: tuple[float, np.ndarray] | None = None
    for shift in _shifts(pictures, inside, jump / scale):
        moved = grid - shift[:, None, None]
        flow = optical_flow_ilk(
            pictures[1], _sampled(pictures[0], moved), radius=_RADIUS, num_warp=_WARPS
        )
        sources = moved + flow
        error = _difference(pictures, inside, sources)
        if best is None or error < best[0]:
            best = error, sources
    assert best is not None
    return Warp(region, level, best[1])


def _window(mask: MaskRegion, jump: np.ndarray, shape: Shape) -> tuple[int, Region]:
    """Return the level at which a mask is compared, and the window there."""
    level = 0
    while max(mask.mask.shape) >> level > _SIDE - 2 * _PAD:
        level += 1
    far = _PAD + int(np.ceil(np.abs(jump).max() / (1 << level)))
    rows, cols = (-(-length // (1 << level)) for length in shape)
    high, wide = mask.mask.shape
    return level, Region(0, 0, rows, cols) & Region(
        max(0, (mask.row >> level) - far),
        max(0, (mask.col >> level) - far),
        ((mask.row + high) >> level) + far,
        ((mask.col + wide) >> level) + far,
    )


def _at_level_0(region: Region, level: int, shape: Shape) -> Region:
    rows, cols = shape
    return Region(
        region.row0 << level,
        region.col0 << level,
        min(region.row1 << level, rows),
        min(region.col1 << level, cols),
    )


def _grey(plane: Pictured, region: Region, level: int) -> np.ndarray:
    return plane.read_rgb(level, region.rows, region.cols).mean(
        axis=2, dtype=np.float32
    ) / np.float32(255)


def _reduced(mask: np.ndarray, scale: int, shape: Shape) -> np.ndarray:
    """Return which pixels of a coarser level are in a mask, and a rim around it."""
    from scipy import ndimage

    coarse = mask[scale // 2 :: scale, scale // 2 :: scale][: shape[0], : shape[1]]
    whole = np.zeros(shape, bool)
    whole[: coarse.shape[0], : coarse.shape[1]] = coarse
    grown: np.ndarray = ndimage.binary_dilation(whole, iterations=_RIM)
    return grown


def _shifts(pictures: list[np.ndarray], inside: np.ndarray, jump: np.ndarray) -> list[np.ndarray]:
    """Return the motions to try, in pixels, no two about the same."""
    from skimage.feature import match_template

    tried = [np.zeros(2)]
    rows, cols = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    wanted = [jump]
    if rows.size:
        patch = pictures[0][rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
        if patch.std() >= _FLAT:
            fit = match_template(pictures[1], patch)
            place = np.unravel_index(int(np.argmax(fit)), fit.shape)
            wanted.append(np.array(place, np.float64) - (rows[0], cols[0]))
    for shift in wanted:
        if all(np.abs(shift - other).max() >= 1 for other in tried):
            tried.append(shift)
    return tried


def _difference(pictures: list[np.ndarray], inside: np.ndarray, sources: np.ndarray) -> float:
    """Return how different the object looks after a motion."""
    weights = _sampled(inside.astype(np.float32), sources)
    total = float(weights.sum())
    if total < 0.5 * np.count_nonzero(inside):  # most of it would be gone
        return np.inf
    return float((weights * np.abs(pictures[1] - _sampled(pictures[0], sources))).sum() / total)


def _sampled(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    found: np.ndarray = ndimage.map_coordinates(picture, places, order=1, mode="nearest")
    return found
