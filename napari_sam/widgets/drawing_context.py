"""Keeps a window alive in which layers are removed, also where the processor draws.

When a layer is removed, napari deletes what drew it, in whichever OpenGL context is current: often
that in which Qt composes the window. Graphics cards do not mind; Mesa's software renderer (remote
desktops, machines without a card) keeps using what is gone, and the process crashes a moment later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .window import scene_canvas

if TYPE_CHECKING:
    from .attached import Attachment

__all__ = ["DrawingContext"]


class DrawingContext:
    """Makes the canvas's own context current before napari deletes what drew a layer.

    Parameters
    ----------
    attachment : Attachment
        To whose viewer it applies, from now on and until `let_go`.
    """

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment
        # Before napari's own callback, which deletes.
        self._removed.connect(self._make_current, position="first")

    def let_go(self) -> None:
        """Leave the viewer alone."""
        self._removed.disconnect(self._make_current)

    @property
    def _removed(self) -> Any:
        return self._attachment.viewer.layers.events.removed

    def _make_current(self, event: Any) -> None:
        scene_canvas(self._attachment.viewer).set_current()
