"""Boxes, scribbles and drawn regions as a layer of shapes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.session import Prompts, Runs, Scribble

from .drawn_layer import BACKGROUND, FOREGROUND, DrawnLayer
from .outlines import box_of, ellipse, filled, outline
from .points_layer import OFF, ON

if TYPE_CHECKING:
    from napari.layers import Shapes

__all__ = ["PromptShapes", "shapes_options"]

_SAME = 1e-3
"""Pixels by which a vertex may differ from what was drawn, by rounding."""

Drawn = tuple[str, np.ndarray]
"""The kind of a shape, and its vertices."""


def shapes_options() -> dict[str, Any]:
    """Return how boxes and scribbles look."""
    return {
        "ndim": 2,
        "edge_color": ON,
        "face_color": "transparent",
        "edge_width": 1,
        "features": {"label": np.zeros(0, str), "object": np.zeros(0, int)},
    }


@dataclass
class _Found:
    """What the shapes of one object say."""

    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    scribbles: list[Scribble] = field(default_factory=list)
    regions: list[np.ndarray] = field(default_factory=list)


class PromptShapes(DrawnLayer):
    """The boxes, scribbles and regions of all objects of the plane; data are (row, col).

    Rectangles are boxes, lines and paths are scribbles, polygons and ellipses are mask prompts. An
    object has one box and one region: a second one begins the next object.
    """

    layer: Shapes

    def __init__(self, *arguments: Any) -> None:
        # Of a region only its pixels are kept; as long as they are the same, so are its vertices.
        self._vertices: dict[int, tuple[Runs, np.ndarray]] = {}
        super().__init__(*arguments)

    def _busy(self) -> bool:
        return bool(self.layer._is_creating) or self.layer._drag_start is not None

    def _bring(self) -> None:
        found: dict[int, _Found] = {}
        for (number, on), kind, vertices in zip(
            self._objects_of_rows(), self.layer.shape_type, self.layer.data, strict=True
        ):
            drawn = np.asarray(vertices, float)
            if str(kind) in ("rectangle", "line", "path"):  # a hand slips over the border
                drawn = np.clip(drawn, -0.5, np.array(self.session.scene.shape) - 0.5)
            _sort(found.setdefault(number, _Found()), str(kind), drawn, on)
        here = self._here()
        for number in sorted({*found, *here}):
            self._bring_object(number, here.get(number), found.get(number, _Found()))

    def _bring_object(self, number: int, old: Prompts | None, new: _Found) -> None:
        session = self.session
        old = Prompts(session.plane) if old is None else old
        begun: list[int] = []
        boxes, regions = _old_first(new.boxes, old.box), list(new.regions)
        if not _same_box(old.box, boxes[0] if boxes else None):
            session.set_box(boxes[0] if boxes else None, number)
            begun.append(number)
        if not _same_lines(old.scribbles, tuple(new.scribbles)):
            session.set_scribbles(new.scribbles, number)
            begun.append(number)
        if self._bring_region(number, old, regions):
            begun.append(number)
        for box in boxes[1:]:
            begun.append(session.set_box(box, session.next_id))
        for vertices in regions[1:]:
            other = session.next_id
            session.set_mask(filled(vertices, session.scene.shape), other)
            begun.append(other)
        if begun and (new.boxes or new.scribbles or new.regions):
            self.intent.set(object_id=begun[-1])

    def _bring_region(self, number: int, old: Prompts, regions: list[np.ndarray]) -> bool:
        """Set the region of an object to the first one that is drawn; False if it is that."""
        session = self.session
        if not regions:
            if isinstance(old.mask, Runs):
                session.set_mask(None, number)
                return True
            return False
        if isinstance(old.mask, Runs):
            known = self._outline(number, old.mask)
            same = [index for index, drawn in enumerate(regions) if _same(drawn, known)]
            if same:
                regions.insert(0, regions.pop(same[0]))
                return False
        session.set_mask(filled(regions[0], session.scene.shape), number)
        made = session.prompts[number].mask
        assert isinstance(made, Runs)
        self._vertices[number] = made, regions[0]
        return True

    def _outline(self, number: int, mask: Runs) -> np.ndarray:
        known = self._vertices.get(number)
        if known is None or known[0] != mask:
            known = self._vertices[number] = mask, outline(mask)
        return known[1]

    def _rows(self) -> list[tuple[int, bool, Drawn]]:
        """Return what the session has, as shapes."""
        rows: list[tuple[int, bool, Drawn]] = []
        for number, prompts in sorted(self._here().items()):
            if prompts.box is not None:
                row0, col0, row1, col1 = prompts.box
                corners = np.array([[row0, col0], [row0, col1], [row1, col1], [row1, col0]])
                rows.append((number, True, ("rectangle", corners)))
            for scribble in prompts.scribbles:
                rows.append((number, scribble.foreground, ("path", np.array(scribble.line))))
            if isinstance(prompts.mask, Runs):
                drawn = "polygon", self._outline(number, prompts.mask)
                rows.append((number, True, drawn))
        return rows

    def _draw_if_other(self) -> None:
        rows, layer = self._rows(), self.layer
        shown = list(zip(self._objects_of_rows(), layer.shape_type, layer.data, strict=True))
        same = len(rows) == len(shown) and all(
            (number, on) == who and kind == str(its) and _same(vertices, np.asarray(data))
            for (number, on, (kind, vertices)), (who, its, data) in zip(rows, shown, strict=True)
        )
        if not same:
            self._draw(rows)
        self._mean()

    def _draw(self, rows: list[tuple[int, bool, Drawn]]) -> None:
        layer = self.layer
        with self._quietly():
            layer.selected_data = set()
            if len(layer.data):
                layer.remove(list(range(len(layer.data))))
            if rows:
                layer.add(
                    [vertices for _, _, (_, vertices) in rows],
                    shape_type=[kind for _, _, (kind, _) in rows],
                    edge_color=[ON if on else OFF for _, on, _ in rows],
                    face_color="transparent",
                )
            layer.features = {
                "label": np.array([FOREGROUND if on else BACKGROUND for _, on, _ in rows], str),
                "object": np.array([number for number, _, _ in rows], int),
            }

    def _mean(self) -> None:
        super()._mean()
        with self._quietly():
            self.layer.current_edge_color = ON if self.intent.foreground else OFF

    def _here(self) -> dict[int, Prompts]:
        plane = self.session.plane
        return {n: given for n, given in self.session.prompts.items() if given.plane == plane}


def _sort(found: _Found, kind: str, vertices: np.ndarray, on: bool) -> None:
    """Add a shape to what is known of its object."""
    box = box_of(vertices) if kind == "rectangle" else None
    if box is not None:
        found.boxes.append(box)
    elif kind in ("line", "path"):
        line = tuple((float(row), float(col)) for row, col in vertices)
        found.scribbles.append(Scribble(line, on))
    else:
        found.regions.append(ellipse(vertices) if kind == "ellipse" else vertices)


def _old_first(
    boxes: list[tuple[float, float, float, float]],
    old: tuple[float, float, float, float] | None,
) -> list[tuple[float, float, float, float]]:
    return sorted(boxes, key=lambda box: not _same_box(box, old))


def _same_box(
    one: tuple[float, float, float, float] | None,
    other: tuple[float, float, float, float] | None,
) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.allclose(one, other, atol=_SAME))


def _same_lines(some: tuple[Scribble, ...], others: tuple[Scribble, ...]) -> bool:
    return len(some) == len(others) and all(
        one.foreground == other.foreground and _same(np.array(one.line), np.array(other.line))
        for one, other in zip(some, others, strict=True)
    )


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool(np.allclose(one, other, atol=_SAME))
