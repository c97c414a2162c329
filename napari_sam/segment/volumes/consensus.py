"""What slices of two or three directions agree about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from .label_volume import slabs

if TYPE_CHECKING:
    import zarr

__all__ = ["Agreement", "agree", "voted"]

_ALIKE = 0.3
"""The IoU from which on objects of two directions are the same."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """Which objects of three directions are the same.

    Parameters
    ----------
    count : int
        Objects that at least two directions found.
    numbers : tuple of ndarray
        For each direction and each of its labels, the object from 1 on; 0 where only that direction
        found it.
    volumes : tuple of ndarray
        int64, the voxels of each label of each direction.
    """

    count: int
    numbers: tuple[np.ndarray, ...]
    volumes: tuple[np.ndarray, ...]


def agree(directions: tuple[zarr.Array[Any], ...], counts: tuple[int, ...]) -> Agreement:
    """Match the objects of directions, the most alike first, at most one of each direction.

    Parameters
    ----------
    directions : tuple of zarr.Array
        Labels, (z, row, col).
    counts : tuple of int
        The highest label of each.
    """
    volumes = tuple(np.zeros(count + 1, np.int64) for count in counts)
    pairs = list(combinations(range(len(directions)), 2))
    common: dict[tuple[int, int], dict[int, int]] = {pair: {} for pair in pairs}
    for blocks in zip(*map(slabs, directions), strict=True):
        labels = [block.ravel().astype(np.int64) for _, block in blocks]
        for counted, found in zip(volumes, labels, strict=True):
            np.add(counted, np.bincount(found, minlength=len(counted)), out=counted)
        for one, other in pairs:
            both = (labels[one] > 0) & (labels[other] > 0)
            codes = labels[one][both] * (counts[other] + 1) + labels[other][both]
            shared = common[one, other]
            for code, voxels in zip(*np.unique(codes, return_counts=True), strict=True):
                shared[int(code)] = shared.get(int(code), 0) + int(voxels)
    alike = []
    for (one, other), shared in common.items():
        for code, voxels in shared.items():
            a, b = divmod(code, counts[other] + 1)
            iou = voxels / (volumes[one][a] + volumes[other][b] - voxels)
            if iou >= _ALIKE:
                alike.append((-iou, one, a, other, b))
    groups: dict[tuple[int, int], dict[int, int]] = {}
    for _, one, a, other, b in sorted(alike):
        first = groups.get((one, a), {one: a})
        second = groups.get((other, b), {other: b})
        if first is second or set(first) & set(second):
            continue
        merged = first | second
        for member in merged.items():
            groups[member] = merged
    numbers = tuple(np.zeros(count + 1, np.int64) for count in counts)
    count = 0
    for direction, label in sorted(groups):
        if not numbers[direction][label]:
            count += 1
            for where, which in groups[direction, label].items():
                numbers[where][which] = count
    return Agreement(count, numbers, volumes)


def voted(directions: tuple[zarr.Array[Any], ...], agreement: Agreement) -> Iterator[np.ndarray]:
    """Give slices along z: the object that at least two directions see at a voxel, 0 if none.

    Yields
    ------
    (row, col) ndarray
        uint32.
    """
    for blocks in zip(*map(slabs, directions), strict=True):
        votes = [
            numbers[block] for numbers, (_, block) in zip(agreement.numbers, blocks, strict=True)
        ]
        result = np.zeros(votes[0].shape, np.uint32)
        for one, other in combinations(votes, 2):
            result = np.where((one == other) & (one > 0), one, result)
        yield from result.astype(np.uint32)
