"""A volume's axes are laid out alike whatever their order in the file, and lead back to it."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from napari_sam.scenes.volume_grid import VolumeGrid

SHAPE = (4, 5, 6)
ORIENTATIONS = [
    (order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]


def affine_of(order, signs, spacing=(1.5, 2.0, 3.0), origin=(-7.0, 11.0, 13.0)):
    """Axis n of the file runs along axis order[n] of the patient."""
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for axis, (patient_axis, sign) in enumerate(zip(order, signs, strict=True)):
        matrix[patient_axis, axis] = sign * spacing[axis]
    matrix[:3, 3] = origin
    return matrix


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_all_48_orientations_look_the_same_and_lead_back(order, signs):
    affine = affine_of(order, signs)
    grid = VolumeGrid.lay_out(affine, SHAPE, "1.2.3")
    assert [grid.ends(axis) for axis in range(3)] == [("S", "I"), ("A", "P"), ("R", "L")]
    assert [grid.anatomical(name) for name in ("axial", "coronal", "sagittal")] == ["z", "y", "x"]

    volume = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    laid_out = grid.from_stored(volume)
    assert laid_out.shape == grid.shape
    np.testing.assert_array_equal(grid.to_stored(laid_out), volume)
    assert np.shares_memory(grid.to_stored(laid_out), volume)

    back = grid.as_stored()
    np.testing.assert_array_equal(back.matrix, affine)
    assert (back.shape, back.frame_of_reference) == (SHAPE, "1.2.3")
    # Every voxel stays where it is in the patient.
    for index in np.ndindex(SHAPE):
        place = np.argwhere(laid_out == volume[index])
        np.testing.assert_allclose(
            grid.to_patient(place)[0], affine[:3, :3] @ index + affine[:3, 3]
        )


@settings(max_examples=60, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.1, 10)] * 3),
    mirrored=st.booleans(),
)
def test_oblique_volumes_keep_every_voxel_in_place(angles, spacing, mirrored):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    if mirrored:
        affine[:3, 0] *= -1
    affine[:3, 3] = (3, -20, 100)
    grid = VolumeGrid.lay_out(affine, SHAPE)
    assert sorted("".join(grid.ends(axis)) for axis in range(3)) == ["AP", "RL", "SI"]
    np.testing.assert_allclose(sorted(grid.spacing), sorted(spacing))
    np.testing.assert_allclose(grid.voxel_volume, np.prod(spacing))
    np.testing.assert_allclose(grid.plane_distance, grid.spacing[0])
    np.testing.assert_allclose(grid.as_stored().matrix, affine, atol=1e-9)
    points = np.random.default_rng(0).uniform(0, 5, (10, 3))
    np.testing.assert_allclose(grid.to_voxels(grid.to_patient(points)), points, atol=1e-7)


def test_planes_of_a_tilted_gantry_are_nearer_than_their_corners():
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[1, 2] = 4  # each plane lies 4 mm further back
    grid = VolumeGrid.lay_out(affine, SHAPE)
    assert grid.spacing[0] == 5
    assert grid.plane_distance == pytest.approx(3)


def test_time_stays_in_front():
    grid = VolumeGrid.lay_out(affine_of((0, 1, 2), (-1, -1, 1)), SHAPE)
    series = np.arange(2 * np.prod(SHAPE)).reshape(2, *SHAPE)
    laid_out = grid.from_stored(series)
    assert laid_out.shape == (2, *grid.shape)
    np.testing.assert_array_equal(laid_out[1], grid.from_stored(series[1]))
    np.testing.assert_array_equal(grid.to_stored(laid_out), series)


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3)])
def test_no_grid_without_three_directions(bad):
    with pytest.raises(ValueError, match="affine"):
        VolumeGrid.lay_out(bad, SHAPE)
