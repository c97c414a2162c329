"""What keys and buttons do: each a function of the attachment, which never raises bad input."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Literal

from napari_sam.errors import InputError
from napari_sam.session import Session

if TYPE_CHECKING:
    from .attached import Attachment

__all__ = [
    "Tool",
    "accept",
    "accept_all",
    "choose",
    "clear",
    "correct",
    "correct_here",
    "delete",
    "draw",
    "merge",
    "new_object",
    "next_candidate",
    "paint",
    "point",
    "redo",
    "split",
    "target",
    "toggle_polarity",
    "undo",
]


Tool = Literal["click", "box", "scribble", "polygon"]
"""How prompts are given with the mouse."""

_MODES = {"box": "add_rectangle", "scribble": "add_path", "polygon": "add_polygon_lasso"}


def _told(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command say what is wrong instead of raising it."""

    @wraps(command)
    def telling(attachment: Attachment, *arguments: object) -> None:
        try:
            command(attachment, *arguments)
        except InputError as error:
            attachment.say(str(error), "warning")

    return telling


@_told
def point(attachment: Attachment, row: float, col: float, foreground: bool) -> None:
    """Add a click to the object that is meant."""
    session = _session(attachment)
    number = target(attachment)
    session.add_point(row, col, foreground, number)
    attachment.intent.set(object_id=number)


@_told
def accept(attachment: Attachment) -> None:
    """Make the candidate that is shown an object, as soon as it is there."""
    session, number = _session(attachment), target(attachment)
    if number not in session.prompts:
        raise InputError("There is nothing to accept: click on an object first.")
    attachment.accept_when_there([number])


@_told
def accept_all(attachment: Attachment) -> None:
    """Make the candidates of all objects that are prompted objects."""
    session = _session(attachment)
    numbers = [n for n, prompts in session.prompts.items() if prompts.plane == session.plane]
    if not numbers:
        raise InputError("There is nothing to accept: click on an object first.")
    attachment.accept_when_there(numbers)


@_told
def choose(attachment: Attachment, number: int) -> None:
    """Choose a candidate of the object that is meant, counted from 1."""
    attachment.offers.choose(target(attachment), number - 1)


@_told
def next_candidate(attachment: Attachment) -> None:
    """Choose the next candidate, the first after the last."""
    offers, number = attachment.offers, target(attachment)
    count = len(offers.candidates.get(number, ()))
    if count:
        offers.choose(number, (offers.choices.get(number, 0) + 1) % count)


@_told
def clear(attachment: Attachment) -> None:
    """Remove the prompts of the object that is meant; of all objects if it has none."""
    session, number = _session(attachment), target(attachment)
    numbers = [number] if number in session.prompts else list(session.prompts)
    for cleared in numbers:
        session.clear_prompts(cleared)
    attachment.intent.set(object_id=None)


@_told
def undo(attachment: Attachment) -> None:
    """Take the last change back."""
    if not _session(attachment).undo():
        raise InputError("There is nothing to undo.")


@_told
def redo(attachment: Attachment) -> None:
    """Do again what was taken back last."""
    if not _session(attachment).redo():
        raise InputError("There is nothing to redo.")


@_told
def toggle_polarity(attachment: Attachment) -> None:
    """Let clicks mean the other: on the object, or not."""
    intent = attachment.intent
    intent.set(foreground=not intent.foreground)
    where = "on the object" if intent.foreground else "on what does not belong to it"
    attachment.say(f"Clicks are {where}.")


@_told
def new_object(attachment: Attachment) -> None:
    """Prompt another object, and keep the prompts of the one before."""
    number = _session(attachment).next_id
    attachment.intent.set(object_id=number)
    attachment.say(f"Prompts are for object {number}.")


@_told
def correct(attachment: Attachment, *numbers: int) -> None:
    """Make an object's own mask a prompt, to which clicks are added; by default the picked one."""
    session = _session(attachment)
    chosen = numbers or attachment.intent.picked
    if len(chosen) != 1:
        raise InputError("Pick the one object that is to be corrected: Shift+click on it.")
    (number,) = chosen
    session.prompt(number, mask="object")
    attachment.intent.set(object_id=number, picked=())
    attachment.say(f"Object {number} is corrected: click where it is wrong, then accept.")


@_told
def correct_here(attachment: Attachment) -> None:
    """Correct the object that is picked, or else the one under the pointer."""
    session = _session(attachment)
    if not attachment.intent.picked and attachment.here():
        row, col = attachment.to_scene(attachment.viewer.cursor.position)
        found = session.object_at(row, col)
        if found is not None:
            correct(attachment, found)
            return
    correct(attachment)


@_told
def draw(attachment: Attachment, tool: Tool) -> None:
    """Make ready to point in another way: by clicks, or by drawing shapes."""
    _session(attachment)
    layers, viewer = attachment.layers, attachment.viewer
    assert layers is not None
    if (why := attachment.askew()) is not None:
        raise InputError(why)
    if tool == "click":
        viewer.layers.selection.active = attachment.image_layer
        attachment.intent.set(clicking=True)
        return
    layers.make()
    assert layers.shapes is not None
    viewer.layers.selection.active = layers.shapes.layer
    layers.shapes.layer.mode = _MODES[tool]


@_told
def delete(attachment: Attachment) -> None:
    """Delete the objects that are picked."""
    numbers = _picked(attachment, 1, "deleted")
    _session(attachment).delete(*numbers)
    attachment.intent.set(picked=())
    attachment.say(f"Deleted {_objects(numbers)}; undo brings {_them(numbers)} back.")


@_told
def merge(attachment: Attachment) -> None:
    """Join the objects that are picked into the one picked first."""
    numbers = _picked(attachment, 2, "merged")
    _session(attachment).merge(numbers[0], numbers[1:])
    attachment.intent.set(picked=numbers[:1])
    attachment.say(f"Merged {_objects(numbers)} into object {numbers[0]}.")


@_told
def paint(attachment: Attachment) -> None:
    """Paint on the object that is picked, with napari's brush; or be done with that."""
    _session(attachment)
    if (done := attachment.painted) is not None:
        attachment.paint(None)
        attachment.intent.set(picked=(done,))
        attachment.say(f"Object {done} is as it was painted.")
        return
    (number,) = _picked(attachment, 1, "painted on", at_most=1)
    attachment.paint(number)
    attachment.intent.set(picked=())  # letters are for the brush
    attachment.say(
        f"Paint on object {number}, or erase; each stroke can be undone. Then press Done."
    )


@_told
def split(attachment: Attachment) -> None:
    """Divide the picked object along a line that was drawn, or into its separate parts."""
    session = _session(attachment)
    (number,) = _picked(attachment, 1, "split", at_most=1)
    meant = target(attachment)
    prompts = session.prompts.get(meant)
    if prompts is not None and prompts.scribbles:
        line = prompts.scribbles[-1].line
        session.set_scribbles(prompts.scribbles[:-1], meant)
        parts = session.split(number, line)
    else:
        parts = session.split(number)
    attachment.intent.set(picked=tuple(parts), object_id=None)
    attachment.say(f"Object {number} was split into {_objects(parts)}.")


def target(attachment: Attachment) -> int:
    """Return the object that prompts are for."""
    chosen = attachment.intent.object_id
    return _session(attachment).current_id if chosen is None else chosen


def _session(attachment: Attachment) -> Session:
    workplace = attachment.workplace
    if workplace is None:
        raise InputError("No image is being segmented: choose its layer and press Start.")
    return workplace.session


def _picked(attachment: Attachment, least: int, done: str, at_most: int = 10**9) -> tuple[int, ...]:
    there = set(_session(attachment).ids)
    numbers = tuple(number for number in attachment.intent.picked if number in there)
    if not least <= len(numbers) <= at_most:
        what = "the objects" if at_most > 1 else "the one object"
        raise InputError(f"Pick {what} to be {done}: Shift+click on the image.")
    return numbers


def _objects(numbers: tuple[int, ...] | list[int]) -> str:
    return ("object " if len(numbers) == 1 else "objects ") + ", ".join(map(str, numbers))


def _them(numbers: tuple[int, ...]) -> str:
    return "it" if len(numbers) == 1 else "them"
