"""All that a person has pointed at for one object, and what the segmenter is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from napari_sam.errors import InputError
from napari_sam.segment.objects import MaskLike

from .runs import Runs

__all__ = ["Plane", "Prompts", "Scribble", "make_prompts"]

Plane = tuple[int, int]
"""(t, z) of a plane of the image."""


@dataclass(frozen=True)
class Scribble:
    """A line drawn on the object, or on what is not.

    Parameters
    ----------
    line : tuple of (float, float)
        Its vertices, (row, col).
    foreground : bool
        Whether it lies on the object.
    """

    line: tuple[tuple[float, float], ...]
    foreground: bool = True


@dataclass(frozen=True)
class Prompts:
    """The prompts of one object, in pixels of level 0, pixel centres at integers.

    Parameters
    ----------
    plane : (int, int)
        (t, z).
    points : tuple of (float, float, bool)
        Row, column, and whether the object is there.
    box : tuple of float, optional
        (row0, col0, row1, col1).
    scribbles : tuple of Scribble
        Lines.
    mask : Runs or "object", optional
        A region; "object" is the object's own mask, as it is when the segmenter is asked.
    """

    plane: Plane = (0, 0)
    points: tuple[tuple[float, float, bool], ...] = ()
    box: tuple[float, float, float, float] | None = None
    scribbles: tuple[Scribble, ...] = ()
    mask: Runs | Literal["object"] | None = None

    def __bool__(self) -> bool:
        return bool(self.points or self.scribbles or self.box or self.mask)

    def with_point(self, row: float, col: float, foreground: bool) -> Prompts:
        """Add a point."""
        return replace(self, points=(*self.points, (float(row), float(col), bool(foreground))))

    def with_moved(self, index: int, row: float, col: float) -> Prompts:
        """Move a point."""
        points = list(self.points)
        points[self._index(index)] = (float(row), float(col), self.points[index][2])
        return replace(self, points=tuple(points))

    def without_point(self, index: int) -> Prompts:
        """Remove a point."""
        number = self._index(index)
        return replace(self, points=self.points[:number] + self.points[number + 1 :])

    def asked(self, own: Runs | None) -> dict[str, Any]:
        """Return the arguments of `Segmenter.prompt`.

        One scribble on the object is given as it is; of more, and of those on what is not, the
        points are.

        Parameters
        ----------
        own : Runs or None
            The object's mask as it is now, if there is one.
        """
        from napari_sam.segment.scribbles import MaskRegion, scribble_points

        points = [point[:2] for point in self.points]
        labels = [int(point[2]) for point in self.points]
        asked: dict[str, Any] = {}
        for scribble in self.scribbles:
            if scribble.foreground and "scribble" not in asked:
                asked["scribble"] = np.array(scribble.line)
                continue
            drawn = [(float(row), float(col)) for row, col in scribble_points(scribble.line)]
            points += drawn
            labels += [int(scribble.foreground)] * len(drawn)
        if points:
            asked["points"], asked["labels"] = np.array(points), np.array(labels)
        if self.box is not None:
            asked["box"] = np.array(self.box)
        mask = own if self.mask == "object" else self.mask
        if isinstance(mask, Runs):
            asked["mask"] = MaskRegion(mask.row, mask.col, mask.mask)
        return asked

    def to_json(self) -> dict[str, Any]:
        """Return what is saved; what is empty is left out."""
        saved: dict[str, Any] = {"plane": list(self.plane)}
        if self.points:
            saved["points"] = [[row, col, int(label)] for row, col, label in self.points]
        if self.box is not None:
            saved["box"] = list(self.box)
        if self.scribbles:
            saved["scribbles"] = [
                {"line": [list(place) for place in scribble.line], "on": int(scribble.foreground)}
                for scribble in self.scribbles
            ]
        if self.mask is not None:
            saved["mask"] = self.mask.to_json() if isinstance(self.mask, Runs) else self.mask
        return saved

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Prompts:
        """Read what `to_json` gave."""
        mask = saved.get("mask")
        t, z = saved["plane"]
        return cls(
            (t, z),
            tuple((row, col, bool(label)) for row, col, label in saved.get("points", ())),
            tuple(saved["box"]) if "box" in saved else None,
            tuple(
                Scribble(tuple((row, col) for row, col in scribble["line"]), bool(scribble["on"]))
                for scribble in saved.get("scribbles", ())
            ),
            Runs.from_json(mask) if isinstance(mask, dict) else mask,
        )

    def _index(self, index: int) -> int:
        if not 0 <= index < len(self.points):
            raise InputError(
                f"There is no point {index}: the prompts of this object have "
                f"{len(self.points)} points, counted from 0."
            )
        return index


def make_prompts(
    plane: Plane,
    shape: tuple[int, int],
    points: ArrayLike | None,
    labels: ArrayLike | None,
    box: ArrayLike | None,
    scribbles: tuple[Scribble, ...],
    mask: MaskLike | Literal["object"] | None,
) -> Prompts:
    """Bring what a person gives to `Prompts`, after the same checks as those of the segmenter.

    Raises
    ------
    InputError
        If something lies outside of the scene, is no number, or has a wrong shape.
    """
    from napari_sam.segment.checking import check_scene_prompt

    region = Runs.of(mask) if mask is not None and mask != "object" else None
    # A background point alone is no error yet: a person may begin with it.
    everywhere = (-0.5, -0.5, shape[0] - 0.5, shape[1] - 0.5)
    checked = check_scene_prompt(shape, points, labels, everywhere if box is None else box)
    if region is not None:
        check_scene_prompt(shape, mask=region)
    for scribble in scribbles:
        check_scene_prompt(shape, scribble=scribble.line)
    corners = None
    if box is not None and checked.box is not None:
        row0, col0, row1, col1 = map(float, checked.box)
        corners = (row0, col0, row1, col1)
    return Prompts(
        plane,
        tuple(
            (float(row), float(col), bool(label))
            for (row, col), label in zip(checked.points, checked.labels, strict=True)
        ),
        corners,
        scribbles,
        mask if mask is None or mask == "object" else region,
    )
