"""Images of a project that are open in a window are worked on there, and not opened twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.engine.importing import opened_session
from napari_sam.engine.places import opened
from napari_sam.errors import InputError

if TYPE_CHECKING:
    from napari_sam.engine.project import ProjectImage
    from napari_sam.live.workplace import Workplace
    from napari_sam.session import Session

    from .attached import Attachment

__all__ = ["Lending", "is_image"]


class Lending:
    """Lends what a window has open, and opens the other images of a project; for any thread.

    Parameters
    ----------
    attachment : Attachment
        Of the window.
    """

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment

    @contextmanager
    def workplace(self, image: ProjectImage, model: str) -> Iterator[Workplace]:
        """Lend an image with a model, as `napari_sam.engine.places.Opener` says.

        Raises
        ------
        InputError
            If it is open with another model, or cannot be opened.
        """
        workplace, embedder = self._attachment.workplace, self._attachment.embedder
        if workplace is None or embedder is None or not is_image(workplace, image):
            with opened(image, model) as other:
                yield other
            return
        if workplace.model_name != model:
            raise InputError(
                f"{image.key} is open with {workplace.model_name}, and the round works with "
                f"{model}: choose that model, or close the image."
            )
        with embedder.aside():
            yield workplace

    @contextmanager
    def session(self, folder: Path, image: ProjectImage) -> Iterator[Session]:
        """Lend a session, as `napari_sam.engine.importing.SessionOpener` says."""
        workplace = self._attachment.workplace
        if workplace is not None and _same(workplace.session.path, folder):
            yield workplace.session
            return
        with opened_session(folder, image) as other:
            yield other


def is_image(workplace: Workplace, image: ProjectImage) -> bool:
    """Tell whether what is open is an image of a project."""
    picture = workplace.picture
    if picture.along != "z":
        return False  # its sides have sessions of their own
    return str(picture.image) == image.where or (
        picture.path is not None and _same(picture.path, Path(image.where))
    )


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
