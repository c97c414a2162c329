"""Objects made without prompts, and everything that can be done to them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from napari_sam.errors import InputError
from napari_sam.segment.objects import Candidate, MaskLike
from napari_sam.tiles.regions import Region

from .core import SessionCore
from .draft import Draft
from .importing import found_masks, known_of, read_labels
from .overlap import Overlap, check_overlap
from .runs import Runs
from .splitting import along_line, by_labels

if TYPE_CHECKING:
    from napari_sam.segment.everything import FoundObjects

__all__ = ["Editing"]


class Editing(SessionCore):
    """The part of `Session` that makes and changes objects; see there for `overlap`."""

    def add_object(
        self,
        mask: MaskLike,
        object_id: int | None = None,
        class_name: str | None = None,
        colour: str | None = None,
        overlap: Overlap = "keep_old",
    ) -> int:
        """Make an object of a mask: one that was drawn, or a candidate from elsewhere.

        Parameters
        ----------
        mask : MaskLike
            A `Candidate`, a `MaskRegion`, or `Runs`, in pixels of level 0.
        object_id : int, optional
            By default the next that was never used.
        class_name, colour : str, optional
            What it is, and how it is shown (``#rrggbb``).
        overlap : {"keep_old", "take_new", "cut"}
            Who gets pixels of others.

        Returns
        -------
        int
            Its id.

        Raises
        ------
        InputError
            If the mask is empty or reaches out of the scene, the id is taken, or all pixels belong
            to others.
        """
        check_overlap(overlap)
        check_colour(colour)
        with self._drafting("add_object") as draft:
            runs = draft.check_inside(Runs.of(mask))
            origin = draft.provenance("drawn")
            if isinstance(mask, Candidate):
                origin = draft.provenance("found", model=self._model_hash, **known_of(mask))
            made = draft.make(runs, overlap, origin, object_id, class_name or None, colour)
            if made is None:
                raise InputError(
                    "All pixels of the mask belong to other objects: choose overlap='take_new' to "
                    "take them."
                )
        return made

    def add_objects(
        self,
        found: FoundObjects | Sequence[Candidate],
        class_name: str | None = None,
        overlap: Overlap = "keep_old",
    ) -> dict[int, int]:
        """Make objects of all that `Everything` found, or of many candidates, in one step.

        Among themselves the smaller ones lie in front, as in a label image of them.

        Parameters
        ----------
        found : FoundObjects or sequence of Candidate
            Empty masks are left out.
        class_name : str, optional
            Of all.
        overlap : {"keep_old", "take_new", "cut"}
            Who gets pixels of objects that were there before.

        Returns
        -------
        dict
            The ids of those of which something is visible, by the number in `found` from 0.
        """
        check_overlap(overlap)
        masks = found_masks(found, Region(0, 0, *self._scene.shape))
        with self._drafting("add_objects") as draft:
            before, first = frozenset(draft.state.objects), draft.new_id()
            for number in sorted(masks, key=lambda index: (-masks[index][0].area, -index)):
                runs, known = masks[number]
                origin = draft.provenance("found", model=self._model_hash, **known)
                for other, theirs in list(draft.state.near(draft.plane, runs.box)):
                    if other not in before and (behind := theirs & runs):
                        draft.remove_pixels(other, behind)
                draft.make(runs, overlap, origin, first + number, class_name)
            there = draft.state.objects
            return {number: first + number for number in masks if first + number in there}

    def add_masks(
        self,
        masks: Mapping[int, MaskLike],
        class_name: str | None = None,
        overlap: Overlap = "keep_old",
    ) -> None:
        """Make objects with given ids in one step; of which nothing is left is left out.

        Parameters
        ----------
        masks : mapping
            Ids that are not taken, and masks that do not overlap each other.
        class_name : str, optional
            Of all.
        overlap : {"keep_old", "take_new", "cut"}
            Who gets pixels of others.

        Raises
        ------
        InputError
            If a mask is empty or reaches out of the scene, or an id is taken.
        """
        check_overlap(overlap)
        with self._drafting("add_masks") as draft:
            origin = draft.provenance("drawn")
            for number, mask in masks.items():
                runs = draft.check_inside(Runs.of(mask))
                draft.make(runs, overlap, origin, number, class_name)

    def import_labels(
        self, labels: Any, class_name: str | None = None, overlap: Overlap = "keep_old"
    ) -> dict[int, int]:
        """Take the objects of a label image in, in one step; the image itself is only read.

        Parameters
        ----------
        labels : array, path or zarr
            Integers of the scene's rows and columns, 0 where there is nothing. It is read block by
            block.
        class_name : str, optional
            Of all.
        overlap : {"keep_old", "take_new", "cut"}
            Who gets pixels of objects that were there before.

        Returns
        -------
        dict
            The object of each value: the value itself where that id is free. Values of which
            nothing is left are missing.

        Raises
        ------
        InputError
            If it is no such image.
        """
        check_overlap(overlap)
        found = read_labels(labels, self._scene.shape)
        with self._drafting("import_labels") as draft:
            origin, taken = draft.provenance("imported"), {}
            highest = max([draft.state.highest, *(value for value, _ in found if value < 2**32)])
            for value, runs in found:
                number = value
                if draft.state.is_taken(value) or value >= 2**32:
                    highest = number = highest + 1
                if draft.make(runs, overlap, origin, number, class_name) is not None:
                    taken[value] = number
        return taken

    def paint(self, object_id: int, mask: MaskLike, overlap: Overlap = "keep_old") -> None:
        """Add pixels to an object.

        Raises
        ------
        InputError
            If there is no such object, or the mask is empty or reaches out of the scene.
        """
        check_overlap(overlap)
        with self._drafting("paint", id=object_id) as draft:
            draft.add_pixels(object_id, draft.check_inside(Runs.of(mask)), overlap)
            draft.fix(object_id)

    def erase(self, object_id: int, mask: MaskLike) -> None:
        """Take pixels from an object; without any left it is gone.

        Raises
        ------
        InputError
            If there is no such object, or the mask is empty or reaches out of the scene.
        """
        with self._drafting("erase", id=object_id) as draft:
            draft.remove_pixels(object_id, draft.check_inside(Runs.of(mask)))
            draft.fix(object_id)

    def replace(self, object_id: int, mask: MaskLike, overlap: Overlap = "keep_old") -> None:
        """Give an object another mask.

        Raises
        ------
        InputError
            If there is no such object, the mask is empty or reaches out of the scene, or nothing
            would be left.
        """
        check_overlap(overlap)
        with self._drafting("replace", id=object_id) as draft:
            draft.reshape(object_id, draft.check_inside(Runs.of(mask)), overlap)
            draft.fix(object_id)

    def split(
        self,
        object_id: int,
        line: ArrayLike | None = None,
        labels: np.ndarray | None = None,
        at: tuple[int, int] = (0, 0),
        new_ids: Sequence[int] | None = None,
    ) -> list[int]:
        """Divide an object: into its connected parts, along a line, or as labels say.

        Parameters
        ----------
        object_id : int
            The largest part keeps it.
        line : (n, 2) array, optional
            Vertices (row, col) of a line from one side of the object to the other.
        labels : integer array, optional
            Another value for each part; what has 0 stays with the largest.
        at : (int, int)
            Where the first pixel of `labels` lies.
        new_ids : sequence of int, optional
            Of the other parts, by size; by default the next that were never used.

        Returns
        -------
        list of int
            All parts, the largest first.

        Raises
        ------
        InputError
            If it does not fall into parts, or the ids are too few or taken.
        """
        way = "labels" if labels is not None else "parts" if line is None else "line"
        with self._drafting("split", id=object_id, way=way) as draft:
            old = draft.state.get(object_id)
            if labels is not None:
                parts = by_labels(old.runs, labels, *at)
            elif line is not None:
                draft.arguments["line"] = np.asarray(line, np.float64).tolist()
                parts = along_line(old.runs, line)
            else:
                parts = old.runs.components()
                if len(parts) < 2:
                    raise InputError(
                        f"Object {object_id} is in one piece: draw a line where it is to be split."
                    )
            ids = _ids_for(draft, parts[1:], new_ids)
            origin = draft.provenance("split", model=old.info.provenance.model)
            rest = old.runs - parts[0]
            draft.remove_pixels(object_id, rest)
            draft.fix(object_id)
            for number, part in zip(ids, parts[1:], strict=True):
                draft.make(
                    part, "take_new", origin, number, old.info.class_name, plane=old.info.plane
                )
            draft.arguments["new_ids"] = ids
        return [object_id, *ids]

    def merge(self, object_id: int, others: Sequence[int]) -> None:
        """Join objects of one plane into the first.

        Raises
        ------
        InputError
            If one does not exist, there is only one, or they lie in different planes.
        """
        joined = [number for number in dict.fromkeys(map(int, others)) if number != object_id]
        if not joined:
            raise InputError("One object cannot be merged: give the ids of others to join it with.")
        with self._drafting("merge", id=object_id, others=joined) as draft:
            first = draft.state.get(object_id)
            parts = [draft.state.get(number) for number in joined]
            if any(part.info.plane != first.info.plane for part in parts):
                raise InputError("Objects of different planes cannot be merged into one.")
            for number, part in zip(joined, parts, strict=True):
                draft.delete(number)
                draft.add_pixels(object_id, part.runs, "take_new")
            draft.fix(object_id)

    def delete(self, *object_ids: int) -> None:
        """Remove objects.

        Raises
        ------
        InputError
            If one does not exist; then all stay.
        """
        numbers = list(map(int, dict.fromkeys(object_ids)))
        with self._drafting("delete", ids=numbers) as draft:
            for number in numbers:
                draft.delete(number)

    def relabel(
        self,
        object_id: int,
        new_id: int | None = None,
        class_name: str | None = None,
        colour: str | None = None,
    ) -> None:
        """Give an object another id, class or colour; what is None stays.

        Class and colour are those of all slices of a thing.

        Parameters
        ----------
        object_id : int
            Which.
        new_id : int, optional
            That no object has.
        class_name : str, optional
            What it is; "" for nothing.
        colour : str, optional
            ``#rrggbb``.

        Raises
        ------
        InputError
            If there is no such object, the new id is taken, or the colour is none.
        """
        check_colour(colour)
        changes: dict[str, Any] = {
            name: value
            for name, value in (
                ("new_id", None if new_id is None else int(new_id)),
                ("class_name", class_name),
                ("colour", colour),
            )
            if value is not None
        }
        with self._drafting("relabel", id=object_id, **changes) as draft:
            info = draft.state.get(object_id).info
            known = {**changes, "id": changes.get("new_id", object_id)}
            known.pop("new_id", None)
            if class_name is not None:
                known["class_name"] = class_name or None
            draft.relabel(object_id, replace(info, **known))

    def classify(self, classes: Mapping[int, str]) -> None:
        """Give objects classes, in one step; all slices of a thing get the class of one.

        Parameters
        ----------
        classes : mapping of int to str
            What each is, by id; "" for nothing.

        Raises
        ------
        InputError
            If there is no such object; then all stay as they are.
        """
        wanted = [(int(number), str(name)) for number, name in classes.items()]
        with self._drafting("classify", classes=wanted) as draft:
            for number, name in wanted:
                info = draft.state.get(number).info
                draft.relabel(number, replace(info, class_name=name or None))

    @property
    def _model_hash(self) -> str | None:
        return None if self._model is None else self._model.hash


def check_colour(colour: str | None) -> None:
    """Refuse what is no colour.

    Raises
    ------
    InputError
        If it is not ``#rrggbb``.
    """
    if colour is not None and not re.fullmatch("#[0-9a-fA-F]{6}", colour):
        raise InputError(f"{colour!r} is no colour: give one such as '#ff8800'.")


def _ids_for(draft: Draft, parts: Sequence[Runs], given: Sequence[int] | None) -> list[int]:
    if given is None:
        first = draft.new_id()
        return list(range(first, first + len(parts)))
    ids = [draft.new_id(int(number)) for number in given]
    if len(set(ids)) != len(parts) or len(ids) != len(parts):
        raise InputError(
            f"There are {len(parts)} parts beside the largest: give as many different new ids, and "
            f"not {len(ids)}."
        )
    return ids
