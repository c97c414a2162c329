"""What following an object gives: its masks in other planes, and why it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from napari_sam.segment.objects import Candidate

__all__ = ["Evidence", "Followed", "Plane", "Propagation"]

Plane = tuple[int, int]
"""(t, z)."""


@dataclass(frozen=True)
class Evidence:
    """What speaks for a mask: what the model says, compared with what it says where it is known.

    Parameters
    ----------
    score : float
        Predicted IoU × stability of the model's answer, as a share of that where the object is
        known.
    overlap : float
        IoU of the answer with where and how the object was expected, likewise.
    area_ratio : float
        Area of the answer divided by that of the object in the plane before, likewise.
    """

    score: float
    overlap: float
    area_ratio: float


@dataclass(frozen=True, eq=False)
class Followed:
    """The object in one plane.

    Parameters
    ----------
    plane : (int, int)
        (t, z).
    mask : Candidate
        With the predicted IoU and stability of what the model found there.
    confidence : float
        From 0 to 1: how much speaks for it. Of one that was interpolated at most 0.25.
    evidence : Evidence
        The same in parts.
    interpolated : bool
        Whether it is the shape between those before and after, because what the model found here
        was not the object.
    """

    plane: Plane
    mask: Candidate
    confidence: float
    evidence: Evidence
    interpolated: bool = False


@dataclass(frozen=True, eq=False)
class Propagation:
    """Where an object was found, and why not farther.

    Parameters
    ----------
    followed : tuple of Followed
        In the order of the planes; planes where it was known before are not among them.
    stops : mapping
        Why it ended "forward" and "backward", a sentence each.
    skipped : mapping
        Why planes that were looked across have an interpolated mask, or none.
    """

    followed: tuple[Followed, ...]
    stops: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[Plane, str] = field(default_factory=dict)

    def masks(self) -> dict[Plane, Candidate]:
        """Return the masks by plane."""
        return {one.plane: one.mask for one in self.followed}
