"""Stacks of one object of exactly known shape among others: moving, growing, branching, ending."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["STACKS", "MadeStack", "made_stack"]

SIDE, PLANES = 192, 25

Inside = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Which of the places (z, row, col), in units of half the stack around its middle, are inside."""


def _ball(z: np.ndarray, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Grow, shrink, and end inside of the stack."""
    return (z / 0.7) ** 2 + (row / 0.35) ** 2 + (col / 0.28) ** 2 < 1


def _tube(z: np.ndarray, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Move, by more than half a diameter from plane to plane at the ends."""
    return np.hypot(row - 0.45 * np.sin(2.2 * z), col - 0.5 * z) < 0.14


def _branching(z: np.ndarray, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Become two."""
    apart = 0.35 * np.maximum(z + 0.1, 0)
    return np.minimum(np.hypot(row, col - apart), np.hypot(row, col + apart)) < 0.17


def _wavy(z: np.ndarray, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Change shape all the time."""
    angle = np.arctan2(row, col)
    return np.hypot(row, col) < 0.3 + 0.1 * np.cos(3 * angle + 2.5 * z) * np.cos(z)


STACKS: dict[str, Inside] = {
    "ball": _ball,
    "tube": _tube,
    "branching": _branching,
    "wavy": _wavy,
}


@dataclass(frozen=True, eq=False)
class MadeStack:
    """A grey stack and its truth.

    Parameters
    ----------
    pixels : (z, row, col) ndarray
        uint8.
    truth : (z, row, col) ndarray
        bool.
    """

    pixels: np.ndarray
    truth: np.ndarray


def made_stack(name: str, side: int = SIDE, planes: int = PLANES, seed: int = 0) -> MadeStack:
    """Draw a stack: the object, other bodies beside it, shades and noise."""
    z, row, col = np.meshgrid(
        np.linspace(-1, 1, planes), *[np.linspace(-1, 1, side)] * 2, indexing="ij", sparse=True
    )
    truth = STACKS[name](z, row, col)
    others = np.zeros(truth.shape, bool)
    for r, c, lean in ((-0.7, -0.6, 0.2), (0.72, 0.62, -0.15), (-0.65, 0.7, 0.1), (0.7, -0.7, 0.0)):
        others |= np.hypot(row - r - lean * z, col - c + lean * z) < 0.16
    shade = 12 * np.sin(4 * row + 2 + z) * np.cos(5 * col) + 6 * np.sin(9 * col + 7 * row)
    noise = np.random.default_rng(seed).normal(0, 6, truth.shape)
    grey = np.where(truth, 170.0, np.where(others, 140.0, 85.0)) + shade + noise
    return MadeStack(np.clip(grey, 0, 255).astype(np.uint8), truth)
