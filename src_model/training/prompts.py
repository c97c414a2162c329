"""Simulated users: what they click or draw first, and where they correct.

References
----------
.. [1] Kirillov et al., "Segment Anything", 2023, appendix A, "Training algorithm".
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .pictures import ObjectMask

__all__ = ["Round", "depth", "error_points", "first_point", "noisy_box", "plan_rounds"]

Round = Literal["first", "point", "mask"]

# The corners of a box drawn by hand are off by a tenth of its side, and by 20 pixels at most.
BOX_NOISE, BOX_NOISE_LIMIT = 0.1, 20.0


def plan_rounds(rng: np.random.Generator, error_points: int) -> list[Round]:
    """Return what happens in each round of one training sample.

    A first prompt, then ``error_points`` corrections, and two rounds that see the previous mask
    alone, so that the model learns to use it: one at a random place, one at the end.

    Examples
    --------
    >>> rounds = plan_rounds(np.random.default_rng(0), 8)
    >>> len(rounds), rounds[0], rounds[-1], rounds.count("point")
    (11, 'first', 'mask', 8)
    >>> plan_rounds(np.random.default_rng(0), 0)
    ['first']
    """
    if error_points == 0:
        return ["first"]
    rounds: list[Round] = ["point"] * error_points
    rounds.insert(int(rng.integers(error_points + 1)), "mask")
    return ["first", *rounds, "mask"]


def depth(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return each pixel's distance from the boundary; beyond the array there is no object."""
    from scipy import ndimage

    depths: NDArray[np.float64] = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return depths


def first_point(rng: np.random.Generator, item: ObjectMask) -> tuple[float, float]:
    """Return (x, y) of a first click: as often the deepest point as any other of the object.

    The paper draws it uniformly. People click in the middle, and so do evaluations.
    """
    if rng.random() < 0.5:
        depths = depth(item.mask)
        candidates = np.flatnonzero(depths >= 0.98 * depths.max())
    else:
        candidates = np.flatnonzero(item.mask)
    row, col = divmod(int(rng.choice(candidates)), item.mask.shape[1])
    return float(item.left + col), float(item.top + row)


def noisy_box(
    rng: np.random.Generator, box: tuple[int, int, int, int]
) -> tuple[float, float, float, float]:
    """Move the corners of an (x0, y0, x1, y1) box as an unsteady hand would.

    Gaussian noise of a tenth of the side, clipped at 20 pixels.
    """
    x0, y0, x1, y1 = box
    sides = np.array([x1 - x0 + 1, y1 - y0 + 1] * 2)
    noise = np.clip(rng.normal(0, BOX_NOISE, 4) * sides, -BOX_NOISE_LIMIT, BOX_NOISE_LIMIT)
    left, top, right, bottom = (np.array(box, float) + noise).tolist()
    return min(left, right), min(top, bottom), max(left, right), max(top, bottom)


def error_points(
    rng: np.random.Generator, logits: Tensor, target: Tensor, stride: int = 4
) -> tuple[Tensor, Tensor]:
    """Draw one point from the error region of each mask.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    logits, target : Tensor
        (B, h, w) low-resolution logits and truth between 0 and 1.
    stride : int
        Pixels of the frame per low-resolution pixel.

    Returns
    -------
    points : Tensor
        float32 (B, 1, 2), (x, y) in the frame: centres of low-resolution pixels.
    labels : Tensor
        int64 (B, 1): 1 where the object was missed, 0 on a false alarm. A mask without error gets
        any point of the object.
    """
    truth = (target > 0.5).cpu().numpy()
    wrong = (logits > 0).cpu().numpy() != truth
    points, labels = [], []
    for error, inside in zip(wrong, truth, strict=True):
        row, col = _draw(rng, error, inside)
        points.append([[stride * col + (stride - 1) / 2, stride * row + (stride - 1) / 2]])
        labels.append([int(inside[row, col])])
    device = logits.device
    return torch.tensor(points, device=device), torch.tensor(labels, device=device)


def _draw(
    rng: np.random.Generator, error: NDArray[np.bool_], inside: NDArray[np.bool_]
) -> tuple[int, int]:
    """Return (row, col) of a random error, else of the object, else of anything."""
    for region in (error, inside, np.ones_like(error)):
        candidates = np.flatnonzero(region)
        if len(candidates):
            return divmod(int(rng.choice(candidates)), error.shape[1])
    raise ValueError("a mask without pixels has no error region.")
