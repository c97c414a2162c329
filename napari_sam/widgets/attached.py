"""What belongs to one viewer: the image that is worked on, and how it is spoken to."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QObject, Signal

from napari_sam.errors import InputError
from napari_sam.live.preload import DEFAULT_MODEL, preload
from napari_sam.live.workplace import Workplace
from napari_sam.tiles.regions import Region

from . import scripting
from .actions import Keys
from .camera import move_camera, visible_region
from .clicks import Clicks
from .closing import Closing, WithWindow
from .drawing_context import DrawingContext
from .intent import Intent
from .jobs import Job, run_job
from .map_position import show_map_position
from .offers import Offers
from .opened import Opened
from .orientation import show_orientation
from .pictures import image_meant, picture_of, plane_of
from .pointer import along_of, scene_position
from .sides import Side, Sides, check_side
from .window import main_window, unwrapped

if TYPE_CHECKING:
    import napari
    from napari.layers import Labels

    from napari_sam.live.embedder import Embedder
    from napari_sam.live.propagating import Outcome
    from napari_sam.segment.everything import FoundObjects
    from napari_sam.segment.objects import Candidate

    from .prompt_layers import PromptLayers

__all__ = ["Attachment", "attach"]

_NAME = "napari-sam"

_log = logging.getLogger(__name__)

Channels = int | str | Sequence[int | str] | None
Work = Callable[[Callable[[object], None], Callable[[], bool]], Any]


class Attachment(QObject):
    """The image that is worked on in a viewer, and all that shows it; made by `attach`.

    Attributes
    ----------
    intent : Intent
        What a person means to do next.
    offers : Offers
        The candidates for what was prompted.
    """

    workplace_changed = Signal(object)
    """The `Workplace` that is open now, or None; also when its model or plane is another."""
    session_changed = Signal(object)
    """A `SessionEvent`, in the thread of the windows."""
    said = Signal(str, str)
    """"info", "warning" or "error", and a sentence."""
    busy_changed = Signal(bool)
    """Whether an image, a plane or a model is just being opened."""

    def __init__(self, viewer: napari.Viewer) -> None:
        preload()
        super().__init__(main_window(viewer))
        self.setObjectName(_NAME)
        # What Qt keeps is not seen by Python's collector of cycles: a window would never go.
        self._viewer = weakref.ref(viewer)
        self.intent, self.offers = Intent(self), Offers(self)
        self.problem: str | None = None
        self._opened: Opened | None = None
        self._job: Job | None = None
        self._closed = False
        self._clicks, self._keys = Clicks(self), Keys(self)
        self._sides = Sides(viewer)
        self._drawing_context = DrawingContext(self)
        self._with_window, self._closing = WithWindow(self), Closing(self)
        self._closing.failed.connect(lambda sentence: self.say(sentence, "error"))

    @property
    def viewer(self) -> napari.Viewer:
        """Whose window it goes with."""
        viewer = self._viewer()
        assert viewer is not None, "the viewer is gone"
        return viewer

    @property
    def workplace(self) -> Workplace | None:
        """What is open."""
        return None if self._opened is None else self._opened.workplace

    @property
    def image_layer(self) -> Image | None:
        """The layer of the image that is worked on."""
        return None if self._opened is None else self._opened.layer

    @property
    def objects_layer(self) -> Labels | None:
        """The layer of its objects."""
        return None if self._opened is None else self._opened.objects.layer

    @property
    def layers(self) -> PromptLayers | None:
        """The layers of its prompts."""
        return None if self._opened is None else self._opened.layers

    @property
    def embedder(self) -> Embedder | None:
        """What encodes it in the background."""
        return None if self._opened is None else self._opened.embedder

    @property
    def painted(self) -> int | None:
        """The object that is painted on, if one is."""
        return None if self._opened is None else self._opened.painted

    @property
    def busy(self) -> bool:
        """Whether an image, a plane or a model is just being opened."""
        return self._job is not None

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

    # Speaking, and places

    def say(self, sentence: str, level: str = "info") -> None:
        """Tell the person something.

        Parameters
        ----------
        sentence : str
            What, and what to do about it.
        level : {"info", "warning", "error"}
            The first is for the status line; of the others there is a notification too.
        """
        if self._closed:
            if level == "error":
                _log.error("%s", sentence)  # nobody sees anything else any more
            return
        self.said.emit(level, sentence)
        self.viewer.status = sentence
        if level == "warning":
            show_warning(sentence)
        elif level == "error":
            show_error(sentence)

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

    def _check_free(self) -> None:
        if self._closed:
            raise InputError("The window is closed.")
        if self._job is not None:
            raise InputError("Something is just being opened: wait until it is there.")

    def _open(self, layer: Image, model: str, channels: Channels) -> Job:
        self._leave("closing the image before")

        def work(report: Callable[[object], None], stop: Callable[[], bool]) -> Workplace | None:
            self._closing.wait()  # it may be the session of the same file
            picture = picture_of(layer, channels)
            t, z = plane_of(layer, self.viewer.dims, picture.axes)
            workplace = Workplace.open(picture, model, t=t, z=z)
            if stop():
                workplace.close()
                return None
            return workplace

        job = self._run(work, f"opening {layer.name}")
        job.finished.connect(lambda workplace: self._enter(workplace, layer))
        self.say(f"Opening {layer.name} ...")
        return job

    def _change(self, name: str, change: Callable[[], None]) -> Job:
        """Change what is open, in a thread."""

        def work(report: Callable[[object], None], stop: Callable[[], bool]) -> Workplace | None:
            change()
            return self.workplace

        job = self._run(work, name)
        job.finished.connect(self._changed)
        return job

    def _run(self, work: Work, name: str) -> Job:
        job = self._job = run_job(self, work, name)
        self.problem = None
        # First of all connections: whoever is told of the end finds it over.
        for ended in (job.finished, job.failed, job.stopped):
            ended.connect(self._over)
        job.failed.connect(self._failed)
        self.busy_changed.emit(True)
        return job

    def _over(self, *_: object) -> None:
        self._job = None
        self.busy_changed.emit(False)

    def _failed(self, sentence: str) -> None:
        self.problem = sentence
        self.say(sentence, "error")

    def _enter(self, workplace: Workplace, layer: Image) -> None:
        """Show a workplace that was opened."""
        if layer not in self.viewer.layers:
            self._closing.begin("closing the image", workplace.close)
            self._failed(f"{layer.name} was removed while it was opened.")
            return
        try:
            opened = Opened(self, workplace, layer)
        except InputError as error:
            self._closing.begin("closing the image", workplace.close)
            self._failed(str(error))
            return
        opened.lost.connect(self._lost)
        opened.slid.connect(self._slid)
        opened.heard.connect(self.session_changed)
        self._opened = opened
        self.viewer.layers.selection.active = layer
        session = workplace.session
        left = [n for n, given in session.prompts.items() if given.plane == session.plane]
        if left:  # of before: that is gone on with
            self.intent.set(object_id=left[-1])
        self.workplace_changed.emit(workplace)
        for note in workplace.notes:
            self.said.emit("info", note)
        self.say(f"{layer.name} is open: click on an object.")

    def _changed(self, workplace: Workplace) -> None:
        if self._opened is None:
            return
        self._opened.look()
        self._opened.layers.redraw()
        self.offers.ask(again=True)
        self.workplace_changed.emit(workplace)
        for note in workplace.notes:
            self.said.emit("info", note)
        if self._opened.plane_shown != workplace.session.plane:
            self._slid(*self._opened.plane_shown)  # it was moved on meanwhile

    def _slid(self, t: int, z: int) -> None:
        if self._opened is not None and self._job is None:
            workplace = self._opened.workplace
            self._change(f"opening the plane t={t}, z={z}", lambda: workplace.go_to(t, z))

    def _lost(self, sentence: str) -> None:
        if self._closed or self._opened is None:
            return
        self._leave("closing the image")
        self.say(sentence)

    def _leave(self, why: str) -> None:
        """Show nothing any more, and close what was open."""
        opened, self._opened = self._opened, None
        if opened is None:
            return
        embedder, workplace = opened.close(), opened.workplace

        def close() -> None:
            embedder.close()
            workplace.close()

        self.intent.set(object_id=None, picked=())
        self._closing.begin(why, close)
        if not self._closed:
            self.workplace_changed.emit(None)


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
