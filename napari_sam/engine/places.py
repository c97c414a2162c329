"""Opening the images of a project: each with its session, where `napari-sam open` has it too."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from napari_sam.live.workplace import Workplace

from .project import ProjectImage

__all__ = ["Opener", "opened"]

Opener = Callable[[ProjectImage, str], AbstractContextManager[Workplace]]
"""Takes an image and a model, and lends what is open of it: a window lends its own."""


def opened(image: ProjectImage, model: str) -> AbstractContextManager[Workplace]:
    """Open an image with a model, until the block ends.

    Raises
    ------
    SessionInUse
        If its session is open elsewhere.
    InputError
        If image or model cannot be used.
    """
    return Workplace.open(image.picture, model)
