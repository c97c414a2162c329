"""Projects of small images whose objects are known."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import tifffile
from everything_scenes import discs, pixels_of

from napari_sam.engine.project import Project
from napari_sam.live.workplace import Picture, Workplace
from napari_sam.session import Runs

SHAPE = (96, 150)


@cache
def labels_of(number: int, count: int = 8) -> np.ndarray:
    """Return the true objects of the image with a number."""
    return discs(SHAPE, (6, 11), count, seed=number)


def made_images(folder: Path, count: int) -> list[str]:
    """Write images of discs."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"cells{number}.tif" for number in range(count)]
    for number, path in enumerate(paths):
        tifffile.imwrite(path, pixels_of(labels_of(number)))
    return [str(path) for path in paths]


def made_project(folder: Path, model: str, images: int = 2) -> Project:
    """Begin a project with images of discs."""
    return Project.create(folder / "discs", made_images(folder / "images", images), model)


def true_masks(number: int) -> dict[int, Runs]:
    """Return the true objects of an image."""
    labels = labels_of(number)
    return {int(one): Runs.of_mask(labels == one) for one in np.unique(labels) if one}


def annotate(project: Project, number: int, ids: range | None = None) -> Path:
    """Draw true objects of an image by hand, and return its session."""
    image = project.images[number]
    with Workplace.open(Picture.of(image.where), project.base) as workplace:
        for one, runs in true_masks(number).items():
            if ids is None or one in ids:
                workplace.session.add_object(runs)
        return workplace.session.path
