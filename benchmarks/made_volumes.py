"""Volumes whose objects are known, and slices of them as a network would find them: with faults."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion

SHAPE = (64, 160, 160)


def balls(seed: int, count: int = 40, touching: bool = True) -> np.ndarray:
    """Return ellipsoids, most of which touch others from all sides."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.indices(SHAPE), axis=-1).astype(np.float32)
    best = np.full(SHAPE, 1.0, np.float32)
    labels = np.zeros(SHAPE, np.uint32)
    placed: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(200 * count):
        radii = random.uniform(8, 16, 3)
        middle = random.uniform(radii * 0.8, np.array(SHAPE) - radii * 0.8)
        # How far apart two middles are, in radii along the line between them.
        gaps = [_apart(middle, radii, other, others) for other, others in placed]
        if len(placed) == count or any(gap < 0.95 for gap in gaps):
            continue
        if touching and placed and len(placed) % 4 and not any(gap < 1.05 for gap in gaps):
            continue
        placed.append((middle, radii))
        level = (((grid - middle) / radii) ** 2).sum(-1)
        inside = level < best
        labels[inside] = len(placed)
        best[inside] = level[inside]
    return labels


def _apart(one: np.ndarray, ones: np.ndarray, other: np.ndarray, others: np.ndarray) -> float:
    way = other - one
    length = np.linalg.norm(way)
    reach = sum(1 / np.linalg.norm(way / length / radii) for radii in (ones, others))
    return float(length / reach)


def columns(seed: int) -> np.ndarray:
    """Return balls on top of each other that touch tip to tip."""
    random = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint32)
    grid = np.stack(np.indices(SHAPE), axis=-1)
    number = 0
    for row in range(20, 160, 40):
        for col in range(20, 160, 40):
            top = 0.0
            while top < SHAPE[0] - 14:
                radius = random.uniform(7, 15)
                middle = (top + radius, row + random.uniform(-3, 3), col + random.uniform(-3, 3))
                number += 1
                inside = ((grid - middle) ** 2).sum(-1) <= radius**2
                labels[inside & (labels == 0)] = number
                top += 2 * radius
    return labels


def tubes(seed: int) -> np.ndarray:
    """Return tubes that wind up through all slices."""
    random = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint32)
    for number in range(9):
        middle = np.array([27 + 53 * (number // 3), 27 + 53 * (number % 3)], float)
        turn, sway, radius = random.uniform(0.05, 0.12), random.uniform(4, 13), random.uniform(4, 9)
        phase = random.uniform(0, 6.3)
        way = [
            middle + sway * np.array([np.sin(turn * z + phase), np.cos(turn * z)])
            for z in range(SHAPE[0])
        ]
        _tube(labels, number + 1, way, radius)
    return labels


def trees(seed: int) -> np.ndarray:
    """Return tubes that branch once."""
    random = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint32)
    for number in range(4):
        middle = np.array([40 + 80 * (number // 2), 40 + 80 * (number % 2)], float)
        fork = int(random.integers(22, 42))
        angle, slope = random.uniform(0, 6.3), random.uniform(0.5, 0.9)
        aside = np.array([np.sin(angle), np.cos(angle)])
        for side in (-1, 1):
            way = [middle + side * aside * slope * max(0, z - fork) for z in range(SHAPE[0])]
            _tube(labels, number + 1, way, random.uniform(6, 8))
    return labels


def _tube(labels: np.ndarray, number: int, way: list[np.ndarray], radius: float) -> None:
    rows, cols = np.indices(SHAPE[1:])
    for z, (row, col) in enumerate(way):
        labels[z][np.hypot(rows - row, cols - col) <= radius] = number


MADE: dict[str, Callable[[int], np.ndarray]] = {
    "balls that touch": balls,
    "balls tip to tip": columns,
    "tubes": tubes,
    "branching tubes": trees,
}


def apart(labels: np.ndarray) -> np.ndarray:
    """Return the pieces of objects in each slice, numbered: what a perfect network finds."""
    from scipy.ndimage import label

    found = np.zeros(labels.shape, np.uint32)
    for z, plane in enumerate(labels):
        count = 0
        for number in np.unique(plane)[1:]:
            pieces, new = label(plane == number)
            found[z][pieces > 0] = pieces[pieces > 0] + count
            count += new
    return found


def with_faults(slices: np.ndarray, seed: int, much: float = 1.0) -> np.ndarray:
    """Return the slices with borders that tremble, and objects missed, fused and divided.

    Of each slice 5 % are missed, 5 % divided, and of those that touch 15 % fused.
    """
    random = np.random.default_rng(seed)
    found = np.zeros_like(slices)
    for z, true in enumerate(slices):
        plane = true.copy()
        for one, other in _neighbours(plane):
            if random.random() < 0.15 * much:
                plane[plane == other] = one
        result = found[z]
        for number in np.unique(plane)[1:]:
            mask, chance = plane == number, random.random()
            if chance < 0.05 * much:
                continue
            change = random.integers(-2, 3)
            if change:
                grow = binary_dilation if change > 0 else binary_erosion
                mask = grow(mask, iterations=abs(int(change)))
            mask &= result == 0
            result[mask] = number
            if chance > 1 - 0.05 * much and mask.sum() > 30:
                rows, cols = np.nonzero(mask)
                angle = random.uniform(0, 6.3)
                side = (rows - rows.mean()) * np.sin(angle) + (cols - cols.mean()) * np.cos(angle)
                result[rows[side > 0], cols[side > 0]] = slices.max() + number
    return found


def _neighbours(plane: np.ndarray) -> list[tuple[int, int]]:
    pairs = set()
    for one, other in ((plane[1:], plane[:-1]), (plane[:, 1:], plane[:, :-1])):
        differ = (one != other) & (one > 0) & (other > 0)
        pairs |= set(zip(one[differ].tolist(), other[differ].tolist(), strict=True))
    return sorted({(min(pair), max(pair)) for pair in pairs})


def average_precision(truth: np.ndarray, found: np.ndarray, least: float = 0.5) -> float:
    """Return the share of objects that are found with an IoU of so much, among all of both."""
    trues, founds = np.bincount(truth.ravel()), np.bincount(found.ravel())
    both = np.bincount(truth.ravel().astype(np.int64) * len(founds) + found.ravel())
    there = np.flatnonzero(both)
    ones, others = there // len(founds), there % len(founds)
    iou = both[there] / (trues[ones] + founds[others] - both[there])
    hits = int(np.count_nonzero((iou > least) & (ones > 0) & (others > 0)))
    total = np.count_nonzero(trues[1:]) + np.count_nonzero(founds[1:]) - hits
    return hits / total if total else 1.0
