"""The chosen candidates in a layer that holds no more than the part of the scene they cover."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import DirectLabelColormap

from napari_sam.segment.objects import Candidate
from napari_sam.tiles.regions import Region

if TYPE_CHECKING:
    from napari.layers import Labels

__all__ = ["PreviewLayer", "painted", "preview_options"]

MOST = 1 << 22
"""Pixels of the layer: of a larger part every second, fourth, ... is shown."""

_MEANT, _OTHERS, _HOVERED = 1, 2, 3
_COLOURS: dict[int | None, Any] = {_MEANT: "#ffb000", _OTHERS: "#4cc9f0", _HOVERED: "#ffffff"}


def preview_options() -> dict[str, Any]:
    """Return how candidates look: the object that is meant, others, what is under the pointer."""
    colours = {0: "transparent", None: "transparent", **_COLOURS}
    return {
        "colormap": DirectLabelColormap(color_dict=colours),
        "opacity": 0.5,
        "blending": "translucent",
    }


def painted(
    shown: Sequence[tuple[Candidate, int]], most: int = MOST
) -> tuple[np.ndarray, tuple[int, int], int]:
    """Paint candidates into the smallest rectangle that holds them.

    Parameters
    ----------
    shown : sequence of (Candidate, int)
        And the value that each is painted with; later ones lie above.
    most : int
        Pixels that are painted at most.

    Returns
    -------
    (rows, cols) ndarray
        uint8; one pixel of 0 if there is nothing to paint.
    (int, int)
        Row and column of the scene of the first pixel.
    int
        The step from one pixel to the next: 1, or a power of two if the part is large.

    Examples
    --------
    >>> one = Candidate(5, 7, np.ones((2, 3), bool), 0.9, 0.9, "point")
    >>> two = Candidate(6, 9, np.ones((2, 2), bool), 0.9, 0.9, "point")
    >>> painted([(one, 1), (two, 2)])
    (array([[1, 1, 1, 0],
           [1, 1, 2, 2],
           [0, 0, 2, 2]], dtype=uint8), (5, 7), 1)
    """
    placed = [(one.mask, _part(one), value) for one, value in shown if one.mask.size]
    if not placed:
        return np.zeros((1, 1), np.uint8), (0, 0), 1
    row0, col0 = min(part.row0 for _, part, _ in placed), min(part.col0 for _, part, _ in placed)
    row1, col1 = max(part.row1 for _, part, _ in placed), max(part.col1 for _, part, _ in placed)
    window = Region(row0, col0, row1, col1)
    step = 1 << max(0, math.ceil(math.log2(window.area / most) / 2))
    pixels = np.zeros([-(-side // step) for side in window.shape], np.uint8)
    for mask, part, value in placed:
        place = part.within(window)
        # Only pixels on the grid of the window are shown; the first of them in this mask:
        seen = mask[-place.row0 % step :: step, -place.col0 % step :: step]
        row, col = -(-place.row0 // step), -(-place.col0 // step)
        pixels[row : row + seen.shape[0], col : col + seen.shape[1]][seen] = value
    return pixels, (row0, col0), step


class PreviewLayer:
    """Shows the chosen candidates of all objects that are prompted.

    Parameters
    ----------
    layer : Labels
        Made with `preview_options`.
    """

    def __init__(self, layer: Labels) -> None:
        self.layer = layer

    def show(
        self, chosen: Mapping[int, Candidate], meant: int | None, hovered: Candidate | None
    ) -> None:
        """Show candidates by their object; `meant` in a colour of its own, above the others."""
        shown = [(one, _OTHERS) for number, one in chosen.items() if number != meant]
        shown += [(one, _MEANT) for number, one in chosen.items() if number == meant]
        shown += [] if hovered is None else [(hovered, _HOVERED)]
        pixels, origin, step = painted(shown)
        if not (pixels.any() or np.any(self.layer.data)):
            return
        self.layer.data = pixels
        self.layer.scale = (step, step)
        # A coarser pixel covers `step` of the scene, and its centre lies further in.
        self.layer.translate = [corner + (step - 1) / 2 for corner in origin]


def _part(one: Candidate) -> Region:
    rows, cols = one.mask.shape
    return Region(one.row, one.col, one.row + rows, one.col + cols)
