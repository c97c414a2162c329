"""Images and labels for tests of training data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_model.training.pictures import ObjectMasks

SHAPE = (40, 60)


def make_labels(seed: int = 0, shape: tuple[int, int] = SHAPE) -> NDArray[np.int32]:
    """Rectangles with background around."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    for label in range(1, 5):
        top, left = rng.integers(1, np.array(shape) - 12)
        labels[top : top + rng.integers(3, 11), left : left + rng.integers(3, 11)] = label
    return labels


def make_image(seed: int = 0, dtype: Any = np.uint8, channels: int = 3) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    shape = (*SHAPE, channels) if channels > 1 else SHAPE
    return (rng.random(shape) * min(np.iinfo(dtype).max, 60000)).astype(dtype)


def as_labels(objects: ObjectMasks) -> NDArray[np.int32]:
    labels = np.zeros(objects.shape, np.int32)
    for number, item in enumerate(objects.items, start=1):
        labels[item.window][item.mask] = number
    return labels


def dense(labels: NDArray[Any]) -> NDArray[Any]:
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def make_volume(depth: int = 6) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    labels = np.stack([make_labels(z) for z in range(depth)]).astype(np.uint16)
    labels[[1, 4]] = 0
    rng = np.random.default_rng(0)
    image = (rng.random(labels.shape) * 4000 + labels * 100).astype(np.uint16)
    return image, labels
