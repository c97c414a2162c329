"""What is offered for the prompts of a session: asked in the background, chosen from, accepted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from qtpy.QtCore import QObject, Signal

from napari_sam.errors import InputError
from napari_sam.live.preview import Answer, Preview
from napari_sam.segment.objects import Candidate
from napari_sam.session import Prompts, Session, SessionEvent

from .jobs import Mailbox, in_words

__all__ = ["Offers"]


class Offers(QObject):
    """The candidates of all objects that are prompted, as they come.

    Attributes
    ----------
    candidates : dict
        Of each object, the best first.
    choices : dict
        Which of them is chosen, by object, counted from 0.
    hovered : Candidate or None
        What is under the pointer.
    """

    changed = Signal()
    """Other candidates, or another choice."""
    answered = Signal(int)
    """The candidates of an object have come."""
    problem = Signal(object, str)
    """The object (None for a place under the pointer), and why nothing is offered."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.candidates: dict[int, tuple[Candidate, ...]] = {}
        self.choices: dict[int, int] = {}
        self.hovered: Candidate | None = None
        self._session: Session | None = None
        self._preview: Preview | None = None
        self._known: dict[int, Prompts] = {}  # what was asked last
        self._answered: dict[int, Prompts] = {}  # what the candidates are the answer to
        self._mailbox = Mailbox(self)

    def begin(
        self, session: Session, aside: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> None:
        """Ask for the prompts that a session has; `aside` is for `Preview`."""
        self._session, post = session, self._mailbox.post
        self._preview = Preview(
            session,
            lambda answer: post(lambda: self._take(session, answer)),
            lambda number, error: post(lambda: self._tell(session, number, error)),
            aside=aside,
        )
        self.ask()

    def end(self, wait: float = 0.0) -> None:
        """Forget everything; wait so many seconds for a question that is being answered."""
        preview, self._preview, self._session = self._preview, None, None
        self._known, self._answered = {}, {}
        self.candidates, self.choices, self.hovered = {}, {}, None
        if preview is not None:
            preview.close(wait)
        self.changed.emit()

    def close(self) -> None:
        """End for good."""
        self._mailbox.close()
        self.end(wait=5.0)

    @property
    def is_quick(self) -> bool:
        """Whether masks come so fast that they can follow the pointer, as measured."""
        return self._preview is not None and self._preview.is_quick

    @property
    def seconds(self) -> float | None:
        """How long an answer usually takes."""
        return None if self._preview is None else self._preview.seconds

    @property
    def waiting(self) -> bool:
        """Whether answers are still to come."""
        return not all(map(self.is_fresh, self._asked()))

    @property
    def busy(self) -> bool:
        """Whether something that was asked is not answered or refused yet."""
        return self._preview is not None and not (self._preview.idle and self._mailbox.empty)

    def is_fresh(self, object_id: int) -> bool:
        """Whether the candidates of an object are the answer to the prompts that it has now."""
        answered = self._answered.get(object_id)
        return (
            self._session is not None
            and answered is not None
            and self._known.get(object_id) == answered == self._session.prompts.get(object_id)
        )

    def chosen(self) -> dict[int, Candidate]:
        """Return the candidate that is chosen, of each object that has some."""
        return {
            number: found[self.choices.get(number, 0)]
            for number, found in self.candidates.items()
            if found
        }

    def choose(self, object_id: int, choice: int) -> None:
        """Choose a candidate, counted from 0.

        Raises
        ------
        InputError
            If there is none.
        """
        found = self.candidates.get(object_id, ())
        if self._session is None or not 0 <= choice < len(found):
            raise InputError(
                f"There is no candidate {choice + 1}: object {object_id} has {len(found)}."
            )
        self._session.choose(choice, object_id)
        self.choices[object_id] = choice
        self.changed.emit()

    def heard(self, event: SessionEvent) -> None:
        """Ask again for what a change of the session has made old."""
        if self._session is None or event.kind in ("candidates", "problem"):
            return
        for number in event.ids:  # the object's own mask may be a prompt
            known = self._known.get(number)
            if known is not None and known.mask == "object":
                del self._known[number]
        self.ask(again=event.kind == "plane")

    def ask(self, again: bool = False) -> None:
        """Ask for all prompts that are not answered yet; again for those that are, if told so."""
        if self._session is None or self._preview is None:
            return
        asked = self._asked()
        gone = [number for number in {*self._known, *self.candidates} if number not in asked]
        self._preview.forget(gone)
        for number in gone:
            self._forget(number)
        new = [n for n, prompts in asked.items() if again or self._known.get(n) != prompts]
        self._known |= {number: asked[number] for number in new}
        if new:
            self.hovered = None
            self._preview.ask(new)
        if gone or new:
            self.changed.emit()

    def look(self, row: float, col: float, segmenter: object) -> None:
        """Ask what is under the pointer, if nothing else is asked."""
        if self._preview is not None and not self.waiting:
            self._preview.ask_at(segmenter, row, col)  # type: ignore[arg-type]

    def look_away(self) -> None:
        """Show nothing under the pointer any more."""
        if self.hovered is not None:
            self.hovered = None
            self.changed.emit()

    def _asked(self) -> dict[int, Prompts]:
        """Return the prompts of this plane that say where an object is."""
        if self._session is None:
            return {}
        plane = self._session.plane
        return {
            number: prompts
            for number, prompts in self._session.prompts.items()
            if prompts.plane == plane and _says_where(prompts)
        }

    def _forget(self, number: int) -> None:
        self._known.pop(number, None)
        self._answered.pop(number, None)
        self.candidates.pop(number, None)
        self.choices.pop(number, None)

    def _take(self, session: Session, answer: Answer) -> None:
        if session is not self._session:
            return
        if answer.object_id is None:
            self.hovered = answer.candidates[0] if answer.candidates else None
        else:
            if answer.object_id not in self._known:
                return  # cleared meanwhile
            self.hovered = None
            self._answered[answer.object_id] = self._known[answer.object_id]
            self.candidates[answer.object_id] = answer.candidates
            self.choices[answer.object_id] = 0
        self.changed.emit()
        if answer.object_id is not None:
            self.answered.emit(answer.object_id)

    def _tell(self, session: Session, number: int | None, error: Exception) -> None:
        if session is not self._session:
            return
        if number is None:
            self.look_away()
            return
        if self.candidates.pop(number, None) is not None:
            self.changed.emit()
        self.problem.emit(number, in_words(error, f"segmenting object {number}"))


def _says_where(prompts: Prompts) -> bool:
    """Tell whether there is anything on the object; what is not on it is no question yet."""
    return bool(
        prompts.box
        or prompts.mask
        or any(on for _, _, on in prompts.points)
        or any(scribble.foreground for scribble in prompts.scribbles)
    )
