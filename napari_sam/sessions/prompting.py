"""From prompts to objects: what is pointed at, what is offered for it, what is accepted."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from numpy.typing import ArrayLike

from napari_sam.errors import InputError
from napari_sam.segment.objects import Candidate, MaskLike

from .core import SessionCore
from .draft import Draft
from .editing import check_colour
from .events import SessionEvent
from .overlap import Overlap, check_overlap
from .prompts import Prompts, Scribble, make_prompts
from .records import ObjectInfo, Provenance, default_colour
from .runs import Runs
from .subject import SessionModel

__all__ = ["Prompting"]


@dataclass
class _Offer:
    """Candidates, what they were found with, and which is chosen."""

    model: SessionModel | None
    prompts: Prompts
    own: Runs | None
    candidates: list[Candidate]
    choice: int = 0

    def fits(self, model: SessionModel | None, prompts: Prompts, own: Runs | None) -> bool:
        """Tell whether asking again would find the same."""
        same = (self.model, self.prompts) == (model, prompts)
        return same and (prompts.mask != "object" or self.own is own)


class Prompting(SessionCore):
    """The part of `Session` that asks the segmenter; see there for `overlap`.

    Prompts belong to an object by its id, which need not exist yet. Where no id is given, it is
    `current_id`. Positions are (row, col) in pixels of level 0, pixel centres at integers.
    """

    def __init__(self, *arguments: Any) -> None:
        self._offers: dict[int, _Offer] = {}
        self._asking = threading.Lock()
        self._current: int | None = None
        super().__init__(*arguments)

    @property
    def current_id(self) -> int:
        """The object that was prompted last, or the next one if that has no prompts any more."""
        with self._lock:
            if self._current in self._state.prompts:
                assert self._current is not None
                return self._current
            return self._state.highest + 1

    @property
    def next_id(self) -> int:
        """An id for a new object: none has it or had it, and nothing is prompted for it."""
        with self._lock:
            return max(self._state.highest, *self._state.prompts, 0) + 1

    @property
    def prompts(self) -> dict[int, Prompts]:
        """All prompts that are not accepted yet, by the id of their object."""
        with self._lock:
            return dict(self._state.prompts)

    def prompt(
        self,
        object_id: int | None = None,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        scribbles: Sequence[Scribble] = (),
        mask: MaskLike | Literal["object"] | None = None,
    ) -> int:
        """Set all prompts of an object at once, in place of those it has.

        Parameters
        ----------
        object_id : int, optional
            Which; one that exists is corrected.
        points : (n, 2) array, optional
            Clicks.
        labels : (n,) array, optional
            Whether each is on the object, 1 or 0; all are by default.
        box : (4,) array, optional
            (row0, col0, row1, col1).
        scribbles : sequence of Scribble
            Lines on the object, and on what is not.
        mask : MaskLike or "object", optional
            A region; "object" is the object's own mask.

        Returns
        -------
        int
            The object's id.

        Raises
        ------
        InputError
            If something lies outside of the scene, is no number or has a wrong shape.
        """
        made = make_prompts(
            self.plane, self.scene.shape, points, labels, box, tuple(scribbles), mask
        )
        return self._set("prompt", object_id, lambda _: made)

    def add_point(
        self, row: float, col: float, foreground: bool = True, object_id: int | None = None
    ) -> int:
        """Add a click, and return the object's id."""
        self._check_place(row, col)
        return self._set(
            "add_point", object_id, lambda prompts: prompts.with_point(row, col, foreground)
        )

    def move_point(self, index: int, row: float, col: float, object_id: int | None = None) -> int:
        """Move the click with a number, counted from 0."""
        self._check_place(row, col)
        return self._set(
            "move_point", object_id, lambda prompts: prompts.with_moved(index, row, col)
        )

    def remove_point(self, index: int, object_id: int | None = None) -> int:
        """Remove the click with a number, counted from 0."""
        return self._set("remove_point", object_id, lambda prompts: prompts.without_point(index))

    def set_box(self, box: ArrayLike | None, object_id: int | None = None) -> int:
        """Set the box (row0, col0, row1, col1), or remove it."""
        made = make_prompts(self.plane, self.scene.shape, None, None, box, (), None)
        return self._set("set_box", object_id, lambda prompts: replace(prompts, box=made.box))

    def set_scribbles(self, scribbles: Sequence[Scribble], object_id: int | None = None) -> int:
        """Set all scribbles."""
        made = make_prompts(self.plane, self.scene.shape, None, None, None, tuple(scribbles), None)
        return self._set(
            "set_scribbles", object_id, lambda prompts: replace(prompts, scribbles=made.scribbles)
        )

    def set_mask(
        self, mask: MaskLike | Literal["object"] | None, object_id: int | None = None
    ) -> int:
        """Set the region that is about the object, "object" for its own mask, or remove it."""
        made = make_prompts(self.plane, self.scene.shape, None, None, None, (), mask)
        return self._set("set_mask", object_id, lambda prompts: replace(prompts, mask=made.mask))

    def clear_prompts(self, object_id: int | None = None) -> None:
        """Remove all prompts of an object."""
        number = self.current_id if object_id is None else int(object_id)
        with self._drafting("clear_prompts") as draft:
            draft.set_prompts(number, None)

    def candidates(self, object_id: int | None = None) -> list[Candidate]:
        """Ask the segmenter; the session can be changed by other threads meanwhile.

        The answer is kept for `accept`, unless the prompts or the object have changed meanwhile.

        Returns
        -------
        list of Candidate
            The best first.

        Raises
        ------
        InputError
            If there are no prompts or no segmenter, or nothing is found.
        """
        number = self.current_id if object_id is None else int(object_id)
        with self._lock:
            self._check_open()
            model, (prompts, own) = self._model, self._asked(number)
        found = self._ask(prompts, own)
        with self._changing():
            placed = self._state.objects.get(number)
            same = self._state.prompts.get(number) is prompts and self._model == model
            if same and (placed is None or placed.runs is own or prompts.mask != "object"):
                self._offers[number] = _Offer(model, prompts, own, found)
                self._events.add(SessionEvent("candidates", frozenset([number])))
        return found

    def choose(self, choice: int, object_id: int | None = None) -> Candidate:
        """Choose one of the candidates, counted from 0, for `accept`.

        Raises
        ------
        InputError
            If there is no such candidate.
        """
        with self._lock:
            number = self.current_id if object_id is None else int(object_id)
            offer = self._offers.get(number)
            if offer is None or offer.model != self._model:
                raise InputError(f"There are no candidates for object {number}: ask for them.")
            offer.choice = _checked(choice, offer.candidates)
            return offer.candidates[choice]

    def accept(
        self,
        object_id: int | None = None,
        choice: int | None = None,
        class_name: str | None = None,
        colour: str | None = None,
        overlap: Overlap = "keep_old",
    ) -> int:
        """Make the chosen candidate an object, or the new mask of the object that there is.

        Its prompts are done with; undo brings them back.

        Parameters
        ----------
        object_id : int, optional
            Which has prompts.
        choice : int, optional
            Which candidate, from 0; by default the one of `choose`, else the first. The segmenter
            is asked if it has not been since the prompts changed.
        class_name, colour : str, optional
            What it is, and how it is shown; of an object that there is, they stay by default.
        overlap : {"keep_old", "take_new", "cut"}
            Who gets pixels of others.

        Returns
        -------
        int
            Its id.

        Raises
        ------
        InputError
            If there are no prompts, the mask is empty, or nothing of it is left.
        """
        check_overlap(overlap)
        check_colour(colour)
        number = self.current_id if object_id is None else int(object_id)
        offer = self._offer(number)
        with self._changing():
            if self._offers.get(number) is not offer:
                raise InputError(f"The prompts of object {number} changed meanwhile: accept again.")
            self._take(number, offer, choice, class_name, colour, overlap)
            del self._offers[number]
        return number

    def correct(
        self,
        object_id: int,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        scribbles: Sequence[Scribble] = (),
        overlap: Overlap = "keep_old",
    ) -> None:
        """Correct an object by prompts: its own mask is one, and these are the others.

        The first candidate becomes its mask. To see candidates before, give
        ``prompt(object_id, ..., mask="object")``.

        Raises
        ------
        InputError
            If there is no such object, or as for `prompt` and `accept`.
        """
        check_overlap(overlap)
        number = int(object_id)
        with self._lock:
            self._check_open()
            made = make_prompts(
                self.plane, self.scene.shape, points, labels, box, tuple(scribbles), "object"
            )
            model, own = self._model, self._state.get(number).runs
            self._check_plane(number)
        found = self._ask(made, own)
        with self._changing():
            if self._state.get(number).runs is not own:
                raise InputError(f"Object {number} changed meanwhile: correct it again.")
            self._take(number, _Offer(model, made, own, found), 0, None, None, overlap)

    def _ask(self, prompts: Prompts, own: Runs | None) -> list[Candidate]:
        """Ask the segmenter, which does one thing at a time; without the session's lock."""
        segmenter = self._segmenter
        if segmenter is None:
            raise InputError("This session has no segmenter: open it with one to ask for masks.")
        with self._asking:
            return segmenter.prompt(**prompts.asked(own))

    def _take(
        self,
        number: int,
        offer: _Offer,
        choice: int | None,
        class_name: str | None,
        colour: str | None,
        overlap: Overlap,
    ) -> None:
        """Make a candidate an object, in one step."""
        index = _checked(offer.choice if choice is None else choice, offer.candidates)
        chosen = offer.candidates[index]
        given = {"choice": index, "class_name": class_name, "colour": colour, "overlap": overlap}
        with self._drafting("accept", id=number, **given) as draft:
            if not chosen.area:
                raise InputError("The candidate is empty: choose another, or add prompts.")
            draft.set_prompts(number, offer.prompts)
            self._put(draft, number, offer, chosen, class_name, colour, overlap)
            draft.arguments["model"] = offer.model and offer.model.hash
            draft.set_prompts(number, None)

    def _set(self, name: str, object_id: int | None, change: Any) -> int:
        with self._changing():
            number = self.current_id if object_id is None else int(object_id)
            with self._drafting(name) as draft:
                self._check_plane(number)
                before = self._state.prompts.get(number) or Prompts(self.plane)
                draft.set_prompts(number, change(before))
            self._current = number
        return number

    def _check_plane(self, number: int) -> None:
        prompts, placed = self._state.prompts.get(number), self._state.objects.get(number)
        planes = {prompts.plane if prompts else self.plane}
        if placed is not None:
            planes.add(placed.info.plane)
        if planes != {self.plane}:
            raise InputError(
                f"Object {number} is in another plane than t={self.plane[0]}, "
                f"z={self.plane[1]}: go there to prompt it."
            )

    def _asked(self, number: int) -> tuple[Prompts, Runs | None]:
        prompts = self._state.prompts.get(number)
        if not prompts:
            raise InputError(f"Object {number} has no prompts: give a point, a box or a mask.")
        if prompts.plane != self.plane:
            raise InputError(
                f"The prompts of object {number} are in the plane t={prompts.plane[0]}, "
                f"z={prompts.plane[1]}: go there."
            )
        placed = self._state.objects.get(number)
        if prompts.mask == "object" and placed is None:
            raise InputError(f"There is no object {number} whose mask could be a prompt.")
        return prompts, None if placed is None else placed.runs

    def _offer(self, number: int) -> _Offer:
        """Return candidates that fit the prompts; ask if there are none."""
        with self._lock:
            prompts, own = self._asked(number)
            offer = self._offers.get(number)
            if offer is not None and offer.fits(self._model, prompts, own):
                return offer
        self.candidates(number)
        with self._lock:
            if number not in self._offers:
                raise InputError(f"The prompts of object {number} changed meanwhile: accept again.")
            return self._offers[number]

    def _put(
        self,
        draft: Draft,
        number: int,
        offer: _Offer,
        chosen: Candidate,
        class_name: str | None,
        colour: str | None,
        overlap: Overlap,
    ) -> None:
        runs = draft.check_inside(Runs.of(chosen))
        old = draft.state.objects.get(number)
        origin = draft.provenance(
            "accepted" if old is None else "corrected",
            prompts=offer.prompts,
            model=offer.model and offer.model.hash,
            predicted_iou=float(chosen.predicted_iou),
            stability=float(chosen.stability),
            level=chosen.level,
            tiles=tuple(chosen.tiles),
        )
        if old is not None:
            draft.reshape(number, runs, overlap, _corrected(old.info, origin, class_name, colour))
        elif draft.make(runs, overlap, origin, number, class_name, colour) is None:
            raise InputError(
                "All pixels of the candidate belong to other objects: choose another, or accept "
                "it with overlap='take_new'."
            )

    def _check_place(self, row: float, col: float) -> None:
        make_prompts(self.plane, self.scene.shape, [[row, col]], None, None, (), None)


def _corrected(
    info: ObjectInfo, origin: Provenance, class_name: str | None, colour: str | None
) -> ObjectInfo:
    named = info.class_name if class_name is None else class_name or None
    shown = colour or info.colour or default_colour(info.id)
    return replace(info, provenance=origin, class_name=named, colour=shown)


def _checked(choice: int, candidates: Sequence[Candidate]) -> int:
    if not 0 <= choice < len(candidates):
        raise InputError(
            f"There is no candidate {choice}: there are {len(candidates)}, counted from 0."
        )
    return choice
