"""The widget in which a person looks through the objects, the doubtful ones first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QGridLayout, QProgressBar, QVBoxLayout, QWidget

from napari_sam.errors import InputError
from napari_sam.live.object_rows import ObjectRows
from napari_sam.live.review import REVIEW_FILE, Review
from napari_sam.live.similar import Likeness, Ranking
from napari_sam.session import SessionEvent

from . import commands
from .actions import with_keys
from .attached import attach
from .controls import Message, button, in_a_row
from .highlight import Highlight, with_room
from .jobs import Job, run_job
from .object_table import ObjectTable

if TYPE_CHECKING:
    import napari

    from napari_sam.live.workplace import Workplace

__all__ = ["ReviewWidget"]


class ReviewWidget(QWidget):
    """Goes from object to object; each is right, is corrected, or is deleted.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose objects.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:  # napari looks for this name
        super().__init__()
        self.attachment = attach(viewer)
        self.review: Review | None = None
        self.current: int | None = None
        self._fixing: int | None = None
        self._after_fixing: int | None = None
        self._likeness: Likeness | None = None
        self._ranking: Ranking | None = None
        self._job: Job | None = None
        self._highlight = Highlight(self.attachment.viewer)
        self._make_controls()
        self.attachment.workplace_changed.connect(self._begin)
        self.attachment.session_changed.connect(self._hear)
        self._begin(self.attachment.workplace)

    def _make_controls(self) -> None:
        self.progress = QProgressBar()
        self.progress.setFormat("%v of %m reviewed")
        self.progress.setToolTip("Objects that change are to be reviewed again")
        self.about = Message()
        self.accept_button = button("", "It is right as it is; go to the next one", self.accept)
        self.fix_button = button(
            "",
            "Click where it is wrong, and accept the new mask; that counts as reviewed",
            self.fix,
        )
        self.delete_button = button(
            "", "Delete it, and go to the next one; undo brings it back", self.delete
        )
        self.back_button = button(
            "", "Go to the one before, which is then to be reviewed again", self.back
        )
        self.next_button = button(
            "", "Go to the most doubtful one that is left after this one", self.next
        )
        self.alike_button = button(
            "Objects like this one",
            "List the objects by how much the network sees the same in them",
            self.find_alike,
        )
        self.all_button = button("All objects", "List all objects again", self.list_all)
        self.note = Message()
        self.table = ObjectTable(self)
        grid = QGridLayout()
        for column, one in enumerate((self.accept_button, self.fix_button, self.delete_button)):
            grid.addWidget(one, 0, column)
        grid.addWidget(self.back_button, 1, 0)
        grid.addWidget(self.next_button, 1, 1, 1, 2)
        layout = QVBoxLayout(self)
        layout.addWidget(self.progress)
        layout.addWidget(self.about)
        layout.addLayout(grid)
        layout.addWidget(in_a_row(self.alike_button, self.all_button))
        layout.addWidget(self.note)
        layout.addWidget(self.table, 1)
        self.table.chosen.connect(self.go_to)

    # What a person decides

    def accept(self, following: int | None = None) -> None:
        """Note that the object is right, and go to the next one, or to one that is due."""
        if self.review is None or self.current is None:
            return
        try:
            self.review.accept(self.current)
        except InputError as error:
            self.attachment.say(str(error), "warning")
        due = following is not None and following not in self.review.reviewed
        if due and following in self.review.rows.ids:
            self.go_to(following)
        else:
            self.next()

    def fix(self) -> None:
        """Make the object's mask a prompt, to which a person adds clicks."""
        if self.review is not None and self.current is not None:
            # Its doubt will be another one, and with it its place.
            self._fixing, self._after_fixing = self.current, self.review.next(self.current)
            commands.correct(self.attachment, self.current)

    def delete(self) -> None:
        """Delete the object, and go to the next one."""
        workplace, number = self.attachment.workplace, self.current
        if self.review is None or workplace is None or number is None:
            return
        following = self.review.next(number)
        try:
            workplace.session.delete(number)
        except InputError as error:
            self.attachment.say(str(error), "warning")
            return
        self.review.refresh([number])  # the event comes later, the next key perhaps before it
        self.attachment.say(f"Deleted object {number}; undo brings it back.")
        self.go_to(following)

    def next(self) -> None:
        """Go to the next object that is to be reviewed."""
        if self.review is None:
            return
        following = self.review.next(self.current)
        if following is None:
            self._tell()
            self.attachment.say("All objects are reviewed.")
        else:
            self.go_to(following)

    def back(self) -> None:
        """Go to the object before, whether it was reviewed or not."""
        if self.review is None or (before := self.review.next(self.current, back=True)) is None:
            return
        try:
            if before in self.review.reviewed:
                self.review.forget(before)
        except InputError as error:
            self.attachment.say(str(error), "warning")
        self.go_to(before)

    def go_to(self, object_id: int | None) -> None:
        """Look at an object; at none with None."""
        workplace, self.current = self.attachment.workplace, object_id
        self._highlight.clear()
        if object_id is not None and self.review is not None and workplace is not None:
            rows = self.review.rows
            places = (rows.ids == object_id).nonzero()[0].tolist()
            if places:
                room = with_room(rows.region(places[0]), workplace.scene.shape)
                self.attachment.show(room)
                self._outline()
        if self.table.current != self.current:
            self.table.select(self.current)
        self._tell()

    # Objects like one

    def find_alike(self) -> None:
        """List all objects by how much they are like the one that is looked at."""
        workplace, likeness, number = self.attachment.workplace, self._likeness, self.current
        if workplace is None or likeness is None or number is None or self._job is not None:
            return
        assert self.review is not None
        session, ids = workplace.session, self.review.rows.ids.tolist()

        def work(report: Any, should_stop: Any) -> Ranking:
            masks = {}
            for one in ids:
                try:
                    masks[one] = session.mask(one)
                except InputError:
                    if one == number:
                        raise
            return likeness.rank(number, masks, None, should_stop)

        self._job = job = run_job(self, work, "comparing objects")
        job.finished.connect(lambda ranking: self._compared(job, number, ranking))
        job.failed.connect(lambda sentence: self._not_compared(job, sentence))
        self._tell()

    def list_all(self) -> None:
        """List all objects again."""
        self._ranking = None
        self.note.setText("")
        self._fill()
        self._tell()

    def _compared(self, job: Job, number: int, ranking: Ranking) -> None:
        if job is not self._job:
            return
        self._job, self._ranking = None, ranking
        text = f"{len(ranking.ids):,} objects by how much they are like object {number}."
        if ranking.unknown:
            text += (
                f" {len(ranking.unknown):,} others could not be compared: no tile that sees them "
                f"whole is encoded yet."
            )
        self.note.setText(text)
        self._fill()
        self.table.scrollToTop()
        self._tell()

    def _not_compared(self, job: Job, sentence: str) -> None:
        if job is self._job:
            self._job = None
            self.attachment.say(sentence, "warning")
            self._tell()

    # What happens

    def _begin(self, workplace: Workplace | None) -> None:
        if self._job is not None:
            self._job.stop()
        self.review = self.current = self._fixing = self._job = self._ranking = None
        self._likeness = None
        self.note.setText("")
        self._highlight.clear()
        if workplace is not None:
            self._likeness = Likeness(workplace.store)
            try:
                self.review = Review(workplace.session, workplace.folder / REVIEW_FILE)
            except InputError as error:
                self.attachment.say(str(error), "error")
        self._fill()
        self.table.fit_columns()
        self._tell()

    def _hear(self, event: SessionEvent) -> None:
        if event.kind == "plane":
            self._begin(self.attachment.workplace)
        if self.review is None or not (event.regions or event.text == "relabel"):
            return  # of prompts only
        self.review.refresh(event.ids)
        self._fill()
        if self.current in event.ids:
            self._current_changed(event)
        self._tell()

    def _current_changed(self, event: SessionEvent) -> None:
        """Outline the object that is looked at as it is now; one that was corrected is reviewed."""
        assert self.review is not None
        if self.current not in self.review.rows.ids:
            self.go_to(None)
        elif event.text == "accept" and event.kind == "step" and self._fixing == self.current:
            self._fixing = None
            self.accept(self._after_fixing)
        else:
            self._outline()

    def _outline(self) -> None:
        workplace, image = self.attachment.workplace, self.attachment.image_layer
        if workplace is not None and image is not None and self.current is not None:
            try:
                runs = workplace.session.mask(self.current)
            except InputError:
                return  # it was deleted a moment ago, and the next event tells
            self._highlight.show(image, runs)

    def _fill(self) -> None:
        """List the objects as they are now."""
        workplace = self.attachment.workplace
        rows = ObjectRows.none() if self.review is None else self.review.rows
        if self._ranking is not None:
            pairs = zip(self._ranking.ids, self._ranking.likenesses, strict=True)
            self.table.objects.set_alike(rows, dict(pairs))
        else:
            size = None if workplace is None else workplace.scene.pixel_size
            self.table.objects.set_rows(rows, size)

    def _tell(self) -> None:
        """Say what is looked at, and how far the review is."""
        done, there = (0, 0) if self.review is None else self.review.progress
        self.progress.setMaximum(max(1, there))
        self.progress.setValue(done)
        some = self.current is not None
        for one in (self.accept_button, self.fix_button, self.delete_button):
            one.setEnabled(some)
        self.back_button.setEnabled(there > 0)
        self.next_button.setEnabled(done < there)
        for one, text, step in (
            (self.accept_button, "Right", "right"),
            (self.fix_button, "Correct", "correct"),
            (self.delete_button, "Delete", "delete"),
            (self.back_button, "Back", "back"),
            (self.next_button, "Next" if some or done else "Begin", "next"),
        ):
            one.setText(with_keys(text, f"review_{step}"))
        self.alike_button.setEnabled(some and self._job is None)
        self.all_button.setEnabled(self._ranking is not None)
        if self.attachment.workplace is None:
            self.about.setText("Open an image in Segment first.")
        elif not there:
            self.about.setText("There are no objects in this plane yet.")
        elif self.current is None:
            self.about.setText(
                "All objects are reviewed." if done == there else "No object is looked at."
            )
        else:
            self.about.setText(self._described(self.current))

    def _described(self, number: int) -> str:
        assert self.review is not None
        rows = self.review.rows.where(self.review.rows.ids == number)
        if not len(rows):
            return ""
        parts = [f"Object {number}"]
        if rows.classes[0]:
            parts.append(str(rows.classes[0]))
        parts.append(f"{int(rows.areas[0]):,} px")
        doubt = float(rows.doubts[0])
        parts.append("not from a network" if np.isnan(doubt) else f"doubt {doubt:.2f}")
        if number in self.review.reviewed:
            parts.append("reviewed")
        return " · ".join(parts)
