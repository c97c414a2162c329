"""Clicks as a layer of points."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.session import Prompts

from .drawn_layer import BACKGROUND, FOREGROUND, DrawnLayer

if TYPE_CHECKING:
    from napari.layers import Points

__all__ = ["PromptPoints", "points_options"]

ON, OFF = "#00d26a", "#ff3b5c"
"""Colours of clicks on an object, and on what is not."""

Click = tuple[float, float, bool]
"""Row, column, and whether the object is there."""

_SAME = 1e-3
"""Pixels by which a place may differ from what was drawn, by rounding."""


def points_options() -> dict[str, Any]:
    """Return how clicks look: as large on the screen whatever the zoom, and told by shape too."""
    return {
        "ndim": 2,
        "size": 12,
        "canvas_size_limits": (10, 14),
        "face_color": ON,
        "border_color": "white",
        "border_width": 0.12,
        "symbol": "disc",
        "features": {"label": np.zeros(0, str), "object": np.zeros(0, int)},
        "out_of_slice_display": False,
    }


class PromptPoints(DrawnLayer):
    """The clicks of all objects of the plane; data are (row, col) of the scene."""

    layer: Points

    def _busy(self) -> bool:
        return self.layer._drag_start is not None

    def _bring(self) -> None:
        shown: dict[int, list[Click]] = {}
        for (number, on), (row, col) in zip(
            self._objects_of_rows(), np.asarray(self.layer.data, float), strict=True
        ):
            shown.setdefault(number, []).append((float(row), float(col), on))
        known = {number: list(prompts.points) for number, prompts in self._here().items()}
        for number in sorted({*shown, *known}):
            self._bring_object(number, known.get(number, []), shown.get(number, []))

    def _bring_object(self, number: int, old: list[Click], new: list[Click]) -> None:
        """Change the clicks of an object by as little as the person did."""
        session = self.session
        others = [
            index for index, (a, b) in enumerate(zip(old, new, strict=False)) if _differ(a, b)
        ]
        if len(new) == len(old) and not others:
            return
        if len(new) == len(old) + 1 and not others:
            session.add_point(*new[-1], object_id=number)
        elif len(new) == len(old) and len(others) == 1 and new[others[0]][2] == old[others[0]][2]:
            session.move_point(others[0], *new[others[0]][:2], object_id=number)
        elif len(new) == len(old) - 1 and not _differ_at_all(new, _without(old, others)):
            session.remove_point(others[0] if others else len(new), object_id=number)
        else:
            self._replace(number, new)
        if len(new) > len(old):
            self.intent.set(object_id=number)

    def _replace(self, number: int, clicks: list[Click]) -> None:
        prompts = replace(
            self.session.prompts.get(number, Prompts(self.session.plane)), points=tuple(clicks)
        )
        self.session.prompt(
            number,
            [click[:2] for click in clicks] or None,
            [int(click[2]) for click in clicks] or None,
            prompts.box,
            prompts.scribbles,
            prompts.mask,
        )

    def _draw_if_other(self) -> None:
        rows = [
            (number, click)
            for number, prompts in sorted(self._here().items())
            for click in prompts.points
        ]
        known = self._objects_of_rows()
        same = len(rows) == len(known) and all(
            (number, click[2]) == row and not _differ(click, (*place, click[2]))
            for (number, click), row, place in zip(rows, known, self.layer.data, strict=True)
        )
        if not same:
            self._draw(rows)
        self._mean()

    def _draw(self, rows: list[tuple[int, Click]]) -> None:
        layer, on = self.layer, [click[2] for _, click in rows]
        with self._quietly():
            layer.selected_data = set()
            layer.data = np.array([click[:2] for _, click in rows], float).reshape(-1, 2)
            layer.features = {
                "label": np.array([FOREGROUND if one else BACKGROUND for one in on], str),
                "object": np.array([number for number, _ in rows], int),
            }
            if rows:
                layer.face_color = [ON if one else OFF for one in on]
                layer.symbol = ["disc" if one else "cross" for one in on]
                layer.size = 12
            layer.text.visible = len({number for number, _ in rows}) > 1

    def _mean(self) -> None:
        super()._mean()
        with self._quietly():
            self.layer.current_face_color = ON if self.intent.foreground else OFF
            self.layer.current_symbol = "disc" if self.intent.foreground else "cross"

    def _here(self) -> dict[int, Prompts]:
        plane = self.session.plane
        return {n: given for n, given in self.session.prompts.items() if given.plane == plane}


def _differ(one: Click, other: Click) -> bool:
    return one[2] != other[2] or max(abs(one[0] - other[0]), abs(one[1] - other[1])) > _SAME


def _differ_at_all(some: list[Click], others: list[Click]) -> bool:
    return len(some) != len(others) or any(map(_differ, some, others))


def _without(clicks: list[Click], others: list[int]) -> list[Click]:
    gone = others[0] if others else len(clicks) - 1
    return clicks[:gone] + clicks[gone + 1 :]
