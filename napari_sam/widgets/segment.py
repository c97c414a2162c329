"""Plugins > Segment: open an image, point at objects, keep what is offered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QComboBox, QPushButton, QSpinBox, QWidget

from napari_sam.errors import InputError
from napari_sam.live.preview import QUICK
from napari_sam.session import SessionEvent

from . import commands
from .attached import attach
from .candidate_buttons import CandidateButtons
from .channel_choice import ChannelChoice
from .controls import LayerList, Message, button, combo, in_a_row, labelled, scrolling, separator
from .export import ExportButton
from .help import show_help
from .other_layers import OtherLayers
from .side_choice import SideChoice

if TYPE_CHECKING:
    import napari

    from .sides import Side

__all__ = ["SegmentWidget"]

_TOOLS: tuple[tuple[commands.Tool, str, str], ...] = (
    ("click", "Click", "Click on an object; drag to move the view"),
    ("box", "Box", "Draw a rectangle around an object; another one begins the next object"),
    ("scribble", "Scribble", "Draw a line on an object"),
    ("polygon", "Region", "Draw around an object, roughly: the region is a mask prompt"),
)

_OVERLAPS = (
    ("keep the old object's pixels", "keep_old"),
    ("take them for the new object", "take_new"),
    ("cut in the middle", "cut"),
)


class SegmentWidget(QWidget):
    """Segments objects of an image layer, one after the other or several at once.

    Parameters
    ----------
    viewer : napari.Viewer
        Where it is docked. If it has just one image, that is opened at once.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:  # napari looks for this name
        super().__init__()
        self.attachment = attach(viewer)
        self._updating = False
        self._make()
        attachment = self.attachment
        attachment.workplace_changed.connect(self._workplace_changed)
        attachment.session_changed.connect(self._session_changed)
        attachment.busy_changed.connect(self._show_state)
        attachment.said.connect(self.message.tell)
        attachment.intent.changed.connect(self._show_state)
        attachment.offers.changed.connect(self._show_state)
        self.viewer.layers.events.connect(self._list_images)
        self.viewer.layers.selection.events.active.connect(self._active_changed)
        self._list_images()
        self._workplace_changed(attachment.workplace)
        images = [layer for layer in self.viewer.layers if isinstance(layer, Image)]
        if attachment.workplace is None and not attachment.busy and len(images) == 1:
            self.start.click()

    @property
    def viewer(self) -> napari.Viewer:
        """Where it is docked."""
        return self.attachment.viewer

    def _make(self) -> None:
        """Make the controls, in the order in which Tab goes through them."""
        attachment = self.attachment
        self.image = LayerList("The image layer to segment")
        self.channels = ChannelChoice()
        self.several = labelled(("Channels", self.channels))
        self.side = SideChoice()
        self.side.chosen.connect(self._look_along)
        self.deep = labelled(("Look along", self.side))
        self.image.currentIndexChanged.connect(self._show_state)
        self.start = button(
            "Start", "Open the image: go on where it was left, or begin", self._start
        )
        self.tools = QButtonGroup(self)
        tools: list[QPushButton] = []
        for index, (_, text, tooltip) in enumerate(_TOOLS):
            tools.append(button(text, tooltip, checkable=True))
            self.tools.addButton(tools[-1], index)
        self.tools.idClicked.connect(lambda index: commands.draw(attachment, _TOOLS[index][0]))
        self.polarity = button(
            "",
            "What the next click or scribble says; Ctrl+click says the other",
            lambda: commands.toggle_polarity(attachment),
        )
        self.object = QSpinBox()
        self.object.setRange(1, 2**31 - 1)
        self.object.setToolTip(
            "The object that prompts are for: by itself the next one; choose another to prompt "
            "several at once"
        )
        self.object.setKeyboardTracking(False)
        self.object.valueChanged.connect(self._object_chosen)
        self.new = button(
            "New", "Prompt another object, and keep these prompts",
            lambda: commands.new_object(attachment),
        )  # fmt: skip
        self.hover = QCheckBox("Show what is under the pointer")
        self.hover.toggled.connect(lambda on: attachment.intent.set(hover=on))
        self.candidates = CandidateButtons()
        self.candidates.chosen.connect(lambda number: commands.choose(attachment, number))
        self.accept = button(
            "Keep", "Make the candidate an object", lambda: commands.accept(attachment)
        )
        self.clear = button(
            "Clear", "Remove the prompts of the object", lambda: commands.clear(attachment)
        )
        self.class_name = QComboBox()
        self.class_name.setEditable(True)
        self.class_name.setToolTip("What the objects are, such as nucleus; may be empty")
        edit = self.class_name.lineEdit()
        assert edit is not None  # as it is editable
        edit.setPlaceholderText("none")
        self.class_name.currentTextChanged.connect(self._class_chosen)
        self.overlap = combo(_OVERLAPS, "Who gets the pixels that two objects claim")
        self.overlap.currentIndexChanged.connect(
            lambda _: attachment.intent.set(overlap=self.overlap.currentData())
        )
        self.undo = button("Undo", "Take the last change back", lambda: commands.undo(attachment))
        self.redo = button("Redo", "Do it again", lambda: commands.redo(attachment))
        self.picked = Message()
        self.correct = button(
            "Correct",
            "Add clicks to the object's own mask (or Alt+click on it)",
            lambda: commands.correct(attachment),
        )
        self.paint = button(
            "Paint",
            "Paint on the picked object with napari's brush and eraser",
            lambda: commands.paint(attachment),
        )
        self.delete = button(
            "Delete", "Delete the picked objects", lambda: commands.delete(attachment)
        )
        self.merge = button(
            "Merge", "Join the picked objects into the first", lambda: commands.merge(attachment)
        )
        self.split = button(
            "Split",
            "Divide the picked object: along a scribble, or else into its separate parts",
            lambda: commands.split(attachment),
        )
        self.others = OtherLayers(attachment)
        self.export = ExportButton(attachment)
        self.help = button("Keys ...", "What keys and mouse do", lambda: show_help(attachment))
        self.message = Message()
        self.prompting = labelled(
            ("Point by", in_a_row(*tools)),
            ("Clicks are", self.polarity),
            ("Object", in_a_row(self.object, self.new)),
            ("", self.hover),
            ("Candidates", self.candidates),
            ("Class", self.class_name),
            ("Overlaps", self.overlap),
            ("", in_a_row(self.accept, self.clear)),
            ("", in_a_row(self.undo, self.redo)),
        )
        self.editing = labelled(
            ("Picked", self.picked),
            ("", in_a_row(self.correct, self.paint)),
            ("", in_a_row(self.merge, self.split)),
            ("", self.delete),
        )
        scrolling(
            self,
            labelled(("Image", self.image)),
            self.several,
            self.deep,
            self.start,
            self.message,
            separator(),
            self.prompting,
            separator(),
            self.editing,
            separator(),
            self.others,
            in_a_row(self.export, self.help),
        )
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    # What the person does

    def _start(self) -> None:
        layer = self.image.layer
        try:
            if layer is None:
                raise InputError("There is no image: open one first.")
            self.attachment.use(layer, channels=self.channels.channels())
        except InputError as error:
            self.attachment.say(str(error), "warning")

    def _look_along(self, side: Side) -> None:
        try:
            self.attachment.look_along(side, self.image.layer)
        except InputError as error:
            self.attachment.say(str(error), "warning")
        self._show_state()

    def _object_chosen(self, number: int) -> None:
        if not self._updating:
            self.attachment.intent.set(object_id=number)

    def _class_chosen(self, name: str) -> None:
        if not self._updating:
            self.attachment.intent.set(class_name=name.strip())

    # What happens

    def _list_images(self, event: object = None) -> None:
        images = [layer for layer in self.viewer.layers if isinstance(layer, Image)]
        chosen = self.image.layer
        self.image.list_layers(images)
        if chosen not in images:
            active = self.viewer.layers.selection.active
            self.image.choose(active if active in images else (images[-1] if images else None))
        self.others.list_layers()
        self._show_state()

    def _active_changed(self, event: object) -> None:
        active = self.viewer.layers.selection.active
        if isinstance(active, Image):
            self.image.choose(active)
        self._show_state()

    def _workplace_changed(self, workplace: object) -> None:
        self.image.choose(self.attachment.image_layer)
        self._list_classes()
        self._show_state()

    def _session_changed(self, event: SessionEvent) -> None:
        if event.kind in ("step", "undo", "redo"):
            self._list_classes()
        self._show_state()

    def _list_classes(self) -> None:
        """Offer the classes that are used so far."""
        workplace = self.attachment.workplace
        used: list[str] = []
        if workplace is not None:
            session = workplace.session
            infos = (session.info(number) for number in session.ids)
            used = sorted({info.class_name for info in infos if info.class_name})
        if [self.class_name.itemText(index) for index in range(self.class_name.count())] == used:
            return
        self._updating = True
        text = self.class_name.currentText()
        self.class_name.clear()
        self.class_name.addItems(used)
        self.class_name.setEditText(text)
        self._updating = False

    def _show_state(self, *_: object) -> None:
        """Show what is meant and offered, and enable what can be done."""
        attachment = self.attachment
        workplace, intent, offers = attachment.workplace, attachment.intent, attachment.offers
        is_open = workplace is not None
        for part in (self.prompting, self.editing, self.others):
            part.setEnabled(is_open and not attachment.busy)
        self.start.setEnabled(bool(self.image.layers) and not attachment.busy)
        chosen = self.image.layer
        known = is_open and chosen is attachment.image_layer
        axes = workplace.picture.axes if workplace is not None and known else None
        self.several.setVisible(self.channels.offer(chosen, axes))
        self.deep.setVisible(self.side.offer(chosen, axes))
        self.deep.setEnabled(not attachment.busy)
        self.start.setText(
            "Opening ..." if attachment.busy
            else "Open again" if known
            else "Start"
        )  # fmt: skip
        self.polarity.setText("on the object" if intent.foreground else "not on the object")
        self.hover.setEnabled(offers.is_quick)
        self.hover.setToolTip(
            f"Before a click; only where a mask takes less than {1000 * QUICK:.0f} ms"
            + ("" if offers.seconds is None else f" (here about {1000 * offers.seconds:.0f} ms)")
        )
        self.picked.setText(
            ", ".join(map(str, intent.picked)) if intent.picked else "none: Shift+click on objects"
        )
        for control, least in (
            (self.correct, 1),
            (self.delete, 1),
            (self.merge, 2),
            (self.split, 1),
        ):
            control.setEnabled(len(intent.picked) >= least)
        painted = attachment.painted
        self.paint.setText("Paint" if painted is None else "Done")
        self.paint.setEnabled(painted is not None or len(intent.picked) == 1)
        if workplace is None:
            return
        session, number = workplace.session, commands.target(attachment)
        self._updating = True
        self.object.setValue(number)
        self._updating = False
        self.candidates.show_candidates(
            offers.candidates.get(number, ()), offers.choices.get(number, 0)
        )
        has_prompts = bool(session.prompts)
        self.accept.setEnabled(number in session.prompts)
        self.clear.setEnabled(has_prompts)
        self.undo.setEnabled(session.can_undo)
        self.redo.setEnabled(session.can_redo)
        self.tools.button(self._tool()).setChecked(True)

    def _tool(self) -> int:
        """Return which of the tools the active layer is set to."""
        layers, active = self.attachment.layers, self.viewer.layers.selection.active
        shapes = None if layers is None or layers.shapes is None else layers.shapes.layer
        if active is None or active is not shapes:
            return 0
        mode = str(shapes.mode)
        return {"add_rectangle": 1, "add_path": 2, "add_polygon_lasso": 3}.get(mode, 0)
