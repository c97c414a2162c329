"""Where the voxels of a medical volume lie in the patient, and how its axes are laid out."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np

__all__ = ["Stored", "VolumeGrid"]

Stored = tuple[tuple[int, bool], tuple[int, bool], tuple[int, bool]]
"""For each laid-out axis: which axis of the file it is, and whether it runs against it."""

_AS_STORED: Stored = ((0, False), (1, False), (2, False))
_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))
"""What lies at the low and the high end of the patient's x, y and z."""

_LAID_OUT = ((2, -1), (1, 1), (0, 1))
"""The patient's axis and direction along each laid-out axis: S to I, A to P, R to L."""

_PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}
"""Which axis of the patient each plane is looked at along."""


@dataclass(frozen=True)
class VolumeGrid:
    """A grid of voxels in the patient: DICOM's coordinates, millimetres, LPS.

    x runs to the patient's left, y to the back, z to the head. Readers lay volumes out so that
    axis 0 runs from head to feet (S to I), axis 1 from front to back (A to P) and axis 2 from the
    patient's right to the left (R to L), as nearly as the axes of the file allow: axes are
    permuted and reversed, never resampled. `lay_out` does it. The one axis of a single slice comes
    first, whatever its direction: rows and columns are those of the slice.

    Parameters
    ----------
    affine : 4 x 4 floats
        From ``(z, row, col, 1)``, indices of the laid-out array with voxel centres at integers, to
        ``(x, y, z, 1)``. Axes may be sheared (a tilted gantry).
    shape : tuple of int
        Planes, rows, columns.
    frame_of_reference : str
        DICOM's UID; empty elsewhere.
    stored : Stored
        The way back to the file's axes.

    Examples
    --------
    A file whose axes run to the left, to the front and to the head:

    >>> file = [[2, 0, 0, 0], [0, -2, 0, 100], [0, 0, 5, 0], [0, 0, 0, 1]]
    >>> grid = VolumeGrid.lay_out(file, (60, 50, 20))
    >>> grid.shape, grid.spacing, grid.stored
    ((20, 50, 60), (5.0, 2.0, 2.0), ((2, True), (1, True), (0, False)))
    >>> [grid.ends(axis) for axis in range(3)]
    [('S', 'I'), ('A', 'P'), ('R', 'L')]
    >>> grid.to_patient(np.array([[0, 0, 0]]))  # the head's end of the right front edge
    array([[ 0.,  2., 95.]])
    """

    affine: tuple[tuple[float, ...], ...]
    shape: tuple[int, int, int]
    frame_of_reference: str = ""
    stored: Stored = _AS_STORED

    def __post_init__(self) -> None:
        matrix = np.asarray(self.affine, np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise ValueError("The affine of a volume is 4 x 4 finite numbers.")
        if not np.array_equal(matrix[3], (0, 0, 0, 1)) or not abs(np.linalg.det(matrix)) > 0:
            raise ValueError("The affine of a volume must be one that can be inverted.")

    @classmethod
    def lay_out(
        cls,
        affine: np.ndarray | Sequence[Sequence[float]],
        shape: Sequence[int],
        frame_of_reference: str = "",
    ) -> "VolumeGrid":
        """Find how the axes of a file are laid out.

        Parameters
        ----------
        affine : array, 4 x 4
            From indices in the file's own axes to the patient (LPS, millimetres).
        shape : sequence of 3 int
            Of the file's own axes.
        frame_of_reference : str
            DICOM's UID.

        Raises
        ------
        ValueError
            If the affine cannot be inverted, or is not finite.
        """
        given = cls(_rows(np.asarray(affine, np.float64)), _three(shape), frame_of_reference)
        nearest = given._nearest()
        stored = []
        for patient_axis, direction in _LAID_OUT:
            axis = nearest.index(patient_axis)
            stored.append((axis, bool(given.matrix[patient_axis, axis] * direction < 0)))
        if sorted(given.shape)[1] > 1:
            stored.sort(key=lambda axis: given.shape[axis[0]] > 1)  # a stable order
        return given._rearranged((stored[0], stored[1], stored[2]))

    @property
    def matrix(self) -> np.ndarray:
        """`affine` as float64, 4 x 4."""
        return np.asarray(self.affine, np.float64)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """How far apart neighbouring voxels are along z, rows and columns, in mm."""
        z, row, col = np.linalg.norm(self.matrix[:3, :3], axis=0)
        return float(z), float(row), float(col)

    @property
    def voxel_volume(self) -> float:
        """Of one voxel, in mm³; of a sheared grid less than the product of `spacing`."""
        return float(abs(np.linalg.det(self.matrix[:3, :3])))

    @property
    def plane_distance(self) -> float:
        """How far apart planes along axis 0 are, in mm: measured at a right angle to them."""
        step, row, col = self.matrix[:3, :3].T
        normal = np.cross(row, col)
        return float(abs(np.dot(step, normal / np.linalg.norm(normal))))

    def ends(self, axis: int) -> tuple[str, str]:
        """Return what lies at the low and the high end of an axis: two of L, R, A, P, S, I."""
        patient_axis = self._nearest()[axis]
        low, high = _LETTERS[patient_axis]
        return (low, high) if self.matrix[patient_axis, axis] >= 0 else (high, low)

    def anatomical(self, plane: Literal["axial", "coronal", "sagittal"]) -> Literal["z", "y", "x"]:
        """Return which axis to look along to see a plane: "z", "y" (rows) or "x" (columns)."""
        names: tuple[Literal["z", "y", "x"], ...] = ("z", "y", "x")
        return names[self._nearest().index(_PLANES[plane])]

    def to_patient(self, points: np.ndarray) -> np.ndarray:
        """Turn indices (z, row, col), shape (n, 3), into (x, y, z) in mm."""
        result: np.ndarray = np.asarray(points) @ self.matrix[:3, :3].T + self.matrix[:3, 3]
        return result

    def to_voxels(self, points: np.ndarray) -> np.ndarray:
        """Turn (x, y, z) in mm, shape (n, 3), into indices (z, row, col), which are fractions."""
        moved = np.asarray(points, np.float64) - self.matrix[:3, 3]
        result: np.ndarray = np.linalg.solve(self.matrix[:3, :3], moved.T).T
        return result

    def as_stored(self) -> "VolumeGrid":
        """Return the grid in the file's own axes: its affine and shape are those of the file.

        Examples
        --------
        >>> file = [[0, 2, 0, 0], [0, 0, 2, 0], [5, 0, 0, 0], [0, 0, 0, 1]]
        >>> back = VolumeGrid.lay_out(file, (20, 60, 50)).as_stored()
        >>> back.shape, np.array_equal(back.matrix, file)
        ((20, 60, 50), True)
        """
        back = [(0, False)] * 3
        for laid_out, (axis, reversed_) in enumerate(self.stored):
            back[axis] = laid_out, reversed_
        moved = self._rearranged((back[0], back[1], back[2]))
        return VolumeGrid(moved.affine, moved.shape, self.frame_of_reference)

    def to_stored(self, volume: np.ndarray) -> np.ndarray:
        """Return a laid-out array, (..., z, row, col), in the file's own axes: a view."""
        front = volume.ndim - 3
        order = np.argsort([axis for axis, _ in self.stored]) + front
        return volume[self._flips(front)].transpose([*range(front), *order.tolist()])

    def from_stored(self, volume: np.ndarray) -> np.ndarray:
        """Return an array of the file's own axes, (..., 0, 1, 2), as laid out: a view."""
        front = volume.ndim - 3
        order = [*range(front), *(front + axis for axis, _ in self.stored)]
        return volume.transpose(order)[self._flips(front)]

    def _flips(self, front: int) -> tuple[slice, ...]:
        steps = [1] * front + [-1 if reversed_ else 1 for _, reversed_ in self.stored]
        return tuple(slice(None, None, step) for step in steps)

    def _nearest(self) -> tuple[int, int, int]:
        """Return the patient's axis that each axis runs along most nearly, each once."""
        cosines = np.abs(self.matrix[:3, :3] / np.linalg.norm(self.matrix[:3, :3], axis=0))
        best = max(
            permutations(range(3)),
            # Rounded, so that noise in the last digit does not decide between two equal ones.
            key=lambda order: round(float(cosines[list(order), range(3)].sum()), 9),
        )
        return best[0], best[1], best[2]

    def _rearranged(self, axes: Stored) -> "VolumeGrid":
        """Take axes in another order and direction; these become `stored`."""
        turn = np.zeros((4, 4))
        turn[3, 3] = 1
        for new, (old, reversed_) in enumerate(axes):
            turn[old, new] = -1 if reversed_ else 1
            turn[old, 3] = self.shape[old] - 1 if reversed_ else 0
        shape = _three([self.shape[old] for old, _ in axes])
        return VolumeGrid(_rows(self.matrix @ turn), shape, self.frame_of_reference, axes)


def _three(shape: Sequence[int]) -> tuple[int, int, int]:
    first, second, third = map(int, shape)
    return first, second, third


def _rows(matrix: np.ndarray) -> tuple[tuple[float, ...], ...]:
    # Adding zero turns -0.0 into 0.0.
    return tuple(tuple(float(value) + 0.0 for value in row) for row in matrix)
