"""Objects of slices joined to those of a volume, with slices whose truth is known."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.errors import InputError
from napari_sam.segment.volumes import Joining, Volumes, join_slices
from napari_sam.segment.volumes.consensus import agree, voted
from napari_sam.segment.volumes.label_volume import new_labels
from napari_sam.segment.volumes.slices import Kept, Slice

SHAPE = (16, 48, 64)
GRID = np.stack(np.indices(SHAPE), axis=-1)


def ball(z: float, row: float, col: float, radius: float) -> np.ndarray:
    return ((GRID - (z, row, col)) ** 2).sum(-1) <= radius**2


def tube(centre: list[tuple[float, float]], radius: float, first: int = 0) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    for number, (row, col) in enumerate(centre, first):
        mask[number] = np.hypot(*(GRID[0, ..., 1:] - (row, col)).transpose(2, 0, 1)) <= radius
    return mask


def joined(slices: np.ndarray, folder: Path, joining: Joining | None = None) -> np.ndarray:
    labels = new_labels(folder / "labels.zarr", slices.shape)
    kept = Kept(lambda number: Slice.of(slices[number]), len(slices), most=4)
    join_slices(kept, labels, Joining() if joining is None else joining)
    return np.asarray(labels[:])


def ids(labels: np.ndarray) -> list[int]:
    return np.unique(labels)[1:].tolist()


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the objects are the same, whatever their numbers."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return len(pairs[0]) == len(np.unique(one)) == len(np.unique(other))


TWO = ball(7, 23, 20, 7) * 1 + ball(7, 23, 36, 7) * 2


def test_balls_apart_are_as_many_as_they_are(tmp_path: Path) -> None:
    found = joined(TWO, tmp_path)
    assert ids(found) == [1, 2]
    assert same(found, TWO)


@pytest.mark.parametrize("fused", [[7], [6, 7], [5, 6, 7, 8]])
def test_balls_that_are_one_object_in_some_slices_stay_two(
    tmp_path: Path, fused: list[int]
) -> None:
    slices = TWO.copy()
    for number in fused:
        slices[number][slices[number] > 0] = 1
        slices[number, 20:26, 20:36] = 1  # a bridge
    found = joined(slices, tmp_path)
    assert ids(found) == [1, 2]
    assert ((found > 0) == (slices > 0)).all()
    for number in fused:  # the slices are divided where the balls are
        assert len(set(found[number][TWO[number] == 1].tolist())) == 1
        assert len(set(found[number][TWO[number] == 2].tolist())) == 1
    assert found[fused[0], 23, 20] != found[fused[0], 23, 36]


def test_balls_tip_to_tip_are_two(tmp_path: Path) -> None:
    grid = np.stack(np.indices((34, 48, 64)), axis=-1)
    low, high = (((grid - middle) ** 2).sum(-1) <= 8.2**2 for middle in ((8, 20, 30), (25, 21, 31)))
    found = joined((low | high) * 1, tmp_path)  # in each slice there is one object
    assert ids(found) == [1, 2]
    assert (found[:15][low[:15]] == 1).all()
    assert (found[19:][high[19:]] == 2).all()


def test_a_tube_that_winds_is_one(tmp_path: Path) -> None:
    way = [(24 + 10 * np.sin(z / 3), 32 + 10 * np.cos(z / 3)) for z in range(SHAPE[0])]
    mask = tube(way, 6)
    slices = mask * (np.arange(SHAPE[0]) % 5 + 1)[:, None, None]  # another number in each slice
    assert same(joined(slices, tmp_path), mask * 1)


def test_a_tube_that_branches_is_one_and_two_that_only_meet_are_two(tmp_path: Path) -> None:
    trunk = [(24.0, 32.0)] * 8
    left, right = ([(24.0, 32.0 + side * (9 + z)) for z in range(8)] for side in (-1, 1))
    tree = tube(trunk, 9) * 1 + tube(left, 6, 8) * 1 + tube(right, 6, 8) * 2
    wide = tree.copy()
    wide[7, 18:31, 17:48] = 1  # the fork lies over both
    assert ids(joined(wide, tmp_path)) == [1]
    # The same, but one object in the last two slices only.
    meet = tube([(24, 20)] * 14, 7) * 1 + tube([(24, 44)] * 14, 7) * 2
    meet[14:, 18:31, 14:51] = 1
    found = joined(meet, tmp_path)
    assert ids(found) == [1, 2]
    assert found[15, 24, 16] != found[15, 24, 48]


def test_what_is_missing_in_a_slice_is_put_in_if_it_is_on_both_sides(tmp_path: Path) -> None:
    slices = ball(7, 23, 20, 7) * 1
    truth = slices.copy()
    slices[6] = 0
    found = joined(slices, tmp_path)
    assert ids(found) == [1]
    assert np.count_nonzero((found[6] > 0) != (truth[6] > 0)) <= 12
    # Nothing is put in beyond its ends, nor over more slices than asked for.
    there = (found > 0).any((1, 2))
    np.testing.assert_array_equal(there, (truth > 0).any((1, 2)))
    slices[5:8] = 0
    assert len(ids(joined(slices, tmp_path, Joining(gap=2)))) == 2
    assert len(ids(joined(slices, tmp_path, Joining(gap=3)))) == 1


def test_what_is_put_in_covers_nothing_else(tmp_path: Path) -> None:
    slices = tube([(24, 20)] * 16, 6) * 1
    slices[8] = 0
    slices[8, 20:24, 22:30] = 7
    found = joined(slices, tmp_path)
    other = set(found[8, 20:24, 22:30].ravel().tolist())
    assert len(other) == 1
    assert found[8, 28, 18] == found[7, 28, 18] != 0


def test_an_object_divided_in_one_slice_is_one(tmp_path: Path) -> None:
    slices = tube([(24, 30)] * 16, 9) * 1
    slices[7, :, 30:][slices[7, :, 30:] > 0] = 2
    assert ids(joined(slices, tmp_path)) == [1]


@settings(max_examples=20)
@given(st.randoms(use_true_random=False), st.integers(0, 3))
def test_numbers_within_slices_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, random: Random, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    slices = np.zeros((6, 24, 24), np.int64)
    for plane in slices:
        for number in range(1, 6):
            row, col = rng.integers(0, 18, 2)
            plane[row : row + rng.integers(3, 9), col : col + rng.integers(3, 9)] = number
    other = slices.copy()
    for plane, true in zip(other, slices, strict=True):
        numbers = random.sample(range(1, 100), 5)
        for number in range(1, 6):
            plane[true == number] = numbers[number - 1]
    folder = tmp_path_factory.mktemp("labels")
    found = joined(slices, folder)
    np.testing.assert_array_equal(joined(other, folder), found)
    assert ids(found) == list(range(1, len(ids(found)) + 1))
    assert ((found > 0) | (slices == 0)).all()


def test_directions_that_agree(tmp_path: Path) -> None:
    truth = TWO.astype(np.uint32)
    other = truth.copy()
    other[other == 2] = 1  # another direction takes both for one
    noise = truth.copy()
    noise[0, :4, :4] = 3  # and one sees what nobody else does
    arrays = []
    for number, labels in enumerate((noise, other, truth)):
        array = new_labels(tmp_path / str(number), SHAPE)
        array[:] = labels
        arrays.append(array)
    agreement = agree(tuple(arrays), (3, 2, 2))
    assert agreement.count == 2
    assert same(np.stack(list(voted(tuple(arrays), agreement))), truth)


def test_what_makes_no_sense_is_refused() -> None:
    for wrong in ({"gap": -1}, {"overlap": 0.0}, {"neck": 1.0}):
        with pytest.raises(InputError, match="cannot be joined"):
            Joining(**wrong)
    assert Volumes().unit == "voxel"
