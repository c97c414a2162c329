"""A decoder that knows the truth, so that routing, refining and blending can be told exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from napari_sam.segment.decoding import Answer, TilePrompt, grid_at, tile_nodes
from napari_sam.segment.logit_grid import LogitGrid
from napari_sam.tiles.geometry import TileGeometry, TileId

FRAME, LOW = 64, 16

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Pixels from the boundary at rows (n, 1) and columns (1, m) of level 0, positive inside."""


def disc(row: float, col: float, radius: float) -> Distance:
    return lambda rows, cols: radius - np.hypot(rows - row, cols - col)


@dataclass
class Oracle:
    """Answers with the objects' true outlines, as exactly as nodes allow.

    Parameters
    ----------
    shape : (int, int)
        Of the scene.
    objects : sequence of Distance
        One, or three for ambiguous prompts.
    missing : set of TileId
        Tiles without embedding.
    distort : callable, optional
        Changes what a tile says: takes tile and logits.
    """

    shape: tuple[int, int]
    objects: Sequence[Distance]
    missing: set[TileId] = field(default_factory=set)
    distort: Callable[[TileId, np.ndarray], np.ndarray] | None = None
    threshold: float = 0.0
    single_first: bool = False
    halo: int = 8
    asked: list[TileId] = field(default_factory=list)
    prompts: list[TilePrompt] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.geometry = TileGeometry(self.shape, FRAME, self.halo)
        self.levels = range(self.geometry.levels)

    def nodes(self, tile: TileId) -> tuple[np.ndarray, np.ndarray]:
        return tile_nodes(self.geometry, tile, FRAME, LOW)

    def decode(
        self, tiles: Sequence[TileId], prompts: Sequence[TilePrompt], ambiguous: bool
    ) -> list[Answer | None]:
        answers: list[Answer | None] = []
        for tile, prompt in zip(tiles, prompts, strict=True):
            self.asked.append(tile)
            self.prompts.append(prompt)
            grids = [self._grid(tile, number) for number in range(3 if ambiguous else 1)]
            ious = (0.9, 0.95, 0.92)[: len(grids)]
            answers.append(None if tile in self.missing else Answer(tile, tuple(grids), ious))
        return answers

    def pixels(self, grid: LogitGrid, tile: TileId) -> np.ndarray:
        window = self.geometry.window(tile)
        rows, cols = np.arange(window.row0, window.row1), np.arange(window.col0, window.col1)
        return grid.sample(rows, cols)

    def truth(self, number: int = 0) -> np.ndarray:
        rows, cols = np.ogrid[: self.shape[0], : self.shape[1]]
        return self.objects[number](rows, cols) > 0

    def _grid(self, tile: TileId, number: int) -> LogitGrid:
        rows, cols = self.nodes(tile)
        scale = 1 << tile.level
        places = (rows[:, None] + 0.5) * scale - 0.5, (cols[None] + 0.5) * scale - 0.5
        logits = 4 * self.objects[number % len(self.objects)](*places) / scale
        if self.distort is not None:
            logits = self.distort(tile, logits)
        return grid_at(tile.level, rows, cols, logits)
