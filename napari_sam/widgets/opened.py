"""One image that is open in a viewer: its session, shown in layers and listened to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam.errors import InputError
from napari_sam.live.embedder import Embedder
from napari_sam.live.workplace import Workplace
from napari_sam.session import SessionEvent

from .brush import Brush
from .camera import visible_region
from .jobs import Mailbox
from .objects_layer import ObjectsLayer
from .pictures import plane_of
from .prompt_layers import PromptLayers
from .sides import can_be_turned, is_askew

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

    from .attached import Attachment

__all__ = ["Opened"]

_SLIDING = 150
"""Milliseconds that a slider rests before the plane that it shows is opened."""

_LOOKING = 100
"""Milliseconds that the camera rests before what it shows is encoded first."""


class Opened(QObject):
    """Shows a workplace over its image layer until it is closed; the workplace stays open.

    Raises
    ------
    InputError
        If the layer cannot be drawn over; then nothing was made.
    """

    lost = Signal(str)
    """The image layer is gone or shows something else; why, in a sentence."""
    slid = Signal(int, int)
    """(t, z) of another plane that is shown now."""
    heard = Signal(object)
    """A `SessionEvent`, in the thread of the windows."""

    def __init__(self, attachment: Attachment, workplace: Workplace, layer: Image) -> None:
        super().__init__(attachment)
        self._attachment = attachment
        self.workplace, self.layer = workplace, layer
        self._to_accept: set[int] = set()
        self._brush: Brush | None = None
        self._mailbox = Mailbox(self)
        session, offers = workplace.session, attachment.offers
        self.objects = ObjectsLayer(self.viewer, layer, session, attachment.say)
        try:
            self.layers = PromptLayers(self, attachment, layer, session)
        except InputError:
            self.objects.close()
            raise
        self.embedder = Embedder(workplace)
        post = self._mailbox.post
        self._unsubscribe = session.on_change(lambda event: post(lambda: self._hear(event)))
        self._slider, self._looker = self._timer(_SLIDING), self._timer(_LOOKING)
        self._slider.timeout.connect(self._slide)
        self._looker.timeout.connect(self.look)
        layer.events.data.connect(self._replaced)
        self.viewer.layers.events.removed.connect(self._removed)
        dims = self.viewer.dims.events
        dims.current_step.connect(self._start_slider)
        dims.order.connect(self._displayed)
        dims.ndisplay.connect(self._displayed)
        self.viewer.scene.camera.events.connect(self._start_looker)
        offers.answered.connect(self._accept_if_wanted)
        offers.problem.connect(self._not_found)
        offers.begin(session, self.embedder.aside)
        self.layers.redraw()
        self._displayed()
        self.look()
        self.embedder.start()

    def close(self) -> Embedder:
        """Remove the layers and listen no more; the embedder is returned, to be closed."""
        self.layers.flush()
        self.end_painting()
        self._slider.stop()
        self._looker.stop()
        self._unsubscribe()
        self._mailbox.close()
        self.layer.events.data.disconnect(self._replaced)
        self.viewer.layers.events.removed.disconnect(self._removed)
        dims = self.viewer.dims.events
        dims.current_step.disconnect(self._start_slider)
        dims.order.disconnect(self._displayed)
        dims.ndisplay.disconnect(self._displayed)
        self.viewer.scene.camera.events.disconnect(self._start_looker)
        offers = self._attachment.offers
        offers.answered.disconnect(self._accept_if_wanted)
        offers.problem.disconnect(self._not_found)
        offers.end()
        self.layers.close()
        self.objects.close()
        self.embedder.stop()
        self.deleteLater()
        return self.embedder

    @property
    def viewer(self) -> napari.Viewer:
        """Where it is shown."""
        return self._attachment.viewer

    @property
    def plane_shown(self) -> tuple[int, int]:
        """(t, z) of the plane that the viewer shows."""
        return plane_of(self.layer, self.viewer.dims, self.workplace.scene.axes)

    def askew(self) -> str | None:
        """Say what to do if the viewer displays other axes than rows and columns of the image."""
        if not is_askew(self.viewer, self.layer):
            return None
        said = f"The viewer does not display the rows and columns of {self.layer.name}"
        if can_be_turned(self.layer, self.workplace.picture.axes):
            return f"{said}: choose in Segment, Look along, from which side to segment it."
        return f"{said}: turn its axes back to segment it."

    def look(self) -> None:
        """Have what is visible encoded first."""
        shape = self.workplace.scene.shape
        self.embedder.look_at(visible_region(self.viewer, self.layer, shape))

    @property
    def painted(self) -> int | None:
        """The object that is painted on."""
        brush = self._brush
        return brush.number if brush is not None and brush.is_open else None

    def paint(self, number: int) -> None:
        """Show an object in a layer to be painted on.

        Raises
        ------
        InputError
            As `Brush`.
        """
        self.end_painting()
        attachment = self._attachment
        self._brush = Brush(
            self.viewer,
            self.layer,
            self.workplace.session,
            number,
            lambda sentence: attachment.say(sentence, "warning"),
            attachment.intent.overlap,
        )

    def end_painting(self) -> None:
        """Put the brush away; what was painted is in the session."""
        brush, self._brush = self._brush, None
        if brush is None or not brush.is_open:
            return
        brush.close()
        if self.layer in self.viewer.layers:
            self.viewer.layers.selection.active = self.layer

    def accept(self, numbers: Iterable[int]) -> None:
        """Make the chosen candidates of objects objects: at once, or when they come."""
        offers = self._attachment.offers
        for number in numbers:
            if offers.is_fresh(number):
                self._accept(number)
            else:
                self._to_accept.add(number)

    def _accept(self, number: int) -> None:
        attachment, session = self._attachment, self.workplace.session
        intent, choice = attachment.intent, attachment.offers.choices.get(number, 0)
        try:
            session.accept(number, choice, intent.class_name or None, None, intent.overlap)
        except InputError as error:
            attachment.say(str(error), "warning")
            return
        left = [n for n, given in session.prompts.items() if given.plane == session.plane]
        intent.set(object_id=left[0] if left else None)
        attachment.say(f"Object {number} is kept.")

    def _accept_if_wanted(self, number: int) -> None:
        if number in self._to_accept:
            self._to_accept.discard(number)
            self._accept(number)

    def _not_found(self, number: int, sentence: str) -> None:
        self._to_accept.discard(number)
        self._attachment.say(sentence, "warning")
        if self._embeddings_are_gone() and not self._attachment.busy:
            self._attachment.use(self.layer)
            self._attachment.say("The embeddings are gone, and are begun again.")

    def _embeddings_are_gone(self) -> bool:
        """Tell whether somebody deleted them, and not all there is: then a disk is missing."""
        workplace = self.workplace
        store = workplace.store.place.folder
        return store is not None and not store.exists() and workplace.folder.exists()

    def _hear(self, event: SessionEvent) -> None:
        attachment = self._attachment
        if event.kind == "problem":
            attachment.say(event.text, "warning")
        elif event.kind != "candidates":
            attachment.offers.heard(event)
            self._to_accept &= set(self.workplace.session.prompts)
            self.layers.redraw()
        self.objects.refresh(event)
        if self._brush is not None:
            self._brush.refresh(event)
        self.heard.emit(event)

    def _removed(self, event: Any) -> None:
        if event.value is self.layer:
            self._lose(
                f"{self.layer.name} was removed; its objects and prompts are kept in "
                f"{self.workplace.folder}, and are there again when it is opened."
            )

    def _replaced(self, event: Any) -> None:
        self._lose(
            f"{self.layer.name} shows other pixels now; the objects of the former ones are kept in "
            f"{self.workplace.folder}. Press Start to segment the new ones."
        )

    def _lose(self, sentence: str) -> None:
        """Tell it a moment later, when napari has done what it is about."""
        self._mailbox.post(lambda: self.lost.emit(sentence))

    def _slide(self) -> None:
        plane = self.plane_shown
        if plane != self.workplace.session.plane:
            self.slid.emit(*plane)

    def _displayed(self, event: Any = None) -> None:
        """Let prompts be drawn only where they land on what is seen."""
        why = self.askew()
        if why is not None and not self.layers.hidden:
            self.end_painting()
            self._attachment.say(why)
        self.layers.hidden = why is not None

    def _start_slider(self) -> None:
        self._slider.start()

    def _start_looker(self) -> None:
        self._looker.start()

    def _timer(self, rest: int) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(rest)
        return timer
