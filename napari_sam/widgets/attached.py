"""What belongs to one viewer: the image that is worked on, its layers, and how they are spoken to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_sam.tiles.regions import Region

from .jobs import Job

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels

    from napari_sam.live.embedder import Embedder
    from napari_sam.live.workplace import Workplace
    from napari_sam.segment.everything import FoundObjects
    from napari_sam.segment.objects import Candidate

__all__ = ["Attachment", "attach"]

_NAME = "napari-sam"


class Attachment(QObject):
    """The image that is worked on in a viewer, and all that shows it; made by `attach`."""

    workplace_changed = Signal(object)
    """The `Workplace` that is open now, or None."""
    session_changed = Signal(object)
    """A `SessionEvent`, in the thread of the windows."""
    said = Signal(str, str)
    """"info", "warning" or "error", and a sentence."""

    viewer: napari.Viewer
    workplace: Workplace | None
    image_layer: Image | None
    objects_layer: Labels | None
    embedder: Embedder | None

    def use(self, layer: Image | None = None, model: str | None = None) -> Job:
        """Open the workplace of an image layer, by default the active one."""
        raise NotImplementedError

    def ready(self, timeout: float | None = None) -> Workplace:
        """Wait until the workplace is open, running the event loop; for scripts."""
        raise NotImplementedError

    def prompt(self, **prompts: Any) -> list[Candidate]:
        """Ask, and return the candidates; for scripts."""
        raise NotImplementedError

    def choose(self, choice: int) -> Candidate:
        """Choose one of the candidates, counted from 0; for scripts."""
        raise NotImplementedError

    def accept(self, **options: Any) -> int:
        """Make the chosen candidate an object, and return its id; for scripts."""
        raise NotImplementedError

    def everything(self, **options: Any) -> FoundObjects:
        """Find everything in the image; for scripts."""
        raise NotImplementedError

    def say(self, sentence: str, level: str = "info") -> None:
        """Tell the person: in the status line; a warning or an error as a notification too."""
        raise NotImplementedError

    def to_scene(self, world: Sequence[float]) -> tuple[float, float]:
        """Return (row, col) of the scene at a position in the world."""
        raise NotImplementedError

    def viewport(self) -> Region:
        """Return what is visible of the scene, in pixels of level 0."""
        raise NotImplementedError

    def show(self, region: Region) -> None:
        """Move the camera to a part of the scene."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop all threads, close the session, and remove the layers that were made, no others."""
        raise NotImplementedError


def attach(viewer: napari.Viewer) -> Attachment:
    """Return the viewer's attachment; it is made if there is none."""
    raise NotImplementedError
