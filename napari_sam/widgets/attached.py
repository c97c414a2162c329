"""What belongs to one viewer: the image that is worked on, and how it is spoken to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from napari.layers import Image

from napari_sam.live.preload import DEFAULT_MODEL
from napari_sam.live.workplace import Workplace
from napari_sam.tiles.regions import Region

from . import scripting
from .actions import Keys
from .camera import move_camera, visible_region
from .clicks import Clicks
from .closing import WithWindow
from .drawing_context import DrawingContext
from .jobs import Job
from .map_position import show_map_position
from .orientation import show_orientation
from .pictures import image_meant
from .pointer import along_of, scene_position
from .sides import Side, Sides, check_side
from .window import main_window, unwrapped
from .working import Working

if TYPE_CHECKING:
    import napari

    from napari_sam.live.propagating import Outcome
    from napari_sam.segment.everything import FoundObjects
    from napari_sam.segment.objects import Candidate


__all__ = ["Attachment", "attach"]

_NAME = "napari-sam"

_log = logging.getLogger(__name__)

Channels = int | str | Sequence[int | str] | None
Work = Callable[[Callable[[object], None], Callable[[], bool]], Any]


class Attachment(Working):
    """The image that is worked on in a viewer, and all that shows it; made by `attach`.

    Attributes
    ----------
    intent : Intent
        What a person means to do next.
    offers : Offers
        The candidates for what was prompted.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__(viewer)
        self.setObjectName(_NAME)
        self._clicks, self._keys = Clicks(self), Keys(self)
        self._sides = Sides(viewer)
        self._drawing_context = DrawingContext(self)
        self._with_window = WithWindow(self)

    # Opening and leaving

    def use(
        self,
        layer: Image | None = None,
        model: str | None = None,
        channels: int | Sequence[int] | None = None,
    ) -> Job:
        """Open the workplace of an image layer, or let another model answer.

        Parameters
        ----------
        layer : Image, optional
            By default the active layer, or the only image that there is.
        model : str, optional
            As `napari_sam.loading.load` takes it; by default the one used last.
        channels : int or sequence of int, optional
            One or three of several; by default those of before, or the first. What was done with
            other channels is kept in a session of its own.

        Returns
        -------
        Job
            `ready` waits for it.

        Raises
        ------
        InputError
            If there is no such layer, its pixels cannot be segmented, or another image is just
            being opened.
        """
        layer = image_meant(self.viewer, self.image_layer) if layer is None else unwrapped(layer)
        self._check_free()
        opened = self._opened
        if model is not None:
            name = model
        else:
            name = DEFAULT_MODEL if opened is None else opened.workplace.model_name
        if (
            opened is not None
            and layer is opened.layer
            and channels in (None, opened.workplace.picture.channels)
        ):
            workplace = opened.workplace
            return self._change(f"loading {name}", lambda: workplace.use_model(name))
        return self._open(layer, name, channels)

    def ready(self, timeout: float | None = None) -> Workplace:
        """Wait until the image is open, running the event loop; for scripts.

        Parameters
        ----------
        timeout : float, optional
            Seconds.

        Raises
        ------
        InputError
            If it cannot be opened, or is not open by then.
        """
        return scripting.ready(self, timeout)

    def look_along(self, side: Side, layer: Image | None = None) -> Job | None:
        """Show an image with depth from a side, and open that: its own session and embeddings.

        Layers that are turned take the place of the image's layers; when it is looked along z
        again, those are back. `ready` waits for it.

        Parameters
        ----------
        side : {"z", "y", "x"}
            The axis to look along.
        layer : Image, optional
            As `use` takes it.

        Returns
        -------
        Job or None
            None if it is open and seen from there; then the axes of the viewer are set right.

        Raises
        ------
        InputError
            If it has no depth, or another image is just being opened.
        """
        layer = image_meant(self.viewer, self.image_layer) if layer is None else unwrapped(layer)
        self._check_free()
        opened = self._opened
        model = DEFAULT_MODEL if opened is None else opened.workplace.model_name
        here = opened is not None and opened.layer is layer
        picture = opened.workplace.picture if opened is not None and here else None
        axes, channels = (None, None) if picture is None else (picture.axes, picture.channels)
        check_side(layer, side, axes)
        if not (here and along_of(layer) == side):
            self._leave("closing the other side")
        shown = self._sides.turn(layer, side, axes)
        return None if self._opened is not None else self._open(shown, model, channels)

    def askew(self) -> str | None:
        """Say what to do if the viewer displays other axes than rows and columns of the image."""
        return None if self._opened is None else self._opened.askew()

    def here(self) -> bool:
        """Tell whether what is shown is the plane that is worked on; say so if it is not."""
        opened = self._opened
        if opened is None:
            return False
        if (why := self.askew()) is not None:
            self.say(why, "warning")
            return False
        if self._job is None and opened.plane_shown == opened.workplace.session.plane:
            return True
        self.say("What is shown is still being opened.")
        return False

    def accept_when_there(self, numbers: Sequence[int]) -> None:
        """Make the chosen candidates of objects objects: at once, or when they come."""
        if self._opened is not None:
            self._opened.accept(numbers)

    def paint(self, object_id: int | None) -> None:
        """Let an object be painted on with napari's brush; with None, end that.

        Raises
        ------
        InputError
            If there is no such object in this plane, or it is too large for it.
        """
        if self._opened is not None and object_id is not None:
            self._opened.paint(object_id)
        elif self._opened is not None:
            self._opened.end_painting()

    def close(self) -> None:
        """Stop all threads, close the session, and remove the layers that were made, no others."""
        if self._closed:
            return
        self._closed = True
        if self._job is not None:
            self._job.abandon()
        self._leave("closing the image")
        self.offers.close()
        self._clicks.close()
        self._keys.close()
        self._with_window.let_go()
        self._drawing_context.let_go()
        self.setObjectName("")  # it is not found any more
        self._closing.end()

    # Places

    def to_scene(self, world: Sequence[float]) -> tuple[float, float]:
        """Return (row, col) of the scene at a position in the viewer's world."""
        assert self.image_layer is not None
        return scene_position(self.image_layer, world, self.viewer.dims.units)

    def viewport(self) -> Region:
        """Return what is visible of the scene, in pixels of level 0; nothing if none is open."""
        if self._opened is None:
            return Region(0, 0, 0, 0)
        shape = self._opened.workplace.scene.shape
        return visible_region(self.viewer, self._opened.layer, shape)

    def show(self, region: Region) -> None:
        """Move the camera to a part of the scene."""
        if self.image_layer is not None:
            move_camera(self.viewer, self.image_layer, region)

    # For scripts

    def prompt(self, **prompts: Any) -> list[Candidate]:
        """Ask for an object; return the candidates, the best first. See `scripting.prompt`."""
        return scripting.prompt(self, **prompts)

    def choose(self, choice: int) -> Candidate:
        """Choose one of the candidates, counted from 0."""
        return scripting.choose(self, choice)

    def accept(self, **options: Any) -> int:
        """Make the chosen candidate an object; return its id. See `Session.accept`."""
        return scripting.accept(self, **options)

    def everything(self, **options: Any) -> FoundObjects:
        """Find everything in the image, or in a part of it. See `scripting.everything`."""
        return scripting.everything(self, **options)

    def propagate(self, **options: Any) -> Outcome:
        """Follow an object through depth or time. See `scripting.propagate`."""
        return scripting.propagate(self, **options)


def attach(viewer: napari.Viewer) -> Attachment:
    """Return what attaches this plugin to a viewer; it is made if there is none.

    Parameters
    ----------
    viewer : napari.Viewer
        With a window.

    Examples
    --------
    ::

        viewer = napari.Viewer()
        viewer.open("nuclei.png")
        sam = napari_sam.attach(viewer)
        sam.use()
        sam.ready()
        sam.prompt(points=[[120, 340]])
        sam.accept(class_name="nucleus")
    """
    viewer = unwrapped(viewer)
    show_orientation(viewer)
    found = main_window(viewer).findChild(Attachment, _NAME)
    if found is None:
        found = Attachment(viewer)
        show_map_position(viewer).follow(found)
    return found
