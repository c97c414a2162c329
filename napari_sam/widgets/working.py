"""What is open in a viewer, and how it is opened, changed and left, in threads of their own."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from napari.layers import Image
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QObject, Signal

from napari_sam.errors import InputError
from napari_sam.live.preload import preload
from napari_sam.live.workplace import Workplace

from .closing import Closing
from .intent import Intent
from .jobs import Job, run_job
from .offers import Offers
from .opened import Opened
from .pictures import picture_of, plane_of
from .window import main_window

if TYPE_CHECKING:
    import napari
    from napari.layers import Labels

    from napari_sam.live.embedder import Embedder

    from .attached import Attachment
    from .prompt_layers import PromptLayers

__all__ = ["Working"]

_log = logging.getLogger(__name__)

Channels = int | str | Sequence[int | str] | None
Work = Callable[[Callable[[object], None], Callable[[], bool]], Any]


class Working(QObject):
    """What `Attachment` is built on; see there."""

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
        # What Qt keeps is not seen by Python's collector of cycles: a window would never go.
        self._viewer = weakref.ref(viewer)
        self.intent, self.offers = Intent(self), Offers(self)
        self.problem: str | None = None
        self._opened: Opened | None = None
        self._job: Job | None = None
        self._closed = False
        self._closing = Closing(self)
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
            opened = Opened(cast("Attachment", self), workplace, layer)
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
