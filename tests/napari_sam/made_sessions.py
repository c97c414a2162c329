"""A segmenter without a network, and the dense arrays that a session is compared with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

import napari_sam
from napari_sam.scene import Scene, open_scene
from napari_sam.segment.objects import Candidate, cut_candidate
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.session import Session, SessionModel

SHAPE = (24, 30)

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(napari_sam.__file__).resolve().parents[1])}
"""In which a process of its own finds this package, installed or not."""

MODEL = SessionModel("a" * 64, "stub", 64, 8)


class Discs:
    """Answers any prompt with discs of three sizes around what is asked for, cut to the scene."""

    def __init__(self, shape: tuple[int, int] = SHAPE, radii: tuple[float, ...] = (3, 2, 5)):
        self.shape, self.radii = shape, radii
        self.asked: list[dict[str, Any]] = []

    def prompt(
        self,
        points: Any = None,
        labels: Any = None,
        box: Any = None,
        mask: Any = None,
        scribble: Any = None,
    ) -> list[Candidate]:
        self.asked.append({"points": points, "labels": labels, "box": box, "mask": mask})
        if mask is not None:
            row, col = np.add(np.argwhere(mask.mask).mean(0), (mask.row, mask.col))
        elif box is not None:
            row, col = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        else:
            row, col = np.atleast_2d(points if points is not None else scribble)[0]
        top, left = max(0, int(row) - 8), max(0, int(col) - 8)
        rows, cols = np.mgrid[
            top : min(self.shape[0], top + 18), left : min(self.shape[1], left + 18)
        ]
        found = []
        for number, radius in enumerate(self.radii):
            disc = np.hypot(rows - row, cols - col) <= radius
            for (r, c), label in zip(
                () if points is None else points, () if labels is None else labels, strict=False
            ):
                near = np.hypot(rows - r, cols - c) <= 1
                disc = disc | near if label else disc & ~near
            cut = cut_candidate(disc, 0.9 - number / 10, 0.8, "point")
            found.append(
                Candidate(cut.row + top, cut.col + left, cut.mask, cut.predicted_iou, 0.8, "point")
            )
        return found


def made_scene(shape: tuple[int, int] = SHAPE, z: int = 0, seed: int = 0) -> Scene:
    stack = np.random.default_rng(seed).integers(0, 255, (3, *shape), dtype=np.uint8)
    return open_scene(stack, axes="ZYX", z=z)


def made_session(path: Any, shape: tuple[int, int] = SHAPE, **options: Any) -> Session:
    return Session.create(path, made_scene(shape), Discs(shape), model=MODEL, user="ada", **options)


def reopened(session: Session) -> Session:
    session.close()
    return Session.open(
        session.path, session.scene, Discs(session.scene.shape), model=MODEL, user="ada"
    )


def settle(session: Session) -> None:
    """Wait until the snapshot that is being written is whole."""
    if session._folder._writer is not None:
        session._folder._writer.join()


def square(row: int, col: int, rows: int = 4, cols: int | None = None) -> MaskRegion:
    return MaskRegion(row, col, np.ones((rows, rows if cols is None else cols), bool))
