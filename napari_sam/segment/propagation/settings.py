"""What is taken for the same object in the next plane, and when it is lost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam.errors import InputError

if TYPE_CHECKING:
    from napari_sam.scene import Scene

__all__ = ["Settings"]

_SLOPE = 0.5
"""Pixels that an outline moves sideways for each pixel from plane to plane, in a solid body."""

_LEAST_CHANGE, _MOST_CHANGE = 1.5, 12.0


@dataclass(frozen=True)
class Settings:
    """How an object may change from one plane to the next, and what is looked across.

    Parameters
    ----------
    change : float
        Pixels by which its outline may move beyond what was predicted, and still be the same: a
        thick stack or a fast film asks for more. Small objects are given more room by it, in
        comparison with their size, than large ones.
    least_score : float
        Least predicted IoU × stability, as a share of what the model says of the same object
        where it is known: models are unsure of some kinds of objects everywhere.
    least_overlap : float
        Least IoU of what is found and what was predicted, of an object so large that `change` is
        nothing.
    most_growth : float
        How many times as large or as small it may be as in the plane before, likewise.
    gap : int
        Planes in a row that are looked across before the object is given up.

    Raises
    ------
    InputError
        If one of them makes no sense.
    """

    change: float = 3.0
    least_score: float = 0.4
    least_overlap: float = 0.5
    most_growth: float = 1.6
    gap: int = 2

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if not (math.isfinite(self.change) and self.change >= 0):
            raise InputError(f"change must be a number of pixels of 0 or more, not {self.change}.")
        for name in ("least_score", "least_overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must lie between 0 and 1, not {getattr(self, name)}.")
        if not self.most_growth > 1:
            raise InputError(f"most_growth must be more than 1, not {self.most_growth}.")
        if self.gap < 0:
            raise InputError(f"gap must be 0 planes or more, not {self.gap}.")

    @classmethod
    def through_depth(cls, scene: Scene) -> Settings:
        """Return those for going from plane to plane of a stack: thick ones change more.

        Examples
        --------
        >>> import numpy as np
        >>> from napari_sam.scene import open_scene
        >>> Settings.through_depth(open_scene(np.zeros((3, 9, 9), np.uint8), axes="ZYX")).change
        3.0
        """
        size = scene.pixel_size
        if scene.depth is None or size is None:
            return cls()
        pixels = scene.depth / math.sqrt(size.rows * size.cols)
        return cls(change=min(max(_SLOPE * pixels + 1, _LEAST_CHANGE), _MOST_CHANGE))

    @classmethod
    def through_time(cls) -> Settings:
        """Return those for going from frame to frame of a film: things move and keep their size."""
        return cls(change=6.0, least_overlap=0.3)
